"""Pixels of images (N, C, H, W) read at other places, for arrays of any library."""

from __future__ import annotations

from typing import Any

import array_api_extra as xpx
import numpy as np
from array_api_compat import array_namespace, device

from xcnn.types import Array

__all__ = ["bilinear", "cut", "places"]


def places(x: Array, n: int) -> Array:
    """Return 0, 1, ..., n - 1 on the device of `x`."""
    xp = array_namespace(x)
    return xp.arange(n, dtype=xp.int64, device=device(x))


def _read(x: Array, at: Array) -> Array:
    """Return ``y[n, c, i, j] = x[n, c, at[n, i, j] // W, at[n, i, j] % W]``."""
    xp = array_namespace(x)
    n, c, h, w = x.shape
    index = xp.reshape(places(x, n * c), (n, c, 1, 1)) * (h * w) + at[:, None, ...]
    return xp.reshape(xp.take(xp.reshape(x, (-1,)), xp.reshape(index, (-1,)), axis=0), index.shape)


def cut(x: Array, rows: Any, columns: Any, p: int) -> Array:
    """Return a window of each image in a border of p zeros, which begins at its row and column."""
    n, c, h, w = x.shape
    if isinstance(x, np.ndarray):  # whole rows are copied, in a quarter of the time
        padded = np.zeros((n, c, h + 2 * p, w + 2 * p), x.dtype)
        padded[:, :, p : p + h, p : p + w] = x
        windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))
        return windows[np.arange(n), :, rows, columns]
    at_rows = rows[:, None, None] + places(x, h)[:, None]
    at = at_rows * (w + 2 * p) + columns[:, None, None] + places(x, w)
    return _read(xpx.pad(x, ((0, 0), (0, 0), (p, p), (p, p))), at)


def bilinear(x: Array, rows: Array, columns: Array, /) -> Array:
    """Read images between their pixels.

    Parameters
    ----------
    x : array
        Shape (N, C, H, W).
    rows, columns : array
        Shape (N, H', W'): where to read, in pixels. Beyond the outermost pixels the image falls to zero
        within one pixel.

    Returns
    -------
    array
        Shape (N, C, H', W'), the dtype of `x`; integers are rounded.
    """
    xp = array_namespace(x)
    h, w = x.shape[2:]
    work = xp.float64 if x.dtype == xp.float64 else xp.float32
    padded = xpx.pad(xp.astype(x, work), ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = xp.minimum(xp.maximum(rows + 1, 0), h + 1)
    columns = xp.minimum(xp.maximum(columns + 1, 0), w + 1)
    top, left = xp.minimum(xp.astype(rows, xp.int64), h), xp.minimum(xp.astype(columns, xp.int64), w)
    down = xp.astype(rows - xp.astype(top, rows.dtype), work)[:, None, ...]
    right = xp.astype(columns - xp.astype(left, columns.dtype), work)[:, None, ...]
    corner = top * (w + 2) + left
    upper = _read(padded, corner) * (1 - right) + _read(padded, corner + 1) * right
    lower = _read(padded, corner + w + 2) * (1 - right) + _read(padded, corner + w + 3) * right
    y = upper * (1 - down) + lower * down
    return xp.astype(xp.round(y) if xp.isdtype(x.dtype, "integral") else y, x.dtype)
