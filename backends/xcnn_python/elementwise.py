"""Functions of each element."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from xcnn_python import dtypes, ieee
from xcnn_python.array import Array, apply, each
from xcnn_python.dtypes import DType, result_type
from xcnn_python.layout import broadcast_shapes, spread

__all__ = [
    "abs", "cos", "exp", "expm1", "isfinite", "isnan", "log", "log1p", "maximum", "minimum", "round", "sign",
    "sin", "sqrt", "tanh", "where",
]  # fmt: skip


def _function(
    name: str, doc: str, kinds: str, compute: ieee.Compute, dtype: DType | None = None
) -> Callable[[Array], Array]:
    """Return the function of one array that computes so on lists of its elements."""

    def function(x: Array, /) -> Array:
        return apply(name, {kinds: compute}, x, dtype=dtype)

    function.__name__, function.__doc__ = name, doc
    return function


def _sign(x: Any) -> Any:
    return x if x != x else type(x)((x > 0) - (x < 0))


def _round(x: Any) -> Any:
    return math.copysign(builtins.round(x), x) if isinstance(x, float) and math.isfinite(x) else x


def _of_angle(f: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: f(x) if math.isfinite(x) else math.nan


abs = Array.__abs__
cos = _function("cos", "Return the cosine of an angle in radians.", "f", each(_of_angle(math.cos)))
sin = _function("sin", "Return the sine of an angle in radians.", "f", each(_of_angle(math.sin)))
round = _function("round", "Return the nearest integer, the even one of two.", "iuf", each(_round))
exp = _function("exp", "Return e^x.", "f", ieee.exp)
expm1 = _function("expm1", "Return e^x - 1, exact for small x.", "f", ieee.expm1)
log = _function("log", "Return the natural logarithm: -inf of 0, NaN of negative numbers.", "f", ieee.log)
log1p = _function("log1p", "Return log(1 + x), exact for small x.", "f", ieee.log1p)
sqrt = _function("sqrt", "Return the square root: NaN of negative numbers.", "f", ieee.sqrt)
tanh = _function("tanh", "Return the hyperbolic tangent.", "f", each(math.tanh))
sign = _function("sign", "Return -1, 0 or 1; NaN of NaN.", "iuf", each(_sign))
isfinite = _function("isfinite", "Return where numbers are finite.", "iuf", each(math.isfinite), dtypes.bool)
isnan = _function("isnan", "Return where numbers are NaN.", "iuf", each(math.isnan), dtypes.bool)


def maximum(a: Any, b: Any, /) -> Array:
    """Return the larger of two elements; NaN if one is."""
    return apply("maximum", {"iuf": each(ieee.larger)}, a, b)


def minimum(a: Any, b: Any, /) -> Array:
    """Return the smaller of two elements; NaN if one is."""
    return apply("minimum", {"iuf": each(ieee.smaller)}, a, b)


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
