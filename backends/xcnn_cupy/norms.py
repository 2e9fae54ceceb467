"""Batch normalisation of channels-last images, with the residual sum and the ReLU behind it in the same pass.

Images are (N, C, H, W) with channels last in memory, or (N, C), of any kind of number; statistics, parameters
and their gradients are (C,), float32, or float64 for float64 images. All sums have a fixed order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy

from xcnn.backend import Kernel
from xcnn_cupy.layout import empty_nhwc, is_nhwc, to_nhwc
from xcnn_cupy.source import BLOCK, KINDS, kind_of, launch

__all__ = ["BATCH_NORM", "Moved", "apply", "backward", "infer", "move", "statistics"]

_BLOCKS = 512  # of a reduction: what its second stage must read
_STREAMS = 2048  # blocks of a pass that writes: each thread reads its channels' numbers once, for many rows
_NARROW = 4  # channels of a block of a second stage, as in kernels/channels.cuh
_WHOLE, _READ, _AGAIN = range(3)  # how the ReLU's mask is known: norm.cu


class Moved(NamedTuple):
    """What a batch says about its channels, and where that moves the running statistics.

    Attributes
    ----------
    mean, var : array (C,)
        Of the batch; the biased variance.
    inv_std : array (C,)
        1 / sqrt(var + eps).
    running_mean, running_var : array (C,)
        The running statistics after this batch, in new arrays.
    """

    mean: Any
    var: Any
    inv_std: Any
    running_mean: Any
    running_var: Any


def _laid_out(x: Any) -> Any:
    """Return x as kernels read it, channels last: itself, but for arrays from elsewhere; None stays None."""
    if x is None or x.ndim != 4:
        return x if x is None else cupy.ascontiguousarray(x)
    return x if is_nhwc(x) else to_nhwc(x)


def _matrix(x: Any) -> tuple[str, int, int]:
    """Return the kind of x, its rows (positions) and its columns (channels)."""
    return kind_of(x), x.size // x.shape[1], x.shape[1]


def _grid(x: Any, each: int, most: int) -> tuple[int, int]:
    """Return the threads along x, so that each owns about `each` rows, and the rows of blocks along y."""
    _, m, c = _matrix(x)
    wide = 16 // x.dtype.itemsize
    columns = c if c % wide else c // wide
    across = -(-columns // BLOCK)
    height = BLOCK // min(columns, BLOCK)
    blocks = min(max(most // across, 1), -(-m // (height * each)))
    return blocks * BLOCK, across


def _like(x: Any) -> Any:
    return empty_nhwc(x.shape, kind_of(x)) if x.ndim == 4 else cupy.empty(x.shape, x.dtype)


def _vectors(x: Any, n: int) -> list[Any]:
    """Return n new arrays (C,) of the kind that x is computed in: one array's rows, as each costs a call."""
    return list(cupy.empty((n, x.shape[1]), _real(x)))


def _real(x: Any) -> str:
    return "float64" if KINDS[kind_of(x)][1] == "double" else "float32"


