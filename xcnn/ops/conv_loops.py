"""Convolution as it is explained: a kernel at one place of the image, then at the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import array_api_extra as xpx
from array_api_compat import array_namespace

from xcnn.ops.conv import check_conv2d
from xcnn.ops.op import Product
from xcnn.ops.window import crop, pad, spread
from xcnn.types import Array, Pair, Sides

__all__ = ["conv2d_loops"]

Window = tuple[slice, slice, slice, slice]


def _places(
    w_shape: Sequence[int], out: Sequence[int], stride: Pair, dilation: Pair, groups: int
) -> Iterator[tuple[int, int, int, Window]]:
    """Yield each filter f and output pixel (i, j), with the window of x that it sees: images, C, H, W."""
    filters, depth, *size = w_shape
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    for f in range(filters):
        first = f // (filters // groups) * depth  # channel of f's group
        for i in range(out[0]):
            for j in range(out[1]):
                top, left = i * stride[0], j * stride[1]
                rows = slice(top, top + reach[0], dilation[0])
                columns = slice(left, left + reach[1], dilation[1])
                yield f, i, j, (slice(None), slice(first, first + depth), rows, columns)


def _put(d: Array, window: Window, shape: Sequence[int], dilation: Pair) -> Any:
    """Return zeros of `shape`, but d in the window."""
    around = [(s.start, extent - s.stop) for s, extent in zip(window[1:], shape[1:], strict=True)]
    return xpx.pad(spread(d, dilation), ((0, 0), *around), xp=array_namespace(d))


@Product
def conv2d_loops(
    x: Array,
    w: Array,
    b: Array | None = None,
    /,
    *,
    stride: Pair = (1, 1),
    padding: Sides = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Any, Any]:
    r"""Slide kernels over images, one filter and one output pixel at a time: `conv2d` for readers.

    .. math:: y_{nfij} = b_f + \sum_{c,k,l} w_{fckl}\, x_{n,\,c,\,s_h i + d_h k,\,s_w j + d_w l}

    Parameters
    ----------
    x, w, b : array
        See `conv2d`.
    stride, padding, dilation, groups
        See `conv2d`.

    Returns
    -------
    y : array (N, F, OH, OW)
        Feature maps.
    saved : Saved
        Its ``backward(dy)`` gives (dx, dw, db).

    Raises
    ------
    ShapeError
        As `conv2d` does.

    References
    ----------
    Kajda, "Constructing a convolutional neural network from ground up", sections 3.4 and 3.5.
    """
    xp = array_namespace(x)
    out = check_conv2d(x, w, b, stride, padding, dilation, groups)
    x = pad(x, padding)
    pixels = []
    for f, _, _, window in _places(w.shape, out, stride, dilation, groups):
        pixel = xp.sum(w[f, ...] * x[window], axis=(1, 2, 3))  # of every image
        pixels.append(pixel if b is None else pixel + b[f])
    y = xp.reshape(xp.stack(pixels, axis=1), (x.shape[0], w.shape[0], *out))
    return y, (x, w, padding, (stride, dilation, groups))


@conv2d_loops.gradient
def conv2d_loops_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """For each output pixel, dx: dy times the kernel, in its window; dw: dy times its window; db: dy."""
    xp = array_namespace(dy)
    x, w, padding, (stride, dilation, groups) = values
    dx, dw = xp.zeros_like(x), [xp.zeros_like(w[f, ...]) for f in range(w.shape[0])]
    for f, i, j, window in _places(w.shape, dy.shape[2:], stride, dilation, groups):
        pixel = xp.reshape(dy[:, f, i, j], (-1, 1, 1, 1))  # of every image
        if needs[0]:
            dx = dx + _put(pixel * w[f, ...], window, x.shape, dilation)
        if needs[1]:
            dw[f] = dw[f] + xp.sum(pixel * x[window], axis=0)
    db = xp.sum(dy, axis=(0, 2, 3)) if needs[2] else None
    return crop(dx, padding), xp.stack(dw), db
