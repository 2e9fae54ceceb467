"""Where the branches of a run meet: sums, and stacks of channels, of images with channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xcnn_cupy.layout import empty_nhwc, lanes
from xcnn_cupy.source import kind_of, launch

__all__ = ["add", "split", "stack"]


def add(a: Any, b: Any, /, *, relu: bool = False) -> Any:
    """Return the sum of two arrays, rectified where asked.

    Parameters
    ----------
    a, b : array (N, C, H, W)
        With channels last, of one kind.
    relu : bool
        Whether max(a + b, 0) is wanted; NaN is kept.

    Returns
    -------
    array
        Like a.
    """
    y, kind = empty_nhwc(a.shape, kind_of(a)), kind_of(a)
    wide = lanes(a.size, a, b, y)
    launch("join", kind, "add", a.size // wide, a, b, y, a.size, int(relu), wide)
    return y


def _copy(x: Any, y: Any, start: int, channels: int, to: int) -> None:
    """Copy `channels` of x, from `start` on, into y, from `to` on."""
    c, whole = x.shape[1], y.shape[1]
    pixels, wide = x.size // c, lanes(math.gcd(c, whole, start, channels, to), x, y)
    threads = pixels * (channels // wide)
    launch("join", kind_of(x), "copy", threads, x, y, pixels, c, start, channels, to, whole, wide)


def stack(parts: Sequence[Any], /) -> Any:
    """Return arrays stacked along the channels.

    Parameters
    ----------
    parts : sequence of array (N, C, H, W)
        With channels last, of one kind, alike but for C.

    Returns
    -------
    array
        With channels last.
    """
    n, _, h, w = parts[0].shape
    y, to = empty_nhwc((n, sum(x.shape[1] for x in parts), h, w), kind_of(parts[0])), 0
    for x in parts:
        _copy(x, y, 0, x.shape[1], to)
        to += x.shape[1]
    return y


def split(x: Any, channels: Sequence[int], /) -> list[Any]:
    """Return what `stack` was given.

    Parameters
    ----------
    x : array (N, C, H, W)
        With channels last.
    channels : sequence of int
        Of each part.

    Returns
    -------
    list of array
        With channels last.
    """
    n, _, h, w = x.shape
    parts, start = [], 0
    for wide in channels:
        y = empty_nhwc((n, wide, h, w), kind_of(x))
        _copy(x, y, start, wide, 0)
        parts.append(y)
        start += wide
    return parts
