"""Devices, streams, graphs and memory that are NumPy's."""

from cupy.cuda import compiler, device, memory, nvrtc, pinned_memory, runtime, stream
from cupy.cuda.device import Device, get_device_id
from cupy.cuda.memory import (
    Memory,
    MemoryPointer,
    MemoryPool,
    alloc,
    get_allocator,
    set_allocator,
    using_allocator,
)
from cupy.cuda.pinned_memory import PinnedMemoryPool, alloc_pinned_memory, set_pinned_memory_allocator
from cupy.cuda.stream import Event, Graph, Stream, get_current_stream, get_elapsed_time

__all__ = [
    "Device",
    "Event",
    "Graph",
    "Memory",
    "MemoryPointer",
    "MemoryPool",
    "PinnedMemoryPool",
    "Stream",
    "alloc",
    "alloc_pinned_memory",
    "compiler",
    "device",
    "get_allocator",
    "get_current_stream",
    "get_device_id",
    "get_elapsed_time",
    "get_local_runtime_version",
    "is_available",
    "memory",
    "nvrtc",
    "pinned_memory",
    "runtime",
    "set_allocator",
    "set_pinned_memory_allocator",
    "stream",
    "using_allocator",
]


def is_available() -> bool:
    return True


def get_local_runtime_version() -> int:
    return runtime.runtimeGetVersion()
