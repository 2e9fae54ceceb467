"""What is inside a model: the kernels it learned and the maps that they make of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xcnn.backend import readable
from xcnn.errors import DataError, OptionError
from xcnn.layer import Layer, watch
from xcnn.layers import ConvTranspose2D, Dropout, Flatten, Identity, Reshape, Sequential
from xcnn.layers.geometry import integer
from xcnn.layers.linear import Activated
from xcnn.plots.images import show_image
from xcnn.plots.style import (
    BLUE,
    GREY,
    INK,
    SIGNED,
    VERMILION,
    Saved,
    figure,
    finish,
    grid_of,
    headline,
    styled,
    to_host,
)

__all__ = ["feature_maps", "kernels"]

_HANDED_ON = (Dropout, Flatten, Identity, Reshape, Sequential)


def _means(model: Any, wanted: Any, layer: Layer) -> bool:
    """Whether `wanted` is `layer`, or its index in the summary, its path or its name."""
    if isinstance(wanted, int):
        return -len(model.layers) <= wanted < len(model.layers) and model.layers[wanted] is layer
    return wanted is layer or (isinstance(wanted, str) and wanted in (layer.path, layer.name))


@styled
def kernels(
    model: Any, layer: Any = None, /, *, channel: int = 0, most: int = 64, path: Saved = None
) -> Figure:
    """Draw the kernels of a convolution.

    Parameters
    ----------
    model : Model
        With a convolution.
    layer : Layer, int or str, optional
        Which: itself, its index in the summary, its path (``"layers[0].layers[1]"``) or its name; by default
        the first convolution.
    channel : int
        Of which channel, where there are neither one nor three.
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
    most = integer(most, "kernels: most")
    found = [a for a in model.walk() if len(getattr(getattr(a, "w", None), "shape", ())) == 4]
    found = [a for a in found if layer is None or _means(model, layer, a)]
    if not found:
        msg = "the model has no convolution" if layer is None else f"the model has no convolution {layer!r}"
        raise OptionError(msg, where="kernels")
    w = _filters(found[0], model.backend.to_numpy(found[0].w.value))
    count, channels = min(most, len(w)), w.shape[1]
    coloured = channels == 3
    if not coloured and not 0 <= channel < channels:
        msg = f"channel is {channel!r}; needed one of {channels}, from 0"
        raise OptionError(msg, where="kernels")
    rows, columns = grid_of(count, 8)
    made = figure(1.0 * columns + 1.1, 1.0 * rows + 0.6)
    grid = made.subplots(rows, columns, squeeze=False)
    finite = np.isfinite(w)
    top = float(np.max(np.abs(w[:count]), initial=0.0, where=finite[:count])) or 1.0
    shown: Any = None
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, kernel in zip(grid.flat, w[:count], strict=False):
        if coloured:
            kernel = np.nan_to_num(kernel, posinf=top, neginf=-top)
            axes.imshow(0.5 + 0.5 * np.moveaxis(kernel, 0, -1) / top, interpolation="nearest")
        else:
            shown = axes.imshow(kernel[channel], cmap=SIGNED, vmin=-top, vmax=top, interpolation="nearest")
    size = " x ".join(map(str, w.shape[2:]))
    which = " (grey is zero)" if coloured else "" if channels == 1 else f", channel {channel} of {channels}"
    number = f"{count}" if count == len(w) else f"{count} of {len(w)}"
    title = f"{number} kernel{'s' * (len(w) > 1)} of {size}{which}: {found[0].label}"
    title += "" if finite.all() else f", {np.sum(~finite):,} of {w.size:,} weights NaN or infinite"
    headline(made, title)
    if shown is not None:
        bar = made.colorbar(shown, ax=list(grid.flat), shrink=0.9, pad=0.02, aspect=25)
        bar.set_label("weight", color=GREY)
        bar.outline.set_visible(False)
    return finish(made, path)


def _filters(layer: Any, w: np.ndarray) -> np.ndarray:
    """Return the kernels (F, C/groups, KH, KW); those of a transposed convolution lie the other way round."""
    if not isinstance(layer, ConvTranspose2D):
        return w
    parts = w.reshape(layer.groups, -1, *w.shape[1:])  # (groups, C/groups, F/groups, KH, KW)
    return np.swapaxes(parts, 1, 2).reshape(-1, parts.shape[1], *w.shape[2:])


