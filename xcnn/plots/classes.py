"""What was taken for what, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from xcnn.errors import DataError
from xcnn.plots.style import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    Saved,
    figure,
    finish,
    labels_of,
    line_of,
    names_of,
    shortened,
    styled,
    to_host,
)

__all__ = ["class_distribution", "confusion_matrix"]

_RIGHT = LinearSegmentedColormap.from_list("right", ["#ffffff", "#b9d7ea", BLUE])
_WRONG = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#f8d3b8", VERMILION])
_MOST_LETTERS = 40  # of a name
_MOST_NUMBERS = 30  # classes; with more, cells are too small for numbers


@styled
def confusion_matrix(y_true: Any, y_pred: Any, classes: Any = None, /, *, path: Saved = None) -> Figure:
    """Draw how often each class was taken for each other.

    Parameters
    ----------
    y_true : array (N,) or (N, K)
        Classes, or one-hot.
    y_pred : array (N,) or (N, K)
        Predicted classes, or probabilities; of a single column of floats (N, 1), that of class 1.
    classes : sequence of str, optional
        Their names; by default their numbers.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Rows are true classes, columns predicted ones. What is right is blue, the darker the larger its part
        of the row; what is wrong is orange, likewise, full at a tenth of the row.

    Raises
    ------
    DataError
        If labels are no classes or differ in number.
    FileError
        If it cannot be saved.
    """
    true, predicted = labels_of(y_true, "y_true"), labels_of(_decided(y_pred), "y_pred")
    if len(true) != len(predicted):
        msg = f"y_true has {len(true)} labels and y_pred {len(predicted)}; needed as many"
        raise DataError(msg, where="confusion_matrix")
    names = names_of(classes, int(max(true.max(), predicted.max())) + 1)
    k = len(names)
    counts = np.zeros((k, k), np.int64)
    np.add.at(counts, (true, predicted), 1)
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    share = counts / rows
    diagonal = np.eye(k, dtype=bool)
    colours = np.where(diagonal[..., None], _RIGHT(share), _WRONG(np.minimum(share * 10, 1.0) * 0.75))
    size = min(2.6 + 0.46 * k, 14.0)
    names = tuple(shortened(name, _MOST_LETTERS) for name in names)
    beyond = max(0, max(map(len, names)) - 8)  # letters that the size has no room for
    made = figure(size + 0.9 + 0.08 * beyond, size + 0.06 * beyond)
    axes = made.subplots()
    axes.imshow(colours, interpolation="nearest")
    if k <= _MOST_NUMBERS:
        _numbers(axes, counts, share, diagonal)
    _frame(axes, names)
    recall = np.where(counts.sum(axis=1) > 0, np.diag(share), np.nan)
    precision = np.diag(counts) / np.maximum(counts.sum(axis=0), 1)
    precision = np.where(counts.sum(axis=0) > 0, precision, np.nan)
    if k <= _MOST_NUMBERS:
        _margins(axes, recall, precision)
    right, n = int(np.diag(counts).sum()), len(true)
    axes.set_title(
        f"{right:,} of {n:,} right ({100 * right / n:.1f} %)", pad=34 if k <= _MOST_NUMBERS else 12
    )
    return finish(made, path)


def _decided(y_pred: Any) -> Any:
    """Return the classes of a single column of probabilities; anything else as it is."""
    p = to_host(y_pred)
    single = p.ndim == 2 and p.shape[1] == 1 and p.dtype.kind == "f" and np.all((p >= 0) & (p <= 1))
    return p[:, 0] > 0.5 if single else y_pred


def _numbers(axes: Any, counts: np.ndarray, share: np.ndarray, diagonal: np.ndarray) -> None:
    for (i, j), count in np.ndenumerate(counts):
        if count:
            dark = diagonal[i, j] and share[i, j] > 0.75
            axes.text(
                j, i, f"{count:,}", ha="center", va="center", color="white" if dark else INK,
                fontsize=9 if counts.max() < 1000 else 7.5, fontweight="bold" if diagonal[i, j] else "normal",
            )  # fmt: skip


def _frame(axes: Any, names: tuple[str, ...]) -> None:
    """Name rows and columns, and draw the lines between the cells."""
    k = len(names)
    long = max(map(len, names)) > 3
    every = max(1, -(-k // 50))
    places = np.arange(0, k, every)
    axes.set_xticks(places, names[::every], rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(places, names[::every])
    if long:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    if k <= _MOST_NUMBERS:
        axes.grid(which="minor", color="#e4e4e4", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.tick_params(labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _margins(axes: Any, recall: np.ndarray, precision: np.ndarray) -> None:
    """Write recall beside the rows and precision above the columns, in per cent."""
    k = len(recall)
    for place, value in enumerate(recall):
        axes.text(k - 0.35, place, _percent(value), va="center", ha="left", fontsize=8.5, color=GREY)
    for place, value in enumerate(precision):
        axes.text(place, -0.62, _percent(value), va="bottom", ha="center", fontsize=8.5, color=GREY)
    axes.text(k - 0.35, -0.62, "recall %", va="bottom", ha="left", fontsize=8.5, color=GREY)
    axes.text(-0.55, -0.62, "precision %", va="bottom", ha="right", fontsize=8.5, color=GREY)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else "100" if value == 1 else f"{100 * value:.1f}"


@styled
def class_distribution(data: Any, classes: Any = None, /, *, path: Saved = None) -> Figure:
    """Draw how many images each class has.

    Parameters
    ----------
    data : DataSet, array (N,) or dict
        From `xcnn.data.load`; or labels; or ``{"train": labels, "test": labels}``.
    classes : sequence of str, optional
        Their names; by default those of the data set, or their numbers.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        A bar for each class and part.

    Raises
    ------
    DataError
        If labels are no classes.
    FileError
        If it cannot be saved.
    """
    title = "Images in each class"
    if hasattr(data, "train"):
        title, classes = f"Classes of {data.name}", data.classes if classes is None else classes
        data = {name: getattr(data, name).y for name in ("train", "test")}
    elif not isinstance(data, Mapping):
        data = {"": data}
    parts = {name: labels_of(labels, f"{name}.y" if name else "y") for name, labels in data.items()}
    if not parts:
        msg = "there are no labels; needed an array, or a dict of them"
        raise DataError(msg, where="class_distribution")
    names = names_of(classes, 1 + max(int(y.max()) for y in parts.values()))
    k, wide = len(names), 0.84 / len(parts)
    long = max(map(len, names)) > 4
    beside = len(parts) > 2 or k < 8  # the legend, where it would meet the title
    made = figure(max(4.0, min(1.6 + 0.62 * k, 16.0)) + (2.0 if beside else 0.0), 3.7)
    axes = made.subplots()
    for i, (name, y) in enumerate(parts.items()):
        counts = np.bincount(y, minlength=k)
        label = f"{name} ({len(y):,} images)" if name else f"{len(y):,} images"
        middle = np.arange(k) + wide * (i - 0.5 * (len(parts) - 1))
        bars = axes.bar(middle, counts, 0.95 * wide, color=line_of(i)["color"], label=label)
        if k <= 12 and (len(parts) < 3 or k <= 4):
            axes.bar_label(
                bars, fmt="{:,.0f}", fontsize=6.5 if len(parts) > 1 else 7.5, color=GREY, padding=2
            )
    every = 1 if k <= 40 else -(-k // 25)
    places = np.arange(0, k, every)
    axes.set_xticks(places, names[::every], rotation=45 if long else 0, ha="right" if long else "center")
    if long:
        for tick in axes.get_xticklabels():
            tick.set_rotation_mode("anchor")
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylabel("images")
    axes.set_title(title)
    axes.margins(x=0.02)
    if k > 12:
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    corner = {"loc": "upper left"} if beside else {"loc": "lower right", "ncols": 2}
    axes.legend(frameon=False, **corner, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
    return finish(made, path)
