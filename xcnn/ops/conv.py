"""Convolution, its kernels as they are or rotated, and its transpose."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import ShapeError
from xcnn.ops.op import Product, check_floating
from xcnn.ops.window import (
    check_images,
    check_padding,
    check_size,
    check_window,
    crop,
    output_size,
    pad,
    scatter,
    windows,
)
from xcnn.types import Array, Pair, Sides

__all__ = ["conv2d", "conv_transpose2d", "true_conv2d"]


def _check_arrays(x: Array, w: Array, b: Array | None, groups: int) -> None:
    check_images(x)
    check_images(w, "w")
    check_floating(array_namespace(x), x, w, b, names="x w b")
    whole = isinstance(groups, int) and not isinstance(groups, bool)
    if not whole or groups < 1 or w.shape[0] % groups:
        msg = f"groups is {groups!r}; needed a positive divisor of the first extent of w, {w.shape[0]}"
        raise ShapeError(msg)


def _check_channels(x: Array, b: Array | None, channels: int, filters: int) -> None:
    if x.shape[1] != channels:
        msg = f"x has {x.shape[1]} channels (shape {tuple(x.shape)}); weight expects {channels}"
        raise ShapeError(msg)
    if b is not None and b.shape != (filters,):
        msg = f"b has shape {tuple(b.shape)}; needed ({filters},)"
        raise ShapeError(msg)


def check_conv2d(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Pair:
    """Refuse what no convolution takes, and return (OH, OW)."""
    _check_arrays(x, w, b, groups)
    _check_channels(x, b, w.shape[1] * groups, w.shape[0])
    size = (w.shape[2], w.shape[3])
    return output_size(x.shape[2:], size=size, stride=stride, padding=padding, dilation=dilation)


@Product
def conv2d(
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
    r"""Slide kernels over images (cross-correlation).

    .. math:: y_{nfij} = b_f + \sum_{c,k,l} w_{fckl}\, x_{n,\,c,\,s_h i + d_h k,\,s_w j + d_w l}

    over the C/groups channels of f's group; x is surrounded by zeros first.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.
    w : array (F, C/groups, KH, KW)
        Kernels.
    b : array (F,), optional
        Biases.
    stride, dilation : (rows, columns)
        Pixels between windows, and between the taps of a window.
    padding : ((top, bottom), (left, right))
        Zero pixels added around the images.
    groups : int
        Split channels and filters into this many independent groups; C makes it depthwise.

    Returns
    -------
    y : array (N, F, OH, OW)
        Feature maps, OH = floor((H + top + bottom - dilation (KH - 1) - 1) / stride) + 1.
    saved : Saved
        Its ``backward(dy)`` gives (dx, dw, db).

    Raises
    ------
    ShapeError
        If ranks, channels or groups do not fit, or a kernel is larger than the padded image.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, section 2.
    """
    xp = array_namespace(x)
    oh, ow = check_conv2d(x, w, b, stride, padding, dilation, groups)
    size = (w.shape[2], w.shape[3])
    x = pad(x, padding)
    cols = windows(x, (oh, ow), size, stride, dilation)
    cols = xp.reshape(cols, (x.shape[0], groups, -1, oh * ow))  # (N, groups, C/groups*KH*KW, OH*OW)
    kernels = xp.reshape(w, (groups, w.shape[0] // groups, -1))
    y = xp.reshape(xp.matmul(kernels, cols), (x.shape[0], w.shape[0], oh, ow))
    if b is not None:
        y = y + xp.reshape(b, (-1, 1, 1))
    return y, (cols, kernels, w.shape, x.shape, padding, (size, stride, dilation))


@conv2d.gradient
def conv2d_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """dw: each window times its dy, summed; dx: w times dy, added into each window; db: the sum of dy."""
    xp = array_namespace(dy)
    cols, kernels, w_shape, x_shape, padding, window = values
    (n, f, oh, ow), groups = dy.shape, kernels.shape[0]
    g = xp.reshape(dy, (n, groups, f // groups, oh * ow))
    dx = dw = db = None
    if needs[0]:
        dcols = xp.reshape(xp.matmul(xp.matrix_transpose(kernels), g), (n, x_shape[1], -1, oh, ow))
        dx = crop(scatter(dcols, x_shape, *window), padding)
    if needs[1]:
        dw = xp.reshape(xp.sum(xp.matmul(g, xp.matrix_transpose(cols)), axis=0), w_shape)
    if needs[2]:
        db = xp.sum(dy, axis=(0, 2, 3))
    return dx, dw, db


@Product
def true_conv2d(
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
    r"""Convolve in the mathematical sense: `conv2d` with each kernel rotated by 180 degrees.

    .. math:: y_{nfij} = b_f + \sum_{c,k,l} w_{f,\,c,\,K_H-1-k,\,K_W-1-l}\,
              x_{n,\,c,\,s_h i + d_h k,\,s_w j + d_w l}

    A kernel that is its own rotation gives what `conv2d` gives; where kernels are learned, the two differ in
    the order of their weights alone.

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
    Goodfellow, Bengio and Courville, "Deep learning", 2016, equations 9.5 and 9.6.
    """
    check_conv2d(x, w, b, stride, padding, dilation, groups)
    w = array_namespace(w).flip(w, axis=(2, 3))
    return conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)


@true_conv2d.gradient
def true_conv2d_gradient(dy: Array, saved: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """dx, db: those of conv2d; dw: that of conv2d, rotated back."""
    dx, dw, db = saved.backward(dy, needs)
    return dx, None if dw is None else array_namespace(dw).flip(dw, axis=(2, 3)), db


def check_conv_transpose2d(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Sides, output_padding: Pair, dilation: Pair,
    groups: int,
) -> tuple[list[int], list[int]]:  # fmt: skip
    """Refuse what no transposed convolution takes, and return the result's size before padding and after."""
    _check_arrays(x, w, b, groups)
    _check_channels(x, b, w.shape[0], w.shape[1] * groups)
    check_window(stride=stride, dilation=dilation)
    check_padding(padding)
    check_window(least=0, output_padding=output_padding)
    sizes = zip(x.shape[2:], stride, dilation, w.shape[2:], output_padding, strict=True)
    full = [(extent - 1) * s + d * (k - 1) + 1 + o for extent, s, d, k, o in sizes]
    check_size((x.shape[0], w.shape[1] * groups), *full)
    left = [extent - sum(p) for extent, p in zip(full, padding, strict=True)]
    if min(left) < 1:
        msg = f"padding {padding} leaves {left[0]} x {left[1]} of {full[0]} x {full[1]} pixels; needed 1 x 1"
        raise ShapeError(msg)
    if any(o >= max(s, d) for o, s, d in zip(output_padding, stride, dilation, strict=True)):
        msg = f"output_padding is {output_padding}; needed less than stride {stride} or dilation {dilation}"
        raise ShapeError(msg)
    return full, left


