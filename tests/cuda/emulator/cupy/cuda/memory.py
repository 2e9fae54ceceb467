"""Memory: fresh rooms are filled with 0xFF (NaN in floats); a guard behind them shows wild writes."""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from cupy.cuda import device, runtime
from cupy.cuda.stream import Stream, get_current_stream, move

ALIGNED, GUARD = 512, 64
in_use: dict[int, int] = defaultdict(int)  # bytes by device
lost: list[Memory] = []
_local = threading.local()


class OutOfMemoryError(MemoryError):
    """More was asked for than the device or the limit of its pool has."""


class Memory:
    """A room on the current device, freed when this object goes: what cudaMalloc gives."""

    def __init__(self, size: int) -> None:
        self.size, self.device_id = size, device.current().id
        if in_use[self.device_id] + size > runtime.TOTAL:
            raise runtime.CUDARuntimeError(2)
        room = np.empty(size + GUARD + ALIGNED, np.uint8)
        start = -room.ctypes.data % ALIGNED
        self.room, self._guard = room, room[start + size : start + size + GUARD]
        self.ptr = room.ctypes.data + start
        in_use[self.device_id] += size
        room.fill(0xFF)

    @property
    def device(self) -> device.Device:
        return device.Device(self.device_id)

    def check(self, who: str) -> None:
        """Refuse a kernel that wrote behind the end of this room."""
        if not (self._guard == 0xFF).all():
            self._guard.fill(0xFF)
            raise runtime.CUDARuntimeError(700, f"{who} wrote behind the end of {self.size} bytes")

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if hasattr(self, "room") and not ends():
            in_use[self.device_id] -= self.size


class PooledMemory:
    """A room that goes back to its pool, or (`raw` is None) the note that NumPy made one."""

    def __init__(self, size: int, raw: Memory | None, pool: MemoryPool | None) -> None:
        self.size, self.raw, self.device_id = size, raw, device.current().id
        self.ptr = 0 if raw is None else raw.ptr
        self._pool = weakref.ref(pool) if pool is not None else lambda: None
        self.captured = get_current_stream().is_capturing()

    device = Memory.device

    def __del__(self) -> None:
        pool = self._pool()
        if pool is not None:
            pool._gave(self)


class MemoryPointer:
    """An address in a room."""

    def __init__(self, mem: Any, offset: int = 0, ptr: int | None = None) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset if ptr is None else ptr
        self.device_id = mem.device_id

    @property
    def device(self) -> device.Device:
        return device.Device(self.device_id)

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, n: int) -> MemoryPointer:
        return MemoryPointer(self.mem, ptr=self.ptr + n)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Stream | None = None) -> None:
        target, source = self.ptr, src.ptr
        (stream or get_current_stream()).submit(lambda: move(target, source, size))

    copy_from_device = copy_from_device_async

    def copy_from_host_async(self, mem: Any, size: int, stream: Stream | None = None) -> None:
        stream = stream or get_current_stream()
        if stream.is_capturing():
            raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")
        stream.defer(self.ptr, _address(mem), size, self.mem)

    def copy_from_host(self, mem: Any, size: int) -> None:
        get_current_stream().wait()
        move(self.ptr, _address(mem), size)

    def copy_to_host_async(self, mem: Any, size: int, stream: Stream | None = None) -> None:
        stream = stream or get_current_stream()
        if stream.is_capturing():
            raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
        stream.defer(_address(mem), self.ptr, size, self.mem)

    def copy_to_host(self, mem: Any, size: int) -> None:
        get_current_stream().wait()
        move(_address(mem), self.ptr, size)

    def copy_from_async(self, mem: Any, size: int, stream: Stream | None = None) -> None:
        given = isinstance(mem, MemoryPointer)
        (self.copy_from_device_async if given else self.copy_from_host_async)(mem, size, stream)

    def copy_from(self, mem: Any, size: int) -> None:
        (self.copy_from_device if isinstance(mem, MemoryPointer) else self.copy_from_host)(mem, size)

    def memset_async(self, value: int, size: int, stream: Stream | None = None) -> None:
        target = self.ptr
        (stream or get_current_stream()).submit(lambda: ctypes.memset(target, value, size))

    def memset(self, value: int, size: int) -> None:
        self.memset_async(value, size)


