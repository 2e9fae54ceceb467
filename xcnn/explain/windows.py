"""Convolution and pooling: a window of the input, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from xcnn.explain.explanation import Explanation, Position, explanation, named
from xcnn.explain.text import beside, grid, number, titled
from xcnn.explain.trace import Step
from xcnn.layers import AvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D, MaxPool2D

__all__ = ["Pooling", "Windowed", "source_of", "window_fields"]

_TAPS = 7  # rows and columns that are shown of a larger window


@dataclass(repr=False, eq=False)
class Windowed(Explanation):
    """An output that sees a window of its input.

    Parameters
    ----------
    channels : list of int
        The channels of x that it sees.
    rows, columns : list of int
        The rows and columns of x that it sees; those outside of x are padding.
    patch : array (channels, rows, columns)
        What it sees there, float64; padding is zero.
    inside : array (rows, columns)
        Which of it lies in x.
    """

    _: KW_ONLY
    channels: list[int]
    rows: list[int]
    columns: list[int]
    patch: np.ndarray
    inside: np.ndarray

    def taps(self, around: np.ndarray) -> tuple[slice, slice]:
        """Return the rows and columns of the window to show: all, or those around the largest of `around`."""
        most = np.unravel_index(np.argmax(np.nan_to_num(np.abs(around))), around.shape)
        rows, columns = (
            slice(start, start + _TAPS)
            for start in (
                min(max(0, int(at) - _TAPS // 2), max(0, n - _TAPS))
                for at, n in zip(most, around.shape, strict=True)
            )
        )
        return rows, columns

    def where(self) -> str:
        """Return which pixels of x the window covers, in words."""
        spans = []
        for name, taps in (("row", self.rows), ("column", self.columns)):
            step = abs(taps[1] - taps[0]) if len(taps) > 1 else 1
            spans.append(
                f"{name}s {min(taps)} to {max(taps)}{f' by {step}' if step > 1 else ''}"
                if len(taps) > 1
                else f"{name} {taps[0]}"
            )
        padding = int(self.inside.size - np.count_nonzero(self.inside))
        return (
            ", ".join(spans) + " of x" + (f"; {padding} of these pixels are padding (·)" if padding else "")
        )

    def animate(self, path: Any, /, *, most: int = 64, fps: float = 4.0) -> int:
        """Write an animation: the window slides, and the channel of the output that is explained grows.

        Parameters
        ----------
        path : str or Path
            Of the GIF.
        most : int
            How many frames at most; of a larger output rows and columns are left out, and the title says so.
        fps : float
            Frames per second.

        Returns
        -------
        int
            The number of frames.

        Raises
        ------
        FileError
            If it cannot be written.
        """
        from xcnn.plots import animation

        return animation.slide(self, path, most=most, fps=fps)

    def left_out(self, taps: tuple[slice, slice]) -> list[str]:
        """Return a line that says how many pixels of the window `taps` shows, unless all."""
        count = self.inside[taps].size
        return (
            [f"({count} of the {self.inside.size:,} pixels of the window are shown)"]
            if count < self.inside.size
            else []
        )


def window_fields(
    x: np.ndarray, /, channels: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> dict[str, Any]:
    """Return the fields of a `Windowed` that sees `channels`, `rows` and `columns` of `x` (C, H, W)."""
    _, h, w = x.shape
    r, c = np.asarray(rows, int), np.asarray(columns, int)
    inside = ((r >= 0) & (r < h))[:, None] & ((c >= 0) & (c < w))
    seen = x[np.ix_(list(channels), np.clip(r, 0, h - 1), np.clip(c, 0, w - 1))].astype(np.float64)
    return {
        "channels": list(channels),
        "rows": list(rows),
        "columns": list(columns),
        "patch": np.where(inside, seen, 0.0),
        "inside": inside,
    }


def source_of(seen: Windowed, weight: np.ndarray, /) -> Position:
    """Return where in x the `weight` of the pixels `seen` is largest; padding has none."""
    if not seen.inside.any():
        h, w = seen.step.x.shape[1:]
        rows, columns = seen.rows or [0], seen.columns or [0]
        return seen.channels[0], min(max(rows[0], 0), h - 1), min(max(columns[0], 0), w - 1)
    found = np.argmax(np.where(seen.inside, np.nan_to_num(weight), -np.inf))
    c, r, k = np.unravel_index(found, seen.patch.shape)
    return seen.channels[c], seen.rows[r], seen.columns[k]


@dataclass(repr=False, eq=False)
class Pooling(Windowed):
    """The largest pixel of a window, or the mean of its pixels.

    Parameters
    ----------
    mean : bool
        Whether it is the mean.
    count : int
        By how many pixels the sum is divided, or how many compete.
    """

    _: KW_ONLY
    mean: bool
    count: int

    @property
    def winner(self) -> Position:
        """Where in x the largest pixel of the window is: (channel, row, column); of equal ones the first."""
        return source_of(self, np.where(np.isnan(self.patch), np.inf, self.patch))

    def mark(self) -> tuple[int, int]:
        """Return the winner's row and column in the window."""
        _, row, column = self.winner
        return self.rows.index(row), self.columns.index(column)

    def lines(self) -> list[str]:
        """Return the window, and its winner or mean."""
        lines = [f"{named(self.position)} of y sees {self.where()}"]
        row, column = self.mark()
        around = np.zeros(self.inside.shape)
        around[row, column] = 1.0
        rows, columns = taps = self.taps(around)
        mark = None if self.mean else (row - rows.start, column - columns.start)
        block = grid(self.patch[0][taps], inside=self.inside[taps], mark=mark)
        lines += beside(titled("window", block)) + self.left_out(taps)
        if self.mean:
            total = float(self.patch.sum())
            return [*lines, f"mean: {number(total)} / {self.count} = {number(self.value)}"]
        return [
            *lines,
            f"the largest of {self.count} pixels: {number(self.value)} at {named(self.winner)} of x",
        ]


