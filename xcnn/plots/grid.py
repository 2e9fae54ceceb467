"""A measure over a grid of two settings."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator

from xcnn.errors import DataError
from xcnn.plots.style import GREY, INK, RISING, VERMILION, Saved, figure, finish, styled, to_host

__all__ = ["heat_map"]

_MOST_NUMBERS = 24  # rows or columns; with more, cells are too small for numbers


@styled
def heat_map(
    values: Any,
    rows: Sequence[Any],
    columns: Sequence[Any],
    /,
    *,
    row_name: str,
    column_name: str,
    measure: str | None = None,
    title: str | None = None,
    path: Saved = None,
) -> Figure:
    """Draw a measure over a grid of two settings, the best one marked.

    Parameters
    ----------
    values : array (R, C)
        The measure; NaN where there is none.
    rows, columns : sequence
        The R and the C settings: numbers or names.
    row_name, column_name : str
        What is set.
    measure : str, optional
        What is measured. An accuracy is written in per cent; of a loss or an error, the smallest is the best,
        of anything else the largest.
    title : str, optional
        Stands above it.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        The darker, the better; the best cell is framed, a missing one hatched. What spans more than a decade
        and has a best that is the smallest is coloured by its logarithm.

    Raises
    ------
    DataError
        If values, rows and columns do not go together, or no value is finite.
    FileError
        If it cannot be saved.
    """
    table = np.asarray(to_host(values), float)
    down, across = [*map(_setting, rows)], [*map(_setting, columns)]
    known = np.isfinite(table)
    if table.shape != (len(down), len(across)) or not known.any():
        needed = f"{(len(down), len(across))}, as many as rows and columns, and a finite one among them"
        msg = f"values have shape {table.shape}, {known.sum()} of them finite; needed {needed}"
        raise DataError(msg, where="heat_map")
    name = (measure or "").removeprefix("val_").replace("_", " ")
    unit = " %" if "accuracy" in name else ""
    table = 100 * table if unit else table
    smallest = "loss" in name or "error" in name
    best = divmod(int(np.where(known, -table if smallest else table, -np.inf).argmax()), len(across))
    low, high = float(table[known].min()), float(table[known].max())
    decades = smallest and 0 < 10 * low < high
    legible = max(table.shape) <= _MOST_NUMBERS
    width, height = _size(down, across, legible)
    write = writer(low, high, decades)
    told = f"best: {write(table[best])}{unit} at {row_name} {down[best[0]]}, {column_name} {across[best[1]]}"
    made = figure(max(width, 0.1 * len(title or "") + 1.0, 0.075 * len(told) + 1.0), height)
    axes = made.subplots()
    shown = axes.imshow(
        np.ma.masked_array(table, ~known),
        cmap=RISING.reversed() if smallest else RISING,
        norm=(LogNorm if decades else Normalize)(low, high if high > low else low + 1),
        aspect="auto",
        interpolation="nearest",
    )
    for i, j in np.ndindex(table.shape):
        if not known[i, j]:
            axes.add_patch(_cell(i, j, facecolor="#f4f4f4", edgecolor="#c9c9c9", linewidth=0, hatch="////"))
        elif legible:
            _number(axes, i, j, write(table[i, j]), shown.to_rgba(table[i, j]), bold=(i, j) == best)
    axes.add_patch(_cell(*best, fill=False, edgecolor=VERMILION, linewidth=2.8, zorder=5, clip_on=False))
    _frame(axes, (row_name, down), (column_name, across))
    axes.set_title(title or " ", pad=25 if title else 9)
    note = axes.annotate(
        told, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", size=9, color=GREY
    )
    note.set_in_layout(False)  # it may reach over the colour bar
    if high > low:
        _scale(made, axes, shown, f"{name}, logarithmic" if decades else name, unit)
    return finish(made, path)


def _scale(made: Figure, axes: Any, shown: Any, name: str, unit: str) -> None:
    """Say which colour is which value."""
    bar = made.colorbar(shown, ax=axes, pad=0.02, aspect=25)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    bar.set_label(name, color=GREY)
    bar.outline.set_visible(False)


def _setting(value: Any) -> str:
    """Return how a setting is written: numbers as short as they can be."""
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, numbers.Integral)):
        return f"{float(value):g}"
    return str(value)


def writer(low: float, high: float, decades: bool) -> Callable[[Any], str]:
    """Return how to write values from `low` to `high`, so that they can be told apart."""
    if decades:
        return lambda value: f"{value:.3g}"
    spread = high - low or abs(high) or 1.0
    decimals = min(max(2 - math.floor(math.log10(spread)), 0), 4)
    return lambda value: f"{value:.{decimals}f}"


def _size(down: list[str], across: list[str], legible: bool) -> tuple[float, float]:
    """Return width and height in inches."""
    wide = max(0.7, 0.1 * max(map(len, across)) + 0.1) if legible else 0.2
    tall = 0.46 if legible else 0.2
    width = wide * len(across) + 0.09 * max(map(len, down)) + 1.7
    return min(max(width, 4.2), 15.0), min(tall * len(down) + 1.6, 12.0)


def _cell(row: int, column: int, **look: Any) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, **look)


def _number(axes: Any, row: int, column: int, text: str, colour: Any, *, bold: bool) -> None:
    """Write a number into its cell, light on dark."""
    light = np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.48
    weight = "bold" if bold else "normal"
    ink = "white" if light else INK
    axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=ink, fontweight=weight)


def _frame(axes: Any, rows: tuple[str, list[str]], columns: tuple[str, list[str]]) -> None:
    """Name rows and columns, and draw the lines between the cells."""
    (row_name, down), (column_name, across) = rows, columns
    long = len(across) > 6 and max(map(len, across)) > 8
    room = axes.figure.get_figwidth() - 0.09 * max(map(len, down)) - 1.7
    needed = 0.22 if long else 0.085 * max(map(len, across)) + 0.1  # inches, of a name
    fitting = max(1, min(_MOST_NUMBERS, int(room / needed)))
    every = -(-len(across) // fitting), -(-len(down) // _MOST_NUMBERS)
    axes.set_xticks(
        range(0, len(across), every[0]),
        across[:: every[0]],
        rotation=45 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(0, len(down), every[1]), down[:: every[1]])
    axes.set_xlabel(column_name)
    axes.set_ylabel(row_name)
    axes.set_xticks(np.arange(len(across) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(down) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
