"""Small batches through a run: what is packed for them, as long as parameters stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn_numpy.library import prepare
from xcnn_numpy.lowering import Lowered
from xcnn_numpy.program import get_num_threads
from xcnn_numpy.serving import Serving, is_better, pack, serve
from xcnn_numpy.simd import lanes
from xcnn_numpy.threads import BUILDING

__all__ = ["Server"]


class Server:
    """Small batches through one lowered run.

    Parameters
    ----------
    lowered : Lowered
        Its stages.
    dtype : str
        Of the numbers.
    shape : tuple of int
        Of one output.
    """

    def __init__(self, lowered: Lowered, dtype: str, shape: tuple[int, ...]) -> None:
        self.lowered, self.dtype, self.shape = lowered, dtype, shape
        self.lanes = lanes(dtype)
        self._preferred: dict[int, bool] = {}
        self._packed: tuple[Any, Any, Any, Any] = None, None, None, None

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is packed out of copies."""
        return vars(self) | {"_packed": (None, None, None, None)}

    def prefers(self, n: int, /) -> bool:
        """Return whether n images are served faster with channels in the lanes than with images there."""
        if n >= self.lanes:
            return False
        if n not in self._preferred:
            self._preferred[n] = is_better(self.lowered, n, self.lanes)
        return self._preferred[n]

    def serve(self, x: np.ndarray, arrays: Any, folded: np.ndarray | None, /) -> np.ndarray:
        """Return y."""
        values, buffers, packed, waiting = self._packed
        if values is not arrays.values or buffers is not arrays.buffers:
            packed, waiting = pack(self.lowered, arrays.values, folded, self.lanes), {}
            self._packed = arrays.values, arrays.buffers, packed, waiting
        free = waiting.setdefault((len(x), get_num_threads()), [])
        try:
            ws = free.pop()
        except IndexError:
            with BUILDING:
                prepare(self.dtype)
                ws = Serving(self.dtype, self.lanes, len(x), get_num_threads())
                serve(self.lowered, ws, packed)
                ws.program.finish()
        ws.input[...] = x.reshape(ws.input.shape)
        ws.program.run()
        y = ws.output(self.lowered.output).reshape(len(x), *self.shape)
        free.append(ws)
        return y
