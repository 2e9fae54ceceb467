"""What all figures share: fonts, lines, colours, and how they are saved."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from xcnn.errors import DataError, FileError
from xcnn.files import write_atomically

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "RISING",
    "SIGNED",
    "VERMILION",
    "figure",
    "finish",
    "grid_of",
    "headline",
    "labels_of",
    "line_of",
    "names_of",
    "probabilities_of",
    "shortened",
    "styled",
    "to_host",
]

# Okabe and Ito, "Color universal design", 2008.
BLUE, VERMILION = "#0072B2", "#D55E00"
INK, GREY = "#222222", "#6b6b6b"
RISING = LinearSegmentedColormap.from_list("rising", ["#f1f6fa", "#b9d7ea", "#5ba3d0", BLUE, "#003a63"])
SIGNED = LinearSegmentedColormap.from_list("signed", ["#003a63", BLUE, "#ffffff", VERMILION, "#7a3300"])
_COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", INK, "#E69F00", "#56B4E9")
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (1.5, 1.2)),
    (0, (9, 1.5)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
    (0, (2.5, 2.5)),
)

T = TypeVar("T")

Saved: TypeAlias = str | os.PathLike[str] | None  # where a figure is saved

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": "#9a9a9a",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
}
_DPI = 160


def styled(draw: Callable[..., T]) -> Callable[..., T]:
    """Give the drawing function `draw` the style of this house."""

    @functools.wraps(draw)
    def drawn(*args: Any, **options: Any) -> T:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **options)

    return drawn


def finish(made: Figure, path: Saved) -> Figure:
    """Save the figure `made` if there is a `path`, and return it."""
    if path is None:
        return made
    path, drawn = Path(path), io.BytesIO()
    try:
        made.savefig(drawn, format=path.suffix[1:] or "png", dpi=_DPI)
        write_atomically(path if path.suffix else path.with_suffix(".png"), drawn.getvalue())
    except ValueError as error:
        msg = f"the figure cannot be written: {error}"
        raise FileError(msg, where=str(path)) from error
    return made


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` by `height` inches that no window shows."""
    made = Figure(figsize=(width, height), layout="constrained")
    engine: Any = made.get_layout_engine()
    engine.set(w_pad=0.09, h_pad=0.09)  # inches
    return made


def headline(made: Figure, text: str) -> None:
    """Write `text` above the whole figure, and widen that if it is too long."""
    made.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")
    width, height = made.get_size_inches()
    made.set_size_inches(max(width, 0.1 * len(text) + 0.2), height)


def line_of(i: int) -> dict[str, Any]:
    """Return colour and dashes of the i-th of several lines; 49 differ, and any 7 in a row in both."""
    turn, place = divmod(i, len(_COLOURS))
    return {"color": _COLOURS[place], "linestyle": _DASHES[(place + turn) % len(_DASHES)]}


def grid_of(count: int, most: int) -> tuple[int, int]:
    """Return the rows and columns for `count` panels, `most` beside one another, with few left empty."""
    columns = min(most, count)
    rows = -(-count // columns)
    return rows, -(-count // rows)


def to_host(a: Any) -> np.ndarray:
    """Return `a`, an array of any library or a list, as a NumPy array."""
    if isinstance(a, np.ndarray):
        return a
    if isinstance(a, (list, tuple)):
        return np.asarray(a)
    from xcnn.backend import plugin_of

    return plugin_of(a).to_numpy(a)


def labels_of(labels: Any, what: str) -> np.ndarray:
    """Return `labels` as integers (N,), of one-hot rows the largest; `what` names them in errors."""
    a = to_host(labels)
    if a.ndim == 2 and a.shape[1] > 1:
        a = a.argmax(axis=1)
    a = a.reshape(-1)
    number = a.dtype.kind in "biuf" and np.all(a == np.rint(a))
    if not len(a) or not number or a.min() < 0:
        msg = f"{what} has shape {np.shape(labels)} and dtype {a.dtype}; needed classes (N,), from 0 up"
        raise DataError(msg, where="xcnn.plots")
    return a.astype(np.int64)


def probabilities_of(proba: Any) -> np.ndarray:
    """Return probabilities (N, K): of a single column, that of class 1, both classes."""
    p = to_host(proba)
    p = p.reshape(len(p), -1)
    if not np.isfinite(p).all():
        bad = int(np.sum(~np.isfinite(p).all(axis=1)))
        msg = f"of {len(p)} rows of proba {bad} hold NaN or infinity; needed finite probabilities"
        raise DataError(msg, where="xcnn.plots")
    return np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p


def shortened(name: str, most: int) -> str:
    """Return `name`, cut off by an ellipsis if it has more than `most` characters."""
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def names_of(classes: Any, least: int) -> tuple[str, ...]:
    """Return the names `classes` of at least `least` classes: their numbers where that is None."""
    names = tuple(map(str, range(least) if classes is None else classes))
    if len(names) < least:
        msg = f"there are {len(names)} names of classes and labels up to {least - 1}; needed one for each"
        raise DataError(msg, where="xcnn.plots")
    return names
