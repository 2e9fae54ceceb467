"""Augmentation: other pictures of the same things, drawn anew in every epoch.

Each is called as ``augment(x, seed=, epoch=, index=)`` with a batch x (N, C, H, W) of any array library and
dtype and the numbers (N,) of its images in the data set, and returns a batch of the same shape and dtype, on
the same device. What happens to image i in epoch e is a function of the seed, i and e alone, not of the batch
size, the order, the thread or the library: it follows from the four words of the Philox counter ``(i, e,
AUGMENT, 0)``, see `xcnn.random`. Outside the image there are zeros.

A function of your own with these arguments works wherever these do. It gets NumPy arrays, unless it says with
an attribute ``array_api = True`` that it takes arrays of any library: then a data set may live on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from array_api_compat import array_namespace, device

from xcnn.backend import find_kernel, plugin_of
from xcnn.data.rows import from_list, whole
from xcnn.data.sampling import bilinear, cut, places
from xcnn.errors import DTypeError, OptionError, ShapeError, named, number
from xcnn.random import AUGMENT, derive, philox, seed_key
from xcnn.types import Array

__all__ = ["Compose", "Cutout", "RandomCrop", "RandomFlip", "RandomRotation", "RandomShift"]


def _words(owner: object, x: Array, seed: int, epoch: int, index: Any) -> tuple[Any, ...]:
    """Return four random words for each image, after a look at the shapes."""
    where = type(owner).__name__
    with named(where):
        plugin, index = plugin_of(x), from_list(index)
        given = tuple(index.shape) if plugin_of(index) else ()
    if x.ndim != 4 or given != tuple(x.shape[:1]):
        msg = f"x has shape {tuple(x.shape)} and index {given}; needed (N, C, H, W) and (N,)"
        raise ShapeError(msg, where=where)
    xp = array_namespace(x)
    known = [_is_number(xp, x.dtype), _is_number(array_namespace(index), index.dtype, "integral")]
    if not all(known):
        msg = f"x has dtype {x.dtype} and index {index.dtype}; needed numbers, and integers"
        raise DTypeError(msg, where=where)
    if not 0 <= whole(epoch) < 2**32:
        msg = f"epoch is {epoch!r}; needed an integer from 0 to 2**32 - 1"
        raise OptionError(msg, where=where)
    if plugin_of(index) is not plugin:
        index = plugin_of(index).to_numpy(index)
    index = xp.asarray(index, dtype=xp.int64, device=device(x))
    draw = find_kernel("philox", plugin) or philox
    with named(where):
        return draw((index, whole(epoch), AUGMENT, 0), seed_key(seed))


def _is_number(xp: Any, dtype: Any, kind: Any = ("bool", "numeric")) -> bool:
    """Return whether a dtype is of a kind; NumPy has many more than the standard knows."""
    try:
        return bool(xp.isdtype(dtype, kind))
    except TypeError:
        return False


def _below(word: Array, n: int) -> Any:
    """Return an integer from 0 to n - 1 for each word: ``floor(n word / 2**32)``."""
    return word * n >> 32


def _within(word: Array, limit: float) -> Array:
    """Return a number from ``-limit`` to ``limit`` for each word: ``limit (2 word / 2**32 - 1)``."""
    xp = array_namespace(word)
    return limit * (xp.astype(word, xp.float64) * 2.0**-31 - 1)


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

    array_api: ClassVar[bool] = True
    padding: int = 4

    def __post_init__(self) -> None:
        """Look at the options."""
        fits = isinstance(self.padding, int) and 0 <= self.padding < 2**15
        _require(fits, self, "padding", "an integer from 0 up to 32767")

    def __call__(self, x: Array, /, *, seed: int, epoch: int, index: Any) -> Array:
        """Return the cropped images."""
        rows, columns, _, _ = _words(self, x, seed, epoch, index)
        n = 2 * self.padding + 1
        return cut(x, _below(rows, n), _below(columns, n), self.padding)


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

    array_api: ClassVar[bool] = True
    horizontal: bool = True
    vertical: bool = False

    def __call__(self, x: Array, /, *, seed: int, epoch: int, index: Any) -> Array:
        """Return the mirrored images."""
        words = _words(self, x, seed, epoch, index)
        xp = array_namespace(x)
        across, down = ((_below(word, 2) == 1)[:, None, None, None] for word in words[:2])
        if self.horizontal:
            x = xp.where(across, xp.flip(x, axis=3), x)
        if self.vertical:
            x = xp.where(down, xp.flip(x, axis=2), x)
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

    array_api: ClassVar[bool] = True
    pixels: float = 2.0

    def __post_init__(self) -> None:
        """Look at the options."""
        number(self.pixels, "pixels", "a number from 0 up", lambda a: a >= 0, "RandomShift")

    def __call__(self, x: Array, /, *, seed: int, epoch: int, index: Any) -> Array:
        """Return the shifted images."""
        rows, columns, _, _ = _words(self, x, seed, epoch, index)
        xp = array_namespace(x)
        n, _, h, w = x.shape
        at_rows, at_columns = (xp.astype(places(x, extent), xp.float64) for extent in (h, w))
        at_rows = at_rows[:, None] - _within(rows, self.pixels)[:, None, None]
        at_columns = at_columns - _within(columns, self.pixels)[:, None, None]
        return bilinear(x, xp.broadcast_to(at_rows, (n, h, w)), xp.broadcast_to(at_columns, (n, h, w)))


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

    array_api: ClassVar[bool] = True
    degrees: float = 10.0

    def __post_init__(self) -> None:
        """Look at the options."""
        needed = "a number from 0 to 180"
        number(self.degrees, "degrees", needed, lambda a: 0 <= a <= 180, "RandomRotation")

    def __call__(self, x: Array, /, *, seed: int, epoch: int, index: Any) -> Array:
        """Return the turned images."""
        word = _words(self, x, seed, epoch, index)[0]
        xp = array_namespace(x)
        angle = (_within(word, self.degrees) * (math.pi / 180))[:, None, None]
        h, w = x.shape[2:]
        rows, columns = (xp.astype(places(x, extent), xp.float64) - (extent - 1) / 2 for extent in (h, w))
        rows = rows[:, None]
        cos, sin = xp.cos(angle), xp.sin(angle)
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

    array_api: ClassVar[bool] = True
    size: int = 8

    def __post_init__(self) -> None:
        """Look at the options."""
        fits = isinstance(self.size, int) and 1 <= self.size < 2**31
        _require(fits, self, "size", "an integer from 1 up")

    def __call__(self, x: Array, /, *, seed: int, epoch: int, index: Any) -> Array:
        """Return the images with their holes."""
        words = _words(self, x, seed, epoch, index)
        xp = array_namespace(x)

        def inside(word: Array, extent: int) -> Any:
            offset = places(x, extent) - _below(word, extent)[:, None] + self.size // 2
            return (offset >= 0) & (offset < self.size)

        h, w = x.shape[2:]
        hole = inside(words[0], h)[:, None, :, None] & inside(words[1], w)[:, None, None, :]
        return xp.where(hole, xp.zeros((), dtype=x.dtype, device=device(x)), x)


@dataclass(frozen=True)
class Compose:
    """Apply one augmentation after the other; each draws from a seed of its own, derived from its place.

    Parameters
    ----------
    steps : sequence of callable
        Augmentations, in order; another Compose is one, too.
    """

    steps: Sequence[Callable[..., Any]]

    @property
    def array_api(self) -> bool:
        """Whether every step takes arrays of any library."""
        return all(getattr(step, "array_api", False) for step in self.steps)

    def __call__(self, x: Array, /, *, seed: int, epoch: int, index: Any) -> Array:
        """Return the augmented images."""
        for place, step in enumerate(self.steps):
            with named("Compose"):
                own = derive(seed, place)
            x = step(x, seed=own, epoch=epoch, index=index)
        return x
