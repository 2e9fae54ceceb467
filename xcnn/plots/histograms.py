"""How weights and activations are distributed."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xcnn.errors import DataError
from xcnn.plots.layers import outputs_of
from xcnn.plots.style import BLUE, GREY, INK, VERMILION, Saved, figure, finish, grid_of, styled

__all__ = ["histograms"]

_BINS = 40
_BESIDE = 4  # panels


@styled
def histograms(model: Any, x: Any = None, /, *, path: Saved = None) -> Figure:
    """Draw how the values of each parameter are distributed and, for some inputs, those of each layer.

    Parameters
    ----------
    model : Model
        Any.
    x : array (N, ...), optional
        Inputs, all run at once; a hundred are enough.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Parameters are blue, activations orange. Mean and standard deviation are written above each panel;
        zeros of an activation are counted there, not drawn.

    Raises
    ------
    DataError
        If there is nothing to draw.
    FileError
        If it cannot be saved.
    """
    weights = {name: model.backend.to_numpy(p.value) for name, p in model.parameters().items()}
    panels = [(name, a, BLUE) for name, a in weights.items()]
    if x is not None:
        rest = -len(panels) % _BESIDE if len(panels) > _BESIDE else 0
        panels += [("", np.zeros(0), BLUE)] * rest  # activations begin a row
        for layer, y in outputs_of(model, x):
            act = getattr(layer, "act", None)
            kind = type(act if act is not None and layer.children() else layer).__name__
            panels.append((f"{layer.path}: {kind}", y, VERMILION))
    if not panels:
        msg = "the model has no parameters; needed some, or inputs x"
        raise DataError(msg, where="histograms")
    rows, columns = grid_of(len(panels), _BESIDE)
    wide = max(2.6, 0.066 * max(len(name) for name, _, _ in panels) + 0.2)
    made = figure(wide * columns + 0.3, 1.75 * rows + 0.2)
    grid = made.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, a, colour) in zip(grid.flat, panels, strict=False):
        if a.size:
            _panel(axes, name, np.asarray(a, float).reshape(-1), colour)
    return finish(made, path)


def _panel(axes: Any, name: str, values: np.ndarray, colour: str) -> None:
    axes.set_axis_on()
    finite = values[np.isfinite(values)]
    shown = finite[finite != 0] if colour == VERMILION else finite
    counts, edges = np.histogram(shown, bins=min(_BINS, max(4, len(shown))))
    axes.stairs(counts, edges, fill=True, color=colour)
    if edges[0] < 0 < edges[-1]:
        axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelsize=7.5)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(name, fontsize=8.5 if len(name) < 28 else 7.5, pad=15)
    told = f"{finite.mean():.2g} ± {finite.std():.2g}" if len(finite) else "no finite value"
    if colour == VERMILION and len(shown) < len(finite):
        told += f", {100 * (1 - len(shown) / len(finite)):.0f} % zero"
    elif colour == BLUE:
        told += f", {len(values):,} values" if len(values) > 1 else ", 1 value"
    if len(finite) < len(values):
        told += f", {len(values) - len(finite):,} NaN or infinite"
    axes.annotate(
        told, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", size=7.5, color=GREY
    )
