"""Losses on numbers: one number for a batch, the mean over it."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import number
from xcnn.ops.op import Op
from xcnn.ops.target import as_target, check_outputs, size_of
from xcnn.types import Array

__all__ = ["huber", "mae", "mse"]


@Op
def mse(y: Array, target: Array, /) -> tuple[Any, Any]:
    r"""Mean squared error: :math:`L = \frac{1}{M} \sum_m (y_m - t_m)^2`.

    Parameters
    ----------
    y : array (N, ...)
        Outputs.
    target : array like y, or (N,)
        Targets; integers (N,) of K > 1 classes count as one-hot.

    Returns
    -------
    loss : array ()
        The mean over all elements.
    saved : Saved
        Its ``backward(dy)`` gives (dy, None).

    Raises
    ------
    ShapeError, DTypeError, DataError
        If targets do not fit the outputs.
    """
    xp = check_outputs(y, "y")
    e = y - as_target(y, target, "y")
    return xp.mean(e * e), e


@mse.gradient
def mse_gradient(dy: Any, e: Array, needs: tuple[bool, ...]) -> tuple[Any, None]:
    """dy = 2 (y - t) / M."""
    return e * (2.0 * dy / size_of(e)), None


@Op
def mae(y: Array, target: Array, /) -> tuple[Any, Any]:
    r"""Mean absolute error: :math:`L = \frac{1}{M} \sum_m |y_m - t_m|`.

    Parameters
    ----------
    y : array (N, ...)
        Outputs.
    target : array like y, or (N,)
        Targets; integers (N,) of K > 1 classes count as one-hot.

    Returns
    -------
    loss : array ()
        The mean over all elements.
    saved : Saved
        Its ``backward(dy)`` gives (dy, None).

    Raises
    ------
    ShapeError, DTypeError, DataError
        If targets do not fit the outputs.
    """
    xp = check_outputs(y, "y")
    e = y - as_target(y, target, "y")
    return xp.mean(xp.abs(e)), e


@mae.gradient
def mae_gradient(dy: Any, e: Array, needs: tuple[bool, ...]) -> tuple[Any, None]:
    """dy = sign(y - t) / M."""
    return array_namespace(e).sign(e) * (dy / size_of(e)), None


@Op
def huber(y: Array, target: Array, /, *, delta: float = 1.0) -> tuple[Any, Any]:
    r"""Huber's loss: squared near the target, absolute far from it.

    .. math:: L = \frac{1}{M} \sum_m c_m (|e_m| - c_m / 2), \qquad e = y - t,\; c = \min(|e|, \delta)

    Parameters
    ----------
    y : array (N, ...)
        Outputs.
    target : array like y, or (N,)
        Targets; integers (N,) of K > 1 classes count as one-hot.
    delta : float
        Where the parabola ends.

    Returns
    -------
    loss : array ()
        The mean over all elements.
    saved : Saved
        Its ``backward(dy)`` gives (dy, None).

    Raises
    ------
    ShapeError, DTypeError, DataError
        If targets do not fit the outputs.

    References
    ----------
    Huber, "Robust estimation of a location parameter", 1964.
    """
    xp = check_outputs(y, "y")
    delta = number(delta, "delta", "a positive number", lambda a: a > 0)
    e = y - as_target(y, target, "y")
    size = xp.abs(e)
    c = xp.minimum(size, delta)
    return xp.mean(c * (size - 0.5 * c)), xp.sign(e) * c


@huber.gradient
def huber_gradient(dy: Any, slope: Array, needs: tuple[bool, ...]) -> tuple[Any, None]:
    """dy = sign(e) min(|e|, delta) / M."""
    return slope * (dy / size_of(slope)), None
