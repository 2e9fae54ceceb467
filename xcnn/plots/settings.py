"""A measure over settings: one, two, or many."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from xcnn.errors import DataError
from xcnn.plots.grid import heat_map, writer
from xcnn.plots.style import BLUE, GREY, INK, RISING, VERMILION, Saved, figure, finish, grid_of, styled

__all__ = ["settings"]

_MOST_PANELS = 24
_MOST_TICKS = 12  # values of a setting that are all named
_MOST_NUMBERS = 12  # rows or columns; with more, cells of one of many heat maps are too small for numbers


@styled
def settings(
    points: Sequence[Mapping[str, Any]], values: Sequence[float], /, *, measure: str, path: Saved = None
) -> Figure:
    """Draw a measure over the points of a search.

    Parameters
    ----------
    points : sequence of dict
        Name of a setting to its value; what is the same in all points is left out.
    values : sequence of float
        The measure at each point. The best of a loss or an error is the smallest, of anything else the
        largest; of equal ones the first in the picture.
    measure : str
        What is measured. An accuracy is written in per cent.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Of one setting that varies a curve, of two a heat map, of more a heat map of the two with most values
        for each combination of the others, all in the same colours; of many, the 24 with the best values.
        What spans more than a decade and has a best that is the smallest is drawn by its logarithm.

    Raises
    ------
    DataError
        If there are no points, or not a finite value for each.
    FileError
        If it cannot be saved.
    """
    if not points or len(points) != len(values) or not np.isfinite(values).all():
        msg = f"there are {len(points)} points and {len(values)} values; needed a finite value for each point"
        raise DataError(msg, where="settings")
    points = [{_escaped(name): value for name, value in point.items()} for point in points]
    names = dict.fromkeys(name for point in points for name in point)
    levels = {name: _levels([point.get(name) for point in points]) for name in names}
    varying = {name: found for name, found in levels.items() if len(found) > 1}
    if len(varying) < 2:
        name = next(iter(varying or levels), "")
        return finish(_curve(name, [point.get(name) for point in points], values, measure), path)
    rows, columns = _two_with_most(varying)
    others = [name for name in varying if name not in (rows, columns)]
    inner = {name: varying[name] for name in (rows, columns)}
    tables = _tables(points, values, {name: varying[name] for name in others}, inner)
    across, down = _labels(varying[columns]), _labels(varying[rows])
    if not others:
        (table,) = tables.values()
        return heat_map(table, down, across, row_name=rows, column_name=columns, measure=measure, path=path)
    return finish(_multiples(tables, (rows, down), (columns, across), measure), path)


def _escaped(text: str) -> str:
    """Return a text in which a dollar is one: Matplotlib would begin a formula."""
    return text.replace("$", r"\$")


def _key(value: Any) -> str:
    """Return what stands for a value: lists cannot be looked up."""
    return json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _levels(values: Sequence[Any]) -> list[Any]:
    """Return each value once: numbers rising, others as they come."""
    found = list({_key(value): value for value in values}.values())
    return sorted(found) if all(map(_is_number, found)) else found


def _label(value: Any) -> str:
    """Return how a value is written: numbers as short as they can be, of an object first its name."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        own = _escaped(str(value.get("name", value.get("type", ""))))
        return " ".join([own, *(f"{k} {_label(v)}" for k, v in value.items() if k not in ("name", "type"))])
    return _escaped(value if isinstance(value, str) else json.dumps(value))


def _labels(levels: Sequence[Any]) -> list[str]:
    """Return how values are written, with every digit where they would look the same else."""
    labels = [*map(_label, levels)]
    if len(set(labels)) == len(levels):
        return labels
    return [repr(level) if isinstance(level, float) else _label(level) for level in levels]


def _two_with_most(varying: Mapping[str, list[Any]]) -> list[str]:
    """Return the two settings with most values, in their order."""
    most = sorted(varying, key=lambda name: -len(varying[name]))[:2]
    return [name for name in varying if name in most]


