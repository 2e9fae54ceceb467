"""Normalisation layers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from xcnn import ops
from xcnn.errors import OptionError, ShapeError, number
from xcnn.layer import Layer, Shape
from xcnn.layers.activation import Elementwise
from xcnn.layers.geometry import integer, numbers
from xcnn.state import Buffer, Parameter

__all__ = ["BatchNorm2D", "GroupNorm", "LayerNorm", "Normalize"]

_LARGEST = 1e30  # statistics: float32 holds these, and their inverses


class Norm(Layer):
    """Standardise, then scale by `w` and shift by `b`: what the trained ones share."""

    w: Parameter
    b: Parameter
    eps: float

    def __post_init__(self) -> None:
        self.eps = number(self.eps, "eps", "a positive number", lambda e: e > 0, type(self).__name__)

    def declare(self, shape: Shape, make: Any) -> None:
        """Declare w, ones, and b, zeros."""
        self.w = make.parameter(shape, "ones", weight=False)
        self.b = make.parameter(shape, "zeros", weight=False)

    def backward(self, dy, saved, /, *, need_dx=True):
        """Add dw and db, and return dx."""
        dx, dw, db, *_ = saved.backward(dy, (need_dx, True, True))
        self.w.add_gradient(dw)
        self.b.add_gradient(db)
        return dx


def _channels(input_shape: Shape) -> int:
    if len(input_shape) not in (1, 3):
        msg = f"x has shape (N, {', '.join(map(str, input_shape))}); needed (N, C, H, W) or (N, C)"
        raise ShapeError(msg)
    return input_shape[0]


@dataclass(eq=False)
class BatchNorm2D(Norm):
    r"""Standardise each channel of (N, C, H, W) or (N, C) over the batch, then scale and shift it.

    .. math:: y = w_c \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + b_c

    In training with the statistics of the batch, which move the running ones, frozen or not; else with the
    running ones.

    Parameters
    ----------
    momentum : float
        m in running = (1 - m) running + m batch, a fraction; the running variance is unbiased.
    eps : float
        Added to the variance.

    Attributes
    ----------
    w, b : Parameter (C,)
        Scale and shift.
    mean, var : Buffer (C,)
        Running statistics.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", 2015, algorithms 1 and 2; momentum as in PyTorch.
    """

    _: KW_ONLY
    momentum: float = 0.1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = "0 <= momentum <= 1"
        self.momentum = number(self.momentum, "momentum", needed, lambda m: 0 <= m <= 1, "BatchNorm2D")

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Declare w, b and the running statistics."""
        c = _channels(input_shape)
        self.declare((c,), make)
        self.mean: Buffer = make.buffer((c,), 0.0)
        self.var: Buffer = make.buffer((c,), 1.0)
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs; in training, move the running statistics."""
        if train is False:
            (y, _, _), saved = ops.batch_norm(
                x, self.w.value, self.b.value, self.mean.value, self.var.value, eps=self.eps
            )
            return y, saved
        (y, mean, var), saved = ops.batch_norm(x, self.w.value, self.b.value, eps=self.eps)
        count, m = x.shape[0], self.momentum
        for extent in x.shape[2:]:
            count *= extent
        unbiased = var * (count / max(count - 1, 1))
        self.mean.value = (1 - m) * self.mean.value + m * mean
        self.var.value = (1 - m) * self.var.value + m * unbiased
        return y, saved


@dataclass(eq=False)
class GroupNorm(Norm):
    r"""Standardise groups of channels of (N, C, H, W) or (N, C) within each image, then scale and shift.

    Parameters
    ----------
    groups : int
        Number of groups of neighbouring channels; divides C.
    eps : float
        Added to the variance.

    Attributes
    ----------
    w, b : Parameter (C,)
        Scale and shift.

    References
    ----------
    Wu and He, "Group normalization", 2018.
    """

    groups: int
    _: KW_ONLY
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.groups = integer(self.groups, "GroupNorm: groups")

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Declare w and b."""
        c = _channels(input_shape)
        if c % self.groups:
            msg = f"groups is {self.groups}; needed a divisor of the {c} channels of x"
            raise ShapeError(msg)
        self.declare((c,), make)
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        return ops.group_norm(x, self.w.value, self.b.value, groups=self.groups, eps=self.eps)


@dataclass(eq=False)
class LayerNorm(Norm):
    r"""Standardise each image (N, ...) over all its elements, then scale and shift each element.

    Parameters
    ----------
    eps : float
        Added to the variance.

    Attributes
    ----------
    w, b : Parameter (...)
        Scale and shift, of the shape of one image.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", 2016.
    """

    _: KW_ONLY
    eps: float = 1e-5

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Declare w and b."""
        self.declare(input_shape, make)
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        return ops.layer_norm(x, self.w.value, self.b.value, eps=self.eps)


@dataclass(eq=False)
class Normalize(Elementwise):
    """Standardise inputs (N, C, ...) by fixed statistics of each channel: y = (x - mean) / std.

    Put it first in a model: the statistics of the training data are then saved with it.

    Parameters
    ----------
    mean, std : float or sequence of float
        Of each channel, as from `xcnn.data.channel_statistics`; a std of 0 counts as 1.
    """

    mean: Any
    std: Any

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value = getattr(self, name)
            single = getattr(value, "shape", None) == () or not hasattr(value, "__len__")
            found = numbers([value] if single else value, f"Normalize: {name}")
            setattr(self, name, found[0] if single else found)
        mean, std = (v if isinstance(v, tuple) else (v,) for v in (self.mean, self.std))
        if not all(abs(m) <= _LARGEST for m in mean):
            msg = f"Normalize: mean is {self.mean}; needed finite numbers, {_LARGEST:.0e} at most"
            raise OptionError(msg)
        if not all(s == 0 or 1 / _LARGEST <= s <= _LARGEST for s in std):
            fits = all(0 <= s < float("inf") for s in std)
            needed = "no negative numbers" if not fits else f"0, or {1 / _LARGEST:.0e} to {_LARGEST:.0e}"
            msg = f"Normalize: std is {self.std}; needed {needed}"
            raise OptionError(msg)

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Keep the statistics as buffers."""
        if not input_shape:
            raise ShapeError("x has shape (N,); needed (N, C, ...)")
        c, std = input_shape[0], self.std if isinstance(self.std, tuple) else (self.std,)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if isinstance(values, tuple) and len(values) != c:
                msg = f"{name} has {len(values)} values; needed {c}, one per channel"
                raise ShapeError(msg)
        self.shift: Buffer = make.buffer((c,), self.mean)
        self.scale: Buffer = make.buffer((c,), tuple(s or 1.0 for s in std))
        return input_shape

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.standardize(x, self.shift.value, self.scale.value)
