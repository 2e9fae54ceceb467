"""Pooling, sums, copies and activations as stages of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn_numpy.normalization import normalize
from xcnn_numpy.pointwise import activate, activate_backward, mask, total_of
from xcnn_numpy.pooling import average, average_backward, largest, largest_backward, unpool
from xcnn_numpy.sliding import LOWEST
from xcnn_numpy.stage import Stage
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Activate", "Add", "Average", "MaxPool", "Rectify", "Standardize"]


class Window:
    """Windows of a pooling: size, stride, and the padding at top and left.

    Parameters
    ----------
    size, stride, before : pair of int
        Rows and columns.
    """

    def __init__(self, size: Any, stride: Any, before: Any) -> None:
        self.size, self.stride, self.before = tuple(size), tuple(stride), tuple(before)

    def apart(self, x: Value, y: Value) -> bool:
        """Return whether no pixel lies in two windows and no window hangs over the edge."""
        inside = all(
            (count - 1) * s + k <= n
            for count, s, k, n in zip((y.h, y.w), self.stride, self.size, (x.h, x.w), strict=True)
        )
        return (
            self.before == (0, 0)
            and inside
            and all(s >= k for s, k in zip(self.stride, self.size, strict=True))
        )


class MaxPool(Stage):
    """Max pooling by itself.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    window : Window
        Its windows.
    """

    def __init__(self, x: Value, y: Value, window: Window) -> None:
        super().__init__(x, y)
        self.window = window

    def _sizes(self, ws: Workspace) -> tuple[int, ...]:
        return *self.pixels(ws, self.x), self.y.h, self.y.w, *self.window.size, *self.window.stride

    def forward(self, ws: Workspace) -> None:
        """Add the pooling."""
        index = ws.keep(self, "index", ws.index(self.y))
        ws.program.add(
            largest, ws.view(self.x), ws.view(self.y), index, *self._sizes(ws), *self.window.before,
            tasks=ws.blocks * self.x.c, work=self.work(ws, self.x, 3),
        )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradient of x."""
        if not self.needs_dx:
            return
        dy, _ = ws.gradient(self.y)
        dx, known = ws.gradient(self.x)
        tasks, work = ws.blocks * self.x.c, self.work(ws, self.x, 3)
        if self.window.apart(self.x, self.y) and not known:
            ws.backward.add(unpool, dy, ws.kept[self, "index"], dx, *self._sizes(ws), tasks=tasks, work=work)
        else:
            sizes = *self._sizes(ws), *self.window.before
            ws.backward.add(
                largest_backward, dy, ws.kept[self, "index"], dx, known, *sizes, tasks=tasks, work=work
            )


class Average(MaxPool):
    """Average pooling.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    window : Window
        Its windows.
    shares : array (OH, OW)
        1 / count of each window.
    """

    def __init__(self, x: Value, y: Value, window: Window, shares: np.ndarray) -> None:
        super().__init__(x, y, window)
        self.shares = shares

    def forward(self, ws: Workspace) -> None:
        """Add the pooling."""
        table = ws.keep(self, "table", np.ascontiguousarray(self.shares, ws.dtype))
        ws.program.add(
            average, ws.view(self.x), ws.view(self.y), table, *self._sizes(ws), *self.window.before,
            tasks=ws.blocks * self.x.c, work=self.work(ws, self.x),
        )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradient of x."""
        if not self.needs_dx:
            return
        dy, _ = ws.gradient(self.y)
        dx, known = ws.gradient(self.x)
        ws.backward.add(
            average_backward, dy, dx, ws.kept[self, "table"], known, *self._sizes(ws), *self.window.before,
            tasks=ws.blocks * self.x.c, work=self.work(ws, self.x, 3),
        )  # fmt: skip


class Rectify(Stage):
    """ReLU by itself; without a floor, a copy.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    floor : float
        0, or minus infinity for a copy.
    """

    def __init__(self, x: Value, y: Value, floor: float = LOWEST) -> None:
        super().__init__(x, y)
        self.floor = floor

    def forward(self, ws: Workspace) -> None:
        """Add it."""
        ws.program.add(
            total_of, ws.view(self.x), ws.nothing, ws.view(self.y), self.floor, *self.pixels(ws, self.x),
            tasks=ws.blocks * self.x.c, work=self.work(ws, self.x),
        )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradient of x."""
        if self.needs_dx:
            _pass_on(self, ws, self.x)


