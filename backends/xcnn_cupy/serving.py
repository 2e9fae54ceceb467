"""Predictions as CUDA graphs: recorded when the same parameters have served a shape of batch often enough.

A small model's prediction is a dozen launches, which take the host longer than the GPU. Recorded, it is one,
and two copies: the batch to where the graph reads it, the outputs from where it writes them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cupy

from xcnn_cupy.recording import Workspace, is_on, recording, say
from xcnn_cupy.updates import copy_all

__all__ = ["Serving"]

OFTEN = 8  # batches of a shape before its prediction is recorded
MOST = 4  # shapes that are recorded


class Graph(NamedTuple):
    """A recorded prediction.

    Attributes
    ----------
    workspace : Workspace
        What it works in; the first, for a tuple lets go of its last element first.
    graph : cupy.cuda.Graph
        What is replayed.
    x, y : cupy.ndarray
        Where it reads the batch and writes the outputs.
    """

    workspace: Workspace
    graph: Any
    x: Any
    y: Any


class Serving:
    """Recorded predictions of one run, for the arrays that it computed with last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a graph has one place for a batch
        self._begin(())

    def __deepcopy__(self, memo: Any, /) -> Serving:
        return Serving()

    def _begin(self, given: Sequence[Any]) -> None:
        self._given = given  # they stay where the graphs read them as long as they are held
        self._seen: Counter[Any] = Counter()
        self._graphs: dict[Any, Graph | None] = {}

    def __call__(self, compute: Callable[[Any], Any], x: Any, given: Sequence[Any], /) -> Any:
        """Return ``compute(x)``.

        Parameters
        ----------
        compute : callable
            Computes with nothing but x and what is given.
        x : cupy.ndarray
            A batch.
        given : sequence
            Parameters and statistics, as they are and packed; others, by identity, make graphs useless.

        Returns
        -------
        cupy.ndarray
            A new array.
        """
        stream = cupy.cuda.get_current_stream()
        if stream.is_capturing():
            return compute(x)
        with self._lock:
            if list(map(id, given)) != list(map(id, self._given)):
                self._begin(given)
            key = x.shape, x.strides, stream.ptr  # a graph that two streams launch would mix their batches
            graph = self._graphs.get(key)
            if graph is None and self._is_due(key):
                graph = self._graphs[key] = self._record(compute, x)
            if graph is not None:
                y = cupy.empty_like(graph.y)
                copy_all((graph.x,), (x,))
                graph.graph.launch()
                copy_all((y,), (graph.y,))
                return y
        return compute(x)

    def _is_due(self, key: Any) -> bool:
        """Return whether it is time to record a shape, which is tried once."""
        self._seen[key] += 1
        return self._seen[key] > OFTEN and key not in self._graphs and len(self._graphs) < MOST and is_on()

    def _record(self, compute: Callable[[Any], Any], x: Any) -> Graph | None:
        """Return the prediction as a graph, or None where it cannot be one: it then runs as it is."""
        cupy.cuda.get_current_stream().synchronize()
        x, workspace = cupy.empty_like(x), Workspace()
        try:
            with recording(workspace) as recorded:
                y = compute(x)
            return Graph(workspace, recorded[0], x, y)
        except Exception as error:
            say("predictions", f"{type(error).__name__}: {error}")
            return None
