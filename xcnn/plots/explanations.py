"""Explanations as figures: a strip for each layer, from its input to its output."""

from __future__ import annotations

import io
import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xcnn.explain import (
    Affine,
    Convolution,
    DenseUnit,
    Explanation,
    ModelExplanation,
    Occlusion,
    Pointwise,
    Pooling,
    Probability,
    Windowed,
)
from xcnn.explain.text import number
from xcnn.layers import Identity, Sequential
from xcnn.plots.panels import bars, frame, image_of, matrix, picture, say
from xcnn.plots.style import Saved, figure, finish, styled

__all__ = ["covered", "explanation", "model_explanation", "png"]

_WIDTH = 11.5  # inches
_STRIPS = 16  # at most: half of them the first layers, half the last
_CLASSES = 10


def png(made: Figure) -> bytes:
    """Return the figure `made` as a PNG, for a notebook."""
    stream = io.BytesIO()
    made.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


@styled
def explanation(e: Explanation, /, *, path: Saved = None) -> Figure:
    """Draw what one layer did, and the layers inside it.

    Parameters
    ----------
    e : Explanation
        From `Layer.explain`.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        A strip for each layer.
    """
    strips, _ = _ends_of(_leaves(e) or [e])
    heights = [_height(strip) for strip in strips]
    made = figure(_WIDTH, sum(heights))
    _draw(made, strips, heights)
    return finish(made, path)


@styled
def model_explanation(e: ModelExplanation, /, *, path: Saved = None) -> Figure:
    """Draw the image, the answer, how far the gradient came, and a strip for each layer.

    Parameters
    ----------
    e : ModelExplanation
        From `Model.explain`.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        At most 16 strips: of more layers, the first 8 and the last 8.
    """
    every = [strip for part in e.layers for strip in _leaves(part)]
    strips, left = _ends_of(every)
    heights = [_height(strip) for strip in strips]
    title = textwrap.wrap(f"{e.answer[0].upper()}{e.answer[1:]}{left}", 96)
    head, target = 2.7 + 0.2 * len(title), textwrap.fill(f"gradient of {e.target}", 40)
    made = figure(_WIDTH, sum(heights) + head)
    parts: Any = made.subfigures(2, 1, height_ratios=[head, sum(heights)], hspace=0.0)
    top, below = parts
    top.suptitle("\n".join(title), x=0.01, ha="left", fontsize=12, fontweight="bold")
    first, second, third = top.subplots(1, 3, width_ratios=[1, 1.5, 1])
    if e.image.ndim == 3:
        picture(first, image_of(e.image, 0), f"image {' × '.join(map(str, e.image.shape))}")
        picture(third, np.abs(e.dx).max(axis=0), target.replace("gradient", "|gradient|", 1), amount=True)
    else:
        bars(first, e.image.ravel(), "input")
        bars(third, e.dx.ravel(), target)
    if e.probabilities is not None:
        order = np.argsort(-e.probabilities, kind="stable")[:_CLASSES]
        bars(second, e.probabilities[order], "probability", mark=0, names=[e.classes[k] for k in order])
    else:
        say(second, [e.answer])
    if strips:
        _draw(below, strips, heights)
    return finish(made, path)


@styled
def covered(o: Occlusion, /, *, path: Saved = None) -> Figure:
    """Draw a picture, and how much the answer falls where it is covered.

    Parameters
    ----------
    o : Occlusion
        From `xcnn.explain.occlusion`.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Two pictures; where the answer rises, the second is blue.
    """
    made = figure(5.6, 3.3)
    first, second = made.subplots(1, 2)
    made.suptitle(f"{o.target[0].upper()}{o.target[1:]}: {number(o.before)}", fontsize=11, fontweight="bold")
    picture(first, image_of(o.image, 0), f"image {' × '.join(map(str, o.image.shape))}")
    fall = f"how much it falls, {o.size} × {o.size} pixels covered"
    picture(second, o.values, fall, amount=not np.any(o.values < 0))
    return finish(made, path)


def _ends_of(strips: list[Explanation]) -> tuple[list[Explanation], str]:
    """Return the strips to draw, and what to say of those left out."""
    if len(strips) <= _STRIPS:
        return strips, ""
    half = _STRIPS // 2
    told = f" (the first {half} and the last {half} of {len(strips)} layers)"
    return strips[:half] + strips[-half:], told


def _leaves(e: Explanation) -> list[Explanation]:
    """Return what has a strip of its own: not Sequential, Identity, or a layer's activation."""
    inner = [leaf for part in e.inner() for leaf in _leaves(part)]
    if isinstance(e, Affine):
        return [e, *inner]
    if isinstance(e.step.layer, Identity):
        return []
    return inner if type(e.step.layer) is Sequential and inner else [*inner, e]


def _height(e: Explanation) -> float:
    channels = len(e.shown_channels()) if isinstance(e, Convolution) and e.patch.size else 1
    return 1.0 + 1.15 * max(channels, 1) if channels > 1 else 2.15


def _draw(made: Any, strips: list[Explanation], heights: list[float]) -> None:
    rows = made.subfigures(len(strips), 1, height_ratios=heights, squeeze=False, hspace=0.0)
    for sub, e in zip(rows[:, 0], strips, strict=True):
        sub.suptitle(e.title(), x=0.01, ha="left", fontsize=10, fontweight="bold")
        _strip(sub, e)


