"""What a run computes with for one size of batch: buffers, and the programs that fill them."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn_numpy.memory import aligned
from xcnn_numpy.program import Program, View

__all__ = ["Value", "Workspace"]


class Value:
    """What one stage of a run hands to others: images (c, h, w), in a border that the readers want.

    Parameters
    ----------
    c, h, w : int
        Channels, rows, columns.
    pinned : bool
        Whether several branches read it, so that nothing may be fused into what makes it.
    """

    def __init__(self, c: int, h: int, w: int) -> None:
        self.c, self.h, self.w = c, h, w
        self.border = [0, 0, 0, 0]  # top, bottom, left, right
        self.whole: tuple[Value, int] | None = None  # the Concat that it is a part of, and the channel there
        self.pinned = False
        self.stage: Any = None  # what makes it

    def want(self, top: int, bottom: int, left: int, right: int) -> None:
        """Ask for a border of at least so many zeros."""
        if self.whole:
            self.whole[0].want(top, bottom, left, right)
        self.border = [max(pair) for pair in zip(self.border, (top, bottom, left, right), strict=True)]

    @property
    def size(self) -> int:
        """Numbers in one image."""
        return self.c * self.h * self.w


class Workspace:
    """Buffers and programs for batches of up to ``blocks`` vectors of images.

    Parameters
    ----------
    dtype : str
        Of the numbers.
    lanes : int
        Images in a vector.
    blocks : int
        Vectors of images in a batch.
    threads : int
        How many parts a kernel may run in.
    train : bool
        Whether values are kept for a backward program.
    """

    def __init__(self, dtype: str, lanes: int, blocks: int, threads: int, train: bool) -> None:
        self.dtype, self.lanes, self.blocks, self.threads, self.train = dtype, lanes, blocks, threads, train
        self.program = Program(dtype, threads)
        self.backward = Program(dtype, threads)  # the one that is being built
        self.backwards: dict[bool, Program] = {}  # with dx, without
        self.kept: dict[tuple[Any, str], Any] = {}  # what stages keep from forward to backward
        self.zero = aligned(lanes, dtype)
        self.nothing = View(self.zero)  # adds zero everywhere
        self.found: list[np.ndarray] = []  # what each batch norm measured, in order
        self.place: Any = None  # of a parameter's gradient in the run's
        self._values: dict[int, View] = {}
        self._gradients: dict[int, View] = {}
        self._free: dict[Any, list[np.ndarray]] = {}
        self._scratch: np.ndarray | None = None

    def array(self, size: int, dtype: str | None = None) -> np.ndarray:
        """Return zeros of this workspace's own."""
        return aligned(size, dtype or self.dtype)

    def keep(self, stage: Any, name: str, a: Any) -> Any:
        """Return `a`, which backward finds in ``kept[stage, name]``."""
        self.kept[stage, name] = a
        return a

    def begin_backward(self) -> None:
        """Start another backward program."""
        self.backward = Program(self.dtype, self.threads)
        self._gradients = {}

    def index(self, value: Value) -> np.ndarray:
        """Return bytes, one for each number of `value`."""
        return self.array(self.blocks * value.size * self.lanes, "int8")

    def images(self, c: int, h: int, w: int, border: list[int]) -> View:
        """Return new images (c, h, w) in a border (top, bottom, left, right) of zeros."""
        top, bottom, left, right = border
        row = (left + w + right) * self.lanes
        plane = (top + h + bottom) * row
        key = c, h, w, tuple(border)
        waiting = self._free.get(key)
        a = waiting.pop() if waiting else self.array(self.blocks * c * plane)
        return View(a, top * row + left * self.lanes, c * plane, plane, row, self.lanes)

    def view(self, value: Value) -> View:
        """Return where `value` is."""
        if value.whole:
            whole, channel = value.whole
            view = self.view(whole)
            return view._replace(first=view.first + channel * view.c)
        if id(value) not in self._values:
            self._values[id(value)] = self.images(value.c, value.h, value.w, value.border)
        return self._values[id(value)]

    def release(self, value: Value) -> None:
        """Let others have the memory of `value`, which nobody reads any more."""
        if id(value) in self._values:
            self.recycle(self._values.pop(id(value)), value.c, value.h, value.w, value.border)

    def recycle(self, view: View, c: int, h: int, w: int, border: list[int]) -> None:
        """Let others have the memory of images."""
        self._free.setdefault((c, h, w, tuple(border)), []).append(view.a)

    def gradient(self, value: Value) -> tuple[View, int]:
        """Return where the gradient of `value` goes, and whether something is there, to be added to."""
        if value.whole:
            whole, channel = value.whole
            view, _ = self.gradient(whole)
            return view._replace(first=view.first + channel * view.c), 0
        known = id(value) in self._gradients
        if not known:
            self._gradients[id(value)] = self.images(value.c, value.h, value.w, [0, 0, 0, 0])
        return self._gradients[id(value)], int(known)

    def has_gradient(self, value: Value) -> bool:
        """Return whether something was written there."""
        return id(value) in self._gradients

    def share_gradient(self, value: Value, view: View) -> None:
        """Let the gradient of `value` be what `view` holds."""
        self._gradients[id(value)] = view

    def release_gradient(self, value: Value) -> None:
        """Let others have the memory of a gradient that nobody reads any more."""
        view = self._gradients.pop(id(value), None)
        if view is not None and not any(other.a is view.a for other in self._gradients.values()):
            self.recycle(view, value.c, value.h, value.w, [0, 0, 0, 0])

    def scratch(self, size: int) -> np.ndarray:
        """Return memory that any kernel may use while it runs, `size` numbers for each part."""
        if self._scratch is None or self._scratch.size < size * self.threads:
            self._scratch = self.array(size * self.threads)
        return self._scratch
