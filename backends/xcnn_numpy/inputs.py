"""Images of bytes, made numbers in one pass."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types

from xcnn_numpy.compiler import compiled_function
from xcnn_numpy.memory import fresh, plain

__all__ = ["compile_for", "scale_bytes"]


def _scale_bytes(x, y, largest):
    for i in range(x.size):
        y[i] = x[i] / largest


@cache
def compile_for(dtype: np.dtype[Any], /) -> Any:
    """Return the compiled function for numbers of `dtype`."""
    number = getattr(types, dtype.name)
    signature = types.void(types.Array(types.uint8, 1, "C"), types.Array(number, 1, "C"), number)
    return compiled_function(_scale_bytes, signature)


def scale_bytes(x: np.ndarray, dtype: str, /) -> np.ndarray:
    """Return x / 255 as numbers of `dtype`."""
    kind = np.dtype(dtype)
    y = fresh(x.shape, kind)
    compile_for(kind)(plain(x).reshape(-1), y.reshape(-1), kind.type(255))
    return y
