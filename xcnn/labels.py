"""Labels: what a loss accepts for a model's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn.backend import backend_of
from xcnn.errors import DataError, DTypeError, ShapeError

__all__ = ["check_range", "check_shape", "kind_of", "look"]


def kind_of(a: Any, /) -> str:
    """Return b, i, u, f or another letter for the dtype of `a`.

    Parameters
    ----------
    a : array
        Of any backend.

    Returns
    -------
    str
        What NumPy calls the kind of a dtype.
    """
    if isinstance(a, np.ndarray):
        return a.dtype.kind
    xp = backend_of(a).xp
    kinds = {"bool": "b", "signed integer": "i", "unsigned integer": "u", "real floating": "f"}
    return next((letter for name, letter in kinds.items() if xp.isdtype(a.dtype, name)), "?")


def check_shape(labels: Any, n: int, output_shape: tuple[int, ...], loss: Any, /) -> str:
    """Return the kind of the labels' dtype (b, i, u or f); refuse a wrong one, and wrong shapes.

    Parameters
    ----------
    labels : array
        Of any backend.
    n : int
        How many images there are.
    output_shape : tuple of int
        Of the model, without N.
    loss : Loss
        Whose labels they are.

    Returns
    -------
    str
        A letter.

    Raises
    ------
    DTypeError, ShapeError
        If they do not fit.
    """
    kind = kind_of(labels)
    if kind not in "biuf":
        msg = f"labels have dtype {labels.dtype}; needed integers (classes) or floating numbers"
        raise DTypeError(msg, where=loss.name)
    if not labels.ndim or labels.shape[0] != n:
        msg = f"labels have shape {tuple(labels.shape)} for {n} images; needed one label per image"
        raise ShapeError(msg, where=loss.name)
    one_axis = labels.ndim == 1 and len(output_shape) == 1
    if tuple(labels.shape[1:]) != output_shape and not (one_axis and (kind != "f" or output_shape[0] == 1)):
        like = "integers (N,) or " if len(output_shape) == 1 else ""
        shape = ", ".join(map(str, ("N", *output_shape)))
        msg = f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}; needed {like}({shape})"
        raise ShapeError(msg, where=loss.name)
    return kind


def check_range(labels: Any, kind: str, output_shape: tuple[int, ...], loss: Any, /) -> None:
    """Refuse classes outside the outputs, labels that are NaN, and probabilities outside [0, 1].

    Parameters
    ----------
    labels : array
        Of any backend; a device is waited for.
    kind : str
        From `check_shape`.
    output_shape : tuple of int
        Of the model, without N.
    loss : Loss
        Whose labels they are.

    Raises
    ------
    DataError
        If they do not fit.
    """
    xp, k = backend_of(labels).xp, output_shape[-1]
    if 0 in labels.shape or kind == "b":
        return
    if kind == "f" and not bool(xp.all(xp.isfinite(labels))):
        msg = "a label is NaN or infinite; needed finite labels"
        raise DataError(msg, where=loss.name)
    named = labels.ndim == 1 and k > 1  # (N,) integers name one of K classes
    if not loss.classifies and not (named and kind != "f"):
        return
    top = k - 1 if named or (k == 1 and loss.link == "softmax") else 1
    low, high = xp.min(labels), xp.max(labels)
    if float(low) < 0 or float(high) > top:
        reach = f"{float(low):g} to {float(high):g}"
        msg = f"labels reach from {reach}; the model's {k} outputs need 0 to {top}"
        raise DataError(msg, where=loss.name)


def look(labels: Any, n: int, output_shape: tuple[int, ...], loss: Any, /) -> None:
    """Refuse labels that do not fit; values on a device, which would have to wait, are not read.

    Parameters
    ----------
    labels, n, output_shape, loss
        See `check_shape`.

    Raises
    ------
    DataError, DTypeError, ShapeError
        If their number, dtype, shape or range does not fit.
    """
    kind = check_shape(labels, n, output_shape, loss)
    if isinstance(labels, np.ndarray):
        check_range(labels, kind, output_shape, loss)
