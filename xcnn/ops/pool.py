"""Pooling."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from xcnn.errors import ShapeError, flag
from xcnn.ops.op import Op, check_floating
from xcnn.ops.window import check_images, crop, output_size, pad, scatter, windows
from xcnn.types import Array, Pair, Sides

__all__ = ["avg_pool2d", "global_avg_pool2d", "global_max_pool2d", "max_pool2d"]


def _grow(
    x: Array, size: Pair, stride: Pair, padding: Sides, dilation: Pair, ceil: bool
) -> tuple[Pair, Sides]:
    """Return (OH, OW) and the padding, grown at bottom and right so that the last window of `ceil` fits."""
    check_images(x)
    check_floating(array_namespace(x), x, names="x")
    out = output_size(x.shape[2:], size=size, stride=stride, padding=padding, dilation=dilation, ceil=ceil)
    for p, k, d, name in zip(padding, size, dilation, ("rows", "columns"), strict=True):
        if max(p) > d * (k - 1):
            msg = f"padding of {name} is {p}; needed less than the {d * (k - 1) + 1} pixels of a window"
            raise ShapeError(msg)
    if dilation != (1, 1) and any(map(_misses, x.shape[2:], out, size, stride, padding, dilation)):
        msg = f"a window of dilation {dilation} holds no pixel of the {x.shape[2]} x {x.shape[3]} image"
        raise ShapeError(msg)
    rows, columns = (
        (p[0], max(p[1], (o - 1) * s + d * (k - 1) + 1 - h - p[0]))
        for h, o, k, s, p, d in zip(x.shape[2:], out, size, stride, padding, dilation, strict=True)
    )
    return out, (rows, columns)


def _misses(h: int, out: int, size: int, stride: int, padding: Pair, dilation: int) -> bool:
    """Return whether all taps of some window lie in the padding."""
    starts = [i * stride - padding[0] for i in range(out)]
    return not all(any(0 <= start + k * dilation < h for k in range(size)) for start in starts)


@Op
def max_pool2d(
    x: Array,
    /,
    *,
    size: Pair = (2, 2),
    stride: Pair = (2, 2),
    padding: Sides = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    ceil: bool = False,
) -> tuple[Any, Any]:
    r"""Take the largest pixel of each window.

    .. math:: y_{ncij} = \max_{k,l} x_{n,\,c,\,s_h i + d_h k,\,s_w j + d_w l}

    Padding never wins; of equal pixels the first in row-major order does; NaN is kept.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.
    size, stride, dilation : (rows, columns)
        Taps of a window, pixels between windows, pixels between taps.
    padding : ((top, bottom), (left, right))
        Pixels of minus infinity around the images, fewer than a window reaches.
    ceil : bool
        Also take a last window over the edge, if it starts inside the image or its leading padding.

    Returns
    -------
    y : array (N, C, OH, OW)
        Largest pixels.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If the rank does not fit, or a window is larger than the padded image.
    """
    xp = array_namespace(x)
    out, padding = _grow(x, size, stride, padding, dilation, ceil)
    x = pad(x, padding, -float("inf"))
    seen = windows(x, out, size, stride, dilation)
    y = xp.max(seen, axis=2)
    return y, (seen, y, x.shape, padding, (size, stride, dilation))


@max_pool2d.gradient
def max_pool2d_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx: dy where the largest pixel was, added into each window."""
    if not needs[0]:
        return (None,)
    seen, y, x_shape, padding, window = values
    return (crop(scatter(_first(seen, y, dy), x_shape, *window), padding),)


def _first(seen: Array, y: Array, dy: Array, /) -> Any:
    """Return dy at the first tap that equals y, zero at the others: (N, C, K, ...) from (N, C, ...)."""
    xp = array_namespace(dy)
    parts, free = [], xp.ones_like(y, dtype=xp.bool)
    for k in range(seen.shape[2]):
        won = (seen[:, :, k, ...] == y) & free
        free = free & ~won
        parts.append(dy * xp.astype(won, dy.dtype))
    return xp.stack(parts, axis=2)


