"""Memory of images: channels last behind N, C, H, W shapes, and numbers of the kind that is computed with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cupy

from xcnn.errors import ShapeError
from xcnn_cupy.source import BLOCK, ROWS, kind_of, launch

__all__ = ["convert", "dense", "empty", "empty_nhwc", "is_nhwc", "lanes", "to_nchw", "to_nhwc"]

TILE = 32  # as in kernels/layout.cu
BYTES = 16  # that a thread moves at once
HALVES = ("float16", "bfloat16")


def empty(shape: Sequence[int], kind: str, /) -> Any:
    """Return an array whose numbers are not set.

    Parameters
    ----------
    shape : sequence of int
        Its extents.
    kind : str
        One of `source.KINDS`; bfloat16, which CuPy lacks, is kept in uint16.

    Returns
    -------
    array
        In row-major order.
    """
    return cupy.empty(tuple(shape), "uint16" if kind == "bfloat16" else kind)


def empty_nhwc(shape: Sequence[int], kind: str, /) -> Any:
    """Return images (N, C, H, W) whose pixels are not set, with the strides of N, H, W, C.

    Parameters
    ----------
    shape : (N, C, H, W)
        Their extents.
    kind : str
        One of `source.KINDS`.

    Returns
    -------
    array (N, C, H, W)
        With channels last in memory.
    """
    n, c, h, w = shape
    return empty((n, h, w, c), kind).transpose(0, 3, 1, 2)


def is_nhwc(x: Any, /) -> bool:
    """Return whether x (N, C, H, W) lies densely with channels last in memory."""
    if x.ndim != 4:
        return False
    _, c, h, w = x.shape
    size = x.itemsize
    strides = (h * w * c * size, size, w * c * size, c * size)
    return x.strides == strides or bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def lanes(channels: int, /, *arrays: Any) -> int:
    """Return how many neighbouring channels a thread may take at once, the same in all the arrays.

    Parameters
    ----------
    channels : int
        Of a pixel.
    *arrays : array
        What is read and written, dense, of one kind.

    Returns
    -------
    int
        Those of 16 bytes, or 1 where pixels do not begin at multiples of 16 bytes.
    """
    several = BYTES // arrays[0].itemsize
    fits = channels % several == 0 and all([a.data.ptr % BYTES == 0 for a in arrays])
    return several if fits else 1


def dense(x: Any, /, like: Any = None) -> Any:
    """Return x where it can be read as one flat vector, 16 bytes at once.

    Parameters
    ----------
    x : array
        Of any strides.
    like : array, optional
        Of the shape and kind of x, and dense itself: the result lies in memory as it does.

    Returns
    -------
    array
        x itself if it fits, else a copy in row-major order, or in that of `like`.
    """
    rows, nhwc = x.flags.c_contiguous, is_nhwc(x)
    if like is not None:
        rows, nhwc = rows and like.flags.c_contiguous, nhwc and is_nhwc(like)
    if (rows or nhwc) and x.data.ptr % BYTES == 0:
        return x
    copy = cupy.empty_like(x, order="C") if like is None else cupy.empty_like(like)
    copy[...] = x
    return copy


def convert(x: Any, kind: str, /) -> Any:
    """Return x in another kind of number, in the same order in memory.

    Parameters
    ----------
    x : array
        Numbers of one kind.
    kind : str
        One of `source.KINDS`.

    Returns
    -------
    array
        x itself if it is of that kind.
    """
    old = kind_of(x)
    if old == kind:
        return x
    if "bfloat16" not in (old, kind):
        return x.astype(kind)
    if "float32" not in (old, kind):
        return convert(convert(x, "float32"), kind)
    x = dense(x)
    y = cupy.empty_like(x, dtype="uint16" if kind == "bfloat16" else kind)
    launch("layout", "bfloat16", "narrow" if kind == "bfloat16" else "widen", x.size, x, y, x.size)
    return y


def _transpose(x: Any, y: Any, images: int, rows: int, columns: int) -> None:
    """Write images y of columns x rows, from dense images x of rows x columns."""
    old, new = kind_of(x), kind_of(y)
    if old == "float32" and new in HALVES:
        name, kind = "transpose_narrow", new
    elif old in HALVES and new == "float32":
        name, kind = "transpose_widen", old
    else:
        name, kind, x = "transpose", new, convert(x, new)
    tiles = -(-rows // TILE) * -(-columns // TILE)
    launch("layout", kind, name, tiles * BLOCK, x, y, images, rows, columns, rows=min(images, ROWS))


def _extents(x: Any) -> tuple[int, int, int]:
    """Return N, C and H W of images."""
    if x.ndim != 4:
        msg = f"x has shape {tuple(x.shape)}; needed 4 axes (N, C, H, W)"
        raise ShapeError(msg)
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def to_nhwc(x: Any, /, kind: str | None = None) -> Any:
    """Return images with channels last in memory.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images of any strides.
    kind : str, optional
        One of `source.KINDS`: the numbers that are wanted; those of x by default.

    Returns
    -------
    array (N, C, H, W)
        x itself if nothing is to be done.

    Raises
    ------
    ShapeError
        If x has not four axes.
    """
    n, c, pixels = _extents(x)
    kind = kind or kind_of(x)
    if is_nhwc(x) or x.size == 0:
        return convert(x, kind)
    y = empty_nhwc(x.shape, kind)
    _transpose(cupy.ascontiguousarray(x), y, n, c, pixels)
    return y


def to_nchw(x: Any, /, kind: str | None = None) -> Any:
    """Return images in row-major order: the inverse of `to_nhwc`.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images of any strides.
    kind : str, optional
        One of `source.KINDS`: the numbers that are wanted; those of x by default.

    Returns
    -------
    array (N, C, H, W)
        x itself if nothing is to be done.

    Raises
    ------
    ShapeError
        If x has not four axes.
    """
    n, c, pixels = _extents(x)
    kind = kind or kind_of(x)
    if x.flags.c_contiguous or not is_nhwc(x):
        return convert(cupy.ascontiguousarray(x), kind)
    y = empty(x.shape, kind)
    _transpose(x, y, n, pixels, c)
    return y
