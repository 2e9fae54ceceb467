"""Batches on their way to the device: each is copied while the one before it is worked on.

A batch of host arrays goes into pinned memory, which a copy stream reads while the current stream computes.
Two pieces of pinned memory take turns, and each waits for its last copy before it is written again. On the
device every batch has memory of its own, which may be kept: the copy stream writes there after what the
current stream was asked to do so far (another array may have lived there), the current stream reads after the
copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cupy
import numpy as np

__all__ = ["feed"]

DTYPES = "?bBhHiIlLqQefd"  # that CuPy has, too
ALIGNED = 512  # bytes


def feed(batches: Iterable[Any], device: Any, /) -> Iterator[Any]:
    """Yield batches with their NumPy arrays copied to the device, one batch ahead of their use.

    What `batches` raises is raised here, after the batch before it was yielded.

    Parameters
    ----------
    batches : iterable of tuple
        Arrays, of which NumPy's are copied, or None.
    device : cupy.cuda.Device
        Where to.

    Yields
    ------
    tuple
        Arrays of the same shapes and dtypes.
    """
    with device:
        copying = cupy.cuda.Stream(non_blocking=True)
    try:
        for batch, event in _one_ahead(_send(batches, device, copying)):
            with device:
                cupy.cuda.get_current_stream().wait_event(event)
            yield batch
    finally:
        copying.synchronize()  # else what is still on its way could meet the next use of its memory


def _one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """Yield items, each when the next one was made; an error in making it comes after the item before."""
    before: list[Any] = []
    error: Exception | None = None
    try:
        for item in items:
            yield from before
            before = [item]
    except Exception as raised:
        error = raised
    yield from before
    if error is not None:
        raise error


def _send(batches: Iterable[Any], device: Any, copying: Any) -> Iterator[tuple[Any, Any]]:
    """Yield batches on their way, each with the event after which it is there."""
    source, rooms = iter(batches), [Room(), Room()]
    while True:
        with device:  # for each batch anew: in between, others may use another
            batch = next(source, None)
            if batch is None:
                return
            event = rooms[0].send(batch, copying)
        yield event
        rooms.reverse()


class Room:
    """Pinned memory for one batch at a time."""

    def __init__(self) -> None:
        self._memory = cupy.cuda.alloc_pinned_memory(ALIGNED)
        self._size = ALIGNED
        self._begun = cupy.cuda.Event(disable_timing=True)
        self._free = cupy.cuda.Event(disable_timing=True)  # after its last copy

    def send(self, batch: Any, copying: Any, /) -> tuple[Any, Any]:
        """Start copying a batch to the current device.

        Parameters
        ----------
        batch : iterable
            Arrays of any library, or None.
        copying : cupy.cuda.Stream
            Who copies.

        Returns
        -------
        batch : tuple
            With its NumPy arrays on the device.
        event : cupy.cuda.Event
            After which they are there; it is used again for the next batch.
        """
        self._free.synchronize()
        batch = tuple(batch)
        places, size = [], 0
        for a in batch:
            places.append(size)
            size += -(-a.nbytes // ALIGNED) * ALIGNED if _goes(a) else 0
        if size > self._size:
            self._memory, self._size = cupy.cuda.alloc_pinned_memory(size), size
        arrived = tuple([cupy.empty(a.shape, a.dtype) if _goes(a) else a for a in batch])
        copying.wait_event(cupy.cuda.get_current_stream().record(self._begun))
        for a, to, place in zip(batch, arrived, places, strict=True):
            if _goes(a):
                pinned = np.ndarray(a.shape, a.dtype, self._memory, place)
                pinned[...] = a
                to.data.copy_from_host_async(pinned.ctypes.data, pinned.nbytes, copying)
        self._free.record(copying)
        return arrived, self._free


def _goes(a: Any) -> bool:
    """Return whether `a` is an array that can be copied as it is."""
    return isinstance(a, np.ndarray) and a.dtype.char in DTYPES and a.dtype.isnative and a.size > 0
