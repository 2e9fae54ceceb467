"""Why a model gives its answer: the gradient with respect to the picture, and what covering it does."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn.explain import ModelExplanation, Occlusion, occlusion
from xcnn.explain.text import number
from xcnn.model import Model

__all__ = ["why"]


def why(model: Model, x: Any, found: ModelExplanation, /) -> dict[str, Any]:
    """Return what speaks for the answer, pixel by pixel, by two measures that know nothing of each other.

    The gradient is dz/dx, of the logit z of the predicted class, summed over the channels of the picture; the
    `product` x dz/dx is its share of the pixels that are not 0. `xcnn.explain.occlusion` is the other.

    Parameters
    ----------
    model : Model
        Any.
    x : array (C, H, W)
        A picture.
    found : ModelExplanation
        From ``model.explain(x)``.

    Returns
    -------
    dict
        Maps and words; `plain` makes JSON of it.
    """
    p = found.probabilities
    covered = occlusion(model, x) if found.image.ndim == 3 else None
    with np.errstate(all="ignore"):
        return {
            "class": None if p is None else found.classes[int(np.argmax(p))],
            "target": found.target,
            "gradient": {"values": _flat(found.dx)},
            "product": {"values": _flat(found.image * found.dx)},
            "occlusion": None if covered is None else _occlusion(covered),
            "text": [found.answer, *_gradient(found), *(_cover(covered) if covered else [])],
        }


def _flat(a: np.ndarray) -> np.ndarray:
    """Return a map (H, W) of an array (C, H, W): the sum over the channels; of any other one row."""
    return a.sum(axis=0) if a.ndim == 3 else a.reshape(1, -1)


def _occlusion(covered: Occlusion) -> dict[str, Any]:
    return {
        "values": covered.values,
        "size": covered.size,
        "stride": covered.stride,
        "ground": covered.ground,
        "target": covered.target,
        "before": covered.before,
    }


def _gradient(found: ModelExplanation) -> list[str]:
    if not found.dx.any():
        return [f"the gradient of {found.target} is 0 everywhere: no pixel changes it a little"]
    return [
        f"gradient: how fast {found.target} rises when a pixel gets brighter; where it is negative, it falls",
        "gradient × picture: the same, times how bright the pixel is: what the strokes that are there do",
    ]


def _cover(covered: Occlusion) -> list[str]:
    size = covered.size
    line = f"occlusion: by how much {covered.target} falls when a square of {size} × {size} pixels is covered"
    largest = int(np.argmax(np.nan_to_num(covered.drops, nan=-np.inf)))
    row, column = np.unravel_index(largest, covered.drops.shape)
    drop = float(covered.drops[row, column])
    if not np.isfinite(covered.before):
        return [f"{line}; it is no number"]
    if not drop > 0:
        return [f"{line}; nowhere does it"]
    r, c = covered.rows[row], covered.columns[column]
    after = covered.before - drop
    return [
        f"{line}; most at rows {r} to {r + size - 1}, columns {c} to {c + size - 1}: "
        f"from {number(covered.before)} to {number(after)}"
    ]
