"""Outputs and the labels that belong to them: shapes, dtypes, one-hot."""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from xcnn.backend import backend_of
from xcnn.errors import DataError, DTypeError, ShapeError
from xcnn.ops.op import check_floating
from xcnn.types import Array

__all__ = ["as_binary", "as_target", "check_outputs", "one_hot", "size_of"]


def check_outputs(z: Array, name: str, rank: int | None = None) -> Any:
    """Return the namespace of outputs (N, ...); refuse empty ones and ranks other than `rank`."""
    xp = array_namespace(z)
    check_floating(xp, z, names=name)
    if z.ndim < 1 or (rank is not None and z.ndim != rank):
        msg = f"{name} has shape {tuple(z.shape)}; needed (N, K)"
        raise ShapeError(msg)
    if 0 in z.shape:
        msg = f"{name} is empty, its shape {tuple(z.shape)}; needed at least one row"
        raise DataError(msg)
    return xp


def one_hot(labels: Array, k: int, dtype: Any, /) -> Any:
    """Return (N, K): 1 at each label, 0 elsewhere; see `_in_range`."""
    xp = array_namespace(labels)
    labels = xp.expand_dims(xp.astype(labels, xp.int64), axis=1)  # small integer types can't count to K
    classes = xp.arange(k, dtype=xp.int64, device=device_of(labels))
    return _in_range(xp.astype(labels == classes, dtype), labels, k - 1)


def _in_range(target: Array, labels: Array, top: int) -> Any:
    """Return `target`, NaN where a label is outside 0 ... top; a host, which need not wait, refuses it."""
    xp = array_namespace(labels)
    wrong = (labels < 0) | (labels > top)
    if not backend_of(labels).host:
        return xp.where(wrong, math.nan, target)
    if bool(xp.any(wrong)):
        msg = f"labels reach from {int(xp.min(labels))} to {int(xp.max(labels))}; needed 0 to {top}"
        raise DataError(msg)
    return target


def as_target(z: Array, labels: Array, /, name: str = "z") -> Any:
    """Return `labels` in the shape and dtype of the outputs z: one-hot where they are K > 1 classes.

    Raises
    ------
    ShapeError, DTypeError, DataError
        If the number of labels, their dtype or their range does not fit z.
    """
    xp = array_namespace(z)
    n, k = z.shape[0], z.shape[-1] if z.ndim > 1 else 1
    integral = xp.isdtype(labels.dtype, ("integral", "bool"))
    if not integral and labels.dtype != z.dtype:
        msg = f"labels have dtype {labels.dtype}; needed an integer dtype (classes) or {z.dtype} (one-hot)"
        raise DTypeError(msg)
    if labels.shape == z.shape and (not integral or k == 1):
        return xp.astype(labels, z.dtype, copy=False)
    if labels.ndim == 1 and labels.shape[0] == n and z.ndim == 2:
        if k == 1:
            return xp.reshape(xp.astype(labels, z.dtype, copy=False), z.shape)
        if integral:
            return one_hot(labels, k, z.dtype)
    if z.ndim == 1 and labels.shape == (n, 1):
        return xp.reshape(xp.astype(labels, z.dtype, copy=False), (n,))
    msg = (
        f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}, {name} {tuple(z.shape)}; "
        f"needed ({n},) integers or {tuple(z.shape)} {z.dtype}"
    )
    raise ShapeError(msg)


def as_binary(z: Array, labels: Array, /, name: str = "z") -> Any:
    """Return `as_target`; integers for a single output are 0 or 1, see `_in_range`."""
    xp = array_namespace(z)
    if labels.shape == z.shape and xp.isdtype(labels.dtype, ("bool", "integral")):
        whole = xp.astype(labels, xp.int64)
        return _in_range(xp.astype(whole, z.dtype), whole, 1)
    t = as_target(z, labels, name)
    single = z.ndim == 1 or z.shape[-1] == 1
    if single and xp.isdtype(labels.dtype, "integral"):
        return _in_range(t, xp.reshape(xp.astype(labels, xp.int64), t.shape), 1)
    return t


def size_of(a: Array, /) -> int:
    """Return the number of elements."""
    return math.prod(a.shape)
