"""Activations, poolings, dropout and fixed statistics as stages of a run."""

from __future__ import annotations

from typing import Any

from xcnn_cupy import activations, dropouts, pooling
from xcnn_cupy.fixed import standardize
from xcnn_cupy.stages import Job, Stage

__all__ = ["Activation", "Average", "Drop", "GlobalAverage", "MaxPool", "Standardize"]


class Activation(Stage):
    """An activation, by its name in `activations.NAMES`.

    Parameters
    ----------
    name : str
        Which.
    slope : float
        Of a leaky rectifier.
    """

    def __init__(self, name: str, slope: float) -> None:
        self.name, self.slope = name, slope

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y, and x or y."""
        y = activations.forward(self.name, x, self.slope)
        return y, x if activations.KEPT[self.name] == "x" else y

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return dx."""
        return activations.backward(self.name, dy, saved, self.slope)

    def backward_with_bias(self, dy: Any, saved: Any, db: Any, /) -> Any:
        """Return dx, and write its sums over all but the channels into db."""
        dx, _ = activations.backward_with_bias(self.name, dy, saved, self.slope, db)
        return dx


class MaxPool(Stage):
    """The largest pixel of each window.

    Parameters
    ----------
    layer : MaxPool2D
        Its windows.
    """

    def __init__(self, layer: Any) -> None:
        self.window: dict[str, Any] = {key: layer.window[key] for key in ("size", "stride", "padding")}
        self.out = layer.output_shape[1:]

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y, and which pixels were the largest."""
        y, argmax = pooling.max_forward(x, **self.window, out=self.out)
        return y, (argmax, x.shape)

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return dx."""
        return pooling.max_backward(dy, *saved, **self.window)


class Average(Stage):
    """The mean of each window.

    Parameters
    ----------
    layer : AvgPool2D
        Its windows.
    """

    def __init__(self, layer: Any) -> None:
        self.window: dict[str, Any] = {key: layer.window[key] for key in ("size", "stride", "padding")}
        self.window["count_include_pad"] = layer.count_include_pad
        self.out = layer.output_shape[1:]

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y, and the shape of x."""
        return pooling.average_forward(x, **self.window, out=self.out), x.shape

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return dx."""
        return pooling.average_backward(dy, saved, **self.window)


class GlobalAverage(Stage):
    """The mean of each feature map, as an image of one pixel."""

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y, and the shape of x."""
        return pooling.global_average_forward(x).reshape(*x.shape[:2], 1, 1), x.shape

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return dx."""
        return pooling.global_average_backward(dy.reshape(saved[:2]), saved)


class Drop(Stage):
    """Dropout.

    Parameters
    ----------
    layer : Dropout
        Its rate and number.
    """

    def __init__(self, layer: Any) -> None:
        self.rate, self.number = layer.rate, layer.number

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y, and which random numbers it drew."""
        if job.draw is None:
            return x, None
        key = job.draw.seed, (job.draw.step, self.number, job.draw.use(self.number))
        return dropouts.forward(x, self.rate, *key), key

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return dx."""
        return dropouts.backward(dy, self.rate, *saved)


class Standardize(Stage):
    """(x - mean) / std by fixed statistics.

    Parameters
    ----------
    layer : Normalize
        Its buffers.
    """

    def __init__(self, layer: Any) -> None:
        self.mean, self.std = layer.shift.index, layer.scale.index

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y."""
        return standardize(x, job.buffers[self.mean], job.buffers[self.std], job.kind), None

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return dx."""
        return standardize(dy, None, job.buffers[self.std], job.kind)
