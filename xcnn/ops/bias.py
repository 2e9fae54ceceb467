"""A bias of its own for each pixel."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import ShapeError
from xcnn.ops.op import Op, check_floating
from xcnn.ops.window import check_images
from xcnn.types import Array

__all__ = ["untied_bias"]


@Op
def untied_bias(x: Array, b: Array, /) -> tuple[Any, Any]:
    r"""Add to each pixel a bias of its own: :math:`y_{ncij} = x_{ncij} + b_{cij}`.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.
    b : array (C, H, W)
        Biases.

    Returns
    -------
    y : array (N, C, H, W)
        Images.
    saved : Saved
        Its ``backward(dy)`` gives (dx, db).

    Raises
    ------
    ShapeError
        If x has not four axes, or b is not of the shape of one image.
    """
    check_images(x)
    check_floating(array_namespace(x), x, b, names="x b")
    if b.shape != x.shape[1:]:
        msg = f"b has shape {tuple(b.shape)}; needed that of one image, {tuple(x.shape[1:])}"
        raise ShapeError(msg)
    return x + b, ()


@untied_bias.gradient
def untied_bias_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
    """dx = dy; db: the sum of dy over the batch."""
    return dy, array_namespace(dy).sum(dy, axis=0) if needs[1] else None
