"""Images and what a model takes them for; the kernels it learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from xcnn.errors import DataError, OptionError
from xcnn.plots.style import (
    BLUE,
    GREY,
    VERMILION,
    Saved,
    figure,
    finish,
    labels_of,
    names_of,
    styled,
    to_host,
)

__all__ = ["kernels", "predictions"]

_DIVERGING = LinearSegmentedColormap.from_list("signed", ["#003a63", BLUE, "#ffffff", VERMILION, "#7a3300"])


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
    x, y, p = to_host(images), labels_of(y_true, "y_true"), to_host(proba)
    p = p.reshape(len(p), -1)
    p = np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p
    if x.ndim != 4 or not len(x) == len(y) == len(p):
        shapes = f"images have shape {x.shape}, y_true {y.shape} and proba {p.shape}"
        msg = f"{shapes}; needed (N, C, H, W), (N,), (N, K)"
        raise DataError(msg, where="predictions")
    names = names_of(classes, max(int(y.max()) + 1, p.shape[1]))
    guess = p.argmax(axis=1)
    sure = p[np.arange(len(p)), guess]
    wrong = guess != y
    order = np.concatenate(
        [np.flatnonzero(wrong)[np.argsort(-sure[wrong], kind="stable")],
         np.flatnonzero(~wrong)[np.argsort(sure[~wrong], kind="stable")]]
    )[:most]  # fmt: skip
    columns = min(8, len(order))
    rows = -(-len(order) // columns)
    made = figure(1.22 * columns + 0.2, 1.56 * rows + 0.55)
    grid = made.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, n in zip(grid.flat, order, strict=False):
        _picture(axes, x[n], names[guess[n]], float(sure[n]), names[y[n]] if wrong[n] else None)
    told = _told(int(wrong.sum()), int(wrong[order].sum()), len(order))
    made.suptitle(told, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return finish(made, path)


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
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    _show(axes, image)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(colour)
        spine.set_linewidth(1.0 if true is None else 2.6)
    text = f"{guess}  {_percent(sure)}"
    axes.set_title(text, loc="center", fontsize=9 if len(text) < 15 else 7, color=colour, pad=4)
    below = "" if true is None else f"true: {true}"
    axes.set_xlabel(below, fontsize=8.5 if len(below) < 14 else 7, color=colour, labelpad=3)


def _percent(p: float) -> str:
    return f"{100 * p:.0f} %" if p < 0.995 else f"{min(100 * p, 99.9):.1f} %" if p < 1 else "100 %"


def _show(axes: Any, image: np.ndarray) -> None:
    top = 255 if image.dtype == np.uint8 else 1.0
    if image.shape[0] == 3:
        axes.imshow(np.clip(np.moveaxis(image, 0, -1) / top, 0, 1), interpolation="nearest")
    else:
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=top, interpolation="nearest")


@styled
def kernels(model: Any, layer: Any = None, /, *, most: int = 64, path: Saved = None) -> Figure:
    """Draw the kernels of a convolution.

    Parameters
    ----------
    model : Model
        With a convolution.
    layer : Layer or str, optional
        Which, itself or by its name; by default the first.
    most : int
        How many filters at the most.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        A picture for each filter of its first channel, or of all three where there are three. On the scale
        shared by all, white is zero, blue negative, orange positive.

    Raises
    ------
    OptionError
        If there is no such convolution.
    FileError
        If it cannot be saved.
    """
    found = [a for a in model.walk() if getattr(getattr(a, "w", None), "shape", ()) and len(a.w.shape) == 4]
    chosen = [a for a in found if layer is None or a is layer or a.name == layer]
    if not chosen:
        msg = "the model has no convolution" if layer is None else f"the model has no convolution {layer!r}"
        raise OptionError(msg, where="kernels")
    w = model.backend.to_numpy(chosen[0].w.value)
    count = min(most, len(w))
    coloured = w.shape[1] == 3
    columns = min(8, count)
    rows = -(-count // columns)
    made = figure(1.0 * columns + 1.1, 1.0 * rows + 0.6)
    grid = made.subplots(rows, columns, squeeze=False)
    top = float(np.abs(w[:count]).max()) or 1.0
    shown: Any = None
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, kernel in zip(grid.flat, w[:count], strict=False):
        if coloured:
            axes.imshow(0.5 + 0.5 * np.moveaxis(kernel, 0, -1) / top, interpolation="nearest")
        else:
            shown = axes.imshow(kernel[0], cmap=_DIVERGING, vmin=-top, vmax=top, interpolation="nearest")
    size = " x ".join(map(str, w.shape[2:]))
    which = " (grey is zero)" if coloured else "" if w.shape[1] == 1 else f", channel 0 of {w.shape[1]}"
    number = f"{count}" if count == len(w) else f"{count} of {len(w)}"
    made.suptitle(
        f"{number} kernels of {size}{which}: {chosen[0].label}",
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    if shown is not None:
        bar = made.colorbar(shown, ax=list(grid.flat), shrink=0.9, pad=0.02, aspect=25)
        bar.set_label("weight", color=GREY)
        bar.outline.set_visible(False)
    return finish(made, path)
