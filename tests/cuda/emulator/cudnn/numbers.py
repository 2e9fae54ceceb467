"""Numbers at addresses: views of memory, and what rounding to their kinds does."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Sequence

import numpy as np


class data_type(enum.Enum):
    """What tensors hold."""

    FLOAT = "float32"
    DOUBLE = "float64"
    HALF = "float16"
    BFLOAT16 = "uint16"
    NOT_SET = ""


def memory(address: int, kind: data_type, dims: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Return a view of memory; strides count numbers."""
    dtype = np.dtype(kind.value)
    size = (1 + sum((d - 1) * s for d, s in zip(dims, strides, strict=True))) * dtype.itemsize
    flat = np.frombuffer((ctypes.c_char * size).from_address(address), dtype)
    steps = [s * dtype.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(flat, dims, steps)


def load(a: np.ndarray, kind: data_type, computed: data_type) -> np.ndarray:
    """Return the values of numbers of `kind`."""
    if kind is data_type.BFLOAT16:
        a = (a.astype(np.uint32) << 16).view(np.float32)
    return a.astype(computed.value)


def store(a: np.ndarray, kind: data_type) -> np.ndarray:
    """Return values as they are kept in memory."""
    return to_bfloat16(a) if kind is data_type.BFLOAT16 else a.astype(kind.value)


def to_bfloat16(a: np.ndarray) -> np.ndarray:
    """Return bits of bfloat16: the nearest, ties to even; NaN stays NaN."""
    bits = a.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(a), 0x7FC0, rounded).astype(np.uint16)


def to_tf32(a: np.ndarray) -> np.ndarray:
    """Round float32 to the 10 bits that tensor cores read."""
    bits = a.view(np.uint32)
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(a), rounded.view(np.float32), a)
