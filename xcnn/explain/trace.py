"""What passes through each layer for one image, forward and backward."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xcnn.backend import plugin_of
from xcnn.layer import Layer
from xcnn.ops.precision import Format, current_format, rounded
from xcnn.state import Parameter

__all__ = ["Step", "Tracer", "host"]


def host(a: Any, /) -> np.ndarray:
    """Return `a`, an array of any backend, as a NumPy array."""
    return np.asarray(plugin_of(a).to_numpy(a))


@dataclass(eq=False)
class Step:
    """One layer at work on one image: what it was given and what it made of it, without the axis N.

    Parameters
    ----------
    layer : Layer
        Who.
    x, y : array
        Its input and output.
    dx, dy : array or None
        The gradients with respect to both; None where none came.
    parts : list of Step
        What the layers inside did, in the order in which they ran.
    ends : bool
        Whether the gradient starts before this layer, which hands it on as it is: a final Softmax.
    format : Format or None
        In which products are computed.
    """

    layer: Layer
    x: np.ndarray
    y: np.ndarray = field(default_factory=lambda: np.empty(0))
    dx: np.ndarray | None = None
    dy: np.ndarray | None = None
    parts: list[Step] = field(default_factory=list)
    ends: bool = False
    format: Format | None = None

    def factors(self, a: np.ndarray, /) -> np.ndarray:
        """Return x or w as products take them.

        Parameters
        ----------
        a : array
            Any part of x or w.

        Returns
        -------
        array
            Rounded to the precision.
        """
        return a if self.format is None else rounded(a, self.format)


class Tracer(Layer):
    """Stand in the place of a layer, do the same, and note what passes through; inner layers likewise.

    Parameters
    ----------
    layer : Layer
        Is left alone: a copy runs, whose parameters have the same values and gradients of their own.
    open_ : list of Step
        Where layers note themselves: the last one is the layer around them.
    """

    def __init__(self, layer: Layer, open_: list[Step]) -> None:
        super().__init__(name=layer.name)
        self.layer, self.open = layer, open_
        self.input_shape, self.output_shape = layer.input_shape, layer.output_shape
        self.twin = copy.copy(layer)
        for key, value in vars(layer).items():
            if key != "built":
                setattr(self.twin, key, self._swapped(value))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "layer" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.layer, name)

    def _swapped(self, value: Any) -> Any:
        """Return what takes the place of an attribute: layers are traced, gradients go nowhere."""
        if isinstance(value, Layer):
            return type(self)(value, self.open)
        if isinstance(value, Parameter):
            apart, state = copy.copy(value), copy.copy(value.state)
            state.drop_gradient()
            apart.state = state
            return apart
        if type(value) in (list, tuple):
            return type(value)(map(self._swapped, value))
        if type(value) is dict:
            return {key: self._swapped(inner) for key, inner in value.items()}
        return value

    @classmethod
    def over(cls, layer: Layer, x: Any, /) -> Step:
        """Return what `layer` did with `x`, forward alone.

        Parameters
        ----------
        layer : Layer
            A built one.
        x : array (N, ...)
            On its backend.

        Returns
        -------
        Step
            Its parts are the layers inside.
        """
        around = Step(layer, np.empty(0))
        cls(layer, [around]).forward(x)
        return around.parts[0]

    def noted(self, a: Any, /) -> np.ndarray:
        """Return what is noted of a layer's input or output (N, ...): the first image."""
        return host(a)[0]

    def forward(self, x: Any, /, *, train: Any = False, hold: bool | None = None) -> tuple[Any, Any]:
        """Return y and what backward needs."""
        step = Step(self.layer, self.noted(x), format=current_format())
        self.open.append(step)
        y, saved = self.twin.forward(x, train=train, hold=hold)
        self.open.pop()
        step.y = self.noted(y)
        if self.open:
            self.open[-1].parts.append(step)
        return y, (step, saved)

    def backward(self, dy: Any, saved: Any, /, *, need_dx: bool = True) -> Any:
        """Return dx, whether or not it is needed."""
        step, saved = saved
        dx = dy if step.ends else self.twin.backward(dy, saved)
        step.dy, step.dx = host(dy)[0], host(dx)[0]
        return dx
