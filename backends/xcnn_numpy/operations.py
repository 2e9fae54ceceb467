"""Ops outside runs, as runs of one stage: what a layer of one's own, or an uncompiled model, calls."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from xcnn.errors import Error
from xcnn.ops.window import output_size
from xcnn_numpy.engine import Engine
from xcnn_numpy.lowering import PLACES, Lowered
from xcnn_numpy.simd import lanes
from xcnn_numpy.sliding import Geometry
from xcnn_numpy.stage_conv import Convolution
from xcnn_numpy.stage_pixel import MaxPool, Window
from xcnn_numpy.workspace import Value

__all__ = ["conv2d", "conv2d_gradient", "max_pool2d", "max_pool2d_gradient"]

FLOATS = np.dtype("float32"), np.dtype("float64")


def _same(start: int) -> int:
    return start


@lru_cache(maxsize=32)
def _convolution(g: Geometry, dtype: str, biased: bool) -> Engine:
    """Return what computes a convolution; the values are its weights, then its biases."""
    low, size = Lowered((g.c, *g.image)), g.f * g.taps
    low.output = low.append(Convolution(low.input, Value(g.f, *g.out), g, 0, size if biased else None))
    return Engine(low, dtype, ((g.c, *g.image), (g.f, *g.out)), size + g.f * biased, _same)


@lru_cache(maxsize=32)
def _pooling(
    shape: tuple[int, ...], out: tuple[int, ...], size: Any, stride: Any, before: Any, dtype: str
) -> Engine:
    low = Lowered(shape)
    low.output = low.append(MaxPool(low.input, Value(shape[0], *out), Window(size, stride, before)))
    return Engine(low, dtype, (shape, (shape[0], *out)), 0, _same)


def _is_large(x: Any) -> bool:
    """Return whether x is a batch of images that is worth the way into lanes."""
    return x.ndim == 4 and x.dtype in FLOATS and x.shape[0] >= lanes(x.dtype.name) // 2 and min(x.shape) > 0


def conv2d(
    x: Any, w: Any, b: Any = None, /, *, stride: Any = (1, 1), padding: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1), groups: int = 1,
) -> Any:  # fmt: skip
    """Return (y, values); NotImplemented for few images, and for what the readable op would refuse."""
    fits = _is_large(x) and w.ndim == 4 and w.dtype == x.dtype and (b is None or b.shape == w.shape[:1])
    if not fits or (b is not None and b.dtype != x.dtype) or min(w.shape) == 0:
        return NotImplemented
    c, f, size = x.shape[1], w.shape[0], w.shape[2:]
    try:
        out: Any = output_size(x.shape[2:], size=size, stride=stride, padding=padding, dilation=dilation)
    except Error:
        return NotImplemented
    if (
        type(groups) is not int
        or groups < 1
        or c % groups
        or f % groups
        or w.shape[1] * groups != c
        or min(min(padding)) < 0
    ):
        return NotImplemented
    (top, _), (left, _) = padding
    g = Geometry(c, f, groups, x.shape[2:], out, size, tuple(stride), tuple(dilation), (top, left))
    engine = _convolution(g, x.dtype.name, b is not None)
    values = np.concatenate([w.reshape(-1), *([] if b is None else [b])])
    y, lease = engine.forward(x, values, train=True)
    return y, (lease, w.shape)


def conv2d_gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """Return dx, dw, db."""
    lease, shape = values
    g, dx = lease.engine.backward(dy, lease, need_dx=bool(needs[0]))
    size = math.prod(shape)
    return dx, g[:size].reshape(shape), g[size:] if needs[2] else None


def max_pool2d(
    x: Any, /, *, size: Any = (2, 2), stride: Any = (2, 2), padding: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1), ceil: bool = False,
) -> Any:  # fmt: skip
    """Return (y, values); NotImplemented for few images, and for what the readable op would refuse."""
    if not _is_large(x):
        return NotImplemented
    try:
        out = output_size(
            x.shape[2:], size=size, stride=stride, padding=padding, dilation=dilation, ceil=ceil
        )
    except Error:
        return NotImplemented
    if tuple(dilation) != (1, 1) or math.prod(size) > PLACES:
        return NotImplemented
    if any(max(p) >= k or min(p) < 0 for p, k in zip(padding, size, strict=True)):
        return NotImplemented
    (top, _), (left, _) = padding
    engine = _pooling(x.shape[1:], tuple(out), tuple(size), tuple(stride), (top, left), x.dtype.name)
    return engine.forward(x, np.empty(0, x.dtype), train=True)


def max_pool2d_gradient(dy: Any, lease: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """Return dx."""
    return (lease.engine.backward(dy, lease, need_dx=True)[1],)
