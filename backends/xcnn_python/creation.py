"""Arrays from numbers, and arrays of one number."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

from xcnn_python.array import Array, check_device
from xcnn_python.dtypes import DType, bool, float64, int64, named

__all__ = ["arange", "asarray", "astype", "full", "full_like", "ones", "ones_like", "zeros", "zeros_like"]


def _flatten(nested: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Return the numbers of nested lists, row by row, and their shape."""
    if not isinstance(nested, (list, tuple)):
        return [nested], ()
    parts = [_flatten(part) for part in nested]
    shapes = {shape for _, shape in parts}
    if len(shapes) > 1:
        msg = f"rows of shapes {' and '.join(map(str, sorted(shapes)))}; needed rows of one shape"
        raise ValueError(msg)
    inner = shapes.pop() if shapes else ()
    return [number for data, _ in parts for number in data], (len(parts), *inner)


def _default(numbers: list[Any]) -> DType:
    """Return the dtype of Python numbers: the first of these that can hold them all; float64 for none."""
    for dtype, kinds in ((bool, builtins.bool), (int64, int), (float64, (int, float))):
        if all(isinstance(v, kinds) for v in numbers) and (numbers or dtype is float64):
            return dtype
    wrong = next(type(v).__name__ for v in numbers if not isinstance(v, (int, float)))
    msg = f"got a {wrong}; needed real Python numbers"
    raise TypeError(msg)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Array:
    """Return an array of a number, of nested lists, or of any library's array that has `tolist`."""
    check_device(device)
    if isinstance(obj, Array):
        return astype(obj, dtype or obj.dtype, copy=copy is True)
    if hasattr(obj, "tolist"):
        own = named(obj.dtype)
        return astype(Array(_flatten(obj.tolist())[0], tuple(obj.shape), own), dtype or own, copy=False)
    numbers, shape = _flatten(obj)
    dtype = dtype or _default(numbers)
    return Array(dtype.given(numbers), shape, dtype)


def astype(x: Array, dtype: DType, /, *, copy: Any = True, device: Any = None) -> Array:
    """Return the same numbers in another dtype: float32 rounds, integers lose fractions."""
    check_device(device)
    if dtype is x.dtype:
        return Array(x.data[:], x.shape, dtype) if copy else x
    return Array(dtype.convert(x.data), x.shape, dtype)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """Return an array of one number."""
    check_device(device)
    shape = tuple(map(operator.index, shape if isinstance(shape, (tuple, list)) else (shape,)))
    if min(shape, default=0) < 0:
        msg = f"shape is {shape}; needed extents of 0 or more"
        raise ValueError(msg)
    dtype = dtype or _default([fill_value])
    return Array(dtype.given([fill_value]) * math.prod(shape), shape, dtype)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """Return zeros, float64 by default."""
    return full(shape, 0, dtype=dtype or float64, device=device)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """Return ones, float64 by default."""
    return full(shape, 1, dtype=dtype or float64, device=device)


def full_like(x: Array, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """Return an array of one number, of the shape and, by default, the dtype of x."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device)


def zeros_like(x: Array, /, *, dtype: Any = None, device: Any = None) -> Array:
    """Return zeros of the shape and, by default, the dtype of x."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Array, /, *, dtype: Any = None, device: Any = None) -> Array:
    """Return ones of the shape and, by default, the dtype of x."""
    return full_like(x, 1, dtype=dtype, device=device)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Array:
    """Return start, start + step, ... below `stop`; the numbers below `start` if that is all."""
    check_device(device)
    start, stop = (0, start) if stop is None else (start, stop)
    count = max(math.ceil((stop - start) / step), 0)
    numbers = [start + i * step for i in range(count)]
    dtype = dtype or _default([start, stop, step])
    return Array(dtype.given(numbers), (count,), dtype)
