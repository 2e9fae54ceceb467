"""Dropout in one launch, with the masks of every other backend.

Backward draws the mask again: its words are a function of the seed and the stream, and ten rounds of Philox
for four elements take less time than reading a kept mask, and no memory.
"""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from xcnn.backend import Kernel
from xcnn.random import seed_key
from xcnn_cupy.layout import empty_nhwc, is_nhwc
from xcnn_cupy.source import kind_of, launch

__all__ = ["DROPOUT", "backward", "dropout", "dropout_gradient", "forward"]

_MASK = 2**32 - 1
_MOST = 2**34  # elements that one stream has words for


def forward(x: Any, rate: float, seed: int, stream: tuple[Any, int, int], /) -> Any:
    """Return x with a random fraction of its elements set to zero, and the others scaled.

    Parameters
    ----------
    x : array
        Of any shape and kind; channels last in memory stay so.
    rate : float
        The fraction.
    seed : int
        Key of the random numbers.
    stream : (step, layer number, use)
        Which of the key's numbers, in the order of the elements whatever the memory's; the step may be a 0-d
        array on the device.

    Returns
    -------
    array like x
        A new array.
    """
    if x.ndim == 4 and is_nhwc(x) and not x.flags.c_contiguous:
        y, (n, c), plane = empty_nhwc(x.shape, kind_of(x)), x.shape[:2], x.shape[2] * x.shape[3]
    else:
        x = x if x.flags.c_contiguous else cupy.ascontiguousarray(x)  # which would make () into (1,)
        y, (n, c), plane = cupy.empty(x.shape, x.dtype), (1, 1), x.size
    step, layer, use = stream
    if isinstance(step, (int, np.integer)):
        number, number_at = int(step) & _MASK, None
    else:
        number, number_at = 0, step.astype(np.int64, copy=False)
    keep = 1.0 - rate
    words = (*seed_key(seed), number, number_at, int(layer) & _MASK, int(use) & _MASK)
    threads = n * c * ((plane + 6) // 4)
    args = (x, y, n, c, plane, keep, round(keep * 2**32), *words)
    launch("dropout", kind_of(x), "dropout", threads, *args)
    return y


def backward(dy: Any, rate: float, seed: int, stream: tuple[Any, int, int], /) -> Any:
    """Return dx: dy times the same mask.

    Parameters
    ----------
    dy : array like y
        Gradient of the loss with respect to y, in any memory order.
    rate, seed, stream
        See `forward`.

    Returns
    -------
    array like dy
        A new array.
    """
    return forward(dy, rate, seed, stream)


def dropout(
    x: Any, /, *, rate: float = 0.5, seed: int = 0, stream: tuple[Any, int, int] = (0, 0, 0)
) -> tuple[Any, Any] | Any:
    """Return what `xcnn.ops.dropout` returns.

    Parameters
    ----------
    x : array
        Inputs of any shape.
    rate, seed, stream
        See `forward`.

    Returns
    -------
    tuple
        y, and the stream for backward; ``NotImplemented`` for what the readable op refuses, and for nothing.
    """
    if x.dtype.kind != "f" or not 0 <= rate < 1 or not 0 < math.prod(x.shape) <= _MOST:
        return NotImplemented
    return forward(x, rate, seed, stream), (rate, seed, stream)


def dropout_gradient(dy: Any, values: Any, needs: tuple[bool, ...], /) -> tuple[Any]:
    """Return (dx,).

    Parameters
    ----------
    dy : array like y
        Gradient of the loss with respect to y.
    values : tuple
        What `dropout` left.
    needs : tuple of bool
        Which gradients are wanted.

    Returns
    -------
    tuple
        One gradient.
    """
    return (backward(dy, *values),)


DROPOUT = Kernel(dropout, dropout_gradient)
