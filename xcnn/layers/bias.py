"""A bias of its own for each pixel, as a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xcnn import ops
from xcnn.layer import Layer, Shape
from xcnn.layers.geometry import image_shape

__all__ = ["UntiedBias"]


@dataclass(eq=False)
class UntiedBias(Layer):
    r"""Add to each pixel of images (N, C, H, W) a bias of its own.

    .. math:: y_{ncij} = x_{ncij} + b_{cij}, \qquad
              \frac{\partial L}{\partial b_{cij}} = \sum_n \frac{\partial L}{\partial y_{ncij}}

    After ``Conv2D(..., bias=False)`` it unties the biases that a filter's pixels share otherwise.

    Attributes
    ----------
    b : Parameter (C, H, W)
        Biases; they start at zero.

    References
    ----------
    Nupen, Rustebakke, Trefjord and Stensson, "An object oriented implementation of a convolutional neural
    network in Python", 2024, section 6.4.1.
    """

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Declare b."""
        self.b = make.parameter(image_shape(input_shape), "zeros", weight=False)
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        return ops.untied_bias(x, self.b.value)

    def backward(self, dy, saved, /, *, need_dx=True):
        """Add db, and return dx = dy."""
        dx, db = saved.backward(dy, (need_dx, True))
        self.b.add_gradient(db)
        return dx
