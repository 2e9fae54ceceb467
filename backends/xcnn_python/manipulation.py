"""The same numbers in another shape or order."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import chain
from typing import Any

from xcnn_python.array import Array, need
from xcnn_python.dtypes import result_type
from xcnn_python.layout import axes_of, broadcast_shapes, gather, normal_axis, parts, spread, strides_of

__all__ = [
    "broadcast_to", "concat", "expand_dims", "flip", "matrix_transpose", "permute_dims", "repeat",
    "reshape", "stack", "take", "take_along_axis", "tile",
]  # fmt: skip


def reshape(x: Array, /, shape: Any, *, copy: bool | None = None) -> Array:
    """Return the numbers in another shape; one extent may be -1: what is left."""
    wanted = tuple(map(operator.index, shape if isinstance(shape, (tuple, list)) else (shape,)))
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted = tuple(x.size // rest if n == -1 and rest else n for n in wanted)
    if math.prod(wanted) != x.size or min(wanted, default=0) < 0:
        msg = f"an array of shape {x.shape} has {x.size} elements; shape {shape} needs others"
        raise ValueError(msg)
    return Array(x.data if copy is False else x.data[:], wanted, x.dtype)


def permute_dims(x: Array, /, axes: Sequence[int]) -> Array:
    """Return the axes in another order."""
    order = axes_of(tuple(axes), x.ndim)
    strides = strides_of(x.shape)
    shape = tuple(x.shape[a] for a in order)
    if len(order) != x.ndim:
        msg = f"axes are {axes}; needed all {x.ndim}"
        raise ValueError(msg)
    return Array(gather(x.data, shape, [strides[a] for a in order]), shape, x.dtype)


def matrix_transpose(x: Array, /) -> Array:
    """Return the last two axes exchanged."""
    if x.ndim < 2:
        msg = f"the transpose of an array of shape {x.shape}; needed two axes at least"
        raise ValueError(msg)
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def flip(x: Array, /, *, axis: Any = None) -> Array:
    """Return the mirror image along `axis`, one or several; all by default."""
    along = axes_of(axis, x.ndim)
    return x[tuple(slice(None, None, -1 if a in along else 1) for a in range(x.ndim))]


def expand_dims(x: Array, /, *, axis: int = 0) -> Array:
    """Return the array with an axis of extent 1 at `axis`."""
    at = normal_axis(axis, x.ndim + 1)
    return Array(x.data[:], (*x.shape[:at], 1, *x.shape[at:]), x.dtype)


def broadcast_to(x: Array, /, shape: Any) -> Array:
    """Return the array repeated along axes of extent 1, and along new axes in front."""
    shape = tuple(shape)
    if broadcast_shapes(x.shape, shape) != shape:
        msg = f"an array of shape {x.shape} does not fill {shape}"
        raise ValueError(msg)
    return Array(spread(x.data, x.shape, shape)[:], shape, x.dtype)


def repeat(x: Array, repeats: int, /, *, axis: int | None = None) -> Array:
    """Return each part along `axis` so many times in a row, as in 0 0 1 1; None takes the array flat."""
    if axis is None:
        return repeat(reshape(x, (-1,)), repeats, axis=0)
    at = normal_axis(axis, x.ndim) + 1
    wide = broadcast_to(expand_dims(x, axis=at), (*x.shape[:at], operator.index(repeats), *x.shape[at:]))
    return reshape(wide, (*x.shape[: at - 1], x.shape[at - 1] * repeats, *x.shape[at:]))


def tile(x: Array, repetitions: tuple[int, ...], /) -> Array:
    """Return the whole array so many times along each axis, as in 0 1 0 1."""
    ndim = max(x.ndim, len(repetitions))
    times = (1,) * (ndim - len(repetitions)) + tuple(repetitions)
    shape = (1,) * (ndim - x.ndim) + x.shape
    pairs = list(zip(times, shape, strict=True))
    wide = broadcast_to(
        reshape(x, [n for _, n in pairs for n in (1, n)]), [n for pair in pairs for n in pair]
    )
    return reshape(wide, [r * n for r, n in pairs])


def concat(arrays: Sequence[Array], /, *, axis: int | None = 0) -> Array:
    """Return arrays behind one another along `axis`; None joins them flat."""
    if axis is None:
        arrays, axis = [reshape(a, (-1,)) for a in arrays], 0
    first = arrays[0]
    at = normal_axis(axis, first.ndim)
    dtype = result_type(*arrays)
    rests = {(*a.shape[:at], *a.shape[at + 1 :]) for a in arrays}
    if len(rests) > 1 or any(a.ndim != first.ndim for a in arrays):
        shapes = ", ".join(str(a.shape) for a in arrays)
        msg = f"arrays of shapes {shapes} do not fit together along axis {axis}"
        raise ValueError(msg)
    count = math.prod(first.shape[:at])
    blocks = zip(*[parts(a.data, count) for a in arrays], strict=True)
    data = list(chain.from_iterable(chain.from_iterable(blocks)))
    shape = (*first.shape[:at], sum(a.shape[at] for a in arrays), *first.shape[at + 1 :])
    return Array(data if all(a.dtype is dtype for a in arrays) else dtype.convert(data), shape, dtype)


def stack(arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    """Return arrays of one shape side by side along a new axis."""
    at = normal_axis(axis, arrays[0].ndim + 1)
    return concat([expand_dims(a, axis=at) for a in arrays], axis=at)


def take(x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
    """Return the parts of x at `indices` (n,) along `axis`, which an array of one axis need not be told."""
    if axis is None and x.ndim > 1:
        msg = f"x has shape {x.shape}; needed axis"
        raise ValueError(msg)
    at = normal_axis(axis or 0, x.ndim)
    places = _places(indices, x.shape[at])
    blocks = [parts(block, x.shape[at]) for block in parts(x.data, math.prod(x.shape[:at]))]
    data = list(chain.from_iterable(block[i] for block in blocks for i in places))
    return Array(data, (*x.shape[:at], indices.size, *x.shape[at + 1 :]), x.dtype)


def take_along_axis(x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """Return, for each place on the other axes, the elements of x at its own `indices` along `axis`."""
    at = normal_axis(axis, x.ndim)
    order = [*(a for a in range(x.ndim) if a != at), at]
    x, indices = permute_dims(x, order), permute_dims(indices, order)
    others = broadcast_shapes(x.shape[:-1], indices.shape[:-1])
    x, indices = (broadcast_to(a, (*others, a.shape[-1])) for a in (x, indices))
    count = math.prod(others)
    runs = zip(parts(x.data, count), parts(_places(indices, x.shape[-1]), count), strict=True)
    found = Array([run[i] for run, places in runs for i in places], indices.shape, x.dtype)
    return permute_dims(found, [order.index(a) for a in range(x.ndim)])


def _places(indices: Array, extent: int) -> list[int]:
    """Return indices of an axis, counted from the front."""
    need("indices", indices.dtype, "iu")
    return [normal_axis(i, extent, "index") for i in indices.data]