def _tables(
    points: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    others: Mapping[str, list[Any]],
    inner: Mapping[str, list[Any]],
) -> dict[tuple[str, ...], np.ndarray]:
    """Return a table for each combination of the other settings that has points, by what it is called."""
    rows, columns = inner.values()
    labels = {
        (name, _key(level)): f"{name} {label}"
        for name, levels in others.items()
        for level, label in zip(levels, _labels(levels), strict=True)
    }
    found: dict[tuple[str, ...], np.ndarray] = {}
    given = [
        ({name: _key(point.get(name)) for name in (*others, *inner)}, v)
        for point, v in zip(points, values, strict=True)
    ]
    for combination in itertools.product(*others.values()):
        fixed = {name: _key(value) for name, value in zip(others, combination, strict=True)}
        known = {
            tuple(point[name] for name in inner): value
            for point, value in given
            if fixed.items() <= point.items()
        }
        if known:
            title = tuple(labels[setting] for setting in fixed.items())
            found[title] = np.asarray(
                [[known.get((_key(r), _key(c)), np.nan) for c in columns] for r in rows]
            )
    return found


class _Measure:
    """How a measure is written, and what its best value is; `scale` turns fractions into per cent."""

    def __init__(self, name: str, values: Any) -> None:
        self.name = name.removeprefix("val_").replace("_", " ")
        self.unit, self.scale = (" %", 100.0) if "accuracy" in name else ("", 1.0)
        self.smallest = "loss" in name or "error" in name
        known = self.scale * np.asarray(values, float)
        self.low, self.high = float(np.nanmin(known)), float(np.nanmax(known))
        self.decades = self.smallest and 0 < 10 * self.low < self.high
        self.write = writer(self.low, self.high, self.decades)

    @property
    def best(self) -> float:
        """The best value, scaled."""
        return self.low if self.smallest else self.high


def _curve(name: str, settings: Sequence[Any], values: Sequence[float], measure: str) -> Figure:
    """Draw one setting."""
    levels = _levels(settings)
    order = {_key(level): i for i, level in enumerate(levels)}
    told = _Measure(measure, values)
    y = np.zeros(len(levels))
    for setting, value in zip(settings, values, strict=True):
        y[order[_key(setting)]] = told.scale * value
    numbers = all(map(_is_number, levels))
    x = np.asarray(levels, float) if numbers else np.arange(len(levels))
    labels = [textwrap.fill(label, 14) for label in _labels(levels)]
    made = figure(
        min(max(4.8, (1.15 if "\n" in "".join(labels) else 0.8) * len(levels)), 6.8 if numbers else 11.0), 3.8
    )
    axes = made.subplots()
    axes.plot(x, y, "o-" if numbers else "o", color=BLUE, markersize=6)
    if numbers and _is_geometric(x):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if not numbers or len(levels) <= _MOST_TICKS:
        axes.set_xticks(x, labels)
        axes.xaxis.set_minor_locator(NullLocator())
    if told.decades:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08, y=0.16)
    axes.set_xlabel(name)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{told.unit}"))
    at = int(np.flatnonzero(y == told.best)[0])
    axes.plot(x[at], y[at], "o", color=VERMILION, markersize=9, zorder=5)
    axes.set_title(told.name.capitalize(), pad=22)
    where = f" at {name} {_labels(levels)[at]}" if name else ""
    best = f"best: {told.write(float(y[at]))}{told.unit}{where}"
    axes.annotate(
        best, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", size=9, color=GREY
    )
    return made


def _is_geometric(x: np.ndarray) -> bool:
    """Whether the ratios of neighbours are more alike than their distances."""
    if len(x) < 3 or x[0] <= 0:
        return False
    distances, ratios = np.diff(x), np.diff(np.log(x))
    return bool(ratios.max() / ratios.min() < distances.max() / distances.min())


