"""Augmentation: other pictures of the same things, drawn anew in every epoch.

Each is called as ``augment(x, seed=, epoch=, index=)`` with a NumPy batch x (N, C, H, W) of any dtype and
the numbers (N,) of its images in the data set, and returns a batch of the same shape and dtype. What
happens to image i in epoch e is a function of the seed, i and e alone, not of the batch size, the order or
the thread: it follows from the four words of the Philox counter ``(i, e, AUGMENT, 0)``, see `xcnn.random`.
Outside the image there are zeros. A function of your own with these arguments works wherever these do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.errors import OptionError, ShapeError
from xcnn.random import AUGMENT, derive, philox, seed_key

__all__ = ["Compose", "Cutout", "RandomCrop", "RandomFlip", "RandomRotation", "RandomShift"]


def _words(owner: object, x: np.ndarray, seed: int, epoch: int, index: np.ndarray) -> tuple[Any, ...]:
    """Return four random words for each image, after a look at the shapes."""
    if x.ndim != 4 or np.shape(index) != x.shape[:1]:
        msg = f"x has shape {x.shape} and index {np.shape(index)}; needed (N, C, H, W) and (N,)"
        raise ShapeError(msg, where=type(owner).__name__)
    return philox((np.asarray(index, np.int64), epoch, AUGMENT, 0), seed_key(seed))


def _below(word: np.ndarray, n: int) -> np.ndarray:
    """Return an integer from 0 to n - 1 for each word: ``floor(n word / 2**32)``."""
    return word * n >> 32


def _within(word: np.ndarray, limit: float) -> np.ndarray:
    """Return a number from ``-limit`` to ``limit`` for each word: ``limit (2 word / 2**32 - 1)``."""
    return limit * (word * 2.0**-31 - 1)


def _require(good: bool, owner: object, option: str, needed: str) -> None:
    if not good:
        msg = f"{option} is {getattr(owner, option)!r}; needed {needed}"
        raise OptionError(msg, where=type(owner).__name__)


@dataclass(frozen=True)
class RandomCrop:
    """Cut the image out of itself with a border of zeros: ``y[n, c, h, w] = x[n, c, h + a_n, w + b_n]``.

    a and b are integers from ``-padding`` to ``padding``, all equally likely.

    Parameters
    ----------
    padding : int
        Width of the border, in pixels.

    Raises
    ------
    OptionError
        If `padding` is no integer of at least 0.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        """Look at the options."""
        _require(isinstance(self.padding, int) and self.padding >= 0, self, "padding", "an integer from 0 up")

    def __call__(self, x: np.ndarray, /, *, seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
        """Return the cropped images."""
        rows, columns, _, _ = _words(self, x, seed, epoch, index)
        n, c, h, w = x.shape
        p = self.padding
        padded = np.zeros((n, c, h + 2 * p, w + 2 * p), x.dtype)
        padded[:, :, p : p + h, p : p + w] = x
        windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))
        return windows[np.arange(n), :, _below(rows, 2 * p + 1), _below(columns, 2 * p + 1)]


