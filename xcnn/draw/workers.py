"""Threads that work while the server listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from xcnn.draw.refusals import BUSY, Refused

__all__ = ["Workers", "quietly"]

T = TypeVar("T")


def quietly(work: Callable[..., T], /, *arguments: Any) -> T:
    """Return ``work(*arguments)``; what overflows is the sender's affair, not the log's."""
    with np.errstate(all="ignore"):
        return work(*arguments)


class Workers:
    """A few threads for one kind of work, so that it waits for its like alone.

    Parameters
    ----------
    name : str
        Of the threads.
    count : int, optional
        How many.
    most : int, optional
        Pieces of work that may be under way or wait; the next one is refused (503).
    """

    def __init__(self, name: str, count: int = 1, *, most: int = 16) -> None:
        self._most, self._now = most, 0
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=f"xcnn-{name}")

    async def __call__(self, work: Callable[..., T], /, *arguments: Any) -> T:
        """Return ``work(*arguments)``, done by one of the threads.

        Parameters
        ----------
        work : callable
            What to do.
        *arguments : object
            For it.

        Returns
        -------
        object
            What it returns.
        """
        if self._now >= self._most:
            msg = f"{self._now} requests like this one wait; needed patience: try again in a second"
            raise Refused(503, msg, "xcnn draw", headers=BUSY)
        self._now += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, quietly, work, *arguments)
        finally:
            self._now -= 1

    def close(self) -> None:
        """Let what runs finish, and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
