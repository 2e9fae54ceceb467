"""Inputs: rows, as scikit-learn has them, of which each may be an image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xcnn.data.rows import from_list
from xcnn.errors import ShapeError, named
from xcnn.layers.geometry import integer

__all__ = ["agree", "as_rows", "shape_of_input"]


def as_rows(x: Any, /) -> tuple[Any, tuple[int, ...]]:
    """Return images as rows, and the shape of one.

    Parameters
    ----------
    x : array_like
        Shape (N, n_features) or (N, C, H, W), not checked.

    Returns
    -------
    rows : array_like
        Shape (N, n_features); what is no array of images comes back as it is.
    shape : tuple of int
        (C, H, W); () where rows came.
    """
    given = getattr(x, "shape", ())
    whole = isinstance(given, (tuple, list)) and all(hasattr(n, "__index__") for n in given)
    shape = tuple(given[1:]) if whole else ()
    if len(shape) < 2 or 0 in shape:
        return x, ()
    with named("CNNClassifier"):
        rows = np.asarray(from_list(x))
        return rows.reshape(-1, math.prod(rows.shape[1:])), shape


def shape_of_input(given: tuple[int, ...], asked: Any, /) -> tuple[int, ...]:
    """Return the shape of one input of the network.

    Parameters
    ----------
    given : tuple of int
        The shape in which an input came.
    asked : tuple of int, int or None
        The shape that is wanted; None takes the one given.

    Returns
    -------
    tuple of int
        (C, H, W) or (n_features,).

    Raises
    ------
    ShapeError, OptionError
        If there is no such shape, or an input does not have it.
    """
    if asked is None:
        return given
    extents = asked if isinstance(asked, (tuple, list)) else (asked,)
    shape = tuple(integer(extent, "CNNClassifier: input_shape") for extent in extents)
    agree(given, shape)
    return shape


def agree(given: tuple[int, ...], needed: tuple[int, ...], /) -> None:
    """Refuse inputs of another shape; a row only needs as many numbers.

    Parameters
    ----------
    given : tuple of int
        The shape in which an input came.
    needed : tuple of int
        The network's.

    Raises
    ------
    ShapeError
        If they differ.
    """
    if given != needed and given != (math.prod(needed),):
        msg = f"X has inputs of shape {given}; needed {needed}, or rows of {math.prod(needed)} numbers"
        raise ShapeError(msg, where="CNNClassifier")
