"""Layers that move elements, and layers made of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.explain.explanation import Explanation, Position, explain_step, explanation, named
from xcnn.explain.text import number
from xcnn.explain.trace import Step, host
from xcnn.layers import (
    Concat,
    Flatten,
    Gate,
    Reshape,
    Sequential,
    Sum,
    UntiedBias,
    UpSample2D,
    ZeroPad2D,
)

__all__ = ["Said"]


@dataclass(repr=False, eq=False)
class Said(Explanation):
    """What one sentence says.

    Parameters
    ----------
    said : str
        The sentence.
    """

    said: str = ""

    def lines(self) -> list[str]:
        """Return the sentence."""
        return [self.said]


def _taken(step: Step, position: Position, source: Position, why: str) -> Explanation:
    """Return the explanation of an element that was only moved."""
    made = Said(step, position, source=source, computed=float(step.x[source]))
    made.said = f"{named(position)} of y is {named(source)} of x, {number(made.value)}: {why}"
    return made


@explanation.register(Flatten)
@explanation.register(Reshape)
def _reshape(layer: Any, step: Step, position: Position) -> Explanation:
    source = np.unravel_index(np.ravel_multi_index(position, step.y.shape), step.x.shape)
    return _taken(step, position, tuple(map(int, source)), "the same elements, in row-major order")


@explanation.register
def _upsample(layer: UpSample2D, step: Step, position: Position) -> Explanation:
    (c, row, column), (down, across) = position, layer.times
    return _taken(
        step, position, (c, row // down, column // across), f"each pixel is repeated {down} × {across} times"
    )


@explanation.register
def _zero_pad(layer: ZeroPad2D, step: Step, position: Position) -> Explanation:
    (c, row, column), ((top, _), (left, _)) = position, layer.sides
    _, h, w = step.x.shape
    source = c, row - top, column - left
    if 0 <= source[1] < h and 0 <= source[2] < w:
        return _taken(step, position, source, "zeros surround the image")
    nearest = c, min(max(source[1], 0), h - 1), min(max(source[2], 0), w - 1)
    return Said(
        step,
        position,
        source=nearest,
        computed=0.0,
        said=f"{named(position)} of y is padding, a zero around the image",
    )


@explanation.register
def _untied_bias(layer: UntiedBias, step: Step, position: Position) -> Explanation:
    x, b = float(step.x[position]), float(host(layer.b.value)[position])
    made = Said(step, position, source=position, computed=x + b)
    made.said = f"{named(position)}: x {number(x)} + its own bias {number(b)} = {number(made.value)}"
    return made


@explanation.register
def _sequential(layer: Sequential, step: Step, position: Position) -> Explanation:
    parts: list[Explanation] = []
    at = position
    for inner in reversed(step.parts):  # each explains the element that did most for the next
        parts.insert(0, explain_step(inner, at))
        at = parts[0].source
    made = Said(step, position, source=at, parts=tuple(parts))
    made.said = f"{named(position)} of y: {number(made.value)}, by {len(parts)} layers, one after the other"
    return made


@explanation.register
def _sum(layer: Sum, step: Step, position: Position) -> Explanation:
    parts = tuple(explain_step(inner, position) for inner in step.parts)
    values = [part.value for part in parts]
    made = Said(step, position, parts=parts, computed=sum(values))
    made.source = parts[int(np.argmax(np.nan_to_num(np.abs(values))))].source
    terms = " + ".join(
        f"{number(v)} ({type(p.step.layer).__name__})" for v, p in zip(values, parts, strict=True)
    )
    made.said = f"{named(position)}: the sum of {len(parts)} branches: {terms} = {number(made.value)}"
    return made


@explanation.register
def _gate(layer: Gate, step: Step, position: Position) -> Explanation:
    gate = step.parts[0]
    part = explain_step(gate, position[: gate.y.ndim])
    x = float(step.x[position])
    made = Said(step, position, source=position, parts=(part,), computed=x * part.value)
    made.said = f"{named(position)}: x {number(x)} × gate {number(part.value)} = {number(made.value)}"
    return made


@explanation.register
def _concat(layer: Concat, step: Step, position: Position) -> Explanation:
    ends = np.cumsum([inner.y.shape[0] for inner in step.parts])
    k = int(np.searchsorted(ends, position[0], side="right"))
    inside = position[0] - int(ends[k - 1]) if k else position[0]
    own = explain_step(step.parts[k], (inside, *position[1:]))
    parts = tuple(own if i == k else explain_step(inner) for i, inner in enumerate(step.parts))
    made = Said(step, position, source=own.source, parts=parts, computed=own.value)
    branch = f"branch {k} ({type(own.step.layer).__name__})"
    made.said = f"{named(position)} of y is channel {inside} of {branch}: {number(made.value)}"
    return made
