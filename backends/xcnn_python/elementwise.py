"""Functions of each element."""

from __future__ import annotations

import math
from typing import Any

from xcnn_python import dtypes, ieee
from xcnn_python.array import Array, apply, each
from xcnn_python.dtypes import result_type
from xcnn_python.layout import broadcast_shapes, spread

__all__ = [
    "abs", "exp", "expm1", "isfinite", "isinf", "isnan", "log", "log1p", "maximum", "minimum", "sign",
    "sqrt", "tanh", "where",
]  # fmt: skip

abs = Array.__abs__


def exp(x: Array, /) -> Array:
    """Return e^x."""
    return apply("exp", {"f": ieee.exp}, x)


def expm1(x: Array, /) -> Array:
    """Return e^x - 1, exact for small x."""
    return apply("expm1", {"f": ieee.expm1}, x)


def log(x: Array, /) -> Array:
    """Return the natural logarithm: -inf of 0, NaN of negative numbers."""
    return apply("log", {"f": ieee.log}, x)


def log1p(x: Array, /) -> Array:
    """Return log(1 + x), exact for small x."""
    return apply("log1p", {"f": ieee.log1p}, x)


def sqrt(x: Array, /) -> Array:
    """Return the square root: NaN of negative numbers."""
    return apply("sqrt", {"f": ieee.sqrt}, x)


def tanh(x: Array, /) -> Array:
    """Return the hyperbolic tangent."""
    return apply("tanh", {"f": each(math.tanh)}, x)


def sign(x: Array, /) -> Array:
    """Return -1, 0 or 1; NaN of NaN."""
    return apply("sign", {"iuf": lambda data: [v if v != v else (v > 0) - (v < 0) for v in data]}, x)


def isfinite(x: Array, /) -> Array:
    """Return whether each element is neither infinite nor NaN."""
    return apply("isfinite", {"iuf": each(math.isfinite)}, x, dtype=dtypes.bool)


def isinf(x: Array, /) -> Array:
    """Return whether each element is infinite."""
    return apply("isinf", {"iuf": each(math.isinf)}, x, dtype=dtypes.bool)


def isnan(x: Array, /) -> Array:
    """Return whether each element is NaN."""
    return apply("isnan", {"iuf": each(math.isnan)}, x, dtype=dtypes.bool)


def _maximum(a: list[Any], b: list[Any]) -> list[Any]:
    return [v if v >= w or v != v else w for v, w in zip(a, b, strict=True)]


def _minimum(a: list[Any], b: list[Any]) -> list[Any]:
    return [v if v <= w or v != v else w for v, w in zip(a, b, strict=True)]


def maximum(a: Any, b: Any, /) -> Array:
    """Return the larger of two elements; NaN if one is."""
    return apply("maximum", {"iuf": _maximum}, a, b, dtype=result_type(a, b))


def minimum(a: Any, b: Any, /) -> Array:
    """Return the smaller of two elements; NaN if one is."""
    return apply("minimum", {"iuf": _minimum}, a, b, dtype=result_type(a, b))


def where(condition: Array, a: Any, b: Any, /) -> Array:
    """Return a where `condition` holds, b elsewhere."""
    if condition.dtype is not dtypes.bool:
        msg = f"where: condition is of {condition.dtype}; needed bool"
        raise TypeError(msg)
    dtype = result_type(a, b)
    a, b = (v if isinstance(v, Array) else Array([dtype.scalar(v)], (), dtype) for v in (a, b))
    shape = broadcast_shapes(condition.shape, a.shape, b.shape)
    columns = [spread(v.data, v.shape, shape) for v in (condition, a, b)]
    data = [v if c else w for c, v, w in zip(*columns, strict=True)]
    return Array(dtype.convert(data), shape, dtype)
