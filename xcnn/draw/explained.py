"""What one output pixel of a layer saw and did with it, in numbers: what `explain` prints, as data."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from xcnn.draw.placed import place, placed
from xcnn.explain import (
    Affine,
    Convolution,
    DenseUnit,
    Explanation,
    ModelExplanation,
    Pooling,
    Windowed,
)
from xcnn.explain.explanation import Position, explain_step

__all__ = ["explained"]

_TERMS = 12  # products of a dense unit that are told one by one
_MOST = 4_096  # numbers of a patch; of a larger one the channels that do most are told


def explained(found: ModelExplanation, id: int, position: Position | None = None, /) -> dict[str, Any]:
    """Return what a layer did for one element of its output.

    Parameters
    ----------
    found : ModelExplanation
        From `Model.explain`.
    id : int
        The layer's place in the flat list.
    position : tuple of int, optional
        (channel, row, column) or (feature,); by default that which `found` tells of, or where the layer's
        output matters most.

    Returns
    -------
    dict
        Numbers, and the text that `explain` prints; `plain` makes JSON of it.

    Raises
    ------
    OptionError
        If there is no such layer, or no such element.
    """
    step = place(placed(found.step), id).step
    with np.errstate(all="ignore"):
        if position is None:
            e = next((e for e in found.walk() if e.step is step), None) or explain_step(step)
        else:
            e = Explanation(step, ()).at(*position)
        return _told(e, id)


def _told(e: Explanation, id: int) -> dict[str, Any]:
    return {
        "id": id,
        "position": e.position,
        "value": e.value,
        "title": e.title(),
        "text": e.text(),
        "kind": "other",
        "window": _window(e),
        "source": e.source,
        **_numbers(e),
    }


def _window(e: Explanation) -> dict[str, Any] | None:
    """Return the rows and columns of the input that `e` saw, padding included."""
    if not isinstance(e, Windowed) or not (e.rows and e.columns):
        return None
    spans = (("rows", e.rows), ("columns", e.columns))
    return {name: [min(taps), max(taps)] for name, taps in spans}


@singledispatch
def _numbers(e: Explanation) -> dict[str, Any]:
    return {}


def _affine(e: Affine) -> dict[str, Any]:
    return {
        "sum": e.sum,
        "bias": e.bias,
        "z": e.z,
        "activation": type(e.parts[-1].step.layer).__name__ if e.parts else None,
        "y": e.value,
    }


@_numbers.register
def _convolution(e: Convolution) -> dict[str, Any]:
    sums = e.products.sum(axis=(1, 2))
    most = max(1, _MOST // max(1, e.inside.size))
    weight = np.nan_to_num(np.abs(e.products)).sum(axis=(1, 2))
    shown = np.sort(np.argsort(-weight, kind="stable")[:most])
    others = np.delete(sums, shown)
    return {
        "kind": "convolution",
        "channels": np.asarray(e.channels, int)[shown],
        "patch": e.patch[shown],
        "inside": e.inside,
        "kernel": e.kernel[shown],
        "products": e.products[shown],
        "sums": sums[shown],
        "others": float(others.sum()),
        "others_count": others.size,
        **_affine(e),
    }


@_numbers.register
def _pooling(e: Pooling) -> dict[str, Any]:
    told = {
        "kind": "pooling",
        "mean": e.mean,
        "count": e.count,
        "winner": None,
        "patch": None,
        "inside": None,
    }
    if e.inside.size <= _MOST:
        told |= {"patch": e.patch[0], "inside": e.inside, "winner": None if e.mean else e.mark()}
    else:
        told["left_out"] = (
            f"the {e.inside.size:,} pixels of the window are more than the {_MOST:,} that are sent"
        )
    return {**told, "y": e.value}


@_numbers.register
def _dense(e: DenseUnit) -> dict[str, Any]:
    largest = np.argsort(-np.nan_to_num(np.abs(e.products)), kind="stable")[:_TERMS]
    others = np.delete(e.products, largest)
    terms = [{"feature": int(i), "x": e.x[i], "w": e.w[i], "product": e.products[i]} for i in largest]
    return {
        "kind": "dense",
        "terms": terms,
        "others": float(others.sum()),
        "others_count": others.size,
        **_affine(e),
    }