@dataclass(frozen=True)
class RandomFlip:
    """Mirror every second image, on average.

    Parameters
    ----------
    horizontal : bool
        Whether left and right are exchanged.
    vertical : bool
        Whether top and bottom are exchanged, independently of left and right.
    """

    horizontal: bool = True
    vertical: bool = False

    def __call__(self, x: np.ndarray, /, *, seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
        """Return the mirrored images."""
        words = _words(self, x, seed, epoch, index)
        across, down = (_below(word, 2).astype(bool)[:, None, None, None] for word in words[:2])
        if self.horizontal:
            x = np.where(across, x[..., ::-1], x)
        if self.vertical:
            x = np.where(down, x[..., ::-1, :], x)
        return x


@dataclass(frozen=True)
class RandomShift:
    """Move the image by a fraction of pixels: ``y[n, c, h, w] = x[n, c, h - a_n, w - b_n]``, bilinear.

    a and b are uniform in ``[-pixels, pixels)``.

    Parameters
    ----------
    pixels : float
        The longest way along either axis.

    Raises
    ------
    OptionError
        If `pixels` is negative or not finite.
    """

    pixels: float = 2.0

    def __post_init__(self) -> None:
        """Look at the options."""
        _require(0 <= self.pixels < math.inf, self, "pixels", "a number from 0 up")

    def __call__(self, x: np.ndarray, /, *, seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
        """Return the shifted images."""
        rows, columns, _, _ = _words(self, x, seed, epoch, index)
        n, _, h, w = x.shape
        shape = (n, h, w)
        at_rows = np.arange(h)[:, None] - _within(rows, self.pixels)[:, None, None]
        at_columns = np.arange(w) - _within(columns, self.pixels)[:, None, None]
        return bilinear(x, np.broadcast_to(at_rows, shape), np.broadcast_to(at_columns, shape))


@dataclass(frozen=True)
class RandomRotation:
    """Turn the image about its centre by an angle, bilinear; counterclockwise where positive.

    With the centre ``(H - 1) / 2, (W - 1) / 2`` as the origin, ``y[n, c, h, w] = x[n, c, h cos t + w sin t,
    w cos t - h sin t]``, where t is uniform in ``[-degrees, degrees)``.

    Parameters
    ----------
    degrees : float
        The largest angle.

    Raises
    ------
    OptionError
        If `degrees` is not from 0 to 180.
    """

    degrees: float = 10.0

    def __post_init__(self) -> None:
        """Look at the options."""
        _require(0 <= self.degrees <= 180, self, "degrees", "a number from 0 to 180")

    def __call__(self, x: np.ndarray, /, *, seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
        """Return the turned images."""
        word = _words(self, x, seed, epoch, index)[0]
        angle = np.radians(_within(word, self.degrees))[:, None, None]
        h, w = x.shape[2:]
        rows, columns = np.arange(h)[:, None] - (h - 1) / 2, np.arange(w) - (w - 1) / 2
        cos, sin = np.cos(angle), np.sin(angle)
        return bilinear(x, rows * cos + columns * sin + (h - 1) / 2, columns * cos - rows * sin + (w - 1) / 2)


@dataclass(frozen=True)
class Cutout:
    """Blank a square whose centre may be any pixel, so that part of it may lie outside the image.

    Parameters
    ----------
    size : int
        Length of a side, in pixels. An even square reaches one pixel further up and left of its centre.

    Raises
    ------
    OptionError
        If `size` is no integer of at least 1.

    Notes
    -----
    T. DeVries, G. W. Taylor, "Improved regularization of convolutional neural networks with Cutout",
    arXiv:1708.04552, 2017.
    """

    size: int = 8

    def __post_init__(self) -> None:
        """Look at the options."""
        _require(isinstance(self.size, int) and self.size >= 1, self, "size", "an integer from 1 up")

    def __call__(self, x: np.ndarray, /, *, seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
        """Return the images with their holes."""
        words = _words(self, x, seed, epoch, index)

        def inside(word: np.ndarray, extent: int) -> np.ndarray:
            offset = np.arange(extent) - _below(word, extent)[:, None] + self.size // 2
            return (offset >= 0) & (offset < self.size)

        h, w = x.shape[2:]
        hole = inside(words[0], h)[:, None, :, None] & inside(words[1], w)[:, None, None, :]
        return np.where(hole, x.dtype.type(0), x)


@dataclass(frozen=True)
class Compose:
    """Apply one augmentation after the other; each draws from a seed of its own, derived from its place.

    Parameters
    ----------
    steps : sequence of callable
        Augmentations, in order; another Compose is one, too.
    """

    steps: Sequence[Callable[..., np.ndarray]]

    def __call__(self, x: np.ndarray, /, *, seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
        """Return the augmented images."""
        for place, step in enumerate(self.steps):
            x = step(x, seed=derive(seed, place), epoch=epoch, index=index)
        return x


def bilinear(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, /) -> np.ndarray:
    """Read images between their pixels.

    Parameters
    ----------
    x : numpy.ndarray
        Shape (N, C, H, W).
    rows, columns : numpy.ndarray
        Shape (N, H', W'): where to read, in pixels. Beyond the outermost pixels the image falls to zero
        within one pixel.

    Returns
    -------
    numpy.ndarray
        Shape (N, C, H', W'), the dtype of `x`; integers are rounded.
    """
    n, c, h, w = x.shape
    work = np.float64 if x.dtype == np.float64 else np.float32
    padded = np.zeros((n, c, h + 2, w + 2), work)
    padded[:, :, 1:-1, 1:-1] = x
    rows, columns = np.clip(rows + 1, 0, h + 1), np.clip(columns + 1, 0, w + 1)
    top, left = np.minimum(rows.astype(np.int64), h), np.minimum(columns.astype(np.int64), w)
    down, right = (rows - top).astype(work)[:, None], (columns - left).astype(work)[:, None]
    flat = padded.reshape(n, c, -1)
    corner = (top * (w + 2) + left).reshape(n, 1, -1)

    def pixel(offset: int) -> np.ndarray:
        return np.take_along_axis(flat, corner + offset, axis=2).reshape(n, c, *rows.shape[1:])

    upper = pixel(0) * (1 - right) + pixel(1) * right
    lower = pixel(w + 2) * (1 - right) + pixel(w + 3) * right
    y = upper * (1 - down) + lower * down
    return (np.rint(y) if np.issubdtype(x.dtype, np.integer) else y).astype(x.dtype)
