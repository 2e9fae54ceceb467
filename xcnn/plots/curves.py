"""How training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from xcnn.errors import DataError
from xcnn.plots.style import BLUE, GREY, INK, VERMILION, Saved, figure, finish, styled

__all__ = ["learning_curves"]

_TITLES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "top5_accuracy": "Accuracy among the first five",
    "mean_absolute_error": "Mean absolute error",
    "learning_rate": "Learning rate",
    "penalty": "Penalty on the weights",
}


@styled
def learning_curves(history: Mapping[str, Sequence[float]], /, *, path: Saved = None) -> Figure:
    """Draw each measure over the epochs, in training and in validation.

    Parameters
    ----------
    history : History or dict
        What `Model.fit` returned: lists of one number per epoch.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each measure; the learning rate only where it changed.

    Raises
    ------
    DataError
        If nothing was recorded.
    FileError
        If it cannot be saved.
    """
    names = [name for name in history if not name.startswith("val_") and _worth_it(name, history[name])]
    if not names:
        msg = "the history is empty; needed at least one epoch"
        raise DataError(msg, where="learning_curves")
    made = figure(4.6 * len(names), 3.7)
    for axes, name in zip(made.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _panel(axes, name, history)
    return finish(made, path)


def _worth_it(name: str, values: Sequence[float]) -> bool:
    return len(values) > 0 and (name != "learning_rate" or len(set(values)) > 1)


def _panel(axes: Any, name: str, history: Mapping[str, Sequence[float]]) -> None:
    """Draw one measure."""
    held_out = history.get(f"val_{name}", ())
    lines = [("training", history[name], BLUE, "-"), ("validation", held_out, VERMILION, "--")]
    lines = [line for line in lines if len(line[1])]
    if len(lines) == 1 and name == "learning_rate":
        lines = [("", history[name], INK, "-")]
    for label, values, colour, dashes in lines:
        epochs = np.arange(1, len(values) + 1)
        marker = "o" if len(values) < 2 else None
        axes.plot(epochs, values, dashes, color=colour, label=label, marker=marker, markersize=5)
    axes.set_title(_TITLES.get(name, name.replace("_", " ").capitalize()))
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    longest = max(len(values) for _, values, _, _ in lines)
    axes.set_xlim(min(0.5, 1 - 0.03 * longest), longest + max(0.5, 0.03 * longest))
    settled = longest // 8  # the first epochs may begin outside the picture, so that the others are legible
    _scale(axes, name, np.concatenate([np.asarray(values, float)[settled:] for _, values, _, _ in lines]))
    if len(held_out) > 1:
        _mark_best(axes, name, np.asarray(held_out, float))
    if lines[0][0]:
        axes.legend(frameon=False, loc="best", handlelength=2.4)


def _scale(axes: Any, name: str, values: np.ndarray) -> None:
    """Choose the axis: per cent for accuracies, logarithmic where values span more than a decade."""
    if name.endswith("accuracy"):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
        low = float(values.min())
        axes.set_ylim(max(low - 0.06 * (1 - low) - 0.002, 0.0), 1 + 0.04 * (1 - low) + 0.001)
    elif values.min() > 0 and values.max() > 10 * values.min() and name != "learning_rate":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel("logarithmic", fontsize=9, color=GREY)
    else:
        axes.set_ylim(bottom=min(0.0, float(values.min())))


def _mark_best(axes: Any, name: str, values: np.ndarray) -> None:
    """Point out the best epoch of validation."""
    grows = "accuracy" in name
    best = int(values.argmax() if grows else values.argmin())
    text = f"{100 * values[best]:.1f} %" if grows else f"{values[best]:.3g}"
    axes.plot([best + 1], [values[best]], "o", color=VERMILION, markersize=6, zorder=5)
    axes.set_title(
        f"best in validation: {text}, epoch {best + 1}",
        loc="right",
        fontsize=9,
        fontweight="normal",
        color=GREY,
    )
