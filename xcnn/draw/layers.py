"""The layers of a model as one flat list: who they are, their kernels, and what is dead in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn.draw.activity import activity
from xcnn.draw.placed import Placed, blank, place
from xcnn.explain.trace import host
from xcnn.layer import Layer
from xcnn.layers.linear import Activated
from xcnn.model import Model

__all__ = ["describe", "describe_layer"]

_KERNELS = 65_536  # numbers that are told of a layer's kernels


def _kernels(layer: Layer) -> Any:
    """Return the weights of a convolution (F, C, KH, KW) or a dense layer (units, features), else None."""
    w = layer.parameters().get("w")
    return w if w is not None and len(w.shape) in (2, 4) else None


def _told(layer: Placed) -> dict[str, Any]:
    step = layer.step
    own = {id(p): p.size for p in step.layer.parameters().values()}
    if isinstance(step.layer, Activated):
        own |= {id(p): p.size for p in step.layer.act.parameters().values()}
    return {
        "id": layer.id,
        "path": step.layer.path,
        "type": type(step.layer).__name__,
        "name": step.layer.name,
        "title": layer.title,
        "input_shape": step.x.shape,
        "output_shape": step.y.shape,
        "parameters": sum(own.values()),
        "kernels": _kernels(step.layer) is not None,
        "depth": layer.depth,
    }


def describe(model: Model, /) -> dict[str, Any]:
    """Return what there is to know of a model without a picture.

    Parameters
    ----------
    model : Model
        Any.

    Returns
    -------
    dict
        Shapes, size, numbers, and its layers; `plain` makes JSON of it.
    """
    return {
        "input_shape": model.input_shape,
        "output_shape": model.output_shape,
        "parameters": model.state.size,
        "dtype": model.dtype,
        "precision": model.precision,
        "backend": model.backend.name,
        "layers": [_told(layer) for layer in blank(model)],
    }


def describe_layer(model: Model, id: int, sample: Any = None, /) -> dict[str, Any]:
    """Return what there is to know of one layer without a picture.

    Parameters
    ----------
    model : Model
        Any.
    id : int
        Its place in the flat list.
    sample : array (N, ...), optional
        Images, by which dead channels are told; the model runs them once.

    Returns
    -------
    dict
        Its kernels, biases and dead channels too; `plain` makes JSON of it.

    Raises
    ------
    OptionError
        If there is no such layer.
    """
    layer = place(blank(model), id)
    told = {**_told(layer), "kernels": None, "bias": None, "dead": None, "active": None, "sample": 0}
    w, b = _kernels(layer.step.layer), layer.step.layer.parameters().get("b")
    if w is not None and w.size <= _KERNELS:
        values = host(w.value)
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (None, None)
        told["kernels"] = {"shape": values.shape, "values": values, "min": low, "max": high}
    elif w is not None:
        told["kernels_left_out"] = f"{w.size:,} numbers are more than the {_KERNELS:,} that are sent"
    if b is not None and b.size <= _KERNELS:
        told["bias"] = host(b.value)
    if sample is not None:
        found = activity(model, sample)[id]
        told |= {"dead": np.flatnonzero(found.active == 0), "active": found.active, "sample": found.images}
    return told
