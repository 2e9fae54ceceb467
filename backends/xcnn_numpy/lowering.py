"""From layers to stages: which layers a run takes, and what is fused into what."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xcnn import layers
from xcnn.ops.window import output_size
from xcnn_numpy.pointwise import LEAKY, SIGMOID, SILU, TANH
from xcnn_numpy.sliding import Geometry
from xcnn_numpy.stage import Stage
from xcnn_numpy.stage_conv import Convolution
from xcnn_numpy.stage_dense import Dense
from xcnn_numpy.stage_norm import Norm
from xcnn_numpy.stage_pixel import Activate, Add, Average, MaxPool, Rectify, Standardize, Window
from xcnn_numpy.workspace import Value

__all__ = ["Lowered", "Unsupported", "find_needs", "lower"]

PLACES = 127  # that an index of one byte can name


class Unsupported(Exception):
    """A layer, or a case of it, that runs don't take."""


class Lowered:
    """The stages of a run, in order.

    Parameters
    ----------
    shape : tuple of int
        Of one input.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        if len(shape) not in (1, 3):
            raise Unsupported
        c, h, w = shape if len(shape) == 3 else (shape[0], 1, 1)
        self.input = self.output = Value(c, h, w)
        self.stages: list[Stage] = []
        self.folds: list[Any] = []  # stages whose parameters are folded before inference
        self.folded = 0  # numbers that folding takes
        self.taken = 0

    def append(self, stage: Stage) -> Value:
        """Add a stage, and return what it writes."""
        self.stages.append(stage)
        return stage.y

    def lower(self, x: Value, layer: Any) -> Value:
        """Add the stages of `layer` on x, and return what it gives."""
        kind = type(layer)
        if kind not in LOWER:
            raise Unsupported
        return LOWER[kind](self, x, layer)

    def fold(self, stage: Any, size: int) -> None:
        """Reserve numbers for what is folded for a stage."""
        self.folds.append(stage)
        self.folded += size


def lower(leaves: list[Any], /) -> Lowered | None:
    """Return the stages of as many of the first layers as a run takes, or None.

    Parameters
    ----------
    leaves : list of Layer
        In order, activations split off.

    Returns
    -------
    Lowered or None
        With ``taken``, how many layers that is.
    """
    for count in range(_supported(leaves), 0, -1):
        try:
            lowered = Lowered(leaves[0].input_shape)
            x = lowered.input
            for leaf in leaves[:count]:
                x = lowered.lower(x, leaf)
        except Unsupported:
            continue
        if not any(isinstance(stage, (Convolution, Dense)) for stage in lowered.stages):
            return None  # not worth the way in and out of lanes
        lowered.output, lowered.taken = x, count
        return lowered
    return None


def _supported(leaves: list[Any]) -> int:
    """Return how many of the first layers are of kinds that runs know."""
    return next((i for i, leaf in enumerate(leaves) if type(leaf) not in LOWER), len(leaves))


def find_needs(lowered: Lowered, need_dx: bool, /) -> None:
    """Tell each stage whether the gradient of what it reads is wanted: not before the first parameters."""
    wanted = {id(lowered.input)} if need_dx else set()
    for stage in lowered.stages:
        stage.needs_dx = any(id(value) in wanted for value in stage.reads())
        if stage.needs_dx or isinstance(stage, (Convolution, Dense, Norm)):
            for value in (stage.y, getattr(stage, "raw", stage.y)):
                wanted |= {id(value), id(value.whole and value.whole[0])}


def _fusable(x: Value, *kinds: type) -> Any:
    """Return the stage that makes x if something may be fused into it: nobody else reads x."""
    fits = isinstance(x.stage, kinds) and not (x.pinned or x.whole)
    return x.stage if fits and not x.stage.pool else None


def _conv(low: Lowered, x: Value, layer: Any) -> Value:
    if layer.op != "conv2d":
        raise Unsupported  # its user wants another to run
    f, c = layer.w.shape[0], layer.w.shape[1] * layer.groups
    window = layer.window
    out: Any = output_size((x.h, x.w), size=layer.size, **window)
    (top, _), (left, _) = window["padding"]
    g = Geometry(
        c,
        f,
        layer.groups,
        (x.h, x.w),
        tuple(out),
        layer.size,
        window["stride"],
        window["dilation"],
        (top, left),
    )
    b = None if layer.b is None else layer.b.start
    return low.append(Convolution(x, Value(f, *out), g, layer.w.start, b))


def _dense(low: Lowered, x: Value, layer: Any) -> Value:
    b = None if layer.b is None else layer.b.start
    return low.append(Dense(x, Value(layer.units, 1, 1), layer.w.start, b))


def _norm(low: Lowered, x: Value, layer: Any) -> Value:
    if layer.input_shape[0] != x.c:
        raise Unsupported  # it follows a Flatten
    stage = Norm(x, Value(x.c, x.h, x.w), layer, low.folded)
    g = stage.convolution.geometry if stage.convolution else None
    low.fold(stage, g.f * g.taps + g.f if g else 5 * x.c)
    return low.append(stage)


def _relu(low: Lowered, x: Value, layer: Any) -> Value:
    stage = x.stage
    if isinstance(stage, (Convolution, Dense, Norm, Add)) and not (x.pinned or x.whole):
        stage.floor = 0.0  # of a pooled one too: the largest of ReLUs is the ReLU of the largest
        return x
    return low.append(Rectify(x, Value(x.c, x.h, x.w), 0.0))


def _activation(low: Lowered, x: Value, layer: Any) -> Value:
    which = {layers.LeakyReLU: LEAKY, layers.Sigmoid: SIGMOID, layers.Tanh: TANH, layers.SiLU: SILU}[
        type(layer)
    ]
    return low.append(Activate(x, Value(x.c, x.h, x.w), which, getattr(layer, "slope", 0.0)))


def _max_pool(low: Lowered, x: Value, layer: Any) -> Value:
    window = _window(layer)
    _, h, w = layer.output_shape
    y = Value(x.c, h, w)
    if math.prod(window.size) > PLACES:
        raise Unsupported
    stage = _fusable(x, Convolution, Norm)
    if stage and window.apart(x, y) and not getattr(stage, "residual", None):
        stage.fuse_pool((*window.size, *window.stride), y)
        return y
    return low.append(MaxPool(x, y, window))


def _window(layer: Any) -> Window:
    (top, _), (left, _) = layer.window["padding"]
    return Window(layer.window["size"], layer.window["stride"], (top, left))


def _avg_pool(low: Lowered, x: Value, layer: Any) -> Value:
    _, h, w = layer.output_shape
    (top, bottom), (left, right) = layer.window["padding"]
    counts = []
    for n, count, k, s, before, after in zip(
        (x.h, x.w),
        (h, w),
        layer.window["size"],
        layer.window["stride"],
        (top, left),
        (bottom, right),
        strict=True,
    ):
        start = np.arange(count) * s - before
        low_edge, high_edge = (-before, n + after) if layer.count_include_pad else (0, n)
        counts.append(np.minimum(start + k, high_edge) - np.maximum(start, low_edge))
    return low.append(Average(x, Value(x.c, h, w), _window(layer), 1.0 / np.outer(*counts)))


def _global_avg(low: Lowered, x: Value, layer: Any) -> Value:
    window = Window((x.h, x.w), (1, 1), (0, 0))
    return low.append(Average(x, Value(x.c, 1, 1), window, np.full((1, 1), 1.0 / (x.h * x.w))))


def _flatten(low: Lowered, x: Value, layer: Any) -> Value:
    return x


def _branches(low: Lowered, x: Value, layer: Any) -> list[Value]:
    x.pinned = True
    found = []
    for branch in layer.layers:
        y = x
        for leaf in branch.leaves():
            y = low.lower(y, leaf)
        found.append(y)
    if len({(y.h, y.w) for y in found}) > 1:  # one was flattened
        raise Unsupported
    return found


def _sum(low: Lowered, x: Value, layer: Any) -> Value:
    values = _branches(low, x, layer)
    last = next((v for v in reversed(values) if _takes_residual(low, v)), None)
    others = [v for i, v in enumerate(values) if v is not last]
    total: Any = others[0] if others else last
    for value in others[1:]:
        total = low.append(Add(total, value, Value(value.c, value.h, value.w)))
    if last is None or total is last:
        if total is x:  # only identities
            raise Unsupported
        return total
    if not others:
        return last
    stage = last.stage
    low.stages.remove(stage)  # it now reads what may be made later
    low.stages.append(stage)
    stage.residual = total
    return last


def _takes_residual(low: Lowered, value: Value) -> bool:
    stage = value.stage
    return bool(
        isinstance(stage, Norm) and not (value.pinned or stage.rectified or stage.pool or stage.residual)
    )


def _concat(low: Lowered, x: Value, layer: Any) -> Value:
    values = _branches(low, x, layer)
    first = values[0]
    whole = Value(sum(v.c for v in values), first.h, first.w)
    channel = 0
    for value in values:
        if value.pinned or value.whole or value.stage is None:
            value = low.append(Rectify(value, Value(value.c, value.h, value.w)))
        value.whole = whole, channel
        channel += value.c
    whole.stage = None
    return whole


def _standardize(low: Lowered, x: Value, layer: Any) -> Value:
    again = any(isinstance(stage, Standardize) for stage in low.stages)
    if x is not low.input or x.pinned or again or layer.input_shape[0] != x.c:
        raise Unsupported
    return low.append(Standardize(x, Value(x.c, x.h, x.w), layer))


LOWER: dict[type, Any] = {
    layers.Conv2D: _conv,
    layers.Dense: _dense,
    layers.BatchNorm2D: _norm,
    layers.ReLU: _relu,
    layers.LeakyReLU: _activation,
    layers.Sigmoid: _activation,
    layers.Tanh: _activation,
    layers.SiLU: _activation,
    layers.MaxPool2D: _max_pool,
    layers.AvgPool2D: _avg_pool,
    layers.GlobalAvgPool2D: _global_avg,
    layers.Flatten: _flatten,
    layers.Sum: _sum,
    layers.Concat: _concat,
    layers.Normalize: _standardize,
}
