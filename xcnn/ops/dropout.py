"""Dropout."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from xcnn.errors import OptionError, number
from xcnn.ops.op import Op, check_floating
from xcnn.random import bernoulli
from xcnn.types import Array

__all__ = ["dropout"]


@Op
def dropout(
    x: Array, /, *, rate: float = 0.5, seed: int = 0, stream: tuple[Any, int, int] = (0, 0, 0)
) -> tuple[Any, Any]:
    r"""Set a random fraction of the elements to zero, and scale the others to keep the mean.

    .. math:: y = \frac{m}{1 - r}\, x, \qquad m \sim \mathrm{Bernoulli}(1 - r)

    Parameters
    ----------
    x : array
        Inputs of any shape.
    rate : float
        r, the fraction dropped; 0 <= rate < 1.
    seed : int
        Key of the random numbers.
    stream : (step, layer number, use)
        Which of the key's numbers: equal seed and stream give equal masks on every backend.

    Returns
    -------
    y : array like x
        Outputs.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    OptionError
        If rate is not in [0, 1).

    References
    ----------
    Srivastava et al., "Dropout", 2014, section 4; here scaled in training rather than at test time.
    """
    xp = array_namespace(x)
    check_floating(xp, x, names="x")
    rate = number(rate, "rate", "0 <= rate < 1", lambda r: 0 <= r < 1)
    if not isinstance(stream, (tuple, list)) or len(stream) != 3:
        msg = f"stream is {stream!r}; needed (step, layer number, use)"
        raise OptionError(msg)
    keep = 1.0 - rate
    kept = bernoulli(x.shape, keep, seed=seed, stream=stream, xp=xp, device=device_of(x))
    mask = xp.astype(kept, x.dtype) / keep
    return x * mask, mask


@dropout.gradient
def dropout_gradient(dy: Array, mask: Array, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx = dy times the same mask."""
    return (dy * mask,)
