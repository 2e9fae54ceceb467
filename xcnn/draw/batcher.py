"""Predictions that arrive together run together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

__all__ = ["Batcher"]

_Waiting: TypeAlias = tuple[np.ndarray, "asyncio.Future[np.ndarray]"]


class Batcher:
    """Collect inputs, and run what has come as one batch.

    Nobody waits for company: what was read in one turn of the event loop runs at once, and what arrives
    meanwhile is the next batch.

    Parameters
    ----------
    run : callable
        ``run(x) -> y`` of arrays (N, ...); row n of y depends on row n of x alone.
    most : int
        Rows of a batch; an input that has more runs by itself.
    here : int
        Batches of up to so many rows run in the thread of the event loop, larger ones in another.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], /, *, most: int = 256, here: int = 0) -> None:
        self._run, self._most, self._here = run, most, here
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="xcnn-predict")
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, x: np.ndarray, /) -> np.ndarray:
        """Return ``run(x)``.

        Parameters
        ----------
        x : array (N, ...)
            One input or several.

        Returns
        -------
        array (N, ...)
            The rows that belong to `x`.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((x, future))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work(loop))
        result: np.ndarray = await future
        return result

    def close(self) -> None:
        """Finish the batch that runs, and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run batch after batch until nothing waits."""
        while self._waiting:
            batch = self._next()
            inputs = [x for x, _ in batch]
            if sum(map(len, inputs)) <= self._here:
                answers = self._answers(inputs)
            else:
                answers = await loop.run_in_executor(self._thread, self._answers, inputs)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():  # whoever asked has gone
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _next(self) -> list[_Waiting]:
        """Take the next batch: the oldest, and as many of the others as fit."""
        batch = [self._waiting.popleft()]
        rows = len(batch[0][0])
        while self._waiting and rows + len(self._waiting[0][0]) <= self._most:
            rows += len(self._waiting[0][0])
            batch.append(self._waiting.popleft())
        return batch

    def _answers(self, inputs: list[np.ndarray]) -> list[np.ndarray | Exception]:
        """Return the answer to each input; where all together fail, each is tried alone."""
        try:
            y = self._run(inputs[0] if len(inputs) == 1 else np.concatenate(inputs))
        except Exception as error:
            return [error] if len(inputs) == 1 else [self._answers([x])[0] for x in inputs]
        ends = np.cumsum([len(x) for x in inputs])
        return list(np.split(y, ends[:-1]))
