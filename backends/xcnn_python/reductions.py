"""Functions that make one element of many, along axes."""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable
from typing import Any

from xcnn_python import dtypes, ieee
from xcnn_python.array import Array
from xcnn_python.dtypes import DType
from xcnn_python.layout import axes_of, gather, strides_of

__all__ = ["all", "any", "argmax", "max", "mean", "min", "sum"]


def _reduce(x: Array, axis: Any, keepdims: bool, function: Callable[[list[Any]], Any], dtype: DType) -> Array:
    """Return `function` of the elements along `axis`, for each place on the other axes."""
    along = axes_of(axis, x.ndim)
    others = [a for a in range(x.ndim) if a not in along]
    strides = strides_of(x.shape)
    order = [*others, *along]
    data = gather(x.data, [x.shape[a] for a in order], [strides[a] for a in order])
    n = math.prod(x.shape[a] for a in along)
    count = math.prod(x.shape[a] for a in others)
    found = [function(data[i * n : (i + 1) * n]) for i in range(count)]
    kept = [1 if a in along else extent for a, extent in enumerate(x.shape)]
    shape = tuple(kept if keepdims else [x.shape[a] for a in others])
    return Array(dtype.fit(found), shape, dtype)


def _need(what: str, kinds: str, x: Array) -> None:
    if x.dtype.kind not in kinds:
        msg = f"{what} of {x.dtype}; needed {'floating' if kinds == 'f' else 'real'} numbers"
        raise TypeError(msg)


def sum(x: Array, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Return sums: of integers in 64 bits, of floating numbers exact until they are rounded once."""
    _need("sum", "iuf", x)
    dtype = dtype or {"i": dtypes.int64, "u": dtypes.uint64}.get(x.dtype.kind, x.dtype)
    return _reduce(x, axis, keepdims, ieee.total if dtype.kind == "f" else builtins.sum, dtype)


def mean(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return means; NaN of nothing."""
    _need("mean", "f", x)
    return _reduce(x, axis, keepdims, lambda run: ieee.total(run) / len(run) if run else math.nan, x.dtype)


def _larger(a: Any, b: Any) -> Any:
    return a if a >= b or a != a else b


def _smaller(a: Any, b: Any) -> Any:
    return a if a <= b or a != a else b


def _extreme(what: str, x: Array, quick: Callable[..., Any], of_two: Callable[..., Any]) -> Any:
    """Return a function to the first extreme element of a list, or its first NaN.

    Python's max and min are quick and overlook NaN; a sum doesn't.
    """
    _need(what, "iuf", x)
    return functools.partial(functools.reduce, of_two) if math.isnan(builtins.sum(x.data)) else quick


def max(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return the largest elements; NaN where one is."""
    return _reduce(x, axis, keepdims, _extreme("max", x, builtins.max, _larger), x.dtype)


def min(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return the smallest elements; NaN where one is."""
    return _reduce(x, axis, keepdims, _extreme("min", x, builtins.min, _smaller), x.dtype)


def argmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return where the largest elements are, the first of several; or the first NaN."""
    largest = _extreme("argmax", x, builtins.max, _larger)
    return _reduce(x, axis, keepdims, lambda run: run.index(largest(run)), dtypes.int64)


def all(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return whether all elements are true, or not zero."""
    return _reduce(x, axis, keepdims, builtins.all, dtypes.bool)


def any(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return whether any element is true, or not zero."""
    return _reduce(x, axis, keepdims, builtins.any, dtypes.bool)
