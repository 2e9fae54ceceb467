"""Matrix products."""

from __future__ import annotations

import math
import operator
from typing import Any

from xcnn_python.array import Array
from xcnn_python.dtypes import result_type
from xcnn_python.layout import broadcast_shapes, spread

__all__ = ["matmul"]


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
    rows = [_cut(a.data, i * m * inner, m, inner) for i in range(math.prod(left[:-2]))]
    columns = [
        [b.data[i * inner * n + j : (i + 1) * inner * n : n] for j in range(n)]
        for i in range(math.prod(right[:-2]))
    ]
    zero = dtype.scalar(0)
    data = [
        sum(map(operator.mul, row, column), zero)
        for pair in zip(spread(rows, left[:-2], batch), spread(columns, right[:-2], batch), strict=True)
        for row in pair[0]
        for column in pair[1]
    ]
    ends = (*((m,) if a.ndim > 1 else ()), *((n,) if b.ndim > 1 else ()))
    return Array(dtype.fit(data), (*batch, *ends), dtype)


def _cut(data: list[Any], start: int, count: int, length: int) -> list[list[Any]]:
    """Return `count` runs of `length` numbers from `start` on."""
    return [data[start + i * length : start + (i + 1) * length] for i in range(count)]
