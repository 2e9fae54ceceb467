"""CUDA graphs: what is launched on a stream, recorded instead of run."""

from __future__ import annotations

import functools
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cupy

__all__ = ["Workspace", "hold", "is_on", "recording", "say"]

_one = threading.Lock()  # one thread records at a time
_working: list[Workspace] = []  # that of the recording, while there is one


def is_on() -> bool:
    """Return whether anything is to be recorded: not with ``XCNN_CUDA_GRAPHS=0`` in the environment."""
    return os.environ.get("XCNN_CUDA_GRAPHS", "1") != "0"


class Workspace:
    """Memory for a graph to work in, from the current device; freed when this object goes.

    What is given back meanwhile is used again by what comes later in the recording: the graph runs in the
    same order. CuPy would never free what is left in a pool that goes before it was emptied.
    """

    def __init__(self) -> None:
        self.held: list[Any] = []  # what the graph launches
        self._device, self._pool = cupy.cuda.Device(), cupy.cuda.MemoryPool()
        self.malloc = self._pool.malloc

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ends():  # else CUDA may be gone
            with self._device:
                self._pool.free_all_blocks()


@contextmanager
def recording(workspace: Workspace) -> Iterator[list[Any]]:
    """Record what is launched inside the block into a graph, which the list yielded holds afterwards.

    Parameters
    ----------
    workspace : Workspace
        What is allocated meanwhile comes from there.

    Yields
    ------
    list
        Empty inside the block; after it, the graph.
    """
    stream, found = cupy.cuda.Stream(non_blocking=True), list[Any]()
    with _one, _no_collection(), cupy.cuda.using_allocator(workspace.malloc), stream:
        stream.begin_capture()
        _working.append(workspace)
        try:
            yield found
        except BaseException:
            with suppress(Exception):  # it says again that the recording failed
                stream.end_capture()
            raise
        finally:
            _working.clear()
        found.append(stream.end_capture())


def hold(a: Any, /) -> None:
    """Keep `a` as long as the graph that is being recorded, if one is.

    Parameters
    ----------
    a : object
        Whose code the graph launches.
    """
    for workspace in _working[:1]:
        workspace.held.append(a)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector away: what it frees has nothing to do with the step."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@functools.cache
def say(what: str, reason: str, /) -> None:
    """Say once why something is not replayed.

    Parameters
    ----------
    what : str
        Several of it: "training steps".
    reason : str
        An error's.
    """
    print(f"xcnn: {what} run uncaptured on cupy: {reason}", file=sys.stderr)