def _multiples(
    tables: Mapping[tuple[str, ...], np.ndarray],
    rows: tuple[str, list[str]],
    columns: tuple[str, list[str]],
    measure: str,
) -> Figure:
    """Draw a heat map for each combination of the other settings, all in the same colours."""
    told = _Measure(measure, np.stack([*tables.values()]))
    shown = {title: told.scale * table for title, table in tables.items()}
    best = next(title for title, table in shown.items() if (table == told.best).any())
    cell = divmod(int((shown[best] == told.best).argmax()), shown[best].shape[1])
    if len(shown) > _MOST_PANELS:
        sign = 1 if told.smallest else -1
        order = sorted(shown, key=lambda title: np.nanmin(sign * shown[title]))
        shown = {title: table for title, table in shown.items() if title in order[:_MOST_PANELS]}
    down, across = rows[1], columns[1]
    high, wide = grid_of(len(shown), 3 if len(across) > 4 else 4)
    cell_width = max(0.56, 0.085 * max(map(len, across)) + 0.1)
    made = figure(
        min(wide * max(cell_width * len(across) + 0.2, 2.2) + 1.9, 16.0),
        min(high * (0.36 * len(down) + 0.38 + 0.17 * len(best)) + 1.1, 18.0),
    )
    panels = made.subplots(high, wide, squeeze=False, sharex=True, sharey=True)
    for axes in [*panels.flat][len(shown) :]:
        axes.set_visible(False)
    high_end = told.high if told.high > told.low else told.low + 1
    norm = (LogNorm if told.decades else Normalize)(told.low, high_end)
    for i, (axes, (title, table)) in enumerate(zip(panels.flat, shown.items(), strict=False)):
        image = _panel(axes, table, norm, told)
        weight = "bold" if title == best else "normal"
        axes.set_title("\n".join(title), fontsize=9.5, fontweight=weight, pad=5)
        if title == best:
            axes.add_patch(
                _cell(*cell, fill=False, edgecolor=VERMILION, linewidth=2.6, zorder=5, clip_on=False)
            )
        axes.set_xticks(range(len(across)), across)
        axes.set_yticks(range(len(down)), down)
        if i >= len(shown) - wide:  # nothing below
            axes.set_xlabel(columns[0])
            axes.tick_params(labelbottom=True)
        if i % wide == 0:
            axes.set_ylabel(rows[0])
    bar = made.colorbar(image, ax=panels, pad=0.02, aspect=30, shrink=min(1.0, 3.0 / high + 0.4))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{told.unit}"))
    bar.set_label(f"{told.name}, logarithmic" if told.decades else told.name, color=GREY)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)
    some = f"; the {len(shown)} best of {len(tables)} maps" if len(shown) < len(tables) else ""
    where = ", ".join([*best, f"{rows[0]} {down[cell[0]]}", f"{columns[0]} {across[cell[1]]}"])
    text = f"{told.name.capitalize()}: best {told.write(told.best)}{told.unit} at {where}{some}"
    text = textwrap.fill(text, int(10 * made.get_figwidth()), subsequent_indent="  ")
    made.suptitle(text, x=0.01, ha="left", size=10.5, weight="bold")
    return made


def _panel(axes: Any, table: np.ndarray, norm: Normalize, told: _Measure) -> Any:
    """Draw one of many heat maps, and return its image."""
    colours = RISING.reversed() if told.smallest else RISING
    image = axes.imshow(np.ma.masked_invalid(table), cmap=colours, norm=norm, aspect="auto")
    for i, j in np.ndindex(table.shape):
        if np.isnan(table[i, j]):
            axes.add_patch(_cell(i, j, facecolor="#f4f4f4", edgecolor="#c9c9c9", linewidth=0, hatch="////"))
        elif max(table.shape) <= _MOST_NUMBERS:
            light = np.dot(colours(norm(table[i, j]))[:3], (0.299, 0.587, 0.114)) < 0.48
            text = told.write(float(table[i, j]))
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if light else INK)
    axes.tick_params(length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _cell(row: int, column: int, **look: Any) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, **look)
