"""Pinned memory of the host: a buffer like any other here."""

from __future__ import annotations

import ctypes
from typing import Any


def _make(size: int) -> Any:
    """Return `size` bytes of the host; CuPy rounds them up to a power of two, so does this."""
    length = max(512, 1 << max(size - 1, 1).bit_length())
    kind = type("PinnedMemoryPointer", (ctypes.Array,), {"_type_": ctypes.c_ubyte, "_length_": length})
    pointer = kind.from_buffer(bytearray(b"\xff" * length))
    pointer.ptr = ctypes.addressof(pointer)
    pointer.mem = pointer
    return pointer


class PinnedMemoryPool:
    """Gives fresh memory each time."""

    def malloc(self, size: int) -> Any:
        return _make(size)

    def free_all_blocks(self) -> None:
        """Do nothing: Python frees them."""

    def n_free_blocks(self) -> int:
        return 0


default_pool = PinnedMemoryPool()
_allocator = default_pool.malloc


def set_pinned_memory_allocator(allocator: Any = None) -> None:
    global _allocator
    _allocator = allocator or _make


def alloc_pinned_memory(size: int) -> Any:
    """Return what the current allocator gives."""
    return _allocator(size)