def _statistics(x: Any, eps: float, running: tuple[Any, Any] | None, momentum: float) -> list[Any]:
    x = _laid_out(x)
    kind, m, c = _matrix(x)
    threads, across = _grid(x, 16, _BLOCKS)
    blocks = threads // BLOCK
    counts, parts = cupy.empty(blocks, _real(x)), cupy.empty((2, blocks, c), _real(x))
    launch("statistics", kind, "moments", threads, x, m, c, counts, parts[0], parts[1], rows=across)
    found = _vectors(x, 3 if running is None else 5)
    old, new = running or (None, None), found[3:] or [None, None]
    numbers = (1 - momentum, momentum, m / max(m - 1, 1))
    args = (x, counts, parts[0], parts[1], blocks, c, eps, *found[:3], *old, *numbers, *new)
    launch("statistics", kind, "statistics", BLOCK * -(-c // _NARROW), *args)
    return found


def statistics(x: Any, /, eps: float = 1e-5) -> tuple[Any, Any, Any]:
    """Return the mean, the biased variance and 1 / sqrt(var + eps) of each channel.

    Parameters
    ----------
    x : array
        Images of any kind.
    eps : float
        Added to the variance.

    Returns
    -------
    mean, var, inv_std : array (C,)
        Exact for large means too: samples are merged, squares are never subtracted.
    """
    mean, var, inv_std = _statistics(x, eps, None, 0.0)
    return mean, var, inv_std


def move(x: Any, mean: Any, var: Any, /, *, momentum: float, eps: float) -> Moved:
    """Return the statistics of a batch, and the running ones moved by them as `BatchNorm2D` does.

    Parameters
    ----------
    x : array
        Images of any kind.
    mean, var : array (C,)
        Running statistics; they stay as they are.
    momentum : float
        m in running = (1 - m) running + m batch.
    eps : float
        Added to the variance.

    Returns
    -------
    Moved
        From two launches.
    """
    return Moved(*_statistics(x, eps, (cupy.ascontiguousarray(mean), cupy.ascontiguousarray(var)), momentum))


def _apply(x: Any, mean: Any, spread: Any, eps: float, w: Any, b: Any, residual: Any, relu: bool) -> Any:
    x, residual = _laid_out(x), _laid_out(residual)
    kind, m, c = _matrix(x)
    y = _like(x)
    threads, across = _grid(x, 4, _STREAMS)
    args = (x, residual, y, m, c, mean, spread, eps, w, b, int(relu))
    launch("norm", kind, "apply", threads, *args, rows=across)
    return y


def apply(
    x: Any, mean: Any, inv_std: Any, w: Any, b: Any, /, *, residual: Any = None, relu: bool = False
) -> Any:
    """Return relu((x - mean) w inv_std + b + residual) in one launch.

    Parameters
    ----------
    x : array
        Images of any kind.
    mean, inv_std, w, b : array (C,)
        Statistics and parameters.
    residual : array like x, optional
        What is added.
    relu : bool
        Whether negative results become 0.

    Returns
    -------
    array like x
        A new array.
    """
    return _apply(x, mean, inv_std, 0.0, w, b, residual, relu)


def infer(
    x: Any, mean: Any, var: Any, w: Any, b: Any, /, *, eps: float, residual: Any = None, relu: bool = False
) -> Any:
    """Return what `apply` returns, for statistics given as mean and variance: the running ones, say.

    Parameters
    ----------
    x, mean, w, b, residual, relu
        See `apply`.
    var : array (C,)
        Biased or running variance.
    eps : float
        Added to the variance, positive.

    Returns
    -------
    array like x
        A new array.
    """
    return _apply(x, mean, var, eps, w, b, residual, relu)


def backward(
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    inv_std: Any,
    w: Any,
    /,
    *,
    b: Any = None,
    relu: bool = False,
    residual: bool = False,
    training: bool = True,
    eps: float = 0.0,
    into: tuple[Any, Any] | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Return (dx, dw, db, dresidual) of `apply`, in three launches.

    Parameters
    ----------
    dy : array like x
        Gradient of the loss with respect to y.
    x : array
        What forward took.
    y : array or None
        What forward returned: with `relu`, where it is positive dy passes. None, given `b` and no residual:
        y is computed again, bit for bit, which costs less than reading it.
    mean, inv_std, w : array (C,)
        Statistics used, and the scale.
    b : array (C,), optional
        The shift, where y is None.
    relu, residual : bool
        What forward did.
    training : bool
        Whether the statistics are those of x, so that dx goes through them too.
    eps : float
        Where positive, `inv_std` is the variance, as for `infer`.
    into : (dw, db), optional
        Where to write these two; new arrays by default.

    Returns
    -------
    dx : array like x
        New.
    dw, db : array (C,)
        Like w.
    dresidual : array like x or None
        New where `relu`, else dy itself; None without `residual`.
    """
    kind, m, c = _matrix(x)
    mask = _WHOLE if not relu else _AGAIN if y is None else _READ
    dy, x, y = _laid_out(dy), _laid_out(x), _laid_out(y if mask == _READ else None)
    given = (dy, x, y, mask, m, c, mean, inv_std, eps, w, b)
    threads, across = _grid(x, 16, _BLOCKS)
    blocks = threads // BLOCK
    parts = cupy.empty((blocks, 2, c), _real(x))
    launch("norm", kind, "sums", threads, *given, parts, rows=across)
    dw, db = into or _vectors(x, 2)
    launch("norm", kind, "gradients", BLOCK * -(-c // _NARROW), parts, blocks, c, inv_std, eps, dw, db)
    dx, beside = _like(x), _like(x) if residual and relu else None
    through = (dw, db) if training else (None, None)
    threads, across = _grid(x, 4, _STREAMS)
    launch("norm", kind, "input_gradient", threads, *given, *through, dx, beside, rows=across)
    return dx, dw, db, beside if relu or not residual else dy


def _forward(x: Any, w: Any, b: Any, mean: Any = None, var: Any = None, /, *, eps: float = 1e-5) -> Any:
    """Return ((y, mean, var), values); NotImplemented for halves, and for what the readable op refuses."""
    vectors = [a for a in (w, b, mean, var) if a is not None]
    training = mean is None
    fits = x.ndim in (2, 4) and x.size and eps > 0 and training == (var is None)
    if not fits or kind_of(x) not in ("float32", "float64"):
        return NotImplemented
    if any(a.shape != (x.shape[1],) or a.dtype != x.dtype for a in vectors):
        return NotImplemented
    x, (w, b, *fixed) = _laid_out(x), map(cupy.ascontiguousarray, vectors)
    if training:
        mean, var, inv_std = statistics(x, eps)
        return (apply(x, mean, inv_std, w, b), mean, var), (x, mean, inv_std, w, True, 0.0)
    mean, var = fixed
    return (infer(x, mean, var, w, b, eps=eps), mean, var), (x, mean, var, w, False, eps)


def _gradient(dy: Any, values: Any, needs: tuple[bool, ...], /) -> tuple[Any, ...]:
    """Return (dx, dw, db, None, None)."""
    x, mean, spread, w, training, eps = values
    return *backward(dy, x, None, mean, spread, w, training=training, eps=eps)[:3], None, None


BATCH_NORM = Kernel(_forward, _gradient)
"""What replaces `xcnn.ops.batch_norm`, for float32 and float64."""
