"""Sums of products, a bias and an activation: what dense layers and convolutions share; dense layers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from xcnn.explain.explanation import Explanation, Position, explain_step, explanation, named
from xcnn.explain.pointwise import Pointwise
from xcnn.explain.text import number
from xcnn.explain.trace import Step, host
from xcnn.layers import Dense, Identity

__all__ = ["Affine", "DenseUnit", "affine_fields", "before_activation"]

_MOST = 8  # contributions that are shown


@dataclass(repr=False, eq=False)
class Affine(Explanation):
    """A sum of products, plus a bias, then an activation.

    Parameters
    ----------
    products : array
        What is summed, float64.
    bias : float
        0 without one.
    z : float
        The layer's own number before the activation.
    dz : float or None
        The gradient with respect to z.
    """

    _: KW_ONLY
    products: np.ndarray
    bias: float
    z: float
    dz: float | None

    @property
    def sum(self) -> float:
        """The sum of the products."""
        return float(self.products.sum())

    @property
    def measured(self) -> float:
        """The layer's own z."""
        return self.z

    def sums(self, rows: list[tuple[str, float]]) -> list[str]:
        """Return `rows` of names and numbers, then the bias, z and the activation, as lines."""
        rows = [*rows, ("bias", self.bias), ("z", self.z)]
        signs = ["", *["+"] * (len(rows) - 2), "="]
        for part in self.parts:
            if isinstance(part, Pointwise):
                rows.append((f"y = {part.formula('z')}", part.value))
                signs.append("")
        width = max(len(name) for name, _ in rows)
        return [
            f"{sign:1} {name.ljust(width)}  {' ' * (value >= 0)}{number(value)}"
            for sign, (name, value) in zip(signs, rows, strict=True)
        ]

    def inner(self) -> tuple[Explanation, ...]:
        """Return the activation if a formula doesn't say all: Softmax, or one of the user's."""
        return tuple(part for part in self.parts if not isinstance(part, Pointwise))


def before_activation(step: Step, position: Position, /) -> tuple[tuple[Explanation, ...], Position]:
    """Return the explanation of a layer's activation, none for Identity, and which element of z it takes."""
    act = step.parts[-1]
    if isinstance(act.layer, Identity):
        return (), position
    part = explain_step(act, position)
    return (part,), part.source


def affine_fields(layer: Any, step: Step, at: Position, products: np.ndarray, /) -> dict[str, Any]:
    """Return the fields of an `Affine`, for the element `at` of z."""
    act, bias = step.parts[-1], 0.0 if layer.b is None else float(host(layer.b.value)[at[0]])
    return {
        "products": products,
        "bias": bias,
        "z": float(act.x[at]),
        "dz": None if act.dx is None else float(act.dx[at]),
        "computed": float(products.sum()) + bias,
    }


@dataclass(repr=False, eq=False)
class DenseUnit(Affine):
    """A unit of a dense layer.

    Parameters
    ----------
    x, w : array (features,)
        Its inputs and its weights, float64.
    """

    first = "unit"

    _: KW_ONLY
    x: np.ndarray
    w: np.ndarray

    def largest(self) -> list[int]:
        """Return the features of the largest products, largest first."""
        return np.argsort(-np.abs(self.products), kind="stable")[:_MOST].tolist()

    def lines(self) -> list[str]:
        """Return the largest products, the sum, the bias and the activation."""
        largest = self.largest()
        cells = [
            (f"x[{i}]", number(self.x[i]), "×", number(self.w[i]), "=", number(self.products[i]))
            for i in largest
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = [(f"{len(cells)} largest products", float(self.products[largest].sum()))]
        others = self.products.size - len(largest)
        if others:
            rows.append((f"{others:,} other products", self.sum - rows[0][1]))
        return [
            f"{named(self.position, self.first)}: the largest of its {self.products.size:,} products w x are",
            *["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells],
            *self.sums(rows if others else [(f"sum of {len(cells)} products", self.sum)]),
        ]


@explanation.register
def _dense(layer: Dense, step: Step, position: Position) -> Explanation:
    parts, at = before_activation(step, position)
    x, w = (step.factors(a).astype(np.float64) for a in (step.x, host(layer.w.value)[at[0]]))
    made = DenseUnit(step, position, parts=parts, x=x, w=w, **affine_fields(layer, step, at, x * w))
    made.source = (int(np.argmax(np.nan_to_num(made.products) * (1 if made.z >= 0 else -1))),)
    return made
