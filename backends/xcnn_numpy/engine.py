"""What runs lowered layers: workspaces for each size of batch, and the programs in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xcnn_numpy.layout import from_lanes, to_lanes
from xcnn_numpy.library import prepare
from xcnn_numpy.lowering import Lowered, find_needs
from xcnn_numpy.memory import fresh
from xcnn_numpy.program import View, get_num_threads
from xcnn_numpy.simd import lanes
from xcnn_numpy.threads import BUILDING
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Engine", "Lease"]

WAITING = 4  # workspaces, for each size of batch, that wait to be used again
SIZES = 4  # sizes of batch whose workspaces are kept


class Lease:
    """What a forward holds: a workspace, given back when nobody holds this any more."""

    __slots__ = ("engine", "n", "values", "workspace")

    def __init__(self, engine: Engine, workspace: Workspace, values: np.ndarray, n: int) -> None:
        self.engine, self.workspace, self.values, self.n = engine, workspace, values, n

    def __del__(self) -> None:
        self.engine.give(self.workspace)


class Engine:
    """Lowered layers, ready for batches of any size.

    Parameters
    ----------
    lowered : Lowered
        Their stages.
    dtype : str
        Of the numbers.
    shapes : tuple
        Of one input and of one output.
    size : int
        Numbers in the gradient of the parameters.
    place : callable
        From where a parameter starts in the values to where its gradient starts.
    """

    def __init__(
        self, lowered: Lowered, dtype: str, shapes: tuple[Any, Any], size: int, place: Callable[[int], int]
    ) -> None:
        self.lowered, self.dtype, self.size, self.place = lowered, dtype, size, place
        self.input_shape, self.output_shape = shapes
        self.lanes = lanes(dtype)
        self._waiting: dict[tuple[int, int, bool], list[Workspace]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave workspaces out of copies."""
        return vars(self) | {"_waiting": {}}

    def take(self, n: int, train: bool, /) -> Workspace:
        """Return a workspace for n images that nobody else uses."""
        key = -(-n // self.lanes), get_num_threads(), train
        try:
            return self._waiting[key].pop()
        except (KeyError, IndexError):
            with BUILDING:
                return self._build(*key)

    def give(self, ws: Workspace, /) -> None:
        """Take a workspace back."""
        key = ws.blocks, ws.threads, ws.train
        waiting = self._waiting.setdefault(key, [])
        if len(waiting) < WAITING:
            waiting.append(ws)
        if len(self._waiting) > SIZES:
            self._waiting.pop(next(k for k in list(self._waiting) if k != key), None)

    def _build(self, blocks: int, threads: int, train: bool) -> Workspace:
        prepare(self.dtype)
        low, ws = self.lowered, Workspace(self.dtype, self.lanes, blocks, threads, train)
        ws.place = self.place
        x = low.input
        ws.program.add(
            to_lanes, ("x", 0), ws.view(x), ws.scratch(self.lanes**2), ("n", 0), x.c, x.h, x.w,
            tasks=blocks * x.c, work=8.0 * blocks * x.size,
        )  # fmt: skip
        last = {id(value): i for i, stage in enumerate(low.stages) for value in stage.reads()}
        for i, stage in enumerate(low.stages):
            stage.forward(ws)
            for value in {id(v): v for v in stage.reads()}.values():
                if not train and last[id(value)] == i and value is not low.output:
                    ws.release(value)
        self._out_of_lanes(ws, ws.program, low.output, ws.view(low.output), "y")
        ws.program.finish()
        return ws

    def _out_of_lanes(self, ws: Workspace, program: Any, value: Value, view: View, name: str) -> None:
        c, h, w = _plane(value, view)
        program.add(
            from_lanes, view, (name, 0), ws.scratch(self.lanes**2), ("n", 0), c, h, w,
            tasks=ws.blocks * c, work=8.0 * ws.blocks * value.size,
        )  # fmt: skip

    def _build_backward(self, ws: Workspace, need_dx: bool) -> None:
        low = self.lowered
        find_needs(low, need_dx)
        ws.begin_backward()
        dy, _ = ws.gradient(low.output)
        c, h, w = _plane(low.output, dy)
        ws.backward.add(
            to_lanes, ("dy", 0), dy, ws.scratch(self.lanes**2), ("n", 0), c, h, w,
            tasks=ws.blocks * c, work=8.0 * ws.blocks * low.output.size,
        )  # fmt: skip
        for stage in reversed(low.stages):
            if getattr(stage, "norm", None) is None:
                stage.backward(ws)
                ws.release_gradient(stage.y)
        if need_dx:
            self._out_of_lanes(ws, ws.backward, low.input, ws.gradient(low.input)[0], "dx")
        ws.backwards[need_dx] = ws.backward.finish()

    def forward(self, x: np.ndarray, values: np.ndarray, /, *, train: bool, **more: Any) -> tuple[Any, Lease]:
        """Return y and a lease on what backward needs."""
        n = x.shape[0]
        lease = Lease(self, self.take(n, train), values, n)
        y = fresh((n, *self.output_shape), self.dtype)
        lease.workspace.program.run(x=np.ascontiguousarray(x), y=y, values=values, n=n, **more)
        return y, lease

    def backward(self, dy: np.ndarray, lease: Lease, /, *, need_dx: bool, **more: Any) -> tuple[Any, Any]:
        """Return the gradient of the parameters, and dx or None."""
        ws = lease.workspace
        if need_dx not in ws.backwards:
            with BUILDING:
                self._build_backward(ws, need_dx)
        g = fresh((self.size,), self.dtype)
        dx = fresh((lease.n, *self.input_shape), self.dtype) if need_dx else None
        dy = np.ascontiguousarray(dy)
        ws.backwards[need_dx].run(dy=dy, g=g, dx=dx, values=lease.values, n=lease.n, **more)
        return g, dx


def _plane(value: Value, view: View) -> tuple[int, int, int]:
    """Return (c, h, w) as the way in and out of lanes takes them: features in one long row."""
    if value.h == value.w == 1 and view.c == view.s:
        return 1, 1, value.c
    return value.c, value.h, value.w
