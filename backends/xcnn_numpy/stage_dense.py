"""Dense layers as stages of a run: sliding products whose pixels are the blocks of images."""

from __future__ import annotations

import numpy as np

from xcnn_numpy.convolution import gather_units
from xcnn_numpy.gather import gather_address
from xcnn_numpy.pointwise import mask
from xcnn_numpy.program import View
from xcnn_numpy.sliding import dense_taps, in_turn
from xcnn_numpy.stage import Stage
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Dense"]


def _blocks_as_pixels(view: View, /) -> View:
    """Return a view whose pixels are the blocks of images."""
    return view._replace(n=0, r=0, s=view.n)


class Dense(Stage):
    """Linear map from all numbers of x, in the order of Flatten, then ReLU where fused.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    w : int
        Place of the weights in the model's values.
    b : int or None
        Place of the biases.
    """

    def __init__(self, x: Value, y: Value, w: int, b: int | None) -> None:
        super().__init__(x, y)
        self.w, self.b = w, b

    def forward(self, ws: Workspace) -> None:
        """Add the product."""
        x = ws.view(self.x)
        in_turn(dense_taps(self.x, x)).add(
            ws.program, ws, x=_blocks_as_pixels(x), w=("values", self.w),
            y=_blocks_as_pixels(ws.view(self.y)),
            images=1, channels=self.y.c, rows=1, columns=ws.blocks, steps=(0, 0, self.x.size),
            bias=None if self.b is None else ("values", self.b), floor=self.floor,
        )  # fmt: skip

    def backward(self, ws: Workspace) -> None:
        """Add the gradients of weights, biases and x."""
        dy, _ = ws.gradient(self.y)
        x, units, features = ws.view(self.x), self.y.c, self.x.size
        if self.rectified:
            ws.backward.add(mask, dy, ws.view(self.y), dy, 0, *self.pixels(ws, self.y), tasks=ws.blocks)
        work = ws.blocks * units * features * 2.0
        u_chunks = min(-(-units // 4), 2 * ws.threads)
        f_chunks = max(1, min(-(-2 * ws.threads // u_chunks), features // 64))
        # fmt: off
        ws.backward.add(
            gather_units, gather_address(ws.dtype), _blocks_as_pixels(dy), _blocks_as_pixels(x),
            dense_taps(self.x, x), ("g", ws.place(self.w)), ("g", 0 if self.b is None else ws.place(self.b)),
            ws.blocks, units, features, u_chunks, f_chunks, int(self.b is not None),
            tasks=u_chunks * f_chunks, work=work,
        )
        # fmt: on
        if self.needs_dx:
            dx, known = ws.gradient(self.x)
            table = np.stack([np.arange(units) * dy.c, np.arange(units) * features], axis=1).astype(np.int64)
            place = _blocks_as_pixels(dx)._replace(c=ws.lanes)
            in_turn(table).add(
                ws.backward, ws, x=_blocks_as_pixels(dy), w=("values", self.w), y=place, images=1,
                channels=features, rows=1, columns=ws.blocks, steps=(0, 0, 1), r=place if known else None,
            )  # fmt: skip
