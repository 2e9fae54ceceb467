"""What kind of drawings a model learned from, told by its input and its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from xcnn.data.centre import centre_strokes
from xcnn.data.ground import subtract_ground

__all__ = ["Strokes", "has_light_ground", "learned_light_on_dark", "strokes_of"]

_LIGHT_ON_DARK = frozenset(("digits", "optdigits", "mnist", "fashion-mnist"))


class _Named(Protocol):
    @property
    def name(self) -> str | None: ...


@dataclass(frozen=True)
class Strokes:
    """How the drawings that a model learned from were centred and scaled.

    Parameters
    ----------
    shape : tuple of int
        Height and width of a picture, in pixels.
    box : tuple of int
        Height and width of the box that the ink was scaled into.
    stretch, grain
        See `centre_strokes`.
    """

    shape: tuple[int, int]
    box: tuple[int, int]
    stretch: float = 1.0
    grain: int = 1

    def centre(self, picture: np.ndarray, /) -> np.ndarray:
        """Return a drawing (rows, columns), uint8, as a picture of the model's size.

        Where it is a photograph, paper and lighting are taken away first; see `subtract_ground` and
        `centre_strokes`.
        """
        ink = subtract_ground(picture)
        return centre_strokes(ink, self.shape, box=self.box, stretch=self.stretch, grain=self.grain)


def strokes_of(shape: tuple[int, ...], /) -> Strokes | None:
    """Return how drawings are centred for a model.

    As MNIST's were: into 20/28 of the field, in proportion. Inputs of 8 x 8 pixels are made as optdigits'
    were, the counts of ink in 4 x 4 blocks of bitmaps of 32 x 32 pixels: there the ink fills all rows, and
    about 20 columns whatever its proportions (three digits of four are six blocks wide, the outer ones half
    full).

    Parameters
    ----------
    shape : tuple of int
        Of the model's input.

    Returns
    -------
    Strokes or None
        None where the input is no grey picture.
    """
    if len(shape) != 3 or shape[0] != 1:
        return None
    h, w = shape[1:]
    if (h, w) == (8, 8):
        return Strokes((8, 8), (8, 5), stretch=2.0, grain=4)
    return Strokes((h, w), (max(1, round(h * 20 / 28)), max(1, round(w * 20 / 28))))


def learned_light_on_dark(shape: tuple[int, ...], data: _Named | None, /) -> bool:
    """Return whether a model's images show light strokes on a dark ground.

    Parameters
    ----------
    shape : tuple of int
        Of the model's input.
    data : DataSpec, optional
        What it learned from; where that is unknown, its shape tells.

    Returns
    -------
    bool
        True for the public data sets of which that is known.
    """
    return shape in ((1, 8, 8), (1, 28, 28)) if data is None else data.name in _LIGHT_ON_DARK


def has_light_ground(image: np.ndarray, /) -> bool:
    """Return whether the edge of an image (C, H, W), uint8, is light."""
    edge = np.concatenate([image[:, [0, -1], :].ravel(), image[:, :, [0, -1]].ravel()])
    return bool(edge.mean() > 127)
