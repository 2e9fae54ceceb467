"""Streams, events, captured graphs.

Kernels run when they are launched. Copies between host and device run as late as CUDA may run them: when the
stream is waited for or used next, so that a buffer reused too early or a missing wait shows as wrong numbers.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from cupy import emulator
from cupy.cuda import runtime

_local = threading.local()
_living: weakref.WeakSet[Stream] = weakref.WeakSet()
Work = Callable[[], Any]


def move(target: int, source: int, size: int) -> None:
    """Copy bytes from one address to another."""
    ctypes.memmove(target, source, size)


class Graph:
    """What a stream recorded; it works in the memory that was there then, which others must keep."""

    def __init__(self, work: list[Work], memory: list[tuple[Any, Any]]) -> None:
        self._work, self._memory = work, memory

    def launch(self, stream: Stream | None = None) -> None:
        """Do it all again, on the same addresses."""
        stream = stream or get_current_stream()
        if stream.is_capturing():
            raise runtime.CUDARuntimeError(900, "the emulator records no graph in a graph")
        if any(alive() is None for alive, _ in self._memory):
            raise runtime.CUDARuntimeError(
                700, "a graph works in memory that was freed after it was recorded"
            )
        emulator.count("replays")
        stream.submit(self._run)

    def upload(self, stream: Stream | None = None) -> None:
        """Do nothing: there is nowhere to send it."""

    def _run(self) -> None:
        with np.errstate(all="ignore"):
            for one in self._work:
                one()


class Stream:
    """A queue of work; also a context manager that makes it the current one of this thread."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.non_blocking = non_blocking
        self._late: list[Work] = []
        self._record: list[Work] | None = None
        self._broken = False
        self._memory: list[tuple[Any, Any]] = []
        _living.add(self)

    @property
    def ptr(self) -> int:
        return 0 if self is Stream.null else id(self)

    @property
    def done(self) -> bool:
        self._refuse("Stream.done")
        return not self._late

    def is_capturing(self) -> bool:
        return self._record is not None

    def begin_capture(self, mode: int | None = None) -> None:
        """Record instead of running, from now on."""
        if self is Stream.null:
            raise runtime.CUDARuntimeError(900, "the null stream cannot be captured")
        if self._record is not None:
            raise runtime.CUDARuntimeError(400, "the stream is capturing already")
        self._flush()
        self._record, self._broken, self._memory = [], False, []

    def end_capture(self) -> Graph:
        """Return what was recorded."""
        work, self._record = self._record, None
        if work is None:
            raise runtime.CUDARuntimeError(400, "the stream is not capturing")
        if self._broken:
            raise runtime.CUDARuntimeError(901)
        return Graph(work, self._memory)

    def works_in(self, memory: Any, room: Any) -> None:
        """Note that what is recorded reads or writes a room."""
        raw = getattr(memory, "raw", None)
        owner = raw if raw is not None and memory.captured else memory  # a pool keeps what a graph gave back
        self._memory.append((weakref.ref(owner), (room, getattr(raw or owner, "room", None))))

    def _refuse(self, what: str) -> None:
        if self._record is not None:
            self._broken = True
            raise runtime.CUDARuntimeError(900, what)

    def submit(self, work: Work) -> None:
        """Run work now, or record it."""
        self._flush()
        if self._record is not None:
            self._record.append(work)
        else:
            work()

    def defer(self, target: int, source: int, size: int, *keep: Any) -> None:
        """Copy between host and device as late as may be; until then the target holds poison."""

        def work(keep: Any = keep) -> None:
            move(target, source, size)

        if self._record is not None:
            self._record.append(work)
            return
        ctypes.memset(target, 0xFF, size)
        self._late.append(work)

    def _flush(self) -> None:
        while self._late:
            self._late.pop(0)()

    def synchronize(self) -> None:
        """Wait until everything ran."""
        self._refuse("synchronize")
        emulator.count("syncs")
        self._flush()

    def wait(self) -> None:
        """Wait as a transfer to the host does; the caller counts it."""
        self._refuse("a transfer between host and device")
        self._flush()

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let what comes next on this stream wait for an event."""
        if self._record is not None and event.stream is not self:
            self._broken = True
            raise runtime.CUDARuntimeError(905)
        self._late.append(event._reach)

    def use(self) -> Stream:
        _local.stream = self
        return self

    def __enter__(self) -> Stream:
        _local.__dict__.setdefault("entered", []).append(get_current_stream())
        return self.use()

    def __exit__(self, *args: object) -> None:
        _local.stream = _local.entered.pop()

    def __repr__(self) -> str:
        return f"<Stream {self.ptr}>"


class Event:
    """A point in the work of a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.stream: Stream | None = None
        self._before: list[Work] = []

    @property
    def ptr(self) -> int:
        return id(self)

    @property
    def done(self) -> bool:
        return not self._ahead()

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or get_current_stream()
        self._before = list(self.stream._late)

    def synchronize(self) -> None:
        """Wait for what the stream had to do when the event was recorded."""
        get_current_stream()._refuse("Event.synchronize")
        emulator.count("syncs")
        self._reach()

    def _ahead(self) -> bool:
        return self.stream is not None and any(one in self.stream._late for one in self._before)

    def _reach(self) -> None:
        while self._ahead():
            self.stream._late.pop(0)()


Stream.null = Stream(null=True)


def get_current_stream(device_id: int = -1) -> Stream:
    """Return the stream of this thread."""
    return getattr(_local, "stream", Stream.null)


def living() -> list[Stream]:
    """Return every stream there is."""
    return list(_living)


def by_pointer(ptr: int) -> Stream:
    """Return a stream by its number."""
    return next(one for one in _living if one.ptr == ptr)


def get_elapsed_time(start: Event, end: Event) -> float:
    """Return zero: an emulated device has no speed."""
    return 0.0
