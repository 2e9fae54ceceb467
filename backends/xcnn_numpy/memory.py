"""Memory: aligned buffers, and arrays whose memory is used again when nobody holds them any more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["aligned", "fresh", "plain"]

LINE = 64  # bytes: a vector that crosses a cache line loads twice as slowly
SMALL = 1 << 16  # bytes below which NumPy's own allocation costs less
KEPT = 1 << 28  # bytes that may wait to be used again


def aligned(shape: int | tuple[int, ...], dtype: Any = np.float32, /) -> np.ndarray:
    """Return zeros that start on a cache line."""
    dtype = np.dtype(dtype)
    size = (shape if isinstance(shape, int) else math.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % LINE
    return raw[start : start + size].view(dtype).reshape(shape)


class _Store:
    """Memory that waits to be used again.

    Lists' append and pop need no lock, and a lock could be asked for while it is held: arrays die whenever
    Python collects garbage.
    """

    def __init__(self) -> None:
        self.free: dict[int, list[np.ndarray]] = {}
        self.bytes = 0

    def take(self, size: int) -> np.ndarray:
        try:
            raw = self.free[size].pop()
        except (KeyError, IndexError):
            return aligned(size, np.uint8)
        self.bytes -= size
        return raw

    def give(self, raw: np.ndarray) -> None:
        if self.bytes + raw.size <= KEPT:
            self.bytes += raw.size
            self.free.setdefault(raw.size, []).append(raw)


_STORE = _Store()


class _Block:
    """Owns memory: NumPy keeps it alive as the base of an array and of all views of that array."""

    __slots__ = ("__array_interface__", "raw")

    def __init__(self, size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.raw = _STORE.take(size)
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (self.raw.__array_interface__["data"][0], False),
            "version": 3,
        }

    def __del__(self) -> None:
        _STORE.give(self.raw)


def fresh(shape: tuple[int, ...], dtype: Any, /) -> np.ndarray:
    """Return an uninitialised array that is nobody else's: large ones come from memory given back before.

    Without this a step would ask the system for the same pages again and again.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if size < SMALL else np.asarray(_Block(size, shape, dtype))


def plain(a: np.ndarray, dtype: Any = None, /) -> np.ndarray:
    """Return `a` as compiled functions take arrays: in one piece, and not marked as read-only."""
    a = np.ascontiguousarray(a, dtype)
    return a if a.flags.writeable else a.copy()
