"""The layers of a model as one flat list, in which each has the same number for every picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.backend import readable
from xcnn.errors import OptionError
from xcnn.explain import Step
from xcnn.explain.trace import Tracer
from xcnn.layers import Identity
from xcnn.layers.linear import Activated
from xcnn.model import Model

__all__ = ["Placed", "blank", "place", "placed"]


@dataclass(frozen=True, eq=False)
class Placed:
    """A layer at work, and its place in the flat list.

    Parameters
    ----------
    id : int
        The place, from 0.
    step : Step
        What it did.
    depth : int
        In how many other layers it lies.
    """

    id: int
    step: Step
    depth: int

    @property
    def title(self) -> str:
        """The layer's type, with that of its activation."""
        layer: Any = self.step.layer
        active = isinstance(layer, Activated) and not isinstance(layer.act, Identity)
        return type(layer).__name__ + (f" + {type(layer.act).__name__}" if active else "")


def _inside(step: Step, depth: int) -> Iterator[tuple[Step, int]]:
    own = step.layer.act if isinstance(step.layer, Activated) else None
    for part in step.parts:
        if part.layer is not own:
            yield part, depth
            yield from _inside(part, depth + 1)


def placed(step: Step, /) -> list[Placed]:
    """Return the layers of a model in the order in which they run, outer ones before those inside.

    A layer that runs twice stands there twice. The activation of a convolution or dense layer is part of it.

    Parameters
    ----------
    step : Step
        The whole model at work.

    Returns
    -------
    list of Placed
        The place in it is the layer's id.
    """
    return [Placed(id, part, depth) for id, (part, depth) in enumerate(_inside(step, 0))]


def place(layers: list[Placed], id: int, /) -> Placed:
    """Return one of the flat list.

    Parameters
    ----------
    layers : list of Placed
        All of a model.
    id : int
        Which.

    Returns
    -------
    Placed
        The layer.

    Raises
    ------
    OptionError
        If there is none.
    """
    if not 0 <= id < len(layers):
        msg = f"there is no layer {id}; the model has {len(layers)}, from 0"
        raise OptionError(msg, where="layers")
    return layers[id]


def blank(model: Model, /) -> list[Placed]:
    """Return the flat list of a model that is given zeros.

    Parameters
    ----------
    model : Model
        Any.

    Returns
    -------
    list of Placed
        With the ids that each picture's has.
    """
    with model.active(), readable(), np.errstate(all="ignore"):
        x = model.accept(np.zeros((1, *model.input_shape), np.float32))
        return placed(Tracer.over(model.layers, x))
