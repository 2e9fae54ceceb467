"""Activations, probabilities, normalisation: what happens to each element by itself, or along one axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from xcnn.explain.explanation import Explanation, Position, explanation, named
from xcnn.explain.text import number, share
from xcnn.explain.trace import Step, host
from xcnn.layers import (
    ELU,
    GELU,
    BatchNorm2D,
    Dropout,
    GroupNorm,
    Identity,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    Normalize,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)

__all__ = ["Pointwise", "Probability", "Standardised"]

_MOST = 10  # classes that are shown
_SQRT_HALF = math.sqrt(0.5)

Scale = tuple[float, float]  # gamma, beta


def _gelu(x: float, layer: Any) -> float:
    if layer.approximate == "tanh":
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + math.erf(_SQRT_HALF * x))


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * x))


# The function as it is written, and as it is computed: a subclass that does something else is found out.
_FORMULAS: dict[type, tuple[str, Callable[[float, Any], float]]] = {
    ReLU: ("max({z}, 0)", lambda x, _: max(x, 0.0)),
    LeakyReLU: (
        "max({z}, 0) + {layer.slope} min({z}, 0)",
        lambda x, layer: max(x, 0.0) + layer.slope * min(x, 0.0),
    ),
    ELU: (
        "max({z}, 0) + {layer.alpha} (exp(min({z}, 0)) - 1)",
        lambda x, layer: max(x, 0.0) + layer.alpha * math.expm1(min(x, 0.0)),
    ),
    GELU: ("{z} Φ({z})", _gelu),
    SiLU: ("{z} / (1 + exp(-{z}))", lambda x, _: x * _sigmoid(x)),
    Sigmoid: ("1 / (1 + exp(-{z}))", lambda x, _: _sigmoid(x)),
    Tanh: ("tanh({z})", lambda x, _: math.tanh(x)),
    Identity: ("{z}", lambda x, _: x),
    Dropout: ("{z} (dropout acts in training alone)", lambda x, _: x),
}


@dataclass(repr=False, eq=False)
class Pointwise(Explanation):
    """A function of one element.

    Parameters
    ----------
    x : float
        The element of the input.
    """

    _: KW_ONLY
    x: float

    def formula(self, z: str) -> str:
        """Return what the function makes of `z`."""
        layer = self.step.layer
        return _FORMULAS[_kind(layer)][0].format(z=z, layer=layer)

    def lines(self) -> list[str]:
        """Return x, the formula and y."""
        y = self.step.y
        lines = [
            f"{named(self.position)}: x = {number(self.x)}, y = {self.formula('x')} = {number(self.value)}"
        ]
        if isinstance(self.step.layer, ReLU):
            lines.append(f"{share(int(np.count_nonzero(y == 0)), y.size)} elements of y are 0")
        return lines


def _kind(layer: Any) -> type:
    return next(kind for kind in type(layer).__mro__ if kind in _FORMULAS)


def _pointwise(layer: Any, step: Step, position: Position) -> Explanation:
    x = float(step.x[position])
    made = Pointwise(step, position, source=position, x=x)
    made.computed = _FORMULAS[_kind(layer)][1](x, layer)
    return made


for _type in _FORMULAS:
    explanation.register(_type, _pointwise)


@dataclass(repr=False, eq=False)
class Probability(Explanation):
    """Softmax: the share of exp(logit) in their sum; or its logarithm.

    Parameters
    ----------
    logits, exponentials : array (K,)
        Along the axis of the classes, float64; the largest logit is taken away before exp.
    index : int
        The class that is explained.
    """

    _: KW_ONLY
    logits: np.ndarray
    exponentials: np.ndarray
    index: int

    @property
    def probabilities(self) -> np.ndarray:
        """The exponentials over their sum: (K,)."""
        return self.exponentials / self.exponentials.sum()

    def lines(self) -> list[str]:
        """Return logits, their exponentials and probabilities, the largest first."""
        order = np.argsort(-self.logits, kind="stable")[:_MOST]
        rows = [("class", "logit", "exp(logit - largest)", "probability", "")]
        for k in order:
            bar = "█" * round(24 * np.nan_to_num(self.probabilities[k]))
            values = (self.logits[k], self.exponentials[k], self.probabilities[k])
            rows.append((str(k), *map(number, values), bar))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([*(cell.rjust(w) for cell, w in zip(row[:4], widths, strict=False)), row[4]]).rstrip()
            for row in rows
        ]
        left = len(self.logits) - len(order)
        more = [f"and {left:,} other classes"] if left else []
        return [*lines, *more, f"the sum of the exponentials is {number(self.exponentials.sum())}"]


@explanation.register(Softmax)
@explanation.register(LogSoftmax)
def _probability(layer: Any, step: Step, position: Position) -> Explanation:
    axis = layer.axis - 1 if layer.axis > 0 else layer.axis + step.x.ndim
    line: Any = (*position[:axis], slice(None), *position[axis + 1 :])
    logits = step.x[line].astype(np.float64)
    exponentials = np.exp(logits - logits.max())
    made = Probability(
        step, position, source=position, logits=logits, exponentials=exponentials, index=position[axis]
    )
    p = float(made.probabilities[made.index])
    if isinstance(layer, LogSoftmax):
        made.computed = float(logits[made.index] - logits.max() - np.log(exponentials.sum()))
    else:
        made.computed = p
    return made


@dataclass(repr=False, eq=False)
class Standardised(Explanation):
    """An element less a mean, over a standard deviation, then scaled and shifted.

    Parameters
    ----------
    x, mean, std, gamma, beta : float
        y = gamma (x - mean) / std + beta.
    over : str
        What the mean and the standard deviation are of.
    """

    _: KW_ONLY
    x: float
    mean: float
    std: float
    over: str
    gamma: float = 1.0
    beta: float = 0.0

    def lines(self) -> list[str]:
        """Return the statistics, the standardised element, and y."""
        z = (self.x - self.mean) / self.std
        lines = [
            f"{named(self.position)}: x = {number(self.x)}",
            f"mean {number(self.mean)}, std {number(self.std)} {self.over}: (x - mean) / std = {number(z)}",
        ]
        if isinstance(self.step.layer, Normalize):
            return lines
        scale = f"gamma {number(self.gamma)} × {number(z)} + beta {number(self.beta)}"
        return [*lines, f"y = {scale} = {number(self.value)}"]


def _standardised(
    step: Step, position: Position, mean: Any, std: Any, over: str, scale: Scale = (1.0, 0.0)
) -> Explanation:
    made = Standardised(
        step,
        position,
        source=position,
        x=float(step.x[position]),
        mean=float(mean),
        std=float(std),
        over=over,
        gamma=scale[0],
        beta=scale[1],
    )
    made.computed = made.gamma * (made.x - made.mean) / made.std + made.beta
    return made


def _scale(layer: Any, at: Position) -> Scale:
    return float(host(layer.w.value)[at]), float(host(layer.b.value)[at])


@explanation.register
def _batch_norm(layer: BatchNorm2D, step: Step, position: Position) -> Explanation:
    c = position[0]
    mean, var = (float(host(buffer.value)[c]) for buffer in (layer.mean, layer.var))
    std = math.sqrt(var + layer.eps)
    return _standardised(
        step, position, mean, std, "of this channel in training", _scale(layer, position[:1])
    )


@explanation.register
def _group_norm(layer: GroupNorm, step: Step, position: Position) -> Explanation:
    size = step.x.shape[0] // layer.groups
    first = position[0] // size * size
    group = step.x[first : first + size].astype(np.float64)
    std = math.sqrt(group.var() + layer.eps)
    over = (
        f"of channels {first} to {first + size - 1} of this image"
        if size > 1
        else "of this channel of this image"
    )
    return _standardised(step, position, group.mean(), std, over, _scale(layer, position[:1]))


@explanation.register
def _layer_norm(layer: LayerNorm, step: Step, position: Position) -> Explanation:
    x = step.x.astype(np.float64)
    std = math.sqrt(x.var() + layer.eps)
    return _standardised(step, position, x.mean(), std, "of this image", _scale(layer, position))


@explanation.register
def _normalize(layer: Normalize, step: Step, position: Position) -> Explanation:
    mean, std = (host(buffer.value)[position[0]] for buffer in (layer.shift, layer.scale))
    return _standardised(step, position, mean, std, "of this channel, fixed")