@Op
def avg_pool2d(
    x: Array,
    /,
    *,
    size: Pair = (2, 2),
    stride: Pair = (2, 2),
    padding: Sides = ((0, 0), (0, 0)),
    ceil: bool = False,
    count_include_pad: bool = True,
) -> tuple[Any, Any]:
    r"""Take the mean of each window.

    .. math:: y_{ncij} = \frac{1}{m_{ij}} \sum_{k,l} x_{n,\,c,\,s_h i + k,\,s_w j + l}

    m is the number of pixels of the window that lie in the image, and in its padding if `count_include_pad`;
    what hangs over the edge in `ceil` mode never counts.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.
    size, stride : (rows, columns)
        Extent of a window, pixels between windows.
    padding : ((top, bottom), (left, right))
        Zero pixels around the images, fewer than a window reaches.
    ceil : bool
        Also take a last window over the edge, if it starts inside the image or its leading padding.
    count_include_pad : bool
        Whether the padding counts in the mean.

    Returns
    -------
    y : array (N, C, OH, OW)
        Means.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If the rank does not fit, or a window is larger than the padded image.
    """
    xp = array_namespace(x)
    flag(count_include_pad, "count_include_pad")
    out, grown = _grow(x, size, stride, padding, (1, 1), ceil)
    rows, columns = (
        _count(x, h, o, k, s, p if count_include_pad else (0, 0), p[0])
        for h, o, k, s, p in zip(x.shape[2:], out, size, stride, padding, strict=True)
    )
    share = 1.0 / (xp.expand_dims(rows, axis=1) * columns)
    x = pad(x, grown)
    y = xp.sum(windows(x, out, size, stride), axis=2) * share
    return y, (share, x.shape, grown, (size, stride))


def _count(x: Array, h: int, out: int, size: int, stride: int, padding: Pair, shift: int) -> Any:
    """Return how many rows (or columns) of the image and of the counted padding each window holds."""
    xp = array_namespace(x)
    starts = xp.arange(out, dtype=x.dtype, device=device_of(x)) * stride - shift
    return xp.minimum(starts + size, h + padding[1]) - xp.maximum(starts, -padding[0])


@avg_pool2d.gradient
def avg_pool2d_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx: dy/m, added to every pixel of each window."""
    if not needs[0]:
        return (None,)
    share, x_shape, padding, (size, stride) = values
    xp = array_namespace(dy)
    d = xp.expand_dims(dy * share, axis=2)
    d = xp.broadcast_to(d, (*dy.shape[:2], size[0] * size[1], *dy.shape[2:]))
    return (crop(scatter(d, x_shape, size, stride), padding),)


@Op
def global_avg_pool2d(x: Array, /) -> tuple[Any, Any]:
    r"""Take the mean of each feature map: :math:`y_{nc} = \frac{1}{HW} \sum_{ij} x_{ncij}`.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.

    Returns
    -------
    y : array (N, C)
        Means.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If x has not four axes.
    """
    xp = array_namespace(x)
    check_images(x)
    check_floating(xp, x, names="x")
    return xp.mean(x, axis=(2, 3)), x.shape


@global_avg_pool2d.gradient
def global_avg_pool2d_gradient(dy: Array, x_shape: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx: dy/(H W) at every pixel."""
    n, c, h, w = x_shape
    xp = array_namespace(dy)
    return (xp.broadcast_to(xp.reshape(dy / (h * w), (n, c, 1, 1)), x_shape),)


@Op
def global_max_pool2d(x: Array, /) -> tuple[Any, Any]:
    r"""Take the largest pixel of each feature map: :math:`y_{nc} = \max_{ij} x_{ncij}`.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.

    Returns
    -------
    y : array (N, C)
        Largest pixels.
    saved : Saved
        Its ``backward(dy)`` gives (dx,).

    Raises
    ------
    ShapeError
        If x has not four axes.
    """
    xp = array_namespace(x)
    check_images(x)
    check_floating(xp, x, names="x")
    flat = xp.reshape(x, (*x.shape[:2], -1))
    return xp.max(flat, axis=2), (flat, x.shape)


@global_max_pool2d.gradient
def global_max_pool2d_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any]:
    """dx: dy at the largest pixel, the first in row-major order if several are."""
    flat, x_shape = values
    xp = array_namespace(dy)
    where = xp.expand_dims(xp.argmax(flat, axis=2), axis=2)
    won = xp.arange(flat.shape[2], dtype=where.dtype, device=device_of(dy)) == where
    return (xp.reshape(xp.expand_dims(dy, axis=2) * xp.astype(won, dy.dtype), x_shape),)
