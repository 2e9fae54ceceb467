"""Padding and repeating of pixels."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.ops.op import Op
from xcnn.ops.window import check_images, check_padding, check_size, check_window, crop, pad
from xcnn.types import Array, Pair, Sides

__all__ = ["upsample2d", "zero_pad2d"]


@Op
def zero_pad2d(x: Array, /, *, padding: Sides) -> tuple[Any, Any]:
    """Surround images by zeros: y is x in the middle, 0 around it.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.
    padding : ((top, bottom), (left, right))
        Pixels.

    Returns
    -------
    y : array (N, C, H + top + bottom, W + left + right)
        Images.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If x has not four axes.
    """
    check_images(x)
    check_padding(padding)
    return pad(x, padding), padding


@zero_pad2d.gradient
def zero_pad2d_gradient(dy: Array, padding: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx = the middle of dy."""
    return (crop(dy, padding),)


@Op
def upsample2d(x: Array, /, *, factor: Pair = (2, 2)) -> tuple[Any, Any]:
    r"""Repeat pixels: :math:`y_{ncij} = x_{n,\,c,\,\lfloor i/r \rfloor,\,\lfloor j/s \rfloor}`.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.
    factor : (rows, columns)
        r and s.

    Returns
    -------
    y : array (N, C, r H, s W)
        Images.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If x has not four axes.
    """
    check_images(x)
    check_window(factor=factor)
    xp = array_namespace(x)
    n, c, h, w = x.shape
    r, s = factor
    check_size((n, c), h * r, w * s)
    y = xp.broadcast_to(xp.reshape(x, (n, c, h, 1, w, 1)), (n, c, h, r, w, s))
    return xp.reshape(y, (n, c, h * r, w * s)), (x.shape, factor)


@upsample2d.gradient
def upsample2d_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx = the sum of dy over the repetitions."""
    (n, c, h, w), (r, s) = values
    xp = array_namespace(dy)
    return (xp.sum(xp.reshape(dy, (n, c, h, r, w, s)), axis=(3, 5)),)
