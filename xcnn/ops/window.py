"""Windows over images and their adjoint: what convolution and pooling are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import array_api_extra as xpx
from array_api_compat import array_namespace

from xcnn.errors import DataError, OptionError, ShapeError, flag
from xcnn.types import Array, Pair, Sides

__all__ = [
    "check_images",
    "check_padding",
    "check_size",
    "check_window",
    "crop",
    "output_size",
    "pad",
    "scatter",
    "spread",
    "windows",
]

Slice = tuple[int, int, int]
LARGEST = 2**48  # numbers in an array
LONGEST = 2**31 - 1  # pixels


def check_images(x: Array, /, name: str = "x") -> None:
    """Refuse what is not a batch of images (N, C, H, W) with N, C, H, W > 0."""
    if x.ndim != 4:
        msg = f"{name} has shape {tuple(x.shape)}; needed 4 axes (N, C, H, W)"
        raise ShapeError(msg)
    if 0 in x.shape:
        msg = f"{name} is empty, its shape {tuple(x.shape)}; needed at least one image and one pixel"
        raise DataError(msg)


def check_window(*, least: int = 1, **pairs: Sequence[int]) -> None:
    """Refuse pairs (rows, columns) that are not two integers of at least `least`."""
    for name, pair in pairs.items():
        if not _is_pair(pair) or not all([_is_extent(k, least) for k in pair]):
            msg = f"{name} is {pair!r}; needed two integers (rows, columns) of at least {least}, below 2**31"
            raise OptionError(msg)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2


def _is_extent(value: Any, least: int) -> bool:
    if type(value) is not int and (type(value) is bool or getattr(value, "shape", None) != ()):
        return False
    return hasattr(value, "__index__") and least <= value <= LONGEST


def check_padding(padding: Any, /) -> None:
    """Refuse what is not ((top, bottom), (left, right)), integers of at least 0."""
    if not _is_pair(padding):
        msg = f"padding is {padding!r}; needed ((top, bottom), (left, right)), integers of at least 0"
        raise OptionError(msg)
    check_window(least=0, **{"padding of rows": padding[0], "padding of columns": padding[1]})


def output_size(
    image: Sequence[int],
    /,
    *,
    size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair = (1, 1),
    ceil: bool = False,
) -> Pair:
    """Return (OH, OW), how many windows fit into an image.

    Parameters
    ----------
    image : (H, W)
        Extents of the image before padding, in pixels.
    size, stride, dilation : (rows, columns)
        Taps of a window, steps between windows, steps between taps.
    padding : ((top, bottom), (left, right))
        Pixels added around the image.
    ceil : bool
        Count a last window that hangs over the end, if it starts inside the image or its leading padding.

    Returns
    -------
    (OH, OW)
        ``floor((H + top + bottom - dilation (size - 1) - 1) / stride) + 1``, likewise for columns.

    Raises
    ------
    ShapeError
        If a window is larger than the padded image.
    OptionError
        If a size, stride or dilation is below 1, or a padding negative.
    """
    check_window(size=size, stride=stride, dilation=dilation)
    check_padding(padding)
    flag(ceil, "ceil")
    found = []
    for h, k, s, p, d in zip(image, size, stride, padding, dilation, strict=True):
        room = h + p[0] + p[1] - (d * (k - 1) + 1)
        if room < 0:
            reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
            padded = [h + sum(p) for h, p in zip(image, padding, strict=True)]
            msg = (
                f"a window of {size[0]} x {size[1]} (dilation {dilation[0]}, {dilation[1]}) reaches over "
                f"{reach[0]} x {reach[1]} pixels; the padded image has {padded[0]} x {padded[1]}"
            )
            raise ShapeError(msg)
        out = room // s + 1
        if ceil and room % s and out * s < h + p[0]:
            out += 1
        found.append(out)
    return found[0], found[1]


def pad(x: Array, padding: Sides, /, value: float = 0.0) -> Any:
    """Surround the images of x (N, C, H, W) by ((top, bottom), (left, right)) pixels of `value`."""
    if padding == ((0, 0), (0, 0)):
        return x
    xp, (top, bottom), (left, right) = array_namespace(x), *padding
    check_size(x.shape[:2], x.shape[2] + int(top) + int(bottom), x.shape[3] + int(left) + int(right))
    return xpx.pad(x, ((0, 0), (0, 0), *padding), constant_values=value, xp=xp)


def check_size(batch: Sequence[int], height: int, width: int, /) -> None:
    """Refuse images that no machine has the memory for: their indices run over."""
    if math.prod([*batch, int(height), int(width)]) > LARGEST:
        msg = f"the result would have shape {(*batch, height, width)}; needed {LARGEST} numbers at most"
        raise ShapeError(msg)


def crop(x: Array, padding: Sides, /) -> Any:
    """Undo `pad`."""
    (top, bottom), (left, right) = padding
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def taps(out: Pair, size: Pair, stride: Pair, dilation: Pair, /) -> list[tuple[slice, slice]]:
    """Return, for each tap (k, l) of a window, row by row, the pixels it visits: d k + s i, d l + s j."""
    rows, columns = (
        [slice(k * d, k * d + (o - 1) * s + 1, s) for k in range(extent)]
        for extent, d, s, o in zip(size, dilation, stride, out, strict=True)
    )
    return [(r, c) for r in rows for c in columns]


def windows(x: Array, out: Pair, /, size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Any:
    """Return the windows of x (N, C, H, W) as (N, C, KH*KW, OH, OW)."""
    return array_namespace(x).stack([x[:, :, r, c] for r, c in taps(out, size, stride, dilation)], axis=2)


def spread(x: Array, stride: Pair, /) -> Any:
    """Put stride - 1 zeros between the rows and between the columns of x (..., OH, OW)."""
    if stride == (1, 1):
        return x
    xp = array_namespace(x)
    *batch, oh, ow = x.shape
    (sh, sw), none = stride, ((0, 0),) * len(batch)
    x = xpx.pad(
        xp.reshape(x, (*batch, oh, 1, ow, 1)), (*none, (0, 0), (0, sh - 1), (0, 0), (0, sw - 1)), xp=xp
    )
    return xp.reshape(x, (*batch, oh * sh, ow * sw))[..., : (oh - 1) * sh + 1, : (ow - 1) * sw + 1]


def scatter(d: Array, shape: Sequence[int], /, size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Any:
    """Add windows d (N, C, KH*KW, OH, OW) into images of `shape`: the adjoint of `windows`."""
    out, height, width = (d.shape[3], d.shape[4]), shape[2], shape[3]
    if stride == size and dilation == (1, 1):  # the windows tile the image
        xp, (n, c, _, oh, ow), (kh, kw) = array_namespace(d), d.shape, size
        d = xp.permute_dims(xp.reshape(d, (n, c, kh, kw, oh, ow)), (0, 1, 4, 2, 5, 3))
        return pad(xp.reshape(d, (n, c, oh * kh, ow * kw)), ((0, height - oh * kh), (0, width - ow * kw)))
    d = spread(d, stride)
    x: Any = None
    for k, (rows, columns) in enumerate(taps(out, size, stride, dilation)):
        around = (rows.start, height - rows.stop), (columns.start, width - columns.stop)
        part = pad(d[:, :, k, :, :], around)
        x = part if x is None else x + part
    return x
