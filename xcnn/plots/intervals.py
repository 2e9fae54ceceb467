"""Estimates with their intervals, beside those that somebody reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xcnn.errors import DataError
from xcnn.plots.style import BLUE, INK, VERMILION, Saved, figure, finish, styled

__all__ = ["intervals"]

Interval = tuple[float, float, float]


@styled
def intervals(
    estimates: Mapping[str, Any],
    /,
    *,
    reported: Mapping[str, Any] | None = None,
    measure: str = "accuracy",
    path: Saved = None,
) -> Figure:
    """Draw estimates with their intervals, a row each (a forest plot), beside reported ones.

    Parameters
    ----------
    estimates : dict
        Name to (estimate, low, high), or to the estimate alone; fractions where an accuracy is measured.
    reported : dict, optional
        The same, of somebody else.
    measure : str
        What is measured; an accuracy is written in per cent.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Blue dots are the estimates, orange diamonds the reported ones; the numbers stand at the right.

    Raises
    ------
    DataError
        If there are none, or one does not lie in its interval.
    FileError
        If it cannot be saved.
    """
    factor, unit = (100.0, " %") if "accuracy" in measure else (1.0, "")
    ours = {name: _interval(name, value, factor) for name, value in estimates.items()}
    theirs = {name: _interval(name, value, factor) for name, value in (reported or {}).items()}
    names = [*dict.fromkeys([*ours, *theirs])]
    if not names:
        msg = "there are no estimates; needed one at least"
        raise DataError(msg, where="intervals")
    made = figure(8.2 + 0.06 * max(map(len, names)), 0.42 * len(names) + 1.25)
    axes = made.subplots()
    shift = 0.14 if theirs else 0.0
    _points(axes, names, ours, -shift, BLUE, "o", "here")
    _points(axes, names, theirs, shift, VERMILION, "D", "reported")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlabel(measure.removeprefix("val_").replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    for place in range(1, len(names)):
        axes.axhline(place - 0.5, color="#efefef", linewidth=0.8, zorder=0)
    _column(axes, names, ours, 10, "here", BLUE, unit)
    if theirs:
        _column(axes, names, theirs, 160, "reported", VERMILION, unit)
    if theirs:
        axes.legend(
            frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1, fontsize=9
        )
    return finish(made, path)


def _interval(name: str, value: Any, factor: float) -> Interval:
    """Return (estimate, low, high) times `factor`."""
    try:
        found = np.asarray(value, float)
    except (TypeError, ValueError):
        found = np.zeros(0)
    found = np.broadcast_to(found, (3,)) if found.ndim == 0 else found
    if found.shape != (3,) or not found[1] <= found[0] <= found[2]:
        msg = f"{name!r} is {value!r}; needed (estimate, low, high), low <= estimate <= high"
        raise DataError(msg, where="intervals")
    estimate, low, high = (float(factor * number) for number in found)
    return estimate, low, high


def _points(
    axes: Any,
    names: list[str],
    values: dict[str, Interval],
    shift: float,
    colour: str,
    marker: str,
    label: str,
) -> None:
    """Draw a point and its interval in each row that has one."""
    if not values:
        return
    rows = [names.index(name) + shift for name in values]
    middle, low, high = np.array([*values.values()]).T
    axes.hlines(rows, low, high, color=colour, linewidth=2.0, zorder=3)
    axes.plot(
        middle, rows, marker, color=colour, label=label, markersize=6.5, zorder=4,
        markerfacecolor=colour if marker == "o" else "white", markeredgewidth=1.6,
    )  # fmt: skip


def _written(value: Interval, unit: str) -> str:
    estimate, low, high = value
    digits = 2 if unit else 3
    alone = f"{estimate:.{digits}f}{unit}"
    return alone if low == high else f"{alone}  ({low:.{digits}f} to {high:.{digits}f})"


def _column(
    axes: Any,
    names: list[str],
    values: dict[str, Interval],
    points: float,
    heading: str,
    colour: str,
    unit: str,
) -> None:
    """Write the numbers, `points` to the right of the rows."""
    look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
    axes.annotate(
        heading,
        (1, -0.6),
        (points, 7),
        xycoords=axes.get_yaxis_transform(),
        color=colour,
        size=9,
        weight="bold",
        **look,
    )
    for row, name in enumerate(names):
        text = _written(values[name], unit) if name in values else "-"
        axes.annotate(text, (1, row), (points, 0), xycoords=axes.get_yaxis_transform(), fontsize=8.5, **look)
