"""Softmax and cross-entropy of a batch in one pass."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from xcnn.backend import Kernel
from xcnn_cupy.source import BLOCK, kind_of, launch

__all__ = ["CROSS_ENTROPY", "cross_entropy", "cross_entropy_gradient"]

_WARP = 32  # threads of a row


def cross_entropy(
    z: Any, labels: Any, class_weights: Any = None, /, *, label_smoothing: float = 0.0
) -> tuple[Any, Any] | Any:
    """Return (loss, dz) as `xcnn.ops.cross_entropy` and its gradient have them, in two launches.

    Parameters
    ----------
    z : array (N, K)
        Logits, float32 or float64.
    labels : array (N,) of integers
        Classes; one that is none gives NaN.
    class_weights : array (K,), optional
        Not covered.
    label_smoothing : float
        A fraction.

    Returns
    -------
    loss : array ()
        The mean over the batch, on the device.
    dz : array (N, K)
        For dy = 1. ``NotImplemented`` instead of both for what isn't covered: probabilities as labels,
        weights.
    """
    simple = class_weights is None and z.ndim == 2 and labels.ndim == 1 and 0 <= label_smoothing < 1
    kind = kind_of(z)
    if not simple or kind not in ("float32", "float64") or labels.dtype.kind not in "iu":
        return NotImplemented
    if labels.shape[0] != z.shape[0] or z.size == 0:
        return NotImplemented
    n, k = z.shape
    z, labels = cupy.ascontiguousarray(z), cupy.ascontiguousarray(labels, np.int64)
    dz, losses, loss = cupy.empty(z.shape, z.dtype), cupy.empty(n, z.dtype), cupy.empty((), z.dtype)
    off = label_smoothing / k
    numbers = (1.0 - label_smoothing + off, off, np.finfo(kind).min)
    launch("loss", kind, "cross_entropy", n * _WARP, z, labels, dz, losses, n, k, *numbers)
    launch("loss", kind, "total", BLOCK, losses, n, loss)
    return loss, dz


def cross_entropy_gradient(dy: Any, dz: Any, needs: tuple[bool, ...], /) -> tuple[Any, None, None]:
    """Return (dz dy, None, None).

    Parameters
    ----------
    dy : float or array ()
        1.0 in training; an array where the loss is scaled.
    dz : array (N, K)
        What `cross_entropy` left.
    needs : tuple of bool
        Which gradients are wanted.

    Returns
    -------
    tuple
        One gradient for each array argument.
    """
    return (dz if type(dy) is float and dy == 1.0 else dz * dy), None, None


CROSS_ENTROPY = Kernel(cross_entropy, cross_entropy_gradient)
