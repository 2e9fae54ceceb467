"""What is measured of either side, and what both are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.nets import Net, normed

__all__ = ["RATE", "Side", "batch", "check"]

RATE = 1e-5  # Adam's: small, so that a chunk of steps on one batch does not drive its loss to zero


@dataclass(frozen=True)
class Side:
    """One net in one framework, with a batch of its own kind of arrays.

    Parameters
    ----------
    step : callable
        Takes one training step and returns the loss before it, without waiting to read it.
    predict : callable
        Returns the logits (N, 10) of the batch.
    reset : callable
        Puts weights, running statistics and Adam's moments back to where they began.
    weights : list of numpy.ndarray
        Of each layer in turn: weights, then biases.
    host : callable
        Makes what `predict` returns a NumPy array.
    """

    step: Callable[[], object]
    predict: Callable[[], object]
    reset: Callable[[], None]
    weights: list[np.ndarray]
    host: Callable[[Any], np.ndarray] = np.asarray


def batch(net: Net, size: int, /) -> tuple[np.ndarray, np.ndarray]:
    """Return random images (N, C, H, W) in [0, 1) as float32, and labels (N,).

    Parameters
    ----------
    net : Net
        Says C, H and W.
    size : int
        N.

    Returns
    -------
    x, y : numpy.ndarray
        The same ones every time.
    """
    rng = np.random.default_rng(0)
    return rng.random((size, *net.image), dtype=np.float32), rng.integers(0, 10, size)


def check(net: Net, ours: Side, theirs: Side, /, *, slack: float = 1.0) -> None:
    """Fail unless two sides of the same weights give the same logits, and the same losses in three steps.

    Parameters
    ----------
    net : Net
        What both run. With batch norms, the losses after the first may differ a little more: Adam moves a
        weight by its full rate even where the gradient is zero but for rounding.
    ours, theirs : Side
        Put back to their beginning afterwards.
    slack : float
        How many times float32's rounding their products may round.

    Raises
    ------
    AssertionError
        If they differ by more than rounding explains.
    """
    found = []
    for side in (ours, theirs):
        side.reset()
        logits = side.host(side.predict())
        found.append((logits, [float(side.step()) for _ in range(3)]))  # type: ignore[arg-type]
        side.reset()
    (logits, losses), (other, others) = found
    scale = float(np.max(np.abs(other)))
    np.testing.assert_allclose(logits, other, rtol=1e-4 * slack, atol=1e-5 * slack * scale)
    np.testing.assert_allclose(losses[0], others[0], rtol=1e-5 * slack)
    np.testing.assert_allclose(losses, others, rtol=slack * (1e-3 if normed(net.parts) else 1e-5))
