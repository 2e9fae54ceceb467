"""Dropout layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xcnn import ops
from xcnn.errors import number
from xcnn.layer import Layer

__all__ = ["Dropout"]


@dataclass(eq=False)
class Dropout(Layer):
    """Set a random fraction of any x to zero in training, and scale the rest by 1/(1 - rate).

    Parameters
    ----------
    rate : float
        The fraction, 0 <= rate < 1.

    References
    ----------
    Srivastava et al., "Dropout", 2014, section 4.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        self.rate = number(self.rate, "rate", "0 <= rate < 1", lambda r: 0 <= r < 1, "Dropout")

    def forward(self, x, /, *, train: Any = False, hold=None):
        """Return y and what backward needs."""
        if train is False or self.rate == 0:
            return x, ()
        stream = (train.step, self.number, train.use(self.number))
        return ops.dropout(x, rate=self.rate, seed=train.seed, stream=stream)

    def backward(self, dy, saved, /, *, need_dx=True):
        """Return dx."""
        return saved.backward(dy)[0] if saved and need_dx else dy
