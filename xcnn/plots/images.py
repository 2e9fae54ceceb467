"""Images and what a model takes them for."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xcnn.errors import DataError
from xcnn.layers.geometry import integer
from xcnn.plots.style import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    Saved,
    figure,
    finish,
    grid_of,
    headline,
    labels_of,
    names_of,
    probabilities_of,
    shortened,
    styled,
    to_host,
)

__all__ = ["misclassified", "predictions"]

_MOST_LETTERS = 24  # of a name
_ANSWERS = 3  # classes whose probability is drawn


@styled
def predictions(
    images: Any, y_true: Any, proba: Any, classes: Any = None, /, *, most: int = 40, path: Saved = None
) -> Figure:
    """Draw images with the predicted class and its probability.

    The misclassified ones come first, the surest first; then right ones, the least sure first.

    Parameters
    ----------
    images : array (N, C, H, W)
        One or three channels, uint8 or in [0, 1].
    y_true : array (N,) or (N, K)
        Classes, or one-hot.
    proba : array (N, K)
        Probabilities; of a single column, that of class 1.
    classes : sequence of str, optional
        Their names; by default their numbers.
    most : int
        How many images at the most.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Wrong ones in an orange frame, with the true class.

    Raises
    ------
    DataError
        If the arrays do not go together.
    FileError
        If it cannot be saved.
    """
    most = integer(most, "predictions: most")
    x, y, p, names = _together("predictions", images, y_true, proba, classes)
    guess = p.argmax(axis=1)
    sure = p[np.arange(len(p)), guess]
    wrong = guess != y
    order = np.concatenate(
        [_surest(sure, np.flatnonzero(wrong)), _surest(sure, np.flatnonzero(~wrong))[::-1]]
    )[:most]
    names = tuple(shortened(name, _MOST_LETTERS) for name in names)
    wide = max(1.22, 0.062 * (max(map(len, names)) + 7))
    columns = min(8, int(11 / wide), len(order))
    rows = -(-len(order) // columns)
    made = figure(wide * columns + 0.2, 1.56 * rows + 0.55)
    grid = made.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, n in zip(grid.flat, order, strict=False):
        _picture(axes, x[n], names[guess[n]], float(sure[n]), names[y[n]] if wrong[n] else None)
    told = _told(int(wrong.sum()), int(wrong[order].sum()), len(order))
    headline(made, told)
    return finish(made, path)


def _together(
    where: str, images: Any, y_true: Any, proba: Any, classes: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return images, classes, probabilities (N, K) and names on the host, refused if they do not fit."""
    x, y, p = to_host(images), labels_of(y_true, "y_true"), probabilities_of(proba)
    if x.ndim != 4 or not len(x) == len(y) == len(p):
        shapes = f"images have shape {x.shape}, y_true {y.shape} and proba {p.shape}"
        msg = f"{shapes}; needed (N, C, H, W), (N,), (N, K)"
        raise DataError(msg, where=where)
    return x, y, p, names_of(classes, max(int(y.max()) + 1, p.shape[1]))


