"""Convolutions and dense layers as stages of a run."""

from __future__ import annotations

from typing import Any

from xcnn_cupy import activations, products
from xcnn_cupy.convolutions import Geometry
from xcnn_cupy.stages import Job, Shape, Stage
from xcnn_cupy.stages_pixel import Activation

__all__ = ["Convolution", "Dense"]


class Convolution(Stage):
    """A convolution with biases, then an activation where fused.

    Parameters
    ----------
    layer : Conv2D
        Whose parameters.
    geometry : Geometry
        How kernels slide.

    Attributes
    ----------
    activation : Activation or None
        What is fused.
    """

    def __init__(self, layer: Any, geometry: Geometry) -> None:
        self.geometry = geometry
        self.shape: tuple[int, ...] = layer.w.shape
        self.w, self.b = layer.w.start, None if layer.b is None else layer.b.start
        self.parameters = {p.start: p.shape for p in (layer.w, layer.b) if p is not None}
        self.activation: Activation | None = None

    def kernels(self, w: Any, /) -> Any:
        """Return the packed weights, or their gradient, as kernels that slide over x."""
        return w

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y, and x with what the activation goes back by."""
        w, b = self.kernels(job.weights[self.w]), None if self.b is None else job.weights[self.b]
        if self.activation is None:
            return products.forward(x, w, b, self.geometry), (x, None)
        if self.activation.name == "relu":
            y = products.forward(x, w, b, self.geometry, relu=True)
            return y, (x, y)
        y, told = self.activation.forward(products.forward(x, w, b, self.geometry), job)
        return y, (x, told)

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Write the gradients of weights and biases, and return dx."""
        x, told = saved
        db = None if self.b is None else job.gradients[self.b]
        if self.activation and db is not None:
            dy = self.activation.backward_with_bias(dy, told, db)
        elif self.activation:
            dy = self.activation.backward(dy, told, job, True)
        elif db is not None:
            activations.bias_gradient(dy, db)
        w, dw = self.kernels(job.weights[self.w]), self.kernels(job.gradients[self.w])
        products.weight_gradient(x, dy, w, self.geometry, dw)
        return products.input_gradient(dy, x, w, self.geometry) if need_dx else None


class Dense(Convolution):
    """A dense layer: the convolution of images of one pixel.

    Images behind a Flatten are rows of numbers in memory already; the weights are packed to their order, as
    kernels of the images' size.

    Parameters
    ----------
    layer : Dense
        Whose parameters.
    geometry : Geometry
        Of kernels of one pixel.
    shape : (C, H, W)
        Of the images that it reads.
    """

    def __init__(self, layer: Any, geometry: Geometry, shape: Shape) -> None:
        super().__init__(layer, geometry)
        self.shape = (layer.units, *shape)
        self.parameters = {**self.parameters, self.w: self.shape}

    def kernels(self, w: Any, /) -> Any:
        """Return the weights as kernels of one pixel."""
        return _rows(w)

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y, and what backward needs."""
        return super().forward(_rows(x), job)

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Write the gradients of weights and biases, and return dx."""
        dx = super().backward(dy, saved, job, need_dx)
        _, c, h, w = self.shape
        return dx.reshape(len(dx), h, w, c).transpose(0, 3, 1, 2) if need_dx else None


def _rows(a: Any) -> Any:
    """Return images as features, in the order of the memory."""
    return a.transpose(0, 2, 3, 1).reshape(len(a), -1, 1, 1)
