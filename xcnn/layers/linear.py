"""Linear maps with an activation: what Dense and the convolutions share, and Dense."""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass
from typing import Any

from xcnn import ops
from xcnn.errors import ShapeError, flag
from xcnn.layer import Layer, Shape
from xcnn.layers.activation import Identity, activation_layer
from xcnn.layers.geometry import integer
from xcnn.state import Parameter

__all__ = ["Activated", "Dense"]


class Activated(Layer):
    """A linear map with weights `w` and biases `b`, given by `apply`, followed by an activation."""

    w: Parameter
    b: Parameter | None
    act: Layer

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved) of the linear map alone."""
        raise NotImplementedError

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        y, saved = self.apply(x)
        y, active = self.act.forward(y, train=train, hold=hold)
        return y, (saved, active)

    def backward(self, dy, saved, /, *, need_dx=True):
        """Add dw and db, and return dx."""
        saved, active = saved
        dy = self.act.backward(dy, active)
        dx, dw, db = saved.backward(dy, (need_dx, True, self.b is not None))
        self.w.add_gradient(dw)
        if self.b is not None:
            self.b.add_gradient(db)
        return dx

    def children(self):
        """Return the activation."""
        return () if isinstance(self.act, Identity) else (self.act,)

    def leaves(self) -> list[Layer]:
        """Return the linear map alone, then the activation."""
        kind = type(self)
        own = kind.forward is not Activated.forward or kind.backward is not Activated.backward
        if own or isinstance(self.act, Identity):
            return [self]
        bare = copy.copy(self)
        bare.act = Identity()
        return [bare, *self.act.leaves()]


@dataclass(eq=False)
class Dense(Activated):
    r"""Linear map from features (N, I) to units (N, U), then an activation; I is inferred.

    .. math:: y_{nu} = a\Big(b_u + \sum_i w_{ui}\, x_{ni}\Big)

    Parameters
    ----------
    units : int
        U.
    bias : bool
        Whether to add b.
    activation : str, Layer or None
        a; see `activation_layer`.
    init : str or callable
        First values of w; b starts at zero.

    Attributes
    ----------
    w : Parameter (U, I)
        Weights.
    b : Parameter (U,) or None
        Biases.
    """

    units: int
    _: KW_ONLY
    bias: bool = True
    activation: Any = None
    init: Any = "he_normal"

    def __post_init__(self) -> None:
        self.units = integer(self.units, "Dense: units")
        self.bias = flag(self.bias, "bias", "Dense")
        self.act = activation_layer(self.activation)

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Declare w and b."""
        if len(input_shape) != 1:
            shape = ", ".join(map(str, input_shape))
            msg = f"x has shape (N, {shape}); needed (N, features): put Flatten() before it"
            raise ShapeError(msg)
        self.w = make.parameter((self.units, *input_shape), self.init)
        self.b = make.parameter((self.units,), "zeros") if self.bias else None
        return make.build(self.act, (self.units,), at="activation")

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved) of the linear map alone."""
        return ops.linear(x, self.w.value, None if self.b is None else self.b.value)

    def multiply_adds(self) -> int:
        """Return U I."""
        return self.w.size

    def field(self) -> None:
        """Return None: each unit sees everything."""
        return
