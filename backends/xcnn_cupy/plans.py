"""cuDNN's graphs: drawn once for each shape, planned, kept, and run on CuPy's current stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from xcnn_cupy.graphs import Graph, Unsupported, available, refusals

__all__ = ["ALIGNMENT", "Plan", "Unsupported", "autotune", "available", "deterministic", "plan", "unwanted"]

ALIGNMENT = 16  # bytes: what plans may assume of every address
REPEATS = 5  # runs of which autotuning takes the fastest
MOST = 1024  # plans that are kept
SHARE = 4  # of the device's memory, a plan may work in one part

_settings = {"autotune": False, "deterministic": True}
_plans: dict[Any, Any] = {}
_lock = threading.RLock()  # a handle runs one graph at a time


def autotune(on: bool = True, /) -> None:
    """Time all of cuDNN's plans for a new shape and keep the fastest, instead of taking the one it expects.

    Parameters
    ----------
    on : bool
        Whether shapes met from now on are timed. Never while a step is captured. The fastest plan may change
        from run to run, and with it the last bits of the results.
    """
    _settings["autotune"] = bool(on)


def deterministic(on: bool = True, /) -> None:
    """Refuse plans whose results may change from run to run.

    Parameters
    ----------
    on : bool
        On by default; off, shapes met from now on may also be planned with atomic additions.
    """
    _settings["deterministic"] = bool(on)


class Plan:
    """One graph, ready to run on one GPU.

    Parameters
    ----------
    graph : Graph
        With plans proposed.
    tensors : sequence of tensor
        Its inputs and outputs, in the order in which `run` is given arrays.
    device : int
        The GPU.

    Attributes
    ----------
    trusted : bool or None
        Whether it keeps a promise of xcnn's that cuDNN doesn't make; None until somebody has looked.
    """

    def __init__(self, graph: Graph, tensors: Sequence[Any], device: int) -> None:
        graph.settle()
        self._nodes, self._device = graph.nodes, device
        self._uids = [tensor.get_uid() for tensor in tensors]
        self._index: int | None = None  # None: cuDNN's own choice
        self._room = int(graph.nodes.get_workspace_size())
        self._tuned = not _settings["autotune"]
        self.trusted: bool | None = None

    def run(self, *arrays: Any) -> None:
        """Compute on the current stream.

        Parameters
        ----------
        *arrays : array or numpy array
            Inputs and outputs; a NumPy array stands for a number by value. Addresses on the device are
            multiples of `ALIGNMENT`.

        Raises
        ------
        Unsupported
            If cuDNN planned what it then refuses to run.
        """
        from xcnn_cupy.recording import hold

        hold(self)
        pack = dict(zip(self._uids, map(_address, arrays), strict=True))
        with _lock:
            if not self._tuned and not is_capturing():
                self._index, self._room = self._fastest(pack)
                self._tuned = True
            self._execute(pack, self._index, self._room)

    def _execute(self, pack: dict[int, int], index: int | None, room: int) -> None:
        import cupy

        workspace = cupy.empty(max(room, 1), "uint8")
        with refusals():
            handle = _handle(self._device)
            if index is None:
                self._nodes.execute(pack, int(workspace.data.ptr), handle=handle)
            else:
                self._nodes.execute_plan_at_index(pack, int(workspace.data.ptr), index, handle=handle)

    def _fastest(self, pack: dict[int, int]) -> tuple[int | None, int]:
        """Return the number of the fastest plan for these arrays, and the bytes that it works in."""
        nodes, found = self._nodes, []
        for index in range(nodes.get_execution_plan_count()):
            try:
                with refusals():
                    nodes.build_plan_at_index(index)
                    room = int(nodes.get_workspace_size_plan_at_index(index))
                found.append((self._seconds(pack, index, room), index, room))
            except (Unsupported, MemoryError):
                continue  # deselected, not for this GPU, or too large for it
        return min(found)[1:] if found else (self._index, self._room)

    def _seconds(self, pack: dict[int, int], index: int, room: int) -> float:
        import cupy

        start, stop, times = cupy.cuda.Event(), cupy.cuda.Event(), []
        self._execute(pack, index, room)  # the first run loads code
        for _ in range(REPEATS):
            start.record()
            self._execute(pack, index, room)
            stop.record()
            stop.synchronize()
            times.append(cupy.cuda.get_elapsed_time(start, stop) / 1e3)
        return float(min(times))


def plan(draw: Callable[..., Sequence[Any]], kind: str, math: str, /, *sizes: Any) -> Plan:
    """Return the plan of a graph on the current device, drawn when it is first asked for.

    Parameters
    ----------
    draw : callable
        ``draw(graph, *sizes)`` adds the operations and returns the tensors in the order of `Plan.run`.
    kind : str
        How images are stored.
    math : str
        "float32": float32 products are exact to float32. "tf32": their operands may be rounded to 10 bits.
    *sizes : hashable
        What else the graph depends on.

    Returns
    -------
    Plan
        The same one for the same arguments and settings, among the last `MOST` asked for.

    Raises
    ------
    Unsupported
        If cuDNN has none, or is not installed.
    """
    if not available():
        msg = "cuDNN is not installed"
        raise Unsupported(msg)
    import cupy

    device = cupy.cuda.Device().id
    key = (draw, kind, math, sizes, device, *_settings.values())
    with _lock:
        found = _plans[key] = _plans.pop(key, None) or _proposed(draw, kind, math, sizes, device)
        if len(_plans) > MOST:
            del _plans[next(iter(_plans))]  # the one not asked for the longest
    if isinstance(found, str):
        raise Unsupported(found)
    return found


def _proposed(draw: Callable[..., Sequence[Any]], kind: str, math: str, sizes: Any, device: int) -> Any:
    """Return a plan, or why there is none."""
    try:
        with refusals():
            graph = Graph(kind, handle=_handle(device))
            tensors = draw(graph, *sizes)
        graph.propose(unwanted(kind, math), room=memory(device) // SHARE)
        return Plan(graph, tensors, device)
    except Unsupported as error:
        return str(error)


def unwanted(kind: str, math: str, /) -> list[str]:
    """Return the numerical notes of plans that are not taken for numbers of `kind`.

    Winograd's plans are: they lose a digit or so of float32 in small kernels, as other frameworks' do.
    """
    notes = ["DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION"]
    if _settings["deterministic"]:
        notes.append("NONDETERMINISTIC")
    if kind == "float32" and math == "float32":
        notes.append("TENSOR_CORE")  # they would round float32 to TF32
    return notes


@cache
def memory(device: int) -> int:
    """Return the bytes that a device has."""
    import cupy

    return int(cupy.cuda.Device(device).mem_info[1])


@cache
def _made(device: int) -> int:
    import cudnn

    return int(cudnn.create_handle())


def _handle(device: int) -> int:
    """Return cuDNN's handle for the current device, on the current stream."""
    import cudnn
    import cupy

    handle = _made(device)
    cudnn.set_stream(handle=handle, stream=int(cupy.cuda.get_current_stream().ptr))
    return handle


def is_capturing() -> bool:
    """Return whether the current stream writes a CUDA graph down instead of running."""
    import cupy

    return bool(cupy.cuda.get_current_stream().is_capturing())


def _address(a: Any) -> int:
    """Return where an array lies: on the device, or on the host if it is NumPy's."""
    return int(a.data.ptr) if hasattr(a.data, "ptr") else int(a.ctypes.data)
