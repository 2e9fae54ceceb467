"""Optimizers: the update of one array, written once."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from xcnn.errors import OptionError, lookup
from xcnn.optimizer import Optimizer, Slots

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "get"]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + dw, w = w - lr v; Nesterov's steps along dw + momentum v.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        A fraction.
    nesterov : bool
        Look ahead.
    **options
        See `Optimizer`.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum", 2013; in PyTorch's form.
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            msg = "nesterov is True and momentum 0; needed a positive momentum"
            raise OptionError(msg, where="SGD")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """1 with momentum, else 0."""
        return 1 if self.momentum else 0

    def update(self, w: Any, dw: Any, slots: Slots, scalars: Any, /) -> tuple[Any, Slots]:
        """Return the new w and slots."""
        (lr,) = scalars
        if not self.momentum:
            return w - lr * dw, ()
        v = self.momentum * slots[0] + dw
        return w - lr * (dw + self.momentum * v if self.nesterov else v), (v,)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad: s = s + dw², w = w - lr dw / (√s + eps).

    Parameters
    ----------
    lr : float
        Learning rate.
    eps : float
        Added to the root.
    **options
        See `Optimizer`.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.
    """

    slots: ClassVar[int] = 1
    lr: float = 0.01
    eps: float = 1e-10

    def update(self, w: Any, dw: Any, slots: Slots, scalars: Any, /) -> tuple[Any, Slots]:
        """Return the new w and slots."""
        (lr,) = scalars
        s = slots[0] + dw * dw
        return w - lr * dw / (s**0.5 + self.eps), (s,)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: s = alpha s + (1 - alpha) dw², w = w - lr dw / (√s + eps).

    Parameters
    ----------
    lr : float
        Learning rate.
    alpha : float
        How much of the mean square is kept, a fraction.
    eps : float
        Added to the root.
    **options
        See `Optimizer`.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5 - rmsprop", 2012.
    """

    slots: ClassVar[int] = 1
    lr: float = 0.01
    alpha: float = 0.99
    eps: float = 1e-8

    def update(self, w: Any, dw: Any, slots: Slots, scalars: Any, /) -> tuple[Any, Slots]:
        """Return the new w and slots."""
        (lr,) = scalars
        s = self.alpha * slots[0] + (1 - self.alpha) * dw * dw
        return w - lr * dw / (s**0.5 + self.eps), (s,)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: means m of dw and v of dw², corrected for their start; w = w - lr m̂ / (√v̂ + eps).

    Parameters
    ----------
    lr : float
        Learning rate.
    beta1, beta2 : float
        How much of m and v is kept, fractions.
    eps : float
        Added to the root.
    **options
        See `Optimizer`.

    References
    ----------
    Kingma and Ba, "Adam", 2015, algorithm 1.
    """

    slots: ClassVar[int] = 2
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def scalars(self, t: int, /, scale: float = 1.0) -> tuple[float, ...]:
        """Return the learning rate, 1 - beta1^t and 1 - beta2^t."""
        return self.lr * scale, 1 - self.beta1**t, 1 - self.beta2**t

    def update(self, w: Any, dw: Any, slots: Slots, scalars: Any, /) -> tuple[Any, Slots]:
        """Return the new w and slots."""
        (m, v), (lr, c1, c2) = slots, scalars
        m = self.beta1 * m + (1 - self.beta1) * dw
        v = self.beta2 * v + (1 - self.beta2) * dw * dw
        return w - lr * (m / c1) / ((v / c2) ** 0.5 + self.eps), (m, v)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    lr, beta1, beta2, eps : float
        See `Adam`.
    weight_decay : float
        Each step takes lr weight_decay w off the weights.
    **options
        See `Optimizer`.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """

    _: KW_ONLY
    weight_decay: float = 0.01


NAMES: dict[str, Any] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
PRESETS: dict[str, Optimizer] = {"momentum": SGD(momentum=0.9), "nesterov": SGD(momentum=0.9, nesterov=True)}


def get(optimizer: str | Optimizer, /) -> Optimizer:
    """Return the optimizer called `optimizer`, with its default hyperparameters.

    Parameters
    ----------
    optimizer : str or Optimizer
        ``"sgd"``, ``"momentum"``, ``"nesterov"``, ``"adagrad"``, ``"rmsprop"``, ``"adam"`` or ``"adamw"``; an
        optimizer is returned as it is.

    Returns
    -------
    Optimizer
        The optimizer.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    return lookup(optimizer, {name: kind() for name, kind in NAMES.items()} | PRESETS, "optimizer")
