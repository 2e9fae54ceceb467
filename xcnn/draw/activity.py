"""Which channels of each layer answer to a sample of images, and which are dead."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from xcnn.data.rows import read_slice
from xcnn.draw.placed import placed
from xcnn.explain.trace import Tracer, host
from xcnn.model import Model

__all__ = ["Activity", "activity"]

_BATCH = 128  # images at a time


@dataclass(frozen=True, eq=False)
class Activity:
    """How much of a layer's output is not 0.

    Parameters
    ----------
    active : array (C,)
        The share of positions and images, for each channel or unit.
    images : int
        Of the sample.
    """

    active: np.ndarray
    images: int


class _Tally(Tracer):
    """Note of each channel which share of images and positions is not 0."""

    def noted(self, a: Any, /) -> np.ndarray:
        a = host(a)
        return np.atleast_1d(np.mean(a != 0, axis=(0, *range(2, a.ndim))))


_lock = Lock()
_known: WeakKeyDictionary[Model, tuple[Any, Any, list[Activity]]] = WeakKeyDictionary()


def activity(model: Model, sample: Any, /) -> list[Activity]:
    """Return how much of each layer's output is not 0; asked again for the same, it remembers.

    Parameters
    ----------
    model : Model
        Any.
    sample : array (N, ...)
        Images; at least one.

    Returns
    -------
    list of Activity
        For the flat list of layers.
    """
    with _lock:
        weights, images, found = _known.get(model, (None, None, []))
        if weights is not model.state.arrays or images is not sample:
            found = _count(model, sample)
            _known[model] = model.state.arrays, sample, found
    return found


def _count(model: Model, sample: Any) -> list[Activity]:
    n, totals = int(sample.shape[0]), []
    with model.active(), np.errstate(all="ignore"):
        for start in range(0, n, _BATCH):
            stop = min(start + _BATCH, n)
            step = _Tally.over(model.layers, model.accept(read_slice(sample, start, stop)))
            totals.append([(stop - start) * layer.step.y for layer in placed(step)])
    return [Activity(np.sum(parts, axis=0) / n, n) for parts in zip(*totals, strict=True)]
