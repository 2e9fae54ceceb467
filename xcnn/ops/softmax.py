"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import DataError, OptionError, ShapeError
from xcnn.ops.op import Op, check_floating
from xcnn.types import Array

__all__ = ["log_softmax", "softmax"]


def shifted(x: Array, axis: int, /) -> tuple[Any, Any]:
    """Return x less its largest element along `axis`, and exp of that: finite for every finite x."""
    xp = array_namespace(x)
    check_floating(xp, x, names="x")
    if not isinstance(axis, int) or isinstance(axis, bool):
        msg = f"axis is {axis!r}; needed an integer"
        raise OptionError(msg)
    if not -x.ndim <= axis < x.ndim:
        msg = f"axis is {axis}; x has shape {tuple(x.shape)}"
        raise ShapeError(msg)
    if x.shape[axis] == 0:
        msg = f"x has shape {tuple(x.shape)}; needed one class at least along axis {axis}"
        raise DataError(msg)
    z = xp.maximum(x - xp.max(x, axis=axis, keepdims=True), xp.finfo(x.dtype).min)
    return z, xp.exp(z)


@Op
def softmax(x: Array, /, *, axis: int = 1) -> tuple[Any, Any]:
    r"""Turn logits into probabilities: :math:`y_k = e^{x_k} / \sum_j e^{x_j}`.

    Parameters
    ----------
    x : array (N, K) or (N, C, H, W)
        Logits.
    axis : int
        The axis of the classes.

    Returns
    -------
    y : array like x
        Probabilities; they sum to 1 along `axis`.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If x has no such axis.
    DataError
        If x has no class.
    """
    _, e = shifted(x, axis)
    y = e / array_namespace(x).sum(e, axis=axis, keepdims=True)
    return y, (y, axis)


@softmax.gradient
def softmax_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx = y (dy - the sum of dy y)."""
    y, axis = values
    return (y * (dy - array_namespace(y).sum(dy * y, axis=axis, keepdims=True)),)


@Op
def log_softmax(x: Array, /, *, axis: int = 1) -> tuple[Any, Any]:
    r"""Turn logits into log-probabilities: :math:`y_k = x_k - \log \sum_j e^{x_j}`.

    Parameters
    ----------
    x : array (N, K) or (N, C, H, W)
        Logits.
    axis : int
        The axis of the classes.

    Returns
    -------
    y : array like x
        Logarithms of probabilities.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If x has no such axis.
    DataError
        If x has no class.
    """
    xp = array_namespace(x)
    z, e = shifted(x, axis)
    y = z - xp.log(xp.sum(e, axis=axis, keepdims=True))
    return y, (y, axis)


@log_softmax.gradient
def log_softmax_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx = dy - softmax(x) times the sum of dy."""
    y, axis = values
    xp = array_namespace(y)
    return (dy - xp.exp(y) * xp.sum(dy, axis=axis, keepdims=True),)
