"""Convolutions as stages of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn_numpy.convolution import convolve_pool, gather_images, sum_parts
from xcnn_numpy.gather import gather_address
from xcnn_numpy.pointwise import mask, total_of
from xcnn_numpy.pooling import unpool
from xcnn_numpy.program import View
from xcnn_numpy.sliding import LOWEST, Geometry, all_taps, forward, phases, plan_bands, reach
from xcnn_numpy.stage import Stage
from xcnn_numpy.tile import blocks, sweep_address
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Convolution"]

LOCAL = 24_000  # bytes of the first-level cache that rows of results may take


class Convolution(Stage):
    """Convolution, then ReLU and max pooling where fused.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    geometry : Geometry
        Its sizes.
    w : int
        Place of the weights in the model's values.
    b : int or None
        Place of the biases.
    """

    def __init__(self, x: Value, y: Value, geometry: Geometry, w: int, b: int | None) -> None:
        super().__init__(x, y)
        self.geometry, self.w, self.b = geometry, w, b
        self.raw = y  # before pooling
        self.norm: Any = None  # the batch norm that reads it, folded into it in inference
        x.want(*geometry.border)

    def forward(self, ws: Workspace) -> None:
        """Add the convolution, unless a batch norm does it in inference."""
        if self.norm is None or ws.train:
            bias = None if self.b is None else ("values", self.b)
            self.emit(ws, ("values", self.w), bias, self.y, None, self.floor, self.pool)

    def emit(
        self, ws: Workspace, w: Any, bias: Any, y: Value, r: View | None, floor: float, pool: Any
    ) -> None:
        """Add a convolution with given weights, which writes y."""
        g, x = self.geometry, ws.view(self.x)
        bands, segments = plan_bands(g, ws, np.dtype(ws.dtype).itemsize)
        taps = forward(g, x, 1 if pool else segments)
        moved = x._replace(
            first=x.first - g.before[0] * x.r - g.before[1] * x.s, r=x.r * g.stride[0], s=x.s * g.stride[1]
        )
        ins, outs = g.c // g.groups, g.f // g.groups
        steps = (ins * x.c, outs * g.taps, g.taps)
        if pool is None:
            taps.add(
                ws.program, ws, x=moved, w=w, y=ws.view(y), images=ws.blocks, channels=outs, rows=g.out[0],
                columns=g.out[1], steps=steps, groups=g.groups, bias=bias, r=r, floor=floor, bands=bands,
            )  # fmt: skip
            return
        ph, pw, _, sw = pool
        across = (y.w - 1) * sw + pw
        limit = max(4, LOCAL // (ph * across * ws.lanes * np.dtype(ws.dtype).itemsize))
        chunks = max(1, -(-outs // limit))
        tile = blocks(-(-outs // chunks), across)
        size = -(-outs // chunks) * ph * across * ws.lanes
        index = ws.keep(self, "index", ws.index(y))
        pool_bands = min(y.h, max(1, -(-2 * ws.threads // ws.blocks)))
        # fmt: off
        ws.program.add(
            convolve_pool, sweep_address(ws.dtype), moved, steps[0], w, steps[1], steps[2],
            taps.table, taps.spans,
            ws.zero if bias is None else bias, 0 if bias is None else 1, ws.zero, ws.view(y), index,
            ws.scratch(size), floor,
            ws.blocks, g.groups, outs, y.h, y.w, pool_bands, chunks, *tile, *pool, size,
            tasks=ws.blocks * pool_bands * g.groups * chunks,
            work=ws.blocks * g.f * g.taps * y.h * ph * across,
        )
        # fmt: on

    def raw_border(self) -> list[int]:
        """Return the border that dy of the bare convolution needs."""
        return reach(self.geometry) if self.needs_dx else [0, 0, 0, 0]

    def raw_gradient(self, ws: Workspace) -> View:
        """Return where dy of the bare convolution goes."""
        return ws.images(self.geometry.f, *self.geometry.out, self.raw_border())

    def backward(self, ws: Workspace) -> None:
        """Add dy of the bare convolution, then the rest."""
        dz, _ = ws.gradient(self.y)
        if not (self.pool or self.rectified or any(self.raw_border())):
            self.backward_from(ws, dz)
            return
        dy = self.raw_gradient(ws)
        tasks, work = ws.blocks * self.raw.c, self.work(ws, self.raw)
        sizes = self.pixels(ws, self.raw)
        if self.pool:
            index = ws.kept[self, "index"]
            ws.backward.add(
                unpool, dz, index, dy, *sizes, self.y.h, self.y.w, *self.pool, tasks=tasks, work=work
            )
        elif self.rectified:
            ws.backward.add(mask, dz, ws.view(self.y), dy, 0, *sizes, tasks=tasks, work=work)
        else:
            ws.backward.add(total_of, dz, ws.nothing, dy, LOWEST, *sizes, tasks=tasks, work=work)
        self.backward_from(ws, dy)
        ws.recycle(dy, self.raw.c, self.raw.h, self.raw.w, self.raw_border())

    def backward_from(self, ws: Workspace, dy: View) -> None:
        """Add the gradients of weights, biases and x."""
        g, x = self.geometry, ws.view(self.x)
        ins, outs = g.c // g.groups, g.f // g.groups
        source = x._replace(first=x.first - g.before[0] * x.r - g.before[1] * x.s)
        moved = source._replace(r=x.r * g.stride[0], s=x.s * g.stride[1])
        table = all_taps(g, x)
        biases = 0 if self.b is None else g.f
        weights = g.f * g.taps
        size = -(-(weights + biases) // ws.lanes) * ws.lanes
        partial = ws.array(size * ws.threads)
        height = max(1, LOCAL // (4 * g.out[1] * ws.lanes * np.dtype(ws.dtype).itemsize))
        bands = min(g.out[0], max(1, -(-2 * ws.threads // ws.blocks)))
        chunks = 1
        while ws.blocks * bands * chunks < 2 * ws.threads and 2 * chunks <= (
            outs // 2 if g.groups == 1 else g.groups
        ):
            chunks *= 2
        # fmt: off
        parts = ws.backward.add(
            gather_images, gather_address(ws.dtype), dy, moved, ins * x.c, table, g.taps, biases, partial,
            ws.blocks, g.groups, outs, *g.out, bands, chunks, height, size,
            tasks=ws.blocks * bands * chunks, work=ws.blocks * weights * g.out[0] * g.out[1],
        )
        ws.backward.add(
            sum_parts, partial, size, parts, ("g", ws.place(self.w)), weights,
            0 if self.b is None else ws.place(self.b) - ws.place(self.w), biases,
            tasks=max(1, weights // 4096), work=weights * parts / ws.lanes,
        )
        # fmt: on
        if self.needs_dx:
            dx, known = ws.gradient(self.x)
            bands, segments = plan_bands(
                Geometry(g.f, g.c, g.groups, g.out, g.image, g.size, (1, 1), g.dilation, (0, 0)),
                ws,
                np.dtype(ws.dtype).itemsize,
            )
            for a, b, rows, columns, product in phases(g, dy, segments):
                place = dx._replace(
                    first=dx.first + a * dx.r + b * dx.s, r=dx.r * g.stride[0], s=dx.s * g.stride[1]
                )
                product.add(
                    ws.backward, ws, x=dy, w=("values", self.w), y=place, images=ws.blocks, channels=ins,
                    rows=rows, columns=columns, steps=(outs * dy.c, outs * g.taps, g.size[0] * g.size[1]),
                    groups=g.groups, r=place if known else None, bands=bands,
                )  # fmt: skip
