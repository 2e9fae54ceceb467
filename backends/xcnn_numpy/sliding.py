"""Tables of taps: what makes a convolution, its gradients, or a dense layer out of a sliding product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn_numpy.convolution import convolve
from xcnn_numpy.program import Program, View
from xcnn_numpy.tile import blocks, sweep_address
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Geometry", "Product", "all_taps", "dense_taps", "in_turn", "plan_bands"]

CACHE = 400_000  # bytes of the second-level cache that the input of a band may take
LONGEST = 512  # products summed in one go: longer sums are added up from such, for less rounding
LOWEST = -float("inf")


@dataclass(frozen=True)
class Geometry:
    """A convolution of images (c, h, w): sizes are pairs (rows, columns).

    Parameters
    ----------
    c, f : int
        Channels in and out.
    groups : int
        Of both.
    image, out, size, stride, dilation, before : pair of int
        Rows and columns of the images, of the results, of the kernel; its steps; zeros at top and left.
    """

    c: int
    f: int
    groups: int
    image: tuple[int, int]
    out: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]

    @property
    def taps(self) -> int:
        """Weights of one filter."""
        return self.c // self.groups * self.size[0] * self.size[1]

    @property
    def border(self) -> tuple[int, int, int, int]:
        """Zeros wanted around the images: top, bottom, left, right."""
        after = [
            (o - 1) * s + (k - 1) * d - b - (n - 1)
            for o, s, k, d, b, n in zip(
                self.out, self.stride, self.size, self.dilation, self.before, self.image, strict=True
            )
        ]
        return self.before[0], max(after[0], 0), self.before[1], max(after[1], 0)


@dataclass
class Product:
    """The arguments of a sliding product that do not depend on where its arrays are.

    Parameters
    ----------
    table : array (taps, 2)
        Offsets into x and into the weights.
    spans : array (segments, rows, 2)
        Which taps each row uses, segment by segment.
    """

    table: np.ndarray
    spans: np.ndarray

    def add(
        self,
        to: Program,
        ws: Workspace,
        *,
        x: View,
        w: Any,
        y: View,
        images: int,
        channels: int,
        rows: int,
        columns: int,
        steps: tuple[int, int, int],
        groups: int = 1,
        bias: Any = None,
        r: View | None = None,
        floor: float = LOWEST,
        bands: int = 1,
    ) -> None:
        """Append it to a program; `steps` are x from group to group, weights from group and from channel."""
        bands = min(bands, rows)
        chunks = 1
        while images * bands * groups * chunks < 2 * ws.threads and channels // (2 * chunks) >= 2:
            chunks *= 2
        xg, wg, wc = steps
        per_chunk = -(-channels // chunks)
        bc = 0 if bias is None else 1
        bias = ws.zero if bias is None else bias
        tile = blocks(per_chunk, columns)
        work = images * groups * channels * rows * columns * len(self.table)
        # fmt: off
        to.add(
            convolve, sweep_address(ws.dtype), x, xg, w, wg, wc, self.table, self.spans, self.spans.shape[0],
            bias, bc, ws.zero, y, r or ws.nothing, floor, LOWEST,
            images, groups, channels, rows, columns, bands, chunks, *tile,
            tasks=images * bands * groups * chunks, work=work,
        )
        # fmt: on


def forward(g: Geometry, x: View, segments: int, /) -> Product:
    """Return the product that a convolution is."""
    ins = g.c // g.groups
    (kh, kw), (dh, dw) = g.size, g.dilation
    tops = np.arange(g.out[0]) * g.stride[0] - g.before[0]
    first = np.clip(-(tops // dh), 0, kh)
    last = np.clip((g.image[0] - 1 - tops) // dh + 1, first, kh)
    down = [(k, k * dh) for k in range(kh)]
    across = [(k, k * dw) for k in range(kw)]
    reads = list(zip(first.tolist(), last.tolist(), strict=True))
    return _product(x, ins, kh * kw, kw, down, across, reads, segments)


def all_taps(g: Geometry, x: View, /) -> np.ndarray:
    """Return the table of all taps of one filter, in the order of its weights."""
    (kh, kw), (dh, dw) = g.size, g.dilation
    down, across = [(k, k * dh) for k in range(kh)], [(k, k * dw) for k in range(kw)]
    return _product(x, g.c // g.groups, kh * kw, kw, down, across, [(0, kh)], 1).table


def _product(
    x: View,
    channels: int,
    per_channel: int,
    kw: int,
    down: list[tuple[int, int]],
    across: list[tuple[int, int]],
    reads: list[tuple[int, int]],
    segments: int,
) -> Product:
    """Return the product over channels of x and over taps (place, pixels away) down and across.

    Row j uses the taps reads[j] of those down: others lie in the border. Rows that use the same taps share a
    stretch of the table, in which the taps of a channel stand together: they lie in one page of memory.
    """
    table: list[np.ndarray] = []
    places: dict[tuple[int, int, int], tuple[int, int]] = {}
    spans = np.zeros((segments, len(reads), 2), np.int64)
    kx, j = np.array(across, np.int64).reshape(-1, 2).T
    at = 0
    for k in range(segments):
        c = np.arange(channels * k // segments, channels * (k + 1) // segments)[:, None, None]
        for row, (start, stop) in enumerate(reads):
            if (k, start, stop) not in places:
                ky, i = np.array(down[start:stop], np.int64).reshape(-1, 2).T[:, :, None]
                offsets = c * x.c + i * x.r + j * x.s
                weights = c * per_channel + ky * kw + kx
                table.append(np.stack([offsets.ravel(), weights.ravel()], axis=1))
                places[k, start, stop] = at, at + offsets.size
                at += offsets.size
            spans[k, row] = places[k, start, stop]
    return Product(np.concatenate(table).astype(np.int64), spans)


def phases(g: Geometry, dy: View, segments: int, /) -> list[tuple[int, int, int, int, Product]]:
    """Return what makes dx from dy: a, b, rows, columns and product of the pixels (a + s_h i, b + s_w j)."""
    outs = g.f // g.groups
    (kh, kw), (sh, sw), (dh, dw) = g.size, g.stride, g.dilation
    found = []
    for a in range(min(sh, g.image[0])):
        for b in range(min(sw, g.image[1])):
            # pixel a + sh i is tap k of the output o where a + sh i + before = sh o + dh k
            down = [
                (k, (a + g.before[0] - k * dh) // sh)
                for k in range(kh)
                if (a + g.before[0] - k * dh) % sh == 0
            ]
            across = [
                (k, (b + g.before[1] - k * dw) // sw)
                for k in range(kw)
                if (b + g.before[1] - k * dw) % sw == 0
            ]
            rows, columns = -(-(g.image[0] - a) // sh), -(-(g.image[1] - b) // sw)
            reads = []
            for i in range(rows):
                inside = [n for n, (_, o) in enumerate(down) if 0 <= i + o < g.out[0]]
                reads.append((inside[0], inside[-1] + 1) if inside and across else (0, 0))
            found.append((a, b, rows, columns, _product(dy, outs, g.taps, kw, down, across, reads, segments)))
    return found


def reach(g: Geometry, /) -> list[int]:
    """Return the border (top, bottom, left, right) that dy needs: no tap of `phases` reads beyond it."""
    border = []
    for axis in range(2):
        s, d, k, n, o, b = (
            g.stride[axis],
            g.dilation[axis],
            g.size[axis],
            g.image[axis],
            g.out[axis],
            g.before[axis],
        )
        places = [(p + b - t * d) // s for p in range(n) for t in range(k) if (p + b - t * d) % s == 0]
        border += [max(0, -min(places, default=0)), max(0, max(places, default=0) - (o - 1))]
    return border


def in_turn(table: np.ndarray, /) -> Product:
    """Return the product with all taps of `table`, in one row."""
    segments = -(-len(table) // LONGEST)
    ends = np.arange(segments + 1) * len(table) // segments
    return Product(table, np.stack([ends[:-1], ends[1:]], axis=1)[:, None].copy())


def dense_taps(value: Value, x: View, /) -> np.ndarray:
    """Return the table of a dense layer: feature by feature, in the order that Flatten gives."""
    c, h, w = (a.ravel() for a in np.meshgrid(*map(np.arange, (value.c, value.h, value.w)), indexing="ij"))
    return np.stack([c * x.c + h * x.r + w * x.s, np.arange(value.size)], axis=1).astype(np.int64)


def plan_bands(g: Geometry, ws: Workspace, itemsize: int, /) -> tuple[int, int]:
    """Return how many bands of rows and segments of channels keep the input of a band in the cache.

    Bands read all weights again, segments add to the results again: the choice with the least traffic wins.
    """
    ins = g.c // g.groups
    rows, columns = g.out
    vector = ws.lanes * itemsize
    width = (columns * g.stride[1] + g.size[1]) * vector
    best = None
    for bands in range(1, rows + 1):
        height = -(-rows // bands) * g.stride[0] + (g.size[0] - 1) * g.dilation[0]
        channels = max(1, int(CACHE // (height * width)))
        segments = min(max(1, -(-ins // channels)), -(-ins // 16))
        segments = max(segments, min(ins, -(-g.taps // LONGEST)))
        fits = -(-ins // segments) * height * width <= 2 * CACHE
        traffic = (
            bands * g.f * g.taps * itemsize
            + 2 * (segments - 1) * g.f * rows * columns * vector
            + bands * (g.size[0] - 1) * g.c * width
        )
        if best is None or (not fits, traffic) < best[0]:
            best = (not fits, traffic), bands, segments
    assert best is not None
    bands = best[1]
    while ws.blocks * bands < 2 * ws.threads and bands < rows:
        bands += 1
    return bands, best[2]
