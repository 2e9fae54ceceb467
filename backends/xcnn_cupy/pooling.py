"""Pooling of images that lie in memory with channels last, or with channels first."""

from __future__ import annotations

import math
from typing import Any

import cupy

from xcnn.errors import Error
from xcnn.ops.window import output_size
from xcnn.plugin import Kernel
from xcnn.types import Pair, Sides
from xcnn_cupy.layout import empty, empty_nhwc, is_nhwc, lanes, to_nchw, to_nhwc
from xcnn_cupy.source import BLOCK, ROWS, kind_of, launch

__all__ = [
    "AVG_POOL",
    "MAX_POOL",
    "average_backward",
    "average_forward",
    "global_average_backward",
    "global_average_forward",
    "max_backward",
    "max_forward",
]

TAPS = 255  # places that 8 bits tell apart, beside none
PIXELS = 2**31  # of all channels of an image: threads count them in 32 bits
WARP = 32


def _run(name: str, arrays: tuple[Any, ...], images: int, each: int, *arguments: int) -> None:
    """Start a kernel, with a block row for each image and threads for `each` of the pixels."""
    block = max(WARP, min(BLOCK, -(-each // WARP) * WARP))
    given = (*arrays, images, *arguments)
    launch("pool", kind_of(arrays[0]), name, each, *given, block=block, rows=min(images, ROWS))


def _pool(
    name: str, arrays: tuple[Any, ...], image: Any, pooled: Any,
    size: Pair, stride: Pair, padding: Sides, dilation: Pair = (1, 1), counted: Sides | None = None,
) -> None:  # fmt: skip
    """Start a kernel over windows; the last array is x's gradient, or the first is x."""
    n, c = image.shape[:2]
    images, channels = (n, c) if is_nhwc(image) and is_nhwc(pooled) else (n * c, 1)
    several = lanes(channels, image, pooled)
    axes = zip(
        image.shape[2:], pooled.shape[2:], size, stride, dilation, [p[0] for p in padding], strict=True
    )
    numbers = [number for axis in axes for number in axis]
    written = pooled if arrays[0] is image else image
    each = math.prod(written.shape[2:]) * channels // several
    more = [] if counted is None else [number for side in counted for number in side]
    _run(name, arrays, images, each, channels, *numbers, several, *more)


def _dense(x: Any) -> Any:
    return x if is_nhwc(x) else to_nchw(x)


def _like(x: Any, shape: tuple[int, ...], kind: str) -> Any:
    return empty_nhwc(shape, kind) if is_nhwc(x) else empty(shape, kind)


def max_forward(
    x: Any, /, *, size: Pair, stride: Pair, padding: Sides, out: Pair, dilation: Pair = (1, 1)
) -> tuple[Any, Any]:
    """Return the largest pixel of each window; NaN is kept, the first of equals wins, padding never does.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images of any kind of number.
    size, stride, dilation : (rows, columns)
        As `xcnn.ops.max_pool2d` takes them; at most `TAPS` taps, and each window holds a pixel.
    padding : ((top, bottom), (left, right))
        Likewise.
    out : (rows, columns)
        How many windows there are.

    Returns
    -------
    y : array (N, C, OH, OW)
        Largest pixels, with channels last if x has them there.
    argmax : array of uint8 (N, C, OH, OW)
        Which tap it was, in row-major order; none (255) where NaN was met.
    """
    x = _dense(x)
    shape = (*x.shape[:2], *out)
    y, argmax = _like(x, shape, kind_of(x)), _like(x, shape, "uint8")
    _pool("max_forward", (x, y, argmax), x, y, size, stride, padding, dilation)
    return y, argmax


def max_backward(
    dy: Any, argmax: Any, x_shape: tuple[int, ...], /,
    *, size: Pair, stride: Pair, padding: Sides, dilation: Pair = (1, 1),
) -> Any:  # fmt: skip
    """Return dx: the sum of dy over the windows in which a pixel was the largest.

    Parameters
    ----------
    dy : array (N, C, OH, OW)
        Of any strides.
    argmax : array of uint8 (N, C, OH, OW)
        From `max_forward`.
    x_shape : tuple of int
        (N, C, H, W).
    size, stride, dilation : (rows, columns)
        As given to `max_forward`.
    padding : ((top, bottom), (left, right))
        Likewise.

    Returns
    -------
    array (N, C, H, W)
        In the layout of `argmax`.
    """
    dy = to_nhwc(dy) if is_nhwc(argmax) else to_nchw(dy)
    dx = _like(argmax, x_shape, kind_of(dy))
    _pool("max_backward", (dy, argmax, dx), dx, dy, size, stride, padding, dilation)
    return dx


def average_forward(
    x: Any, /, *, size: Pair, stride: Pair, padding: Sides, out: Pair, count_include_pad: bool = True
) -> Any:
    """Return the mean of each window, as `xcnn.ops.avg_pool2d` counts.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images of any kind of number.
    size, stride : (rows, columns)
        Extent of a window, pixels between windows.
    padding : ((top, bottom), (left, right))
        Zero pixels around the images.
    out : (rows, columns)
        How many windows there are.
    count_include_pad : bool
        Whether the padding counts in the mean.

    Returns
    -------
    array (N, C, OH, OW)
        With channels last if x has them there.
    """
    x = _dense(x)
    y = _like(x, (*x.shape[:2], *out), kind_of(x))
    counted = padding if count_include_pad else ((0, 0), (0, 0))
    _pool("average_forward", (x, y), x, y, size, stride, padding, counted=counted)
    return y


def average_backward(
    dy: Any, x_shape: tuple[int, ...], /,
    *, size: Pair, stride: Pair, padding: Sides, count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """Return dx: the sum of dy/m over the windows that hold a pixel.

    Parameters
    ----------
    dy : array (N, C, OH, OW)
        Of any strides.
    x_shape : tuple of int
        (N, C, H, W).
    size, stride : (rows, columns)
        As given to `average_forward`.
    padding : ((top, bottom), (left, right))
        Likewise.
    count_include_pad : bool
        Likewise.

    Returns
    -------
    array (N, C, H, W)
        In the layout of dy.
    """
    dy = _dense(dy)
    dx = _like(dy, x_shape, kind_of(dy))
    counted = padding if count_include_pad else ((0, 0), (0, 0))
    _pool("average_backward", (dy, dx), dx, dy, size, stride, padding, counted=counted)
    return dx


def global_average_forward(x: Any, /) -> Any:
    """Return the mean of each feature map.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images of any kind of number.

    Returns
    -------
    array (N, C)
        Means.
    """
    x = to_nhwc(x)
    n, c, h, w = x.shape
    y = empty((n, c), kind_of(x))
    launch("pool", kind_of(x), "global_forward", -(-c // WARP) * BLOCK, x, y, n, h * w, c, rows=min(n, ROWS))
    return y


def global_average_backward(dy: Any, /, x_shape: tuple[int, ...]) -> Any:
    """Return dx: dy/(H W) at every pixel.

    Parameters
    ----------
    dy : array (N, C)
        Of any strides.
    x_shape : tuple of int
        (N, C, H, W).

    Returns
    -------
    array (N, C, H, W)
        With channels last in memory.
    """
    n, c, h, w = x_shape
    dy, dx = cupy.ascontiguousarray(dy), empty_nhwc(x_shape, kind_of(dy))
    several = lanes(c, dy, dx)
    _run("global_backward", (dy, dx), n, h * w * c // several, h * w, c, several)
    return dx


def _windows(x: Any, size: Pair, stride: Pair, padding: Sides, dilation: Pair, ceil: bool) -> Pair | None:
    """Return how many windows there are; None for what the kernels do not cover or the op would refuse."""
    if kind_of(x) not in ("float16", "float32", "float64") or x.ndim != 4 or x.size == 0:
        return None
    try:
        out = output_size(
            x.shape[2:], size=size, stride=stride, padding=padding, dilation=dilation, ceil=ceil
        )
    except Error:
        return None
    if any(max(p) > d * (k - 1) for p, k, d in zip(padding, size, dilation, strict=True)):
        return None
    if tuple(dilation) != (1, 1) and (ceil or any(map(any, padding))):  # a window might hold no pixel
        return None
    return out if max(math.prod(x.shape[1:]), x.shape[1] * math.prod(out)) < PIXELS else None


def _max_pool2d(
    x: Any, /, *, size: Pair = (2, 2), stride: Pair = (2, 2), padding: Sides = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1), ceil: bool = False,
) -> Any:  # fmt: skip
    out = _windows(x, size, stride, padding, dilation, ceil)
    if out is None or math.prod(size) > TAPS:
        return NotImplemented
    window: Any = {"size": size, "stride": stride, "padding": padding, "dilation": dilation}
    y, argmax = max_forward(x, out=out, **window)
    return y, (argmax, x.shape, window)


def _max_pool2d_gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    argmax, x_shape, window = values
    return (max_backward(dy, argmax, x_shape, **window) if needs[0] else None,)


def _avg_pool2d(
    x: Any, /, *, size: Pair = (2, 2), stride: Pair = (2, 2), padding: Sides = ((0, 0), (0, 0)),
    ceil: bool = False, count_include_pad: bool = True,
) -> Any:  # fmt: skip
    out = _windows(x, size, stride, padding, (1, 1), ceil)
    if out is None:
        return NotImplemented
    window: Any = {"size": size, "stride": stride, "padding": padding, "count_include_pad": count_include_pad}
    return average_forward(x, out=out, **window), (x.shape, window)


def _avg_pool2d_gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    x_shape, window = values
    return (average_backward(dy, x_shape, **window) if needs[0] else None,)


MAX_POOL = Kernel(_max_pool2d, _max_pool2d_gradient)
AVG_POOL = Kernel(_avg_pool2d, _avg_pool2d_gradient)