def _strip(sub: Any, e: Explanation) -> None:
    """Draw one layer: input, what happened, output, gradient."""
    if isinstance(e, Convolution) and e.patch.size:
        channels = e.shown_channels()
        rows = [["x", f"p{i}", f"k{i}", f"q{i}", "say", "y", "dx"] for i in range(len(channels))]
        axes = sub.subplot_mosaic(rows, width_ratios=[1.15, 1, 1, 1, 1.25, 1.15, 1.15])
        for i, c in enumerate(channels):
            taps = e.taps(e.products[c])
            name = f"patch, channel {e.channels[c]}" if len(e.channels) > 1 else "patch"
            inside = e.inside[taps]
            matrix(axes[f"p{i}"], e.patch[c][taps], name, inside=inside, grey=True)
            matrix(axes[f"k{i}"], e.kernel[c][taps], "kernel", sign="×")
            matrix(axes[f"q{i}"], e.products[c][taps], "products", inside=inside, sign="=")
    elif isinstance(e, Pooling):
        axes = sub.subplot_mosaic(
            [["x", "window", "say", "y", "dx"]], width_ratios=[1.15, 1, 2.25, 1.15, 1.15]
        )
        row, column = e.mark()
        around = np.zeros(e.inside.shape)
        around[row, column] = 1.0
        rows_, columns = taps = e.taps(around)
        matrix(axes["window"], e.patch[0][taps], "window", inside=e.inside[taps], grey=True)
        if not e.mean:
            frame(axes["window"], [row - rows_.start], [column - columns.start])
    elif isinstance(e, (DenseUnit, Probability)):
        axes = sub.subplot_mosaic(
            [["x", "bars", "say", "y", "dx"]], width_ratios=[1.15, 1.7, 1.55, 1.15, 1.15]
        )
        if isinstance(e, DenseUnit):
            largest = e.largest()
            bars(axes["bars"], e.products[largest], "largest products", names=[f"x[{i}]" for i in largest])
        else:
            order = np.argsort(-e.logits, kind="stable")[:_CLASSES]
            bars(axes["bars"], e.logits[order], "logits", names=list(map(str, order)))
    else:
        axes = sub.subplot_mosaic([["x", "say", "y", "dx"]], width_ratios=[1.15, 3.25, 1.15, 1.15])
    _ends(axes, e)
    say(axes["say"], said(e))


def said(e: Explanation) -> list[str]:
    """Return the few words that stand in the middle of a strip."""
    if isinstance(e, Affine):
        lines = [f"sum {number(e.sum)}", f"+ bias {number(e.bias)}", f"= z {number(e.z)}"]
        lines += [f"y = {p.formula('z')}\n= {number(p.value)}" for p in e.parts if isinstance(p, Pointwise)]
        if isinstance(e, Convolution) and len(e.shown_channels()) < len(e.channels):
            lines[:0] = [f"{len(e.shown_channels())} of {len(e.channels)} channels are shown", ""]
        return lines + (
            e.left_out(e.taps(e.products[0])) if isinstance(e, Convolution) and e.patch.size else []
        )
    if isinstance(e, Pooling):
        few = e.left_out(e.taps(e.patch[0]))
        return [f"{'mean' if e.mean else 'largest'} of {e.count} pixels", number(e.value), *few]
    if isinstance(e, Probability):
        return [
            f"exp(logit - largest) = {number(e.exponentials[e.index])}",
            f"/ {number(e.exponentials.sum())}",
            f"= {number(e.value)}",
        ]
    return [line for text in e.lines() for line in textwrap.wrap(text, 46)]


def _ends(axes: Any, e: Explanation) -> None:
    """Draw input, output and gradient; frame what the explanation is about."""
    x, y, dx = e.step.x, e.step.y, e.step.dx
    channel = e.source[0] if len(e.source) == 3 else 0
    if x.ndim == 3:
        colour = image_of(x, channel).ndim == 3
        picture(axes["x"], image_of(x, channel), "x" if colour or len(x) == 1 else f"x, channel {channel}")
        seen = (
            (e.rows, e.columns)
            if isinstance(e, Windowed)
            else ([e.source[1]], [e.source[2]])
            if e.source
            else ([], [])
        )
        frame(axes["x"], *seen)
    else:
        bars(axes["x"], x.ravel(), "x", mark=e.source[0] if x.ndim == 1 and e.source else None)
    if y.ndim == 3:
        channel_y = e.position[0]
        picture(axes["y"], y[channel_y], f"y, {e.first} {channel_y}")
        frame(axes["y"], [e.position[1]], [e.position[2]])
    else:
        bars(axes["y"], y.ravel(), "y", mark=e.position[0] if y.ndim == 1 else None)
    if dx is None or not dx.any():
        say(axes["dx"], ["no gradient"])
    elif e.step.ends:
        say(axes["dx"], ["the gradient", "starts at x"])
    elif dx.ndim == 3:
        picture(
            axes["dx"],
            np.abs(dx[channel]),
            f"|dx|, channel {channel}" if len(dx) > 1 else "|dx|",
            amount=True,
        )
    else:
        bars(axes["dx"], dx.ravel(), "dx")
