"""What optimizers share: penalties, decay, clipping, and the place of a backend's kernel."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, TypeAlias

from array_api_compat import array_namespace

from xcnn.backend import find_kernel, plugin_of
from xcnn.errors import OptionError

__all__ = ["Optimizer", "Slots"]

Slots: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Optimizer:
    """Hyperparameters alone: what changes during training lives in the model's State.

    Penalties and decay apply to weights, not to biases and norms.

    Parameters
    ----------
    lr : float
        Learning rate.
    l1, l2 : float
        Penalties: the loss grows by l1 Σ|w| + l2/2 Σw², the gradient by l1 sign(w) + l2 w.
    weight_decay : float
        Decoupled: each step takes lr weight_decay w off the weights.
    clip_value : float, optional
        Limit of each element of the gradient; the trainer's optimizer decides for the whole model.
    clip_norm : float, optional
        Limit of the norm of the whole gradient; likewise.
    """

    slots: ClassVar[int] = 0
    lr: float

    _: KW_ONLY
    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        options: dict[str, Any] = vars(self)
        for name, value in options.items():
            if value is None and name.startswith("clip"):
                continue
            if hasattr(value, "item") and value.shape == ():  # a NumPy scalar would widen float32 arrays
                value = value.item()
                object.__setattr__(self, name, value)
            fine, needed = isinstance(value, (int, float)), "a number"
            if not fine:
                pass
            elif name.startswith(("beta", "momentum", "alpha")):
                fine, needed = 0 <= value < 1, "0 <= value < 1"
            elif name in ("clip_value", "clip_norm", "eps"):
                fine, needed = value > 0, "a positive number"
            else:
                fine, needed = 0 <= value < float("inf"), "no negative number"
            if not fine:
                msg = f"{name} is {value!r}; needed {needed}"
                raise OptionError(msg, where=type(self).__name__)

    def scalars(self, t: int, /, scale: float = 1.0) -> tuple[float, ...]:
        """Return what step t needs, computed on the host in float64.

        Parameters
        ----------
        t : int
            Steps tried, this one included: from 1.
        scale : float
            The schedule's factor on the learning rate.

        Returns
        -------
        tuple of float
            The learning rate first.
        """
        return (self.lr * scale,)

    def update(self, w: Any, dw: Any, slots: Slots, scalars: Any, /) -> tuple[Any, Slots]:
        """Return the new w and slots; pure, written for one array.

        Parameters
        ----------
        w, dw : array (size,)
            Values and gradient.
        slots : tuple of array (size,)
            As many as `slots` says.
        scalars : tuple of float, or of array ()
            From `scalars`.

        Returns
        -------
        w : array (size,)
            New values.
        slots : tuple of array
            New slots.
        """
        raise NotImplementedError

    def apply(
        self, w: Any, dw: Any, slots: Slots, scalars: Any, weights: bool, /, decay: Any = None
    ) -> tuple[Any, Slots]:
        """Return (w, slots) after penalties, decay, and `update` or the backend's kernel for it.

        Parameters
        ----------
        w, dw, slots, scalars
            See `update`.
        weights : bool
            Whether penalties and decay apply.
        decay : float or array (), optional
            What decaying weights are multiplied by; by default 1 - lr weight_decay, from the scalars.

        Returns
        -------
        w : array (size,)
            New values.
        slots : tuple of array
            New slots.
        """
        if weights and self.l1:
            xp = array_namespace(w)  # its sign has CuPy read the host
            dw = dw + self.l1 * (xp.astype(w > 0, w.dtype) - xp.astype(w < 0, w.dtype))
        if weights and self.l2:
            dw = dw + self.l2 * w
        if weights and self.weight_decay:
            w = w * (1.0 - scalars[0] * self.weight_decay if decay is None else decay)
        kernel = find_kernel(type(self).__name__, plugin_of(w))
        return (kernel or type(self).update)(self, w, dw, slots, scalars)

    def penalty(self, w: Any, /) -> Any:
        """Return l1 Σ|w| + l2/2 Σw² of weights.

        Parameters
        ----------
        w : array (size,)
            Weights.

        Returns
        -------
        array ()
            What the loss would grow by.
        """
        xp = array_namespace(w)
        return self.l1 * xp.sum(xp.abs(w)) + 0.5 * self.l2 * xp.sum(w * w)

    def clip(self, dw: Any, /) -> Any:
        """Return the whole gradient within `clip_value` and `clip_norm`.

        Parameters
        ----------
        dw : array (size,)
            The gradient.

        Returns
        -------
        array (size,)
            The same direction after `clip_norm`.
        """
        xp = array_namespace(dw)
        if dw.shape[0] == 0:
            return dw
        if self.clip_value is not None:
            dw = xp.minimum(xp.maximum(dw, -self.clip_value), self.clip_value)
        if self.clip_norm is not None:
            tiny = xp.finfo(dw.dtype).smallest_normal
            largest = xp.maximum(xp.max(xp.abs(dw)), tiny)
            u = dw / largest  # its norm is 1 or more; that of a large gradient would overflow
            norm = xp.maximum(xp.sqrt(xp.sum(u * u)), 1.0)
            dw = u * xp.minimum(self.clip_norm / norm, largest)
        return dw