@Product
def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    /,
    *,
    stride: Pair = (1, 1),
    padding: Sides = ((0, 0), (0, 0)),
    output_padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Any, Any]:
    r"""Lay kernels down at every pixel and add them up: the adjoint of `conv2d` with respect to its input.

    .. math:: y_{n,\,f,\,s_h i + d_h k - p_t,\,s_w j + d_w l - p_l} \mathrel{+}= w_{cfkl}\, x_{ncij}

    Parameters
    ----------
    x : array (N, C, H, W)
        Feature maps.
    w : array (C, F/groups, KH, KW)
        Kernels.
    b : array (F,), optional
        Biases.
    stride, dilation : (rows, columns)
        Pixels between the kernels laid down, and between the taps of a kernel.
    padding : ((top, bottom), (left, right))
        Pixels cut off the result.
    output_padding : (rows, columns)
        Pixels added at the bottom and right of the result, fewer than stride or dilation.
    groups : int
        Independent groups of channels.

    Returns
    -------
    y : array (N, F, OH, OW)
        Images, OH = (H - 1) stride - top - bottom + dilation (KH - 1) + 1 + output_padding.
    saved : Saved
        Its ``backward(dy)`` gives (dx, dw, db).

    Raises
    ------
    ShapeError
        If ranks, channels or groups do not fit, or nothing is left of the image.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4.
    """
    xp = array_namespace(x)
    full, _ = check_conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    (n, c, h, width), f = x.shape, w.shape[1] * groups
    kernels = xp.reshape(w, (groups, c // groups, -1))
    pixels = xp.reshape(x, (n, groups, c // groups, h * width))
    cols = xp.reshape(xp.matmul(xp.matrix_transpose(kernels), pixels), (n, f, -1, h, width))
    window = ((w.shape[2], w.shape[3]), stride, dilation)
    y = crop(scatter(cols, (n, f, *full), *window), padding)
    if b is not None:
        y = y + xp.reshape(b, (-1, 1, 1))
    return y, (pixels, kernels, w.shape, x.shape, padding, window)


@conv_transpose2d.gradient
def conv_transpose2d_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """dx: the convolution of dy with w; dw: each pixel of x times the window of dy it was spread over."""
    xp = array_namespace(dy)
    pixels, kernels, w_shape, x_shape, padding, window = values
    (n, _, h, width), groups = x_shape, kernels.shape[0]
    dx = dw = db = None
    if needs[0] or needs[1]:
        cols = xp.reshape(windows(pad(dy, padding), (h, width), *window), (n, groups, -1, h * width))
        if needs[0]:
            dx = xp.reshape(xp.matmul(kernels, cols), x_shape)
        if needs[1]:
            dw = xp.reshape(xp.sum(xp.matmul(pixels, xp.matrix_transpose(cols)), axis=0), w_shape)
    if needs[2]:
        db = xp.sum(dy, axis=(0, 2, 3))
    return dx, dw, db
