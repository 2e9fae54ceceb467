"""Batch normalisation, and fixed statistics, as stages of a run."""

from __future__ import annotations

from typing import Any

from xcnn_cupy import norms
from xcnn_cupy.stages import Job, Stage

__all__ = ["Norm"]


class Norm(Stage):
    """Batch norm, plus a residual where a sum ends in it, then ReLU where fused.

    Parameters
    ----------
    layer : BatchNorm2D
        Whose parameters and running statistics.

    Attributes
    ----------
    relu : bool
        Whether a ReLU is fused.
    """

    def __init__(self, layer: Any) -> None:
        self.w, self.b = layer.w.start, layer.b.start
        self.parameters = {self.w: layer.w.shape, self.b: layer.b.shape}
        self.mean, self.var = layer.mean.index, layer.var.index
        self.eps, self.momentum = layer.eps, layer.momentum
        self.relu = False

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y; in training, move the running statistics."""
        return self.join(x, None, job)

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Write the gradients of scale and shift, and return dx."""
        return self.part(dy, saved, job)[0]

    def join(self, x: Any, residual: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y with the residual added, and what `part` needs."""
        w, b = job.weights[self.w], job.weights[self.b]
        mean, var = job.buffers[self.mean], job.buffers[self.var]
        fused = {"residual": residual, "relu": self.relu}
        if job.draw is None:
            return norms.infer(x, mean, var, w, b, eps=self.eps, **fused), None
        found = norms.move(x, mean, var, momentum=self.momentum, eps=self.eps)
        job.moved[self.mean], job.moved[self.var] = found.running_mean, found.running_var
        y = norms.apply(x, found.mean, found.inv_std, w, b, **fused)
        again = residual is None or not self.relu  # y costs less to compute than to read
        return y, (x, None if again else y, found.mean, found.inv_std, residual is not None)

    def part(self, dy: Any, saved: Any, job: Job, /) -> tuple[Any, Any]:
        """Write the gradients of scale and shift, and return those of x and the residual."""
        x, y, mean, inv_std, residual = saved
        w, b = job.weights[self.w], job.weights[self.b]
        into = job.gradients[self.w], job.gradients[self.b]
        dx, _, _, dresidual = norms.backward(
            dy, x, y, mean, inv_std, w, b=b, relu=self.relu, residual=residual, into=into
        )
        return dx, dresidual
