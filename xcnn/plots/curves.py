"""How training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from xcnn.errors import DataError
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
    line_of,
    styled,
)

__all__ = ["blocks", "compare", "learning_curves"]

_TITLES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "top5_accuracy": "Accuracy among the first five",
    "mean_absolute_error": "Mean absolute error",
    "learning_rate": "Learning rate",
    "penalty": "Penalty on the weights",
}

_MANY_BLOCKS = 50
_BELOW = 16  # names of runs that stand below one another


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
    axes.set_title(_title(name))
    _scale(axes, name, [values for _, values, _, _ in lines])
    if len(held_out) > 1 and np.isfinite(held_out).any():
        _mark_best(axes, name, np.asarray(held_out, float))
    if lines[0][0]:
        axes.legend(frameon=False, loc="best", handlelength=2.4)


def _title(name: str) -> str:
    """Return what a measure is called."""
    known = _TITLES.get(name.removeprefix("val_"), name.removeprefix("val_").replace("_", " ").capitalize())
    return f"{known} in validation" if name.startswith("val_") else known


def _scale(axes: Any, name: str, lines: Sequence[Any]) -> None:
    """Choose the axes: per cent for accuracies, logarithmic where values span more than a decade."""
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    longest = max(map(len, lines))
    axes.set_xlim(min(0.5, 1 - 0.03 * longest), longest + max(0.5, 0.03 * longest))
    settled = longest // 8  # the first epochs may begin outside the picture, so that the others are legible
    values = np.concatenate([np.asarray(line, float)[min(settled, len(line) - 1) :] for line in lines])
    values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    if name.endswith("accuracy"):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
        low = float(values.min())
        axes.set_ylim(max(low - 0.06 * (1 - low) - 0.002, 0.0), 1 + 0.04 * (1 - low) + 0.001)
    elif name == "learning_rate":
        axes.set_ylim(bottom=min(0.0, float(values.min())))
    else:
        _zoom(axes, values)


def _zoom(axes: Any, values: np.ndarray) -> None:
    """Choose a logarithmic scale where values span more than a decade, else one that shows zero."""
    if values.min() > 0 and values.max() > 10 * values.min():
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
    known = np.where(np.isfinite(values), values, -np.inf if grows else np.inf)
    best = int(known.argmax() if grows else known.argmin())
    text = f"{100 * values[best]:.1f} %" if grows else f"{values[best]:.3g}"
    axes.plot([best + 1], [values[best]], "o", color=VERMILION, markersize=6, zorder=5)
    axes.set_title(
        f"best in validation: {text}, epoch {best + 1}",
        loc="right",
        fontsize=9,
        fontweight="normal",
        color=GREY,
    )


@styled
def compare(
    histories: Mapping[str, Mapping[str, Sequence[float]]],
    /,
    key: str = "loss",
    *,
    beside: bool = False,
    path: Saved = None,
) -> Figure:
    """Draw one measure of several runs over the epochs.

    Parameters
    ----------
    histories : dict
        Name of a run to what its `Model.fit` returned.
    key : str
        Which measure: ``"loss"``, ``"val_accuracy"``, ...
    beside : bool
        Whether each run has a panel of its own, rather than all in one; the axes are the same.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        A line for each run; a cross where it came to NaN.

    Raises
    ------
    DataError
        If there are no runs, or one did not record the measure.
    FileError
        If it cannot be saved.
    """
    lacking = [name for name, history in histories.items() if not len(history.get(key, ()))]
    if lacking or not histories:
        came = f"the run {lacking[0]!r} has no {key!r}" if lacking else "there are no runs"
        msg = f"{came}; needed a history with {key!r} for each"
        raise DataError(msg, where="compare")
    runs = {name: np.asarray(history[key], float) for name, history in histories.items()}
    rows, columns = grid_of(len(runs), 4) if beside else (1, 1)
    named = 1 if beside else -(-len(runs) // _BELOW)  # columns of the legend
    wide = 6.4 + (named - 1) * (0.7 + 0.08 * max(map(len, runs)))
    made = figure(*((3.1 * columns + 0.5, 2.7 * rows + 0.5) if beside else (wide, 3.9)))
    panels = [*made.subplots(rows, columns, squeeze=False, sharey=True).flat]
    for i, (name, values) in enumerate(runs.items()):
        axes = panels[i if beside else 0]
        look = line_of(0 if beside else i)
        marker = "o" if len(values) < 2 else None
        epochs = np.arange(1, len(values) + 1)
        finite = np.flatnonzero(np.isfinite(values))
        lost = len(finite) < len(values)
        axes.plot(
            epochs, values, **look, marker=marker, markersize=5, label=f"{name} (to NaN)" if lost else name
        )
        if lost and len(finite):
            axes.plot(epochs[finite[-1]], values[finite[-1]], "X", color=look["color"], markersize=8)
        if beside:
            axes.set_title(name)
    for axes in panels[: len(runs)] if beside else panels:
        _scale(axes, key, [*runs.values()])
    for axes in panels[len(runs) :]:
        axes.set_visible(False)
    if beside:
        headline(made, _title(key))
        for axes in panels:
            axes.label_outer(remove_inner_ticks=True)
    else:
        panels[0].set_title(_title(key))
        panels[0].legend(
            frameon=False, handlelength=3.2, loc="upper left", bbox_to_anchor=(1.0, 1.02), ncols=named
        )
    return finish(made, path)


@styled
def blocks(losses: Mapping[str, Any], /, block: int = 250, *, path: Saved = None) -> Figure:
    """Draw the training loss per block of samples, a panel for each run.

    Parameters
    ----------
    losses : dict
        Name of a run to its History (see the callback `BlockLoss`), or to the mean loss of each block.
    block : int
        Samples in a block.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Loss over the samples seen, on axes that all panels share; from fifty blocks on, with the mean of each
        ten in a row.

    Raises
    ------
    DataError
        If a run has no blocks.
    FileError
        If it cannot be saved.
    """
    runs = {name: np.asarray(getattr(run, "blocks", run), float) for name, run in losses.items()}
    lacking = [name for name, values in runs.items() if not values.size]
    if lacking or not runs:
        came = f"the run {lacking[0]!r} has no blocks" if lacking else "there are no runs"
        msg = f"{came}; needed a loss for each block, from fit(..., callbacks=[BlockLoss({block})])"
        raise DataError(msg, where="blocks")
    rows, columns = grid_of(len(runs), 3)
    made = figure(3.6 * columns + 0.4, 2.4 * rows + 0.7)
    panels = [*made.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat]
    for axes, (name, values) in zip(panels, runs.items(), strict=False):
        _run_of_blocks(axes, name, values, block)
    for i, axes in enumerate(panels):
        axes.set_visible(i < len(runs))
        if len(runs) <= i + columns:  # nothing below
            axes.set_xlabel("samples seen")
            axes.tick_params(labelbottom=True)
    panels[0].set_xlim(left=0)
    _zoom(panels[0], np.concatenate([*runs.values()]))
    if max(map(len, runs.values())) >= _MANY_BLOCKS:
        panels[0].legend(frameon=False, loc="upper right", handlelength=1.6)
    headline(made, f"Training loss per block of {block:,} samples")
    return finish(made, path)


def _run_of_blocks(axes: Any, name: str, values: np.ndarray, block: int) -> None:
    seen = block * np.arange(1, len(values) + 1)
    many = len(values) >= _MANY_BLOCKS
    colour, width = ("#8fbfdd", 1.0) if many else (BLUE, 1.8)
    marker = "o" if len(values) < 2 else None
    axes.plot(seen, values, color=colour, linewidth=width, marker=marker, label="block")
    if many:
        mean = np.convolve(values, np.ones(10) / 10, mode="valid")
        axes.plot(seen[9:] - 4.5 * block, mean, color=INK, linewidth=1.6, label="mean of 10")
    axes.set_title(name)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
