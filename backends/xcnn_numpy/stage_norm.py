"""Batch normalisation as a stage of a run."""

from __future__ import annotations

from typing import Any

from xcnn_numpy.normalization import (
    moments,
    normalize,
    normalize_backward,
    normalize_pool,
    slopes,
    statistics,
    sums,
)
from xcnn_numpy.pointwise import total_of
from xcnn_numpy.pooling import unpool
from xcnn_numpy.sliding import LOWEST
from xcnn_numpy.stage import Stage
from xcnn_numpy.stage_conv import Convolution
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Norm"]


class Norm(Stage):
    """Batch norm, plus a residual, then ReLU and max pooling where fused.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    layer : BatchNorm2D
        Its statistics.
    place : int
        Where its share of what is folded begins.
    """

    def __init__(self, x: Value, y: Value, layer: Any, place: int) -> None:
        super().__init__(x, y)
        self.layer, self.place = layer, place
        self.w, self.b = layer.w.start, layer.b.start
        self.residual: Value | None = None
        self.raw = y
        stage = x.stage
        fits = (
            isinstance(stage, Convolution)
            and stage.y is x
            and not (x.pinned or stage.rectified or stage.pool)
        )
        self.convolution: Convolution | None = stage if fits else None
        if self.convolution:
            self.convolution.norm = self

    def reads(self) -> list[Value]:
        """Return x, the residual, and what a folded convolution reads."""
        found = [self.x, *([self.residual] if self.residual else [])]
        return [*found, *([self.convolution.x] if self.convolution else [])]

    def forward(self, ws: Workspace) -> None:
        """Add statistics and normalisation; in inference a folded convolution, or the running statistics."""
        r = ws.view(self.residual) if self.residual else None
        c = self.raw.c
        if not ws.train and self.convolution:
            conv = self.convolution
            weights, bias = (
                ("folded", self.place),
                ("folded", self.place + conv.geometry.f * conv.geometry.taps),
            )
            conv.emit(ws, weights, bias, self.y, r, self.floor, self.pool)
            return
        x = ws.view(self.x)
        found: Any = ("folded", self.place)
        work = self.work(ws, self.x)
        if ws.train:
            found = ws.keep(self, "found", ws.array(8 * c))
            ws.found.append(found)
            partial = ws.keep(self, "partial", ws.array(2 * ws.blocks * c, "float64"))
            ws.program.add(
                moments, x, partial, ("n", 0), *self.pixels(ws, self.x), tasks=ws.blocks * c, work=2 * work
            )
            ws.program.add(
                statistics, partial, ("values", 0), self.w, self.b, float(self.layer.eps), found,
                ("n", 0), ws.blocks, c, self.x.h * self.x.w, ws.lanes,
            )  # fmt: skip
        if self.pool:
            size = self.pool[0] * ((self.y.w - 1) * self.pool[3] + self.pool[1]) * ws.lanes
            index = ws.keep(self, "index", ws.index(self.y))
            ws.program.add(
                normalize_pool, x, found, ws.view(self.y), index, ws.scratch(size), self.floor,
                *self.pixels(ws, self.y), *self.pool, size, tasks=ws.blocks * c, work=2 * work,
            )  # fmt: skip
        else:
            ws.program.add(
                normalize, x, found, ws.view(self.y), r or ws.nothing, self.floor, *self.pixels(ws, self.x),
                tasks=ws.blocks * c, work=2 * work,
            )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradients of scale, shift, residual and x."""
        dz, _ = ws.gradient(self.y)
        found, partial = ws.kept[self, "found"], ws.kept[self, "partial"]
        x, c, work = ws.view(self.x), self.raw.c, self.work(ws, self.x)
        g, z = dz, ws.nothing
        masked = self.rectified and not self.pool
        if self.pool:
            g = ws.images(self.x.c, self.x.h, self.x.w, [0, 0, 0, 0])
            ws.backward.add(
                unpool, dz, ws.kept[self, "index"], g, *self.pixels(ws, self.x), self.y.h, self.y.w,
                *self.pool,
                tasks=ws.blocks * c, work=work,
            )  # fmt: skip
        elif masked:
            z = ws.view(self.y)
        ws.backward.add(
            sums, g, z, int(masked), x, g, found, partial, *self.pixels(ws, self.x),
            tasks=ws.blocks * c, work=2 * work,
        )  # fmt: skip
        if self.residual:
            if self.residual is not self.x and not self.residual.whole and not ws.has_gradient(self.residual):
                shared = g
            else:
                shared = None
                dr, known = ws.gradient(self.residual)
                ws.backward.add(
                    total_of, g, dr if known else ws.nothing, dr, LOWEST, *self.pixels(ws, self.x),
                    tasks=ws.blocks * c, work=work,
                )  # fmt: skip
        ws.backward.add(
            slopes, partial, ("values", 0), self.w, found, ("g", 0), ws.place(self.w),
            ws.place(self.b), ("n", 0), ws.blocks, c, self.x.h * self.x.w,
        )  # fmt: skip
        if self.convolution:
            dy, known = self.convolution.raw_gradient(ws), 0
        elif self.needs_dx:
            dy, known = ws.gradient(self.x)
        if self.convolution or self.needs_dx:
            ws.backward.add(
                normalize_backward, g, x, dy, known, found, ("n", 0), *self.pixels(ws, self.x),
                tasks=ws.blocks * c, work=2 * work,
            )  # fmt: skip
        if self.residual and shared is not None:
            ws.share_gradient(self.residual, shared)
        if self.pool and not self.residual:
            ws.recycle(g, self.x.c, self.x.h, self.x.w, [0, 0, 0, 0])
        if self.convolution:
            self.convolution.backward_from(ws, dy)
            ws.recycle(dy, self.x.c, self.x.h, self.x.w, self.convolution.raw_border())
