"""Mean and standard deviation of the channels, to normalise images by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xcnn.data.rows import from_list, from_rows, read_slice, to_host, whole
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError, named

__all__ = ["channel_statistics"]


@named("channel_statistics")
def channel_statistics(x: Any, /, *, chunk: int = 1024) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, over all images and pixels.

    With M numbers ``v`` in a channel, ``mean = sum v / M`` and ``std = sqrt(sum (v - mean)**2 / M)``. Chunks
    are read one after the other and joined in float64 [1]_; the array is never read whole.

    Parameters
    ----------
    x : array_like
        Shape (N, C, H, W), of any library or a memory map: uint8, divided by 255, or floating.
    chunk : int
        Images that are read at a time.

    Returns
    -------
    mean : tuple of float
        One number for each channel.
    std : tuple of float
        One number for each channel; 0 where it is constant.

    Raises
    ------
    DataError
        If there are no pixels, or some are NaN or infinite.
    DTypeError
        If `x` has other integers than uint8, or no real numbers.
    OptionError
        If `chunk` is below 1.
    ShapeError
        If `x` is not four-dimensional.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance: analysis and
       recommendations", The American Statistician 37(3), 1983.
    """
    x = from_rows(from_list(x, "channel_statistics"), "x", "channel_statistics")
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) != 4:
        raise ShapeError(f"x has shape {shape}; needed (N, C, H, W)", where="channel_statistics")
    if 0 in shape:
        raise DataError(f"x has shape {shape}; needed at least one pixel", where="channel_statistics")
    if whole(chunk) < 1:
        raise OptionError(f"chunk is {chunk!r}; needed an integer from 1 up", where="channel_statistics")
    count, mean, squares = 0, np.zeros(shape[1]), np.zeros(shape[1])
    for start in range(0, shape[0], whole(chunk)):
        part = to_host(read_slice(x, start, min(start + whole(chunk), shape[0])))
        if part.dtype != np.uint8 and not np.issubdtype(part.dtype, np.floating):
            msg = f"x has dtype {part.dtype}; needed uint8 or a floating dtype"
            raise DTypeError(msg, where="channel_statistics")
        v = part.astype(np.float64)
        m = v.size // shape[1]
        part_mean = v.mean(axis=(0, 2, 3))
        v -= part_mean[:, None, None]
        delta = part_mean - mean
        squares += np.sum(v * v, axis=(0, 2, 3)) + delta**2 * (count * m / (count + m))
        mean += delta * (m / (count + m))
        count += m
    scale = 255.0 if part.dtype == np.uint8 else 1.0
    means = tuple(float(a) / scale for a in mean)
    stds = tuple(math.sqrt(float(a) / count) / scale for a in squares)
    if not all(map(math.isfinite, means + stds)):
        raise DataError("x holds NaN or infinity; needed finite pixels", where="channel_statistics")
    return means, stds