def _pooled(step: Step, position: Position, mean: bool, count: int | None = None, **window: Any) -> Pooling:
    """Return the explanation of a window; `count` is by default how many of its pixels lie in x."""
    fields = window_fields(step.x, channels=position[:1], **window)
    count = int(np.count_nonzero(fields["inside"])) if count is None else count
    made = Pooling(step, position, mean=mean, count=count, **fields)
    made.source = made.winner
    made.computed = float(made.patch.sum()) / count if mean else float(step.x[made.winner])
    return made


def _starts(layer: Any, position: Position) -> list[int]:
    """Return the first row and the first column of the window, which may lie in the padding."""
    at = zip(position[1:], layer.window["stride"], layer.window["padding"], strict=True)
    return [i * stride - before for i, stride, (before, _) in at]


def _taps(layer: Any, position: Position) -> dict[str, Any]:
    starts = _starts(layer, position)
    rows, columns = (range(start, start + k) for start, k in zip(starts, layer.window["size"], strict=True))
    return {"rows": rows, "columns": columns}


@explanation.register
def _max_pool(layer: MaxPool2D, step: Step, position: Position) -> Explanation:
    return _pooled(step, position, False, **_taps(layer, position))


@explanation.register
def _avg_pool(layer: AvgPool2D, step: Step, position: Position) -> Explanation:
    count = 1  # pixels of the image and of the padding that counts; what hangs over the edge never does
    for start, k, h, (before, after) in zip(
        _starts(layer, position), layer.window["size"], step.x.shape[1:], layer.window["padding"], strict=True
    ):
        low, high = (-before, h + after) if layer.count_include_pad else (0, h)
        count *= min(start + k, high) - max(start, low)
    return _pooled(step, position, True, count, **_taps(layer, position))


@explanation.register(GlobalMaxPool2D)
@explanation.register(GlobalAvgPool2D)
def _global(layer: Any, step: Step, position: Position) -> Explanation:
    _, h, w = step.x.shape
    return _pooled(step, position, isinstance(layer, GlobalAvgPool2D), rows=range(h), columns=range(w))
