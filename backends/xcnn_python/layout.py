"""How numbers in a row are an array: shapes, strides, and the one function that moves numbers about.

Element ``(i, j, k)`` of an array of shape ``(A, B, C)`` stands at ``i B C + j C + k``: its *strides* are
``(B C, C, 1)``. Slices, transposes, mirror images and broadcasting are other strides over the same numbers:
a step of 2 doubles a stride, a transpose exchanges two, a mirror image negates one and starts at its end, a
repeated axis has stride 0. `gather` reads numbers along any strides.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

__all__ = [
    "Shape",
    "axes_of",
    "broadcast_shapes",
    "gather",
    "normal_axis",
    "parts",
    "spread",
    "strides_of",
    "walk",
]

Shape = tuple[int, ...]


def strides_of(shape: Iterable[int], /) -> Shape:
    """Return how far apart neighbours along each axis stand, in row-major order."""
    strides, step = [], 1
    for extent in reversed(tuple(shape)):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def gather(data: Any, shape: Sequence[int], strides: Sequence[int], start: int = 0, /) -> list[Any]:
    """Return ``data[start + i s + j t + ...]`` for all indices below `shape`, the last running fastest."""
    if 0 in shape:
        return []
    axes: list[tuple[int, int]] = []  # neighbours that one stride runs through are one axis
    for extent, stride in zip(shape, strides, strict=True):
        if axes and axes[-1][1] == extent * stride:
            axes[-1] = axes[-1][0] * extent, stride
        elif extent > 1:
            axes.append((extent, stride))
    starts = [start]
    for extent, stride in axes[:-1]:
        steps = [i * stride for i in range(extent)]
        starts = [s + step for s in starts for step in steps]
    count, stride = axes[-1] if axes else (1, 1)
    span = (count - 1) * stride
    if stride > 0:
        runs: Any = [data[s : s + span + 1 : stride] for s in starts]
    elif stride < 0:
        runs = [data[s + span : s + 1 : -stride][::-1] for s in starts]
    else:
        runs = [[data[s]] * count for s in starts]
    return list(chain.from_iterable(runs))


def parts(data: list[Any], count: int, /) -> list[list[Any]]:
    """Return numbers in a row in `count` equal parts."""
    n = len(data) // max(count, 1)
    return [data[i * n : (i + 1) * n] for i in range(count)]


def spread(data: list[Any], shape: Shape, wide: Shape, /) -> list[Any]:
    """Return the numbers of an array of `shape`, repeated to fill `wide`."""
    if shape == wide:
        return data
    if len(data) == 1:
        return data * math.prod(wide)
    missing = (0,) * (len(wide) - len(shape))
    strides = [0 if n == 1 else s for n, s in zip(shape, strides_of(shape), strict=True)]
    return gather(data, wide, (*missing, *strides))


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the shape that all `shapes` are repeated to: axes of extent 1 stretch, missing ones lead."""
    wide = [1] * max(map(len, shapes))
    for shape in shapes:
        for i, extent in enumerate(reversed(shape), 1):
            if extent != 1 and wide[-i] not in (1, extent):
                msg = f"shapes {' and '.join(map(str, shapes))} do not broadcast together"
                raise ValueError(msg)
            wide[-i] = extent if extent != 1 else wide[-i]
    return tuple(wide)


def normal_axis(axis: int, ndim: int, /, what: str = "axis") -> int:
    """Return `axis` counted from the front; `what` is its name in errors."""
    found = operator.index(axis)
    if not -ndim <= found < ndim:
        msg = f"{what} is {found}; needed -{ndim} to {ndim - 1}"
        raise IndexError(msg)
    return found % ndim


def axes_of(axis: Any, ndim: int, /) -> Shape:
    """Return the axes that a function's `axis` means: None is all."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(normal_axis(a, ndim) for a in (axis if isinstance(axis, tuple) else (axis,)))
    if len(set(axes)) != len(axes):
        msg = f"axis is {axis}; needed each axis once"
        raise ValueError(msg)
    return axes


def walk(shape: Shape, key: Any, /) -> tuple[Shape, Shape, int]:
    """Return the shape, the strides and the start of what ``a[key]`` reads.

    `key` has integers, slices, None for a new axis, and one Ellipsis for the axes not named.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    named = sum(k is not None and k is not Ellipsis for k in keys)
    if named > len(shape):
        msg = f"{named} indices for an array of shape {shape}"
        raise IndexError(msg)
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    keys[at : at + 1] = [slice(None)] * (len(shape) - named)
    axes = zip(shape, strides_of(shape), strict=True)
    extents, strides, start = [], [], 0
    for k in keys:
        if k is None:
            extents.append(1)
            strides.append(0)
            continue
        extent, stride = next(axes)
        if isinstance(k, slice):
            picked = range(extent)[k]
            extents.append(len(picked))
            strides.append(stride * picked.step)
            start += stride * picked.start
            continue
        try:
            index = None if isinstance(k, bool) else operator.index(k)
        except TypeError:
            index = None
        if index is None:
            msg = f"index {k!r}; needed integers, slices, None and one Ellipsis (xp.take takes arrays)"
            raise IndexError(msg)
        start += stride * normal_axis(index, extent, "index")
    return tuple(extents), tuple(strides), start
