"""Batches on the device: bytes made numbers; images taken by number and augmented, in one launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy

from xcnn.data import Compose, RandomCrop, RandomFlip
from xcnn.random import AUGMENT, derive, seed_key
from xcnn_cupy.layout import empty_nhwc
from xcnn_cupy.source import BLOCK, ROWS, launch

__all__ = ["augmented", "scale_bytes"]

COVERED: list[list[Any]] = [[], [RandomCrop], [RandomFlip], [RandomCrop, RandomFlip]]
DTYPES = ("uint8", "float16", "float32", "float64")


def scale_bytes(x: Any, dtype: str, /) -> Any:
    """Return x / 255 as numbers of `dtype`.

    Parameters
    ----------
    x : array
        Of bytes, uint8.
    dtype : str
        ``"float32"``, ``"float64"`` or ``"float16"``.

    Returns
    -------
    array like x
        In the memory order of x where that is dense.
    """
    y = cupy.empty_like(x, dtype=dtype)
    if y.strides != tuple(s * y.dtype.itemsize for s in x.strides):
        x, y = cupy.ascontiguousarray(x), cupy.empty(x.shape, dtype)
    if x.size:
        launch("input", dtype, "scale_bytes", x.size, x, y, x.size)
    return y


def augmented(images: Any, index: Any, augment: Any, /, *, seed: int, epoch: int) -> Any:
    """Return ``augment(images[index], seed=seed, epoch=epoch, index=index)`` in one launch, bit for bit.

    Parameters
    ----------
    images : array (N, C, H, W)
        The data set on the device, of any memory order.
    index : array (B,) of int64
        Numbers of images, from 0 to N - 1, on the device.
    augment : RandomCrop, RandomFlip, Compose or None
        A crop, a flip, or a crop and then a flip.
    seed : int
        The loader's.
    epoch : int
        Number of the epoch.

    Returns
    -------
    array (B, C, H, W)
        A new one, of the dtype of `images`, channels last in memory; ``NotImplemented`` for what isn't
        covered.
    """
    given = [] if augment is None else [augment]
    steps: Sequence[Any] = augment.steps if type(augment) is Compose else given
    kind = images.dtype.name
    if [type(step) for step in steps] not in COVERED or images.ndim != 4 or kind not in DTYPES:
        return NotImplemented
    crop, flip = (0, 0, 0), (0, 0, 0, 0)
    for place, step in enumerate(steps):
        key = seed_key(derive(seed, place) if type(augment) is Compose else seed)
        if type(step) is RandomCrop:
            crop = step.padding, *key
        else:
            flip = int(step.horizontal), int(step.vertical), *key
    with images.device:
        y = empty_nhwc((index.shape[0], *images.shape[1:]), kind)
        if y.size:
            strides = [s // images.dtype.itemsize for s in images.strides]
            numbers = *y.shape, epoch, AUGMENT, *crop, *flip
            name, compiled = ("gather_bytes", "float32") if kind == "uint8" else ("gather_numbers", kind)
            threads, rows = max(BLOCK, y.size // len(y) // 8), min(len(y), ROWS)
            launch("input", compiled, name, threads, images, *strides, index, y, *numbers, rows=rows)
    return y
