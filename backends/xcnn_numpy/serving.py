"""Inference on batches smaller than a vector: channels in the lanes, so that one image costs no more.

The same sliding products, with the operands' roles exchanged: the weights of 16 filters are the vectors, and
pixels the single numbers that multiply them. Pooling and sums take vectors of channels as they take vectors
of images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn_numpy.filters import convolve_filters, convolve_planes
from xcnn_numpy.lowering import Lowered
from xcnn_numpy.memory import aligned
from xcnn_numpy.pointwise import activate, total_of
from xcnn_numpy.pooling import average, largest
from xcnn_numpy.program import View
from xcnn_numpy.sliding import LONGEST, LOWEST
from xcnn_numpy.stage_conv import Convolution
from xcnn_numpy.stage_dense import Dense
from xcnn_numpy.stage_norm import Norm
from xcnn_numpy.stage_pixel import Activate, Add, Average, MaxPool, Rectify, Window
from xcnn_numpy.tile import blocks, sweep_address
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Serving", "is_better", "pack", "serve"]


class Serving(Workspace):
    """A workspace for n images with channels in the lanes; the input stays as it is, in a border of zeros."""

    def __init__(self, dtype: str, lanes: int, n: int, threads: int) -> None:
        super().__init__(dtype, lanes, n, threads, False)
        self.input: np.ndarray | None = None

    def vectors(self, value: Value) -> int:
        """Return how many vectors its channels fill."""
        return -(-value.c // self.lanes)

    def sizes(self, value: Value) -> tuple[int, int, int, int]:
        """Return images, vectors of channels, rows and columns."""
        return self.blocks, self.vectors(value), value.h, value.w

    def view(self, value: Value) -> View:
        """Return where `value` is."""
        if value.whole:
            whole, channel = value.whole
            view = self.view(whole)
            return view._replace(first=view.first + channel // self.lanes * view.c)
        if id(value) not in self._values:
            c = self.vectors(value)
            self._values[id(value)] = self.images(c, value.h, value.w, value.border)
        return self._values[id(value)]

    def place_input(self, value: Value) -> None:
        """Make the input, of which every channel is a plane of its own."""
        top, bottom, left, right = value.border
        row = left + value.w + right
        plane = (top + value.h + bottom) * row
        a = self.array(self.blocks * value.c * plane)
        self._values[id(value)] = View(a, top * row + left, value.c * plane, plane, row, 1)
        whole = a.reshape(self.blocks, value.c, -1, row)
        self.input = whole[:, :, top : top + value.h, left : left + value.w]

    def output(self, value: Value) -> np.ndarray:
        """Return a copy of `value` as images."""
        view, (top, bottom, left, right) = self.view(value), value.border
        whole = view.a.reshape(self.blocks, -1, top + value.h + bottom, left + value.w + right, self.lanes)
        vectors = whole[:, :, top : top + value.h, left : left + value.w]
        images = vectors.transpose(0, 1, 4, 2, 3).reshape(self.blocks, -1, value.h, value.w)
        return images[:, : value.c].copy()

    def offsets(self, value: Value) -> tuple[View, np.ndarray]:
        """Return where `value` is, and the offset of each of its channels."""
        view = self.view(value)
        c = np.arange(value.c)
        return view, c * view.c if view.s == 1 else c // self.lanes * view.c + c % self.lanes


def serves(low: Lowered, lanes: int, /) -> bool:
    """Return whether all stages can be served with channels in the lanes."""
    for stage in low.stages:
        if isinstance(stage, Convolution):
            g = stage.geometry
            fine = g.groups == 1 or (g.groups == g.c == g.f and stage.x is not low.input)
        elif isinstance(stage, Norm):
            fine = stage.convolution is not None and stage.residual is not low.input
        else:
            fine = isinstance(stage, (Dense, MaxPool, Average, Add, Activate)) or (
                isinstance(stage, Rectify) and stage.x is not low.input
            )
        if stage.x is low.input and not isinstance(stage, (Convolution, Dense, Norm)):
            fine = False
        if not fine or (stage.y.whole and stage.y.whole[1] % lanes):
            return False
        if any(
            value is low.input
            for value in stage.reads()
            if value is not stage.x and not isinstance(stage, Norm)
        ):
            return False
    return True


def is_better(low: Lowered, n: int, lanes: int, /) -> bool:
    """Return whether n images are served faster with channels in the lanes than with images there."""
    filled = sum(-(-stage.y.c // lanes) * lanes * stage.y.h * stage.y.w for stage in low.stages)
    return n < lanes and n * filled < lanes * sum(stage.y.size for stage in low.stages) and serves(low, lanes)


def _plain(stage: Any) -> tuple[int, int]:
    """Return filters, and weights of a filter."""
    if isinstance(stage, Dense):
        return stage.y.c, stage.x.size
    return stage.geometry.f, stage.geometry.taps


def pack(low: Lowered, values: np.ndarray, folded: np.ndarray | None, lanes: int, /) -> dict[int, Any]:
    """Return for each product its weights [vectors, taps, lanes] and biases [vectors, lanes]."""
    found = {}
    for stage in low.stages:
        if not isinstance(stage, (Convolution, Dense)):
            continue
        f, taps = _plain(stage)
        norm = getattr(stage, "norm", None)
        if norm is not None and folded is not None:
            w = folded[norm.place :][: f * taps]
            b: Any = folded[norm.place + f * taps :][:f]
        else:
            w = values[stage.w : stage.w + f * taps]
            b = None if stage.b is None else values[stage.b : stage.b + f]
        vectors = -(-f // lanes)
        weights = aligned((vectors, taps, lanes), values.dtype)
        biases = aligned((vectors, lanes), values.dtype)
        padded = np.zeros((vectors * lanes, taps), values.dtype)
        padded[:f] = w.reshape(f, taps)
        weights[...] = padded.reshape(vectors, lanes, taps).swapaxes(1, 2)
        if b is not None:
            biases.reshape(-1)[:f] = b
        found[id(stage)] = weights, biases
    return found


def serve(low: Lowered, ws: Serving, packed: dict[int, Any], /) -> None:
    """Add all stages to the program of `ws`, with weights as packed."""
    ws.place_input(low.input)
    for stage in low.stages:
        if isinstance(stage, Convolution):
            if stage.norm is None:
                _convolve(ws, stage, packed, stage, None)
        elif isinstance(stage, Norm):
            _convolve(ws, stage.convolution, packed, stage, stage.residual)
        elif isinstance(stage, Dense):
            _dense(ws, stage, packed)
        elif isinstance(stage, (MaxPool, Average)):
            _pool(ws, stage.x, stage.y, stage.window, getattr(stage, "shares", None))
        elif isinstance(stage, Add):
            _total(ws, stage.x, stage.other, stage.y, stage.floor)
        elif isinstance(stage, Activate):
            sizes = ws.sizes(stage.y)
            ws.program.add(
                activate, ws.view(stage.x), ws.view(stage.y), stage.which, stage.slope, *sizes,
                tasks=sizes[0] * sizes[1], work=20.0 * np.prod(sizes),
            )  # fmt: skip
        else:
            _total(ws, stage.x, None, stage.y, stage.floor)


def _total(ws: Serving, x: Value, other: Value | None, y: Value, floor: float) -> None:
    sizes = ws.sizes(y)
    ws.program.add(
        total_of, ws.view(x), ws.view(other) if other else ws.nothing, ws.view(y), floor, *sizes,
        tasks=sizes[0] * sizes[1], work=4.0 * np.prod(sizes),
    )  # fmt: skip


def _pool(ws: Serving, x: Value, y: Value, window: Window, shares: np.ndarray | None) -> None:
    sizes = *ws.sizes(x), y.h, y.w, *window.size, *window.stride, *window.before
    tasks, work = sizes[0] * sizes[1], 8.0 * np.prod(sizes[:4])
    if shares is None:
        index = ws.array(int(np.prod(ws.sizes(y))) * ws.lanes, "int8")
        ws.program.add(largest, ws.view(x), ws.view(y), index, *sizes, tasks=tasks, work=work)
    else:
        table = np.ascontiguousarray(shares, ws.dtype)
        ws.program.add(average, ws.view(x), ws.view(y), table, *sizes, tasks=tasks, work=work)


def _convolve(ws: Serving, conv: Any, packed: dict[int, Any], last: Any, residual: Value | None) -> None:
    """Add a convolution, then the residual, ReLU and pooling of `last`."""
    g = conv.geometry
    y = last.raw
    floor = LOWEST if residual else last.floor
    weights, biases = packed[id(conv)]
    x, channels = ws.offsets(conv.x)
    moved = x._replace(
        first=x.first - g.before[0] * x.r - g.before[1] * x.s, r=x.r * g.stride[0], s=x.s * g.stride[1]
    )
    n, vectors = ws.blocks, -(-g.f // ws.lanes)
    (kh, kw), (dh, dw) = g.size, g.dilation
    if g.groups > 1:
        ws.program.add(
            convolve_planes, moved, weights, biases, ws.view(y), floor, n, vectors, *g.out, kh, kw, dh * x.r,
            dw * x.s, tasks=n * vectors, work=2.0 * n * vectors * g.out[0] * g.out[1] * kh * kw,
        )  # fmt: skip
    else:
        c, i, j = (a.ravel() for a in np.meshgrid(channels, np.arange(kh), np.arange(kw), indexing="ij"))
        _add(ws, weights, biases, moved, c + i * dh * x.r + j * dw * x.s, ws.view(y), n, g.out, floor)
    if residual:
        _total(ws, y, residual, y, last.floor)
    if last.pool:
        ph, pw, sh, sw = last.pool
        _pool(ws, y, last.y, Window((ph, pw), (sh, sw), (0, 0)), None)


def _dense(ws: Serving, stage: Dense, packed: dict[int, Any]) -> None:
    weights, biases = packed[id(stage)]
    view, channels = ws.offsets(stage.x)
    c, i, j = (
        a.ravel() for a in np.meshgrid(channels, np.arange(stage.x.h), np.arange(stage.x.w), indexing="ij")
    )
    y = ws.view(stage.y)
    images = view._replace(n=0, r=0, s=view.n), y._replace(n=0, r=0, s=y.n)
    _add(
        ws, weights, biases, images[0], c + i * view.r + j * view.s, images[1], 1, (1, ws.blocks), stage.floor
    )


def _add(
    ws: Serving,
    weights: Any,
    biases: Any,
    x: View,
    offsets: np.ndarray,
    y: View,
    n: int,
    out: Any,
    floor: float,
) -> None:
    """Add a product of filters: x steps by rows and pixels of the result, offsets are those of the taps."""
    vectors, taps, lanes = weights.shape
    rows, columns = out
    segments = -(-taps // LONGEST)
    table = np.stack([np.arange(taps) * lanes, offsets], axis=1).astype(np.int64)
    ends = np.arange(segments + 1) * taps // segments
    spans = np.repeat(np.stack([ends[:-1], ends[1:]], axis=1)[:, None], rows, axis=1).copy()
    chunks = 1
    while n * rows * chunks < 2 * ws.threads and chunks < vectors:
        chunks += 1
    ws.program.add(
        convolve_filters, sweep_address(ws.dtype), x, weights, table, spans, segments, biases, ws.zero, y,
        floor, LOWEST, n, vectors, rows, columns, rows, chunks, *blocks(columns, -(-vectors // chunks)),
        taps * lanes,
        tasks=n * rows * chunks, work=float(n * vectors * rows * columns * taps),
    )  # fmt: skip
