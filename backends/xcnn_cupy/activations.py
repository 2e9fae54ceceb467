"""Activations, and gradients of biases, in one or two launches each."""

from __future__ import annotations

from typing import Any

import cupy

from xcnn.plugin import Kernel
from xcnn_cupy.layout import dense, empty, lanes, to_nhwc
from xcnn_cupy.source import BLOCK, kind_of, launch

__all__ = [
    "KEPT",
    "LEAKY_RELU",
    "NAMES",
    "RELU",
    "SIGMOID",
    "SILU",
    "TANH",
    "backward",
    "backward_with_bias",
    "bias_gradient",
    "forward",
]

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "silu")  # in the order of kernels/activation.cu
KEPT = {"relu": "y", "leaky_relu": "x", "sigmoid": "y", "tanh": "y", "silu": "x"}  # what backward needs
FLOATS = ("float16", "float32", "float64")
SUMMED = 8  # rows that a thread adds up at least
BLOCKS = 1024  # of one launch of column sums: enough for any GPU, and the same sums on all
WARP = 32


def forward(name: str, x: Any, /, slope: float = 0.01) -> Any:
    """Return an activation of x.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    x : array
        Of any shape and kind of number.
    slope : float
        Of a leaky rectifier below zero.

    Returns
    -------
    array
        With the strides of x, if it is dense.
    """
    x = dense(x)
    y = cupy.empty_like(x)
    threads = -(-x.nbytes // 16)
    launch("activation", kind_of(x), "forward", threads, x, y, x.size, NAMES.index(name), slope)
    return y


def backward(name: str, dy: Any, saved: Any, /, slope: float = 0.01) -> Any:
    """Return dx.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    dy : array
        Of any strides.
    saved : array
        What `KEPT` says: x or y.
    slope : float
        As given to `forward`.

    Returns
    -------
    array
        With the strides of `saved`, if it is dense.
    """
    saved = dense(saved)
    dy = dense(dy, saved)
    dx = cupy.empty_like(saved)
    threads, which = -(-dx.nbytes // 16), NAMES.index(name)
    launch("activation", kind_of(dx), "backward", threads, dy, saved, dx, dx.size, which, slope)
    return dx


def backward_with_bias(
    name: str, dy: Any, saved: Any, /, slope: float = 0.01, db: Any = None
) -> tuple[Any, Any]:
    """Return dx and the gradient of a bias added to x: sums of dx over all axes but that of channels.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    dy : array (N, C, H, W) or (N, F)
        Of any strides.
    saved : array like dy
        What `KEPT` says: x or y.
    slope : float
        As given to `forward`.
    db : array (C,) or (F,), optional
        To be written into.

    Returns
    -------
    dx : array like dy
        With channels last in memory.
    db : array (C,) or (F,)
        In float32, or float64 for that; the same bits each time.
    """
    saved = _rows(saved)
    dy = dense(dy, saved)
    dx = cupy.empty_like(saved)
    return dx, _column_sums(dy, saved, dx, db, NAMES.index(name), slope)


def bias_gradient(dy: Any, /, db: Any = None) -> Any:
    """Return the gradient of a bias: the sums of dy over all axes but that of channels.

    Parameters
    ----------
    dy : array (N, C, H, W) or (N, F)
        Of any strides.
    db : array (C,) or (F,), optional
        To be written into.

    Returns
    -------
    array (C,) or (F,)
        In float32, or float64 for that; the same bits each time.
    """
    return _column_sums(_rows(dy), None, None, db, 0, 0.0)


def _rows(x: Any) -> Any:
    """Return x as rows of channels that are dense in memory."""
    return dense(to_nhwc(x) if x.ndim == 4 else cupy.ascontiguousarray(x))


def _column_sums(dy: Any, saved: Any, dx: Any, db: Any, which: int, slope: float) -> Any:
    kind, columns = kind_of(dy), dy.shape[1]
    rows, real = dy.size // columns, "float64" if kind == "float64" else "float32"
    several = lanes(columns, dy)
    groups = -(-columns // several)
    across = min(WARP, 1 << (groups - 1).bit_length())
    tiles = -(-groups // across)
    parts = max(1, min(rows // (BLOCK // across * SUMMED), BLOCKS // tiles))
    db = empty((columns,), real) if db is None else db
    partial = db if parts == 1 else empty((parts, columns), real)
    numbers = rows, columns, across, several, which, slope
    launch("activation", kind, "column_sums", tiles * BLOCK, dy, saved, dx, partial, *numbers, rows=parts)
    if parts > 1:
        launch("activation", kind, "add_rows", -(-columns // 8) * BLOCK, partial, db, parts, columns)
    return db


def _kernel(name: str) -> Kernel:
    """Return both halves of an op: elementwise, they keep the strides of x."""

    def op(x: Any, /, *, slope: float = 0.01) -> Any:
        if kind_of(x) not in FLOATS or x.size == 0:
            return NotImplemented
        x = dense(x)
        y = forward(name, x, slope)
        return y, (x if KEPT[name] == "x" else y, slope)

    def gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
        return (backward(name, dy, *values) if needs[0] else None,)

    return Kernel(op, gradient)


RELU, LEAKY_RELU, SIGMOID, TANH, SILU = map(_kernel, NAMES)
