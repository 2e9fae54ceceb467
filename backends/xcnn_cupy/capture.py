"""Training steps as CUDA graphs: recorded once for each shape of batch, then replayed by a single launch.

The first two steps of a shape run as they are, and warm everything up: kernels, plans, what layers keep.
The third is recorded and replayed; other shapes, such as the last batch of an epoch, run as they are until
they have come three times, too. A graph reads and writes fixed memory, so the model's arrays live in buffers
that all graphs of a trainer share, and every replay ends by overwriting them: between two replays nothing is
copied but the batch and the scalars on the way in, the loss and the outputs on the way out. `Held` stands for
the arrays meanwhile.

What a step reads from Python objects (a dropout's rate, say) stays what it was when the step was recorded.
Learning rates and the number of the step change: a small kernel writes them to the device before each replay.
Steps that are not replayed read the learning rates there, too: no bit of the result says which were replayed.

Where recording fails (a layer reads a value on the host or sends one, cuDNN is missing and CuPy's matrix
product refuses, the memory is out), the reason is said once on stderr, and steps of that shape run as they
are from then on. With ``XCNN_CUDA_GRAPHS=0`` in the environment all do.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import cupy

from xcnn_cupy.recording import Workspace, is_on, recording, say
from xcnn_cupy.scalars import Scalars
from xcnn_cupy.updates import copy_all

__all__ = ["Captured", "Held"]

WARM = 2  # steps of a shape before it is recorded
MOST = 4  # shapes that a trainer records


def flatten(arrays: Any) -> list[Any]:
    """Return the arrays of a named tuple of arrays and tuples of arrays."""
    return [a for part in arrays for a in (part if isinstance(part, tuple) else (part,))]


def rebuild(like: Any, parts: Iterable[Any]) -> Any:
    """Return a named tuple built as `like` is, of other arrays."""
    rest = iter(parts)
    return type(like)(
        *[tuple([next(rest) for _ in part]) if isinstance(part, tuple) else next(rest) for part in like]
    )


class Held:
    """A model's arrays in buffers that replays overwrite: these now, and after a replay its results.

    Parameters
    ----------
    buffers : Arrays
        Where the arrays are.
    owner : callable
        Returns who replays, or None when nobody does any more.
    """

    def __init__(self, buffers: Any, owner: Callable[[], Any]) -> None:
        self._buffers, self._owner, self._copies = buffers, owner, None
        self._lock = threading.Lock()  # another thread may predict meanwhile

    def read(self) -> Any:
        """Return copies of the arrays as they are now, the same ones until the next replay.

        Returns
        -------
        Arrays
            They never change.
        """
        with self._lock:
            if self._copies is None:
                buffers = flatten(self._buffers)
                with buffers[0].device:
                    copies = [cupy.empty_like(a) for a in buffers]
                    copy_all(copies, buffers)
                self._copies = rebuild(self._buffers, copies)
            if self._owner() is None:  # the copies are right for ever
                self._buffers = None
            return self._copies

    def advance(self, graph: Any, /) -> None:
        """Replay a graph, which overwrites the buffers.

        Parameters
        ----------
        graph : cupy.cuda.Graph
            Of the owner.
        """
        with self._lock:
            self._copies = None
            graph.launch()


class Graph(NamedTuple):
    """A recorded step.

    Attributes
    ----------
    workspace : Workspace
        What it works in; the first, for a tuple lets go of its last element first.
    graph : cupy.cuda.Graph
        What is replayed.
    x, y : cupy.ndarray
        Where it reads the batch.
    loss, z : cupy.ndarray
        Where it writes the loss and the outputs.
    """

    workspace: Workspace
    graph: Any
    x: Any
    y: Any
    loss: Any
    z: Any


class Captured:
    """A pure training step, replayed as a CUDA graph where it can be.

    Parameters
    ----------
    step : callable
        ``step(arrays, x, y, (t, scalars)) -> (arrays, loss, z)``; a method does not keep its object alive.
    """

    def __init__(self, step: Callable[..., Any]) -> None:
        self._step: Any = weakref.WeakMethod(step) if inspect.ismethod(step) else lambda: step
        self._records = is_on()
        self._begin(None)

    def _begin(self, kinds: Any) -> None:
        """Forget what was recorded: it is of no use for arrays of other kinds."""
        self._kinds, self._buffers = kinds, None
        self._scalars: Any = None
        self._held: Callable[[], Held | None] = lambda: None
        self._seen: Counter[Any] = Counter()
        self._graphs: dict[Any, Graph | None] = {}

    def __call__(self, arrays: Any, x: Any, y: Any, scalars: Any, /) -> tuple[Any, Any, Any]:
        """Take a step.

        Parameters
        ----------
        arrays : Arrays or Held
            Before the step.
        x, y : cupy.ndarray
            The batch.
        scalars : (int, sequence of tuple of float)
            The number of the step, and what the optimizers need for it.

        Returns
        -------
        arrays : Arrays or Held
            After the step.
        loss, z : cupy.ndarray
            The loss and the outputs.
        """
        if arrays is not self._held():
            plain = _read(arrays)
            kinds = [(a.shape, a.dtype) for a in flatten(plain)], [len(part) for part in scalars[1]]
            if kinds != self._kinds:
                self._begin(kinds)
                self._scalars = Scalars(kinds[1], plain.values.dtype)
        self._scalars.send(*scalars)
        key = x.shape, x.strides, x.dtype, y.shape, y.strides, y.dtype
        graph = self._graphs.get(key)
        if graph is not None:
            return self._replay(graph, arrays, x, y)
        self._seen[key] += 1
        if self._records and self._seen[key] > WARM and key not in self._graphs and len(self._graphs) < MOST:
            recorded = self._record(arrays, x, y)
            if isinstance(recorded, Graph):
                self._graphs[key] = recorded
                return self._replay(recorded, arrays, x, y)
            result = self._run(_read(arrays), x, y, scalars[0])  # raises what the step itself raises
            self._graphs[key] = None
            if not any(self._graphs.values()):
                self._buffers = None
            say("training steps", recorded)
            return result
        return self._run(_read(arrays), x, y, scalars[0])

    def _run(self, arrays: Any, x: Any, y: Any, t: Any) -> tuple[Any, Any, Any]:
        return self._step()(arrays, x, y, (t, self._scalars.parts))

    def _record(self, arrays: Any, x: Any, y: Any) -> Graph | str:
        """Return the step as a graph, or why it cannot be one; nothing is computed."""
        cupy.cuda.get_current_stream().synchronize()
        cupy.get_default_memory_pool().free_all_blocks()  # what earlier steps left
        if self._buffers is None:
            plain = _read(arrays)
            self._buffers = rebuild(plain, [cupy.empty_like(a) for a in flatten(plain)])
        buffers = flatten(self._buffers)
        given = rebuild(self._buffers, [a.view() for a in buffers])  # in no cache
        x, y = cupy.empty_like(x), cupy.empty_like(y)
        workspace = Workspace()
        try:
            with recording(workspace) as recorded:
                new, loss, z = self._run(given, x, y, self._scalars.t)
                copy_all(buffers, flatten(new))
            return Graph(workspace, recorded[0], x, y, loss, z)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def _replay(self, graph: Graph, arrays: Any, x: Any, y: Any) -> tuple[Held, Any, Any]:
        held = self._hold(arrays)
        copy_all((graph.x, graph.y), (x, y))
        loss, z = cupy.empty_like(graph.loss), cupy.empty_like(graph.z)  # first: this may fail
        held.advance(graph.graph)
        copy_all((loss, z), (graph.loss, graph.z))
        return held, loss, z

    def _hold(self, arrays: Any) -> Held:
        """Return what stands for `arrays` in the buffers, copied there unless they are there already."""
        held = self._held()
        if held is not None:
            if arrays is held:
                return held
            held.read()  # somebody keeps it: its copies outlive what comes into the buffers
            self._held = lambda: None
        copy_all(flatten(self._buffers), flatten(_read(arrays)))
        held = Held(self._buffers, weakref.ref(self))
        self._held = weakref.ref(held)
        return held


def _read(arrays: Any) -> Any:
    """Return plain arrays."""
    return arrays.read() if isinstance(arrays, Held) else arrays
