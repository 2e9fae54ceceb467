"""Occlusion: how much an answer falls when a part of the picture is covered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.errors import OptionError, ShapeError
from xcnn.explain.explanation import as_png, named
from xcnn.explain.overview import ModelExplanation
from xcnn.layers.geometry import integer

__all__ = ["Occlusion", "occlusion"]


@dataclass(frozen=True, eq=False)
class Occlusion:
    """What covering each part of a picture did to the answer.

    Parameters
    ----------
    values : array (H, W)
        How much the answer fell, for each pixel the mean over the squares that cover it; where it rose,
        negative.
    drops : array (rows, columns)
        The same for each square.
    rows, columns : list of int
        Where squares begin.
    size, stride : int
        The side of a square, and the way to the next, in pixels.
    ground : array (C,)
        What they were covered with.
    target : str
        What fell: ``"the probability of 7"``.
    label : int or None
        The class whose probability it is.
    before : float
        The answer for the whole picture.
    image : array (C, H, W)
        That picture, as the model takes it.
    """

    values: np.ndarray
    drops: np.ndarray
    rows: list[int]
    columns: list[int]
    size: int
    stride: int
    ground: np.ndarray
    target: str
    label: int | None
    before: float
    image: np.ndarray

    def plot(self, path: Any = None, /) -> Any:
        """Draw the picture, and how much the answer falls where it is covered.

        Parameters
        ----------
        path : str or Path, optional
            Where to save it; the ending says in which format.

        Returns
        -------
        matplotlib.figure.Figure
            Also shown by notebooks.
        """
        from xcnn.plots import explanations

        return explanations.covered(self, path=path)

    def _repr_png_(self) -> bytes | None:
        return as_png(self)


def occlusion(
    model: Any,
    x: Any,
    /,
    *,
    size: int | None = None,
    stride: int | None = None,
    value: Any = None,
    batch_size: int = 256,
) -> Occlusion:
    r"""Cover a picture with a square, at one place after the other, and see how much the answer falls.

    .. math:: v_{ij} = \frac{1}{|S_{ij}|} \sum_{s \in S_{ij}} \big(p(x) - p(x_s)\big)

    where :math:`x_s` is the picture with the square s covered, :math:`S_{ij}` are the squares that cover the
    pixel (i, j), and p is the probability of the class that the model predicts for x, or its largest output
    where outputs are no probabilities.

    Parameters
    ----------
    model : Model
        It takes pictures (C, H, W).
    x : array (C, H, W) or (1, C, H, W)
        One of them; uint8 is divided by 255.
    size : int, optional
        The side of the square in pixels; by default a seventh of the picture's shorter side, at least 2.
    stride : int, optional
        How many pixels on the next square begins; by default a quarter of the size, at least 1. The last ones
        end at the edge, so that each pixel is covered.
    value : float or array (C,), optional
        What to cover with, as the model takes it (white is 1); by default the ground: the median of the
        pixels at the edge of x, channel by channel.
    batch_size : int
        How many covered pictures are predicted at a time.

    Returns
    -------
    Occlusion
        The drops, on the host.

    Raises
    ------
    ShapeError
        If the model takes no pictures, or x is not one of them.
    OptionError
        If the square is larger than the picture, the stride than the square, or the value does not fit.

    References
    ----------
    Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014, section 4.2.
    """
    if len(model.input_shape) != 3:
        msg = f"the model takes inputs {model.input_shape}; needed a model of pictures (C, H, W)"
        raise ShapeError(msg, where="occlusion")
    found = model.explain(x)
    side = min(found.image.shape[1:])
    size = min(side, max(2, round(side / 7))) if size is None else integer(size, "occlusion: size")
    stride = max(1, size // 4) if stride is None else integer(stride, "occlusion: stride")
    if not stride <= size <= side:
        msg = f"size is {size}, stride {stride}; needed stride <= size, and size <= {side}, the shorter side"
        raise OptionError(msg, where="occlusion")
    ground = _ground(found.image, value)
    rows, columns = (sorted({*range(0, n - size, stride), n - size}) for n in found.image.shape[1:])
    squares = [(slice(r, r + size), slice(c, c + size)) for r in rows for c in columns]
    answer, target, label = _answer(model, found)
    pictures = _covered(found.image, squares, ground, integer(batch_size, "occlusion: batch_size"))
    before, *after = np.concatenate([answer(part) for part in pictures])
    total, count = np.zeros((2, *found.image.shape[1:]))
    for square, p in zip(squares, after, strict=True):
        total[square] += before - p
        count[square] += 1
    drops = before - np.reshape(after, (len(rows), len(columns)))
    values = total / count
    return Occlusion(
        values, drops, rows, columns, size, stride, ground, target, label, float(before), found.image
    )


def _ground(picture: np.ndarray, value: Any) -> np.ndarray:
    """Return what to cover each channel with: `value`, or what lies at the edge of the picture."""
    if value is None:
        top, bottom, left, right = picture[:, 0], picture[:, -1], picture[:, 1:-1, 0], picture[:, 1:-1, -1]
        with np.errstate(invalid="ignore"):
            return np.asarray(np.median(np.concatenate([top, bottom, left, right], axis=1), axis=1))
    try:
        return np.broadcast_to(np.asarray(value, picture.dtype), picture.shape[:1])
    except (TypeError, ValueError) as error:
        msg = f"value is {value!r}; needed a number, or one for each of {picture.shape[0]} channels"
        raise OptionError(msg, where="occlusion") from error


def _answer(model: Any, found: ModelExplanation) -> tuple[Callable[[Any], np.ndarray], str, int | None]:
    """Return what gives the answer (N,) for pictures, its name, and the class if it is a probability."""
    y, p = found.step.y, found.probabilities
    if p is None:
        at = tuple(map(int, np.unravel_index(np.argmax(y), y.shape)))
        column: Any = (slice(None), *at)
        return lambda x: np.asarray(model.predict(x), np.float64)[column], f"the output at {named(at)}", None
    label = int(np.argmax(p))

    def probability(x: Any) -> np.ndarray:
        chances = np.asarray(model.predict_proba(x), np.float64)
        if y.shape == (1,):  # that of the second class
            chances = np.concatenate([1.0 - chances, chances], axis=1)
        return chances[:, label]

    return probability, f"the probability of {found.classes[label]}", label


def _covered(picture: np.ndarray, squares: list[Any], ground: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yield the picture as it is, then with each of the squares covered, `most` at a time."""
    places = [(slice(0), slice(0)), *squares]
    for start in range(0, len(places), most):
        some = places[start : start + most]
        covered = np.repeat(picture[None], len(some), axis=0)
        for one, (rows, columns) in zip(covered, some, strict=True):
            one[:, rows, columns] = ground[:, None, None]
        yield covered