def _address(mem: Any) -> int:
    return int(mem.value or 0) if isinstance(mem, ctypes.c_void_p) else int(mem)


class MemoryPool:
    """Rooms taken and given back.

    What a captured graph gave back is used again, filled with 0xFF; else rooms given back stay on the account
    alone, as if the pool had kept them, until `free_all_blocks`. As in CuPy 14, what a pool keeps when it
    goes is lost.
    """

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._allocator = allocator or (lambda size: MemoryPointer(Memory(size)))
        self._used: dict[int, int] = defaultdict(int)
        self._free: dict[int, int] = defaultdict(int)
        self._kept: dict[tuple[int, int], list[Memory]] = defaultdict(list)
        self._limit = 0

    def malloc(self, size: int) -> MemoryPointer:
        self._take(size)
        kept = self._kept[device.current().id, size]
        raw = kept.pop() if kept else self._allocator(size).mem
        raw.room.fill(0xFF)
        return MemoryPointer(PooledMemory(size, raw, self))

    def _take(self, size: int) -> None:
        number = device.current().id
        if size > runtime.TOTAL - in_use[number] or 0 < self._limit < self._used[number] + size:
            msg = f"Out of memory allocating {size:,} bytes (allocated so far: {self._used[number]:,} bytes)."
            raise OutOfMemoryError(msg)
        self._used[number] += size
        self._free[number] = max(self._free[number] - size, 0)

    def _gave(self, mem: PooledMemory) -> None:
        self._used[mem.device_id] -= mem.size
        self._free[mem.device_id] += mem.size
        if mem.captured and mem.raw is not None:
            self._kept[mem.device_id, mem.size].append(mem.raw)

    def used_bytes(self) -> int:
        return self._used[device.current().id]

    def free_bytes(self) -> int:
        return self._free[device.current().id]

    def total_bytes(self) -> int:
        return self.used_bytes() + self.free_bytes()

    def n_free_blocks(self) -> int:
        return int(self.free_bytes() > 0)

    def free_all_blocks(self, stream: Stream | None = None) -> None:
        number = device.current().id
        self._free[number] = 0
        for key in [key for key in self._kept if key[0] == number]:
            del self._kept[key]

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ends():
            lost.extend(raw for kept in self._kept.values() for raw in kept)

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        self._limit = int(runtime.TOTAL * fraction) if fraction is not None else int(size or 0)

    def get_limit(self) -> int:
        return self._limit


default_pool = MemoryPool()
_allocator: Callable[[int], MemoryPointer] = default_pool.malloc


def _allocator_of_thread() -> Callable[[int], MemoryPointer]:
    given = getattr(_local, "allocator", None)
    if given is None and get_current_stream().is_capturing():
        msg = "memory outside using_allocator(pool.malloc) would be used again while the graph lives"
        get_current_stream()._refuse(msg)
    return given or _allocator


def alloc(size: int) -> MemoryPointer:
    """Return a fresh room from the allocator of this thread."""
    return _allocator_of_thread()(size)


def adopt(size: int) -> PooledMemory:
    """Enter what NumPy made in the account of the allocator of this thread."""
    pool = getattr(_allocator_of_thread(), "__self__", None)
    if pool is not None:
        pool._take(size)
    return PooledMemory(size, None, pool)


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    global _allocator
    _allocator = allocator or (lambda size: MemoryPointer(Memory(size)))


def get_allocator() -> Callable[[int], MemoryPointer]:
    return getattr(_local, "allocator", None) or _allocator


class using_allocator:
    """Take memory from `allocator` inside the block, in this thread."""

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._given = allocator or (lambda size: MemoryPointer(Memory(size)))

    def __enter__(self) -> None:
        self._before = getattr(_local, "allocator", None)
        _local.allocator = self._given

    def __exit__(self, *args: object) -> None:
        _local.allocator = self._before