class Add(Stage):
    """The sum of two values, then ReLU where fused.

    Parameters
    ----------
    x, other, y : Value
        What it reads and writes.
    """

    def __init__(self, x: Value, other: Value, y: Value) -> None:
        super().__init__(x, y)
        self.other = other

    def reads(self) -> list[Value]:
        """Return both."""
        return [self.x, self.other]

    def forward(self, ws: Workspace) -> None:
        """Add the sum."""
        ws.program.add(
            total_of, ws.view(self.x), ws.view(self.other), ws.view(self.y), self.floor,
            *self.pixels(ws, self.x), tasks=ws.blocks * self.x.c, work=self.work(ws, self.x, 2),
        )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradients of both."""
        if self.needs_dx:
            _pass_on(self, ws, self.x)
            _pass_on(self, ws, self.other)


def _pass_on(stage: Stage, ws: Workspace, x: Value) -> None:
    """Add dy, where y > 0 if y is rectified, to the gradient of x."""
    dy, _ = ws.gradient(stage.y)
    dx, known = ws.gradient(x)
    sizes = stage.pixels(ws, x)
    tasks, work = ws.blocks * x.c, stage.work(ws, x)
    if stage.rectified:
        ws.backward.add(mask, dy, ws.view(stage.y), dx, known, *sizes, tasks=tasks, work=work)
    else:
        ws.backward.add(total_of, dy, dx if known else ws.nothing, dx, LOWEST, *sizes, tasks=tasks, work=work)


class Activate(Stage):
    """An activation other than ReLU.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    which : int
        One of those that `activate` knows.
    slope : float
        Of a leaky ReLU.
    """

    def __init__(self, x: Value, y: Value, which: int, slope: float = 0.0) -> None:
        super().__init__(x, y)
        self.which, self.slope = which, float(slope)

    def forward(self, ws: Workspace) -> None:
        """Add it."""
        ws.program.add(
            activate, ws.view(self.x), ws.view(self.y), self.which, self.slope, *self.pixels(ws, self.x),
            tasks=ws.blocks * self.x.c, work=self.work(ws, self.x, 5),
        )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradient of x."""
        if self.needs_dx:
            dy, _ = ws.gradient(self.y)
            dx, known = ws.gradient(self.x)
            ws.backward.add(
                activate_backward, dy, ws.view(self.x), ws.view(self.y), dx, known, self.which, self.slope,
                *self.pixels(ws, self.x), tasks=ws.blocks * self.x.c, work=self.work(ws, self.x, 3),
            )  # fmt: skip


class Standardize(Stage):
    """Standardise the inputs of a model by fixed statistics.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    layer : Normalize
        Its statistics.
    """

    def __init__(self, x: Value, y: Value, layer: Any) -> None:
        super().__init__(x, y)
        self.layer = layer

    def forward(self, ws: Workspace) -> None:
        """Add it."""
        ws.program.add(
            normalize, ws.view(self.x), ("fixed", 0), ws.view(self.y), ws.nothing, LOWEST,
            *self.pixels(ws, self.x), tasks=ws.blocks * self.x.c, work=self.work(ws, self.x),
        )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradient of x."""
        if self.needs_dx:
            dy, _ = ws.gradient(self.y)
            dx, _ = ws.gradient(self.x)
            ws.backward.add(
                normalize, dy, ("fixed", 5 * self.x.c), dx, ws.nothing, LOWEST, *self.pixels(ws, self.x),
                tasks=ws.blocks * self.x.c, work=self.work(ws, self.x),
            )  # fmt: skip
