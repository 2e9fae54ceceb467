"""Batch norm outside the programs: folded into convolutions for inference, its running statistics moved."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn_numpy.lowering import Lowered
from xcnn_numpy.stage_norm import Norm
from xcnn_numpy.stage_pixel import Standardize
from xcnn_numpy.workspace import Workspace

__all__ = ["Folds"]


class Folds:
    """What is computed from parameters and statistics once, as long as they are the same arrays.

    Parameters
    ----------
    lowered : Lowered
        The stages of a run.
    dtype : str
        Of the numbers.
    """

    def __init__(self, lowered: Lowered, dtype: str) -> None:
        self.size, self.dtype = lowered.folded, dtype
        self.norms = [stage for stage in lowered.stages if isinstance(stage, Norm)]
        self.inputs = [stage for stage in lowered.stages if isinstance(stage, Standardize)]
        self._folded: tuple[Any, Any, Any] = None, None, None
        self._fixed: tuple[Any, Any, Any] = None, None, None

    def folded(self, arrays: Any, /) -> np.ndarray | None:
        """Return convolutions with the running statistics of the batch norm after them folded in."""
        if not self.norms:
            return None
        values, buffers, folded = self._folded
        if values is not arrays.values or buffers is not arrays.buffers:
            folded = np.zeros(self.size, self.dtype)
            for stage in self.norms:
                self._fold(stage, arrays, folded[stage.place :])
            self._folded = arrays.values, arrays.buffers, folded
        return folded

    def _fold(self, stage: Norm, arrays: Any, into: np.ndarray) -> None:
        layer, conv = stage.layer, stage.convolution
        c = stage.raw.c
        mean, var = (arrays.buffers[b.index].astype("float64") for b in (layer.mean, layer.var))
        scale = arrays.values[stage.w : stage.w + c] / np.sqrt(var + layer.eps)
        shift = arrays.values[stage.b : stage.b + c]
        if conv is None:  # as `normalize` reads it: mean, two that it doesn't read, scale, shift
            into[:c], into[3 * c : 4 * c], into[4 * c : 5 * c] = mean, scale, shift
            return
        size = conv.geometry.f * conv.geometry.taps
        w = arrays.values[conv.w : conv.w + size].reshape(c, -1)
        b = 0.0 if conv.b is None else arrays.values[conv.b : conv.b + c]
        into[:size] = (w * scale[:, None]).reshape(-1)
        into[size : size + c] = shift + (b - mean) * scale

    def fixed(self) -> np.ndarray | None:
        """Return what `Standardize` needs: for y = (x - mean) / scale, then for its gradient."""
        if not self.inputs:
            return None
        layer = self.inputs[0].layer
        mean, scale = layer.shift.value, layer.scale.value
        if self._fixed[0] is not mean or self._fixed[1] is not scale:
            zero, share = np.zeros_like(mean), 1.0 / scale
            table = [mean, zero, zero, share, zero, zero, zero, zero, share, zero]
            self._fixed = mean, scale, np.concatenate(table).astype(self.dtype)
        return self._fixed[2]

    def moved(self, arrays: Any, ws: Workspace, n: int, /) -> Any:
        """Return the arrays with running statistics moved as batch norm does, by what n images gave."""
        if not self.norms:
            return arrays
        buffers = list(arrays.buffers)
        for stage, found in zip(self.norms, ws.found, strict=True):
            layer, c, m = stage.layer, stage.raw.c, stage.layer.momentum
            count = n * stage.x.h * stage.x.w
            unbiased = found[c : 2 * c] * (count / max(count - 1, 1))
            for buffer, new in ((layer.mean, found[:c]), (layer.var, unbiased)):
                buffers[buffer.index] = (1 - m) * buffers[buffer.index] + m * new
        return arrays._replace(buffers=tuple(buffers))
