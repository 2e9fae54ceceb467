"""Activations as layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from xcnn import ops
from xcnn.errors import OptionError, ShapeError, lookup, number
from xcnn.layer import Layer, Shape
from xcnn.layers.geometry import integer

__all__ = [
    "ELU",
    "GELU",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "activation_layer",
]


@dataclass(eq=False)
class Identity(Layer):
    """Pass x on: y = x."""

    def forward(self, x, /, *, train=False, hold=None):
        """Return x."""
        return x, ()

    def backward(self, dy, saved, /, *, need_dx=True):
        """Return dy."""
        return dy

    def leaves(self) -> list[Layer]:
        """Return nothing: there is nothing to run."""
        return [] if type(self) is Identity else [self]


class Elementwise(Layer):
    """A layer that is one op on x, without parameters: a subclass says which."""

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        raise NotImplementedError

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        return self.apply(x)

    def backward(self, dy, saved, /, *, need_dx=True):
        """Return dx."""
        return saved.backward(dy)[0] if need_dx else None


@dataclass(eq=False)
class ReLU(Elementwise):
    """Rectify any x: y = max(x, 0)."""

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.relu(x)


@dataclass(eq=False)
class LeakyReLU(Elementwise):
    """Rectify any x, leaking: y = max(x, 0) + slope min(x, 0).

    Parameters
    ----------
    slope : float
        Slope below zero.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        """Look at the slope."""
        self.slope = number(self.slope, "slope", "a finite number", math.isfinite, "LeakyReLU")

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.leaky_relu(x, slope=self.slope)


@dataclass(eq=False)
class ELU(Elementwise):
    """Exponential linear unit of any x: y = max(x, 0) + alpha (exp(min(x, 0)) - 1).

    Parameters
    ----------
    alpha : float
        Minus the limit for x to minus infinity.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Look at alpha."""
        self.alpha = number(self.alpha, "alpha", "a finite number", math.isfinite, "ELU")

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.elu(x, alpha=self.alpha)


@dataclass(eq=False)
class GELU(Elementwise):
    """Gaussian error linear unit of any x: y = x Φ(x).

    Parameters
    ----------
    approximate : {"none", "tanh"}
        How Φ, the standard normal distribution, is computed.
    """

    approximate: str = "none"

    def __post_init__(self) -> None:
        """Refuse what no GELU knows."""
        if not isinstance(self.approximate, str) or self.approximate not in ("none", "tanh"):
            msg = f"GELU: approximate is {self.approximate!r}; needed 'none' or 'tanh'"
            raise OptionError(msg)

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.gelu(x, approximate=self.approximate)


@dataclass(eq=False)
class SiLU(Elementwise):
    """Sigmoid linear unit (swish) of any x: y = x σ(x)."""

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.silu(x)


@dataclass(eq=False)
class Sigmoid(Elementwise):
    """Squash any x into (0, 1): y = 1 / (1 + exp(-x)). Pairs with the loss binary_cross_entropy."""

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.sigmoid(x)


@dataclass(eq=False)
class Tanh(Elementwise):
    """Squash any x into (-1, 1): y = tanh(x)."""

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.tanh(x)


class Normalized(Elementwise):
    """An activation along one axis."""

    axis: int

    def __post_init__(self) -> None:
        """Refuse what is no axis at all."""
        self.axis = integer(self.axis, f"{type(self).__name__}: axis", least=None)

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Refuse an axis that the input lacks."""
        if self.axis == 0 or not -len(input_shape) <= self.axis <= len(input_shape):
            shape = ", ".join(map(str, input_shape))
            msg = f"axis is {self.axis}; needed one of an image: x has shape (N, {shape})"
            raise ShapeError(msg)
        return input_shape


@dataclass(eq=False)
class Softmax(Normalized):
    """Turn logits (N, K) into probabilities. Pairs with the loss cross_entropy.

    Parameters
    ----------
    axis : int
        The axis of the classes.
    """

    axis: int = 1

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.softmax(x, axis=self.axis)


@dataclass(eq=False)
class LogSoftmax(Normalized):
    """Turn logits (N, K) into log-probabilities. Pairs with the loss cross_entropy.

    Parameters
    ----------
    axis : int
        The axis of the classes.
    """

    axis: int = 1

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.log_softmax(x, axis=self.axis)


NAMES: dict[str, type[Layer]] = {
    "identity": Identity,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "gelu": GELU,
    "silu": SiLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}


def activation_layer(activation: str | Layer | None, /) -> Layer:
    """Return the layer called `activation`.

    Parameters
    ----------
    activation : str, Layer or None
        ``"relu"``, ``"leaky_relu"``, ...; a layer is returned as it is; None is Identity.

    Returns
    -------
    Layer
        The activation.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if isinstance(activation, Layer):
        return activation
    if activation is None:
        return Identity()
    return lookup(activation, NAMES, "activation")()