def _surest(sure: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `rows`, the surest first."""
    return rows[np.argsort(-sure[rows], kind="stable")]


def _told(wrong: int, shown: int, images: int) -> str:
    """Return the title: `shown` of all the `wrong` ones are among the `images` in the picture."""
    parts = []
    if shown:
        parts.append(
            f"misclassified: all {wrong}" if shown == wrong else f"misclassified: {shown} of {wrong}"
        )
    if images > shown:
        parts.append(f"right, the least sure first: {images - shown}")
    return "; ".join(parts).capitalize()


def _picture(axes: Any, image: np.ndarray, guess: str, sure: float, true: str | None) -> None:
    """Draw one image; `true` is given where it is misclassified."""
    colour = BLUE if true is None else VERMILION
    show_image(axes, image)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(colour)
        spine.set_linewidth(1.0 if true is None else 2.6)
    text = f"{guess}  {_percent(sure)}"
    axes.set_title(text, loc="center", fontsize=9 if len(text) < 15 else 7, color=colour, pad=4)
    below = "" if true is None else f"true: {true}"
    axes.set_xlabel(below, fontsize=8.5 if len(below) < 14 else 7, color=colour, labelpad=3)


def _percent(p: float) -> str:
    if 0 < p < 0.005:
        return "< 0.01 %" if p < 0.0001 else f"{100 * p:.1g} %"
    return f"{100 * p:.0f} %" if p < 0.995 else f"{min(100 * p, 99.9):.1f} %" if p < 1 else "100 %"


def show_image(axes: Any, image: np.ndarray) -> None:
    """Draw an image (C, H, W), uint8 or in [0, 1]: in colour if C is 3, else its first channel in grey."""
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    top = 255 if image.dtype == np.uint8 else 1.0
    if image.shape[0] == 3:
        axes.imshow(np.clip(np.moveaxis(image, 0, -1) / top, 0, 1), interpolation="nearest")
    else:
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=top, interpolation="nearest")


@styled
def misclassified(
    images: Any, y_true: Any, proba: Any, classes: Any = None, /, *, most: int = 24, path: Saved = None
) -> Figure:
    """Draw misclassified images with the probabilities of the likeliest classes, the surest mistake first.

    Parameters
    ----------
    images : array (N, C, H, W)
        One or three channels, uint8 or in [0, 1].
    y_true : array (N,) or (N, K)
        Classes, or one-hot.
    proba : array (N, K)
        Probabilities; of a single column, that of class 1.
    classes : sequence of str, optional
        Their names; by default their numbers.
    most : int
        How many images at the most.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Beside each image the three likeliest classes and the true one (blue, in bold), in per cent.

    Raises
    ------
    DataError
        If the arrays do not go together.
    FileError
        If it cannot be saved.

    See Also
    --------
    predictions : Right ones too, more to a page.
    """
    most = integer(most, "misclassified: most")
    x, y, p, names = _together("misclassified", images, y_true, proba, classes)
    wrong = np.flatnonzero(p.argmax(axis=1) != y)
    order = _surest(p.max(axis=1), wrong)[:most]
    rows, columns = grid_of(max(len(order), 1), 4)
    wide = 2.75 + min(0.065 * max(max(map(len, names)) - 4, 0), 1.5)
    made = figure(wide * columns + 0.2, 1.2 * rows + 0.55)
    grid = made.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 1.1] * columns)
    for axes in grid.flat:
        axes.set_axis_off()
    pairs = grid.reshape(-1, 2)
    for (left, right), n in zip(pairs, order, strict=False):
        show_image(left, x[n])
        for spine in left.spines.values():
            spine.set_visible(False)
        _answers(right, p[n], int(y[n]), names)
    share = f"{len(wrong):,} of {len(y):,} images misclassified ({100 * len(wrong) / len(y):.1f} %)"
    shown = "" if len(order) == len(wrong) else f"; the {len(order)} surest"
    if not len(order):
        grid[0, 0].text(0, 0.5, "every image is right", color=GREY)
    headline(made, share + shown)
    return finish(made, path)


def _answers(axes: Any, p: np.ndarray, true: int, names: tuple[str, ...]) -> None:
    """Draw the largest probabilities, and that of the true class, as bars."""
    likeliest = [*np.argsort(-p, kind="stable")[: min(_ANSWERS, len(p))]]
    if true not in likeliest:
        likeliest.append(true)
    axes.set_axis_on()
    values = [p[k] if k < len(p) else 0.0 for k in likeliest]
    colours = [BLUE if k == true else VERMILION if i == 0 else "#b5b5b5" for i, k in enumerate(likeliest)]
    inks = [GREY if colour == "#b5b5b5" else colour for colour in colours]
    axes.barh(range(len(values)), values, 0.62, color=colours)
    for i, (k, value) in enumerate(zip(likeliest, values, strict=True)):
        weight = "bold" if k == true else "normal"
        axes.text(value + 0.04, i, _percent(value), va="center", fontsize=8, color=inks[i], weight=weight)
    axes.set_yticks(range(len(values)), [names[k] for k in likeliest])
    for label, k in zip(axes.get_yticklabels(), likeliest, strict=True):
        label.set(fontsize=8.5 if max(map(len, names)) < 10 else 7, weight="bold" if k == true else "normal")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlim(0, 1.75)
    axes.set_ylim(max(len(values), 4) - 0.5, -0.5)
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
