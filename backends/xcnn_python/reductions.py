"""Functions that make one element of many, along axes: sums, extremes, products of matrices."""

from __future__ import annotations

import builtins
import functools
import math
import operator
from collections.abc import Callable
from typing import Any

from xcnn_python import dtypes, ieee
from xcnn_python.array import Array, need
from xcnn_python.dtypes import DType, result_type
from xcnn_python.layout import axes_of, broadcast_shapes, gather, parts, spread, strides_of

__all__ = ["all", "any", "argmax", "matmul", "max", "mean", "min", "sum"]


def _reduce(x: Array, axis: Any, keepdims: bool, function: Callable[[list[Any]], Any], dtype: DType) -> Array:
    """Return `function` of the elements along `axis`, for each place on the other axes."""
    along = axes_of(axis, x.ndim)
    others = [a for a in range(x.ndim) if a not in along]
    strides = strides_of(x.shape)
    order = [*others, *along]
    data = gather(x.data, [x.shape[a] for a in order], [strides[a] for a in order])
    found = [function(run) for run in parts(data, math.prod(x.shape[a] for a in others))]
    kept = [1 if a in along else extent for a, extent in enumerate(x.shape)]
    shape = tuple(kept if keepdims else [x.shape[a] for a in others])
    return Array(dtype.fit(found), shape, dtype)


def sum(x: Array, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Return sums: of integers in 64 bits, of floating numbers exact until they are rounded once."""
    need("sum", x.dtype, "iuf")
    dtype = dtype or {"i": dtypes.int64, "u": dtypes.uint64}.get(x.dtype.kind, x.dtype)
    return _reduce(x, axis, keepdims, ieee.total if dtype.kind == "f" else builtins.sum, dtype)


def mean(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return means; NaN of nothing."""
    need("mean", x.dtype, "f")
    return _reduce(x, axis, keepdims, lambda run: ieee.total(run) / len(run) if run else math.nan, x.dtype)


def _extreme(what: str, x: Array, quick: Callable[..., Any], of_two: Callable[..., Any]) -> Any:
    """Return a function to the first extreme element of a list, or its first NaN.

    Python's max and min are quick and overlook NaN; a sum doesn't.
    """
    need(what, x.dtype, "iuf")
    return functools.partial(functools.reduce, of_two) if math.isnan(builtins.sum(x.data)) else quick


def max(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return the largest elements; NaN where one is."""
    return _reduce(x, axis, keepdims, _extreme("max", x, builtins.max, ieee.larger), x.dtype)


def min(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return the smallest elements; NaN where one is."""
    return _reduce(x, axis, keepdims, _extreme("min", x, builtins.min, ieee.smaller), x.dtype)


def argmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return where the largest elements are, the first of several; or the first NaN."""
    largest = _extreme("argmax", x, builtins.max, ieee.larger)
    return _reduce(x, axis, keepdims, lambda run: run.index(largest(run)), dtypes.int64)


def all(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return whether all elements are true, or not zero."""
    return _reduce(x, axis, keepdims, builtins.all, dtypes.bool)


def any(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Return whether any element is true, or not zero."""
    return _reduce(x, axis, keepdims, builtins.any, dtypes.bool)


def matmul(a: Array, b: Array, /) -> Array:
    """Return the products of the matrices in the last two axes, for each of the axes before.

    c[..., i, j] = sum over k of a[..., i, k] b[..., k, j], of float32 in double precision until it is done.
    A vector a is a row, a vector b a column; that axis is not in the result.
    """
    dtype = result_type(a, b)
    if dtype.kind not in "iuf" or not a.shape or not b.shape:
        msg = f"the product of {a.dtype} {a.shape} and {b.dtype} {b.shape}; needed axes, and real numbers"
        raise TypeError(msg)
    left = a.shape if a.ndim > 1 else (1, *a.shape)
    right = b.shape if b.ndim > 1 else (*b.shape, 1)
    (*_, m, inner), (*_, depth, n) = left, right
    if inner != depth:
        msg = (
            f"the product of shapes {a.shape} and {b.shape}: {inner} columns and {depth} rows; needed as many"
        )
        raise ValueError(msg)
    batch = broadcast_shapes(left[:-2], right[:-2])
    rows = [parts(matrix, m) for matrix in parts(a.data, math.prod(left[:-2]))]
    columns = [[matrix[j::n] for j in range(n)] for matrix in parts(b.data, math.prod(right[:-2]))]
    zero = dtype.scalar(0)
    data = [
        builtins.sum(map(operator.mul, row, column), zero)
        for pair in zip(spread(rows, left[:-2], batch), spread(columns, right[:-2], batch), strict=True)
        for row in pair[0]
        for column in pair[1]
    ]
    ends = (*((m,) if a.ndim > 1 else ()), *((n,) if b.ndim > 1 else ()))
    return Array(dtype.fit(data), (*batch, *ends), dtype)
