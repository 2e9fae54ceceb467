"""CuPy without a GPU, for tests: arrays are NumPy's, kernels are compiled by g++, graphs are lists.

What it takes over from CuPy, and what it doesn't, stands in the README beside this package.
"""

from __future__ import annotations

from cupy import _functions, cuda, emulator
from cupy._array import ndarray
from cupy._raw import RawKernel, RawModule

__version__ = "14.2.0"

_names = _functions.namespace()
_functions.equip(_names)
globals().update(_names)

bool = _names["bool_"]


def get_default_memory_pool() -> cuda.MemoryPool:
    return cuda.memory.default_pool


def get_default_pinned_memory_pool() -> cuda.PinnedMemoryPool:
    return cuda.pinned_memory.default_pool


def is_available() -> bool:
    return True


def __getattr__(name: str) -> object:
    msg = f"module 'cupy' has no attribute {name!r} (the emulator of tests/cuda: CuPy may have it)"
    raise AttributeError(msg)


def show_config() -> None:
    print("CuPy emulated by NumPy and g++")


from cupy import fft, linalg, random  # noqa: E402

__all__ = [
    *sorted(_names),
    "RawKernel",
    "RawModule",
    "cuda",
    "emulator",
    "fft",
    "get_default_memory_pool",
    "get_default_pinned_memory_pool",
    "is_available",
    "linalg",
    "ndarray",
    "random",
    "show_config",
]