def outputs_of(model: Any, x: Any) -> list[tuple[Layer, np.ndarray]]:
    """Return the layers that a picture shows, in the order in which they ran, with what they made of x.

    An activation is part of its layer; what only hands on or reshapes is left out.
    """
    parts = {id(layer.act) for layer in model.walk() if isinstance(layer, Activated)}
    found: list[tuple[Layer, np.ndarray]] = []

    def look(layer: Layer, _: str, y: Any) -> None:
        if id(layer) not in parts and type(layer) not in _HANDED_ON:
            found.append((layer, model.backend.to_numpy(y)))

    with readable(), watch(look), model.active():
        model.layers.forward(model.accept(x))
    return found


@styled
def feature_maps(
    model: Any, x: Any, /, *, layers: Sequence[Any] | None = None, most: int = 8, path: Saved = None
) -> Figure:
    """Draw what each layer makes of one image.

    Parameters
    ----------
    model : Model
        It runs as in `Model.predict`, uncompiled.
    x : array (C, H, W) or (1, C, H, W)
        The image.
    layers : sequence of Layer, int or str, optional
        Which: themselves, indices in the summary, paths or names; by default all but those that only reshape.
    most : int
        How many channels of a layer at the most.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each layer, its channels beside one another on one scale: white is zero, orange positive,
        blue negative. Features without pixels are bars.

    Raises
    ------
    DataError
        If x is not one image.
    OptionError
        If there is no such layer.
    FileError
        If it cannot be saved.
    """
    most, image = integer(most, "feature_maps: most"), to_host(x)
    image = image[None] if image.ndim == len(model.input_shape) else image
    if len(image) != 1:
        msg = f"x has shape {image.shape}; needed one image {model.input_shape}"
        raise DataError(msg, where="feature_maps")
    found = outputs_of(model, image)
    for wanted in layers or ():
        if not any(_means(model, wanted, layer) for layer, _ in found):
            msg = (
                f"the model has no layer {wanted!r} to draw; needed a layer of it, an index, a path or a name"
            )
            raise OptionError(msg, where="feature_maps")
    if layers is not None:
        found = [row for row in found if any(_means(model, wanted, row[0]) for wanted in layers)]
    rows = [("input", image[0]), *((_title(layer), y[0]) for layer, y in found)]
    tall = [0.95 if y.ndim == 3 else 0.7 for _, y in rows]
    columns = max(4, *(min(most, len(y)) for _, y in rows if y.ndim == 3), 0)
    made = figure(0.92 * columns + 2.9, sum(tall) + 0.35)
    grid = made.add_gridspec(len(rows), columns, height_ratios=tall)
    for i, (title, y) in enumerate(rows):
        count = 1 if i == 0 and len(y) == 3 else min(most, len(y))
        if y.ndim == 3:
            places = [made.add_subplot(grid[i, j]) for j in range(count)]
            _maps(places, y, whole=i == 0)
        else:
            places = [made.add_subplot(grid[i, :])]
            _bars(places[0], y.reshape(-1))
        shape = " x ".join(map(str, y.shape))
        shown = f", {count} shown" if i and y.ndim == 3 and count < len(y) else ""
        reach = f"{y.min():.3g} to {y.max():.3g}" if np.isfinite(y).all() else "NaN or infinite"
        text = f"{title}\n{shape}{shown}\n{reach}"
        places[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8, labelpad=8)
    return finish(made, path)


def _title(layer: Layer) -> str:
    act = getattr(layer, "act", None)
    plus = "" if act is None or type(act) is Identity else f" + {type(act).__name__}"
    return f"{layer.name or type(layer).__name__}{plus}\n{layer.path}"


def _maps(places: Sequence[Any], y: np.ndarray, *, whole: bool) -> None:
    """Draw channels on one scale; `whole`: an image, in its own colours."""
    if whole and y.min() >= 0:
        show_image(places[0], y if y.dtype == np.uint8 else y / max(1.0, y.max()))
        places, y = places[1:], y[1:]
    shown = y[: len(places)]
    top = float(np.max(np.abs(shown), initial=0, where=np.isfinite(shown))) or 1.0
    for axes, channel in zip(places, y, strict=False):
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, color="#cfcfcf", linewidth=0.6)
        axes.imshow(channel, cmap=SIGNED, vmin=-top, vmax=top, interpolation="nearest")
        if not channel.any():
            axes.text(0.5, 0.5, "0", transform=axes.transAxes, ha="center", va="center", size=8, color=GREY)


def _bars(axes: Any, values: np.ndarray) -> None:
    """Draw features without pixels."""
    places, values = np.arange(len(values)), np.nan_to_num(values, posinf=0.0, neginf=0.0)
    colours = np.where(values < 0, BLUE, VERMILION)
    axes.bar(places, values, 1.0 if len(values) > 40 else 0.8, color=colours)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xlim(-0.6, len(values) - 0.4)
    if len(values) <= 20:
        axes.set_xticks(places)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.tick_params(axis="x", length=0, labelsize=7)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
