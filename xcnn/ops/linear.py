"""Linear maps."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import DataError, ShapeError
from xcnn.ops.op import Product, check_floating
from xcnn.types import Array

__all__ = ["linear"]


@Product
def linear(x: Array, w: Array, b: Array | None = None, /) -> tuple[Any, Any]:
    r"""Map features to units.

    .. math:: y_{nu} = b_u + \sum_i w_{ui}\, x_{ni}

    Parameters
    ----------
    x : array (N, features)
        Inputs.
    w : array (units, features)
        Weights.
    b : array (units,), optional
        Biases.

    Returns
    -------
    y : array (N, units)
        Outputs.
    saved : Saved
        Its ``backward(dy)`` gives (dx, dw, db).

    Raises
    ------
    ShapeError
        If ranks or features do not fit.
    """
    xp = array_namespace(x)
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        msg = f"x has shape {tuple(x.shape)}, w {tuple(w.shape)}; needed (N, features) and (units, features)"
        raise ShapeError(msg)
    if b is not None and b.shape != (w.shape[0],):
        msg = f"b has shape {tuple(b.shape)}; needed ({w.shape[0]},)"
        raise ShapeError(msg)
    if 0 in x.shape:
        msg = f"x is empty, its shape {tuple(x.shape)}; needed at least one row and one feature"
        raise DataError(msg)
    check_floating(xp, x, w, b, names="x w b")
    y = xp.matmul(x, w.T)
    return (y if b is None else y + b), (x, w)


@linear.gradient
def linear_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """dx = dy w, dw = dyᵀ x, db = the sum of dy over the batch."""
    xp = array_namespace(dy)
    x, w = values
    dx = xp.matmul(dy, w) if needs[0] else None
    dw = xp.matmul(dy.T, x) if needs[1] else None
    return dx, dw, xp.sum(dy, axis=0) if needs[2] else None
