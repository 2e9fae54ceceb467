"""Drawings made to look as MNIST's scans do: of one size, their weight in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from xcnn.errors import DTypeError, OptionError, ShapeError

__all__ = ["centre_strokes"]

_ROWS = 256  # of a large picture that are floating at a time


def centre_strokes(
    picture: Any,
    shape: tuple[int, int],
    /,
    *,
    box: tuple[int, int] | None = None,
    stretch: float = 1.0,
    grain: int = 1,
) -> np.ndarray:
    """Scale a drawing into a box and put its centre of mass into the middle of a field, as MNIST did [1]_.

    The bounding box of the ink is scaled until it touches `box` from inside, each new pixel the mean of the
    area that it covers; its sides are rounded to pixels. Then it is moved by whole pixels until row H // 2
    and column W // 2 are nearest to the centre of mass, ``sum(i x) / sum(x)``, but not over an edge. So were
    the 70,000 images of MNIST made, as far as they tell: the longer side of all but 16 measures 20 pixels of
    28, the centre of mass lies from 13.5 to 14.5 (pixels counted from 0), evenly spread between, and the
    largest value is 254 or 255.

    Parameters
    ----------
    picture : array_like
        Shape (rows, columns), uint8: light strokes on a dark ground. What is brighter than an eighth of the
        brightest pixel counts as ink, so that the traces of lossy compression don't.
    shape : tuple of int
        Height H and width W of the field, in pixels.
    box : tuple of int, optional
        Height and width of the box, at most the field's; by default 20/28 of its sides.
    stretch : float
        How much farther than the other the shorter side may be scaled, from 1, which keeps the proportions.
    grain : int
        All this happens on a field finer by this factor, whose blocks of grain x grain pixels are then
        averaged.

    Returns
    -------
    numpy.ndarray
        Shape (H, W), uint8, zero where there is no ink; with a grain of 1, as bright as `picture` where it is
        brightest.

    Raises
    ------
    DTypeError
        If `picture` is not uint8.
    OptionError
        If `box`, `stretch` or `grain` is out of its range.
    ShapeError
        If `picture` is not a matrix, or `shape` no pair of positive integers.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
       recognition", Proceedings of the IEEE 86(11), 1998, section III A.

    Examples
    --------
    >>> stroke = np.zeros((280, 280), np.uint8)
    >>> stroke[30:130, 40:50] = 255
    >>> x = centre_strokes(stroke, (28, 28))
    >>> np.argwhere(x).min(axis=0), np.argwhere(x).max(axis=0)
    (array([ 4, 13]), array([23, 14]))
    """
    picture = np.asarray(picture)
    if picture.ndim != 2:
        msg = f"picture has shape {picture.shape}; needed (rows, columns)"
        raise ShapeError(msg, where="centre_strokes")
    if picture.dtype != np.uint8:
        msg = f"picture has dtype {picture.dtype}; needed uint8"
        raise DTypeError(msg, where="centre_strokes")
    field = _pair(shape, "shape", ShapeError)
    sides = (
        tuple(max(1, round(n * 20 / 28)) for n in field) if box is None else _pair(box, "box", OptionError)
    )
    if any(b > n for b, n in zip(sides, field, strict=True)):
        msg = f"box is {box}; needed at most the field's {field}"
        raise OptionError(msg, where="centre_strokes")
    if not 1 <= stretch < float("inf"):
        msg = f"stretch is {stretch!r}; needed a number from 1"
        raise OptionError(msg, where="centre_strokes")
    if not isinstance(grain, int) or grain < 1:
        msg = f"grain is {grain!r}; needed an integer from 1"
        raise OptionError(msg, where="centre_strokes")
    ink = _crop(picture)
    fine = tuple(n * grain for n in field)
    y = np.zeros(fine, np.uint8)
    if ink.size:
        ink = _scale(ink, tuple(n * grain for n in sides), stretch)
        top, left = (_offset(ink, axis, n) for axis, n in enumerate(fine))
        y[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    if grain == 1:
        return y
    return _nearest(y.reshape(field[0], grain, field[1], grain).mean(axis=(1, 3)))


def _pair(value: Any, name: str, error: type[ShapeError] | type[OptionError]) -> tuple[int, ...]:
    known = isinstance(value, Sequence) and len(value) == 2
    if not (known and all(isinstance(n, (int, np.integer)) and n > 0 for n in value)):
        msg = f"{name} is {value!r}; needed the height and the width, in pixels"
        raise error(msg, where="centre_strokes")
    return int(value[0]), int(value[1])


def _crop(picture: np.ndarray) -> np.ndarray:
    """Return the part of `picture` in the bounding box of its ink."""
    if not picture.any():
        return picture[:0, :0]
    ink = picture > picture.max() // 8
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scale(ink: np.ndarray, box: tuple[int, ...], stretch: float) -> np.ndarray:
    """Return `ink` at the size at which it touches `box` from inside, as bright as it was."""
    # Fractions: a drawing and its enlargement must be rounded alike.
    scales = [Fraction(b, n) for b, n in zip(box, ink.shape, strict=True)]
    most = min(scales) * Fraction(stretch)
    down, across = (
        _areas(n, max(1, int(min(scale, most) * n + Fraction(1, 2))))
        for scale, n in zip(scales, ink.shape, strict=True)
    )
    parts = [ink[i : i + _ROWS].astype(np.float64) @ across.T for i in range(0, len(ink), _ROWS)]
    y = down @ np.concatenate(parts)
    return _nearest(y * (float(ink.max()) / float(y.max())))


def _areas(n: int, m: int) -> np.ndarray:
    """Return the matrix (m, n) that makes n pixels m, each the mean of what it covers."""
    edges, pixels = np.arange(m + 1) * n, np.arange(n) * m  # in units in which both are integers
    stop = np.minimum(edges[1:, None], pixels + m)
    start = np.maximum(edges[:-1, None], pixels)
    return np.maximum(stop - start, 0) / n


def _nearest(y: np.ndarray) -> np.ndarray:
    """Return `y` rounded to uint8; halves go up, whatever their last bit."""
    return np.floor(y + (0.5 + 1e-6)).astype(np.uint8)


def _offset(ink: np.ndarray, axis: int, n: int) -> int:
    """Return where `ink` begins on `n` pixels, so that its centre of mass is nearest to n // 2."""
    weights = ink.sum(axis=1 - axis, dtype=np.int64)
    total, moment = int(weights.sum()), int((weights * np.arange(len(weights))).sum())
    offset = -(
        (2 * moment - (2 * (n // 2) - 1) * total) // (2 * total)
    )  # ceil(n // 2 - 1/2 - moment / total)
    return min(max(offset, 0), n - len(weights))
