"""Layers that change shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from xcnn import ops
from xcnn.errors import ShapeError
from xcnn.layer import Layer, Shape
from xcnn.layers.activation import Elementwise
from xcnn.layers.geometry import check_padding, image_shape, integer, pair, sides

__all__ = ["Flatten", "Reshape", "UpSample2D", "ZeroPad2D"]


class Reshaping(Layer):
    """A layer that gives the same elements another shape."""

    def forward(self, x, /, *, train=False, hold=None):
        """Return x reshaped."""
        if not x.shape or tuple(x.shape[1:]) != self.input_shape:
            msg = f"x has shape {tuple(x.shape)}; needed (N, {', '.join(map(str, self.input_shape))})"
            raise ShapeError(msg)
        return array_namespace(x).reshape(x, (x.shape[0], *self.output_shape)), x.shape

    def backward(self, dy, saved, /, *, need_dx=True):
        """Return dy in the shape of x."""
        return array_namespace(dy).reshape(dy, saved)


@dataclass(eq=False)
class Flatten(Reshaping):
    """Lay images (N, ...) out as features (N, I), in row-major order."""

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Return (I,)."""
        return (math.prod(input_shape),)


@dataclass(eq=False)
class Reshape(Reshaping):
    """Give inputs (N, ...) another shape, in row-major order.

    Parameters
    ----------
    shape : sequence of int
        Without N; one extent may be -1.
    """

    shape: Any

    def __post_init__(self) -> None:
        extents = self.shape if isinstance(self.shape, (list, tuple)) else (self.shape,)
        self.shape = tuple(
            -1 if getattr(e, "shape", ()) == () and e == -1 else integer(e, "Reshape: shape") for e in extents
        )

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Return the shape, with -1 worked out."""
        size = math.prod(input_shape)
        known = math.prod(e for e in self.shape if e != -1)
        unknown = self.shape.count(-1)
        if unknown > 1 or size % known or (not unknown and size != known):
            msg = f"x has {size} elements (shape {input_shape}); they do not fit shape {self.shape}"
            raise ShapeError(msg)
        return tuple(size // known if e == -1 else e for e in self.shape)


@dataclass(eq=False)
class ZeroPad2D(Elementwise):
    """Surround images (N, C, H, W) by zeros.

    Parameters
    ----------
    padding : int, (rows, columns) or ((top, bottom), (left, right))
        Pixels.
    """

    padding: Any

    def __post_init__(self) -> None:
        check_padding(self.padding, "ZeroPad2D")

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Return (C, H + top + bottom, W + left + right)."""
        c, h, w = image_shape(input_shape)
        self.sides = sides(self.padding, (h, w), (1, 1), (1, 1), (1, 1))
        return c, h + sum(self.sides[0]), w + sum(self.sides[1])

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.zero_pad2d(x, padding=self.sides)


@dataclass(eq=False)
class UpSample2D(Elementwise):
    """Repeat each pixel of images (N, C, H, W): nearest-neighbour interpolation.

    Parameters
    ----------
    factor : int or (rows, columns)
        How often.
    """

    factor: Any = 2

    def __post_init__(self) -> None:
        self.times = pair(self.factor, "UpSample2D: factor")

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Return (C, rows H, columns W)."""
        c, h, w = image_shape(input_shape)
        return c, h * self.times[0], w * self.times[1]

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.upsample2d(x, factor=self.times)
