"""Softmax and cross-entropy of a batch in one pass."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import types

from xcnn_numpy.compiler import compiled_function
from xcnn_numpy.memory import fresh, plain

__all__ = ["cross_entropy", "cross_entropy_gradient"]


def _softmax_cross_entropy(z, labels, dz):
    """Write softmax(z) - one-hot(labels), over n, and return the mean loss; -1 if a label is out of range."""
    n, k = z.shape
    share = 1.0 / n
    loss = 0.0
    for i in range(n):
        label = labels[i]
        if label < 0 or label >= k:
            return -1.0
        largest = z[i, 0]
        for j in range(1, k):
            if not z[i, j] <= largest:
                largest = z[i, j]
        total = 0.0
        for j in range(k):
            e = math.exp(z[i, j] - largest)
            dz[i, j] = e
            total += e
        loss += math.log(total) - (z[i, label] - largest)
        for j in range(k):
            dz[i, j] = dz[i, j] / total * share
        dz[i, label] -= share
    return loss * share


FLOATS = np.dtype("float32"), np.dtype("float64")


@cache
def compile_for(dtype: np.dtype[Any], /) -> Any:
    """Return the compiled function for numbers of `dtype`."""
    number = getattr(types, dtype.name)
    matrix = types.Array(number, 2, "C")
    signature = types.float64(matrix, types.Array(types.int64, 1, "C"), matrix)
    return compiled_function(_softmax_cross_entropy, signature)


def cross_entropy(z: Any, labels: Any, class_weights: Any = None, /, *, label_smoothing: float = 0.0) -> Any:
    """Return (loss, dz); NotImplemented unless labels are classes, without weights or smoothing."""
    as_they_are = type(label_smoothing) in (int, float) and label_smoothing == 0
    simple = class_weights is None and as_they_are and z.ndim == 2 and labels.ndim == 1
    if not simple or z.dtype not in FLOATS or labels.dtype.kind not in "iu":
        return NotImplemented
    if labels.shape[0] != z.shape[0] or z.shape[0] == 0 or z.shape[1] < 2:
        return NotImplemented
    run = compile_for(z.dtype)
    dz = fresh(z.shape, z.dtype)
    loss = run(plain(z), plain(labels, np.int64), dz)
    # Not finite: the readable pair says what it is, and what is wrong with a label.
    return (z.dtype.type(loss), dz) if 0.0 <= loss < math.inf else NotImplemented


def cross_entropy_gradient(dy: Any, dz: Any, needs: tuple[bool, ...]) -> tuple[Any, None, None]:
    """Return dz times dy."""
    return (dz if type(dy) is float and dy == 1.0 else dz * dy), None, None
