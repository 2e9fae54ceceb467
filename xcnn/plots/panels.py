"""Panels that explanations are drawn from: maps with a frame, grids of numbers, bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from xcnn.explain.text import number, shown
from xcnn.plots.style import BLUE, GREY, INK, SIGNED, VERMILION

__all__ = ["FRAME", "bars", "frame", "image_of", "matrix", "picture", "say"]

AMOUNT = LinearSegmentedColormap.from_list("amount", ["#ffffff", "#f3b78d", VERMILION, "#7a3300"])
FRAME = "#009E73"  # Okabe and Ito's green: unlike any shade of the maps


def image_of(a: np.ndarray, channel: int) -> np.ndarray:
    """Return what to draw of `a` (C, H, W): a colour image as it is, else its `channel`."""
    if a.shape[0] == 3 and a.min() >= 0 and a.max() <= 1:
        return np.moveaxis(a, 0, -1)
    return a[channel]


def _top(a: np.ndarray) -> float:
    """Return the largest finite |a|, or 1: the end of a scale."""
    return float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a))) or 1.0


def picture(axes: Any, a: np.ndarray, title: str, *, amount: bool = False) -> Any:
    """Draw a map (H, W) or a colour image (H, W, 3): grey, blue to orange where it has both signs."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.set_title(title, fontsize=8.5, fontweight="normal", loc="center", pad=4)
    top = _top(a)
    if a.ndim == 3:
        return axes.imshow(a, interpolation="nearest")
    if amount:
        axes.set_xlabel(f"up to {number(top)}", fontsize=7.5, color=GREY, labelpad=3)
        return axes.imshow(a, cmap=AMOUNT, vmin=0, vmax=top, interpolation="nearest")
    if np.any(a < 0):
        return axes.imshow(a, cmap=SIGNED, vmin=-top, vmax=top, interpolation="nearest")
    return axes.imshow(a, cmap="gray", vmin=0, vmax=top, interpolation="nearest")


def frame(axes: Any, rows: list[int], columns: list[int]) -> Any:
    """Draw a frame around pixels of a map, also where they lie in its padding."""
    if not rows or not columns:
        return None
    top, left = min(rows) - 0.5, min(columns) - 0.5
    size = max(columns) - left + 0.5, max(rows) - top + 0.5
    h, w = axes.images[0].get_size()
    axes.set_xlim(min(-0.5, left), max(w - 0.5, left + size[0]))
    axes.set_ylim(max(h - 0.5, top + size[1]), min(-0.5, top))
    box = Rectangle((left, top), *size, fill=False, edgecolor=FRAME, linewidth=2.2, zorder=4, clip_on=False)
    return axes.add_patch(box)


def matrix(
    axes: Any,
    a: np.ndarray,
    title: str,
    *,
    inside: np.ndarray | None = None,
    grey: bool = False,
    sign: str = "",
    like: np.ndarray | None = None,
) -> None:
    """Draw a small matrix and its numbers on the scale of `like`; what is not `inside` is a dot."""
    like = a if like is None else like
    cells, power = shown(a, 2 if a.shape[1] > 2 else 3, like)
    axes.set_axis_off()
    title = f"{title} × $10^{{{power}}}$" if power else title
    axes.set_title(title, fontsize=8.5, fontweight="normal", loc="center", pad=4)
    if sign:
        axes.text(-0.13, 0.5, sign, transform=axes.transAxes, ha="center", va="center", fontsize=13)
    top = _top(like)
    grey = grey and not np.any(like < 0)
    options: Any = {"cmap": "gray", "vmin": 0} if grey else {"cmap": SIGNED, "vmin": -top}
    drawn = axes.imshow(a, vmax=top, interpolation="nearest", **options)
    size = 8.5 if a.shape[1] < 4 else 6.8 if a.shape[1] < 6 else 5.2
    colours = drawn.cmap(drawn.norm(a))
    for (r, c), cell in zip(np.ndindex(a.shape), cells, strict=True):
        dark = np.isfinite(a[r, c]) and colours[r, c, :3] @ (0.299, 0.587, 0.114) < 0.52
        text = cell.strip() if inside is None or inside[r, c] else "·"
        axes.text(c, r, text, ha="center", va="center", fontsize=size, color="white" if dark else INK)
    rows, columns = a.shape
    edges: Any = {"color": "#c8c8c8", "linewidth": 0.7}
    axes.hlines(np.arange(rows + 1) - 0.5, -0.5, columns - 0.5, **edges)
    axes.vlines(np.arange(columns + 1) - 0.5, -0.5, rows - 0.5, **edges)


def bars(axes: Any, values: np.ndarray, title: str, *, mark: int | None = None, names: Any = None) -> None:
    """Draw a vector as bars, one of them marked; with `names`, lying down and with numbers."""
    axes.set_title(title, fontsize=8.5, fontweight="normal", loc="center", pad=4)
    places = np.arange(len(values))
    colours = [VERMILION if place == mark else BLUE for place in places]
    if names is not None:
        _lying(axes, values, colours, names)
        return
    values = np.where(np.isfinite(values), values, np.nan)
    axes.vlines(places, 0, values, colors=colours, linewidth=max(0.6, min(6.0, 60 / len(values))))
    if mark is not None:
        axes.plot([mark], [values[mark]], "o", color=VERMILION, markersize=3.5)
    axes.axhline(0, color="#9a9a9a", linewidth=0.8)
    axes.set_xlim(-0.7, len(values) - 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7)
    axes.set_xlabel("element", fontsize=7.5, color=GREY, labelpad=1)


def _lying(axes: Any, values: np.ndarray, colours: list[str], names: Any) -> None:
    places = np.arange(len(values))
    ends = np.where(np.isfinite(values), values, 0.0)
    axes.barh(places, ends, color=colours, height=0.75)
    room = 0.02 * (float(np.ptp([0.0, *ends])) or 1.0)
    for place, end, value in zip(places, ends, values, strict=True):
        axes.text(max(end, 0.0) + room, place, number(float(value)), va="center", fontsize=7, color=GREY)
    axes.set_yticks(places, names, fontsize=7.5)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, float(ends.min())), max(0.0, float(ends.max())) + 18 * room)
    axes.axvline(0, color="#9a9a9a", linewidth=0.8)
    for side in ("bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(length=0)


def say(axes: Any, lines: list[str]) -> Any:
    """Write lines where a picture would be."""
    axes.set_axis_off()
    return axes.text(
        0.5,
        0.5,
        "\n".join(lines),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=8.5,
        linespacing=1.5,
    )
