"""What every explanation is made of, and the table that says how each kind of layer is explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from xcnn.errors import Error, OptionError
from xcnn.explain.text import number, share
from xcnn.explain.trace import Step
from xcnn.layers import Identity, Layer
from xcnn.layers.linear import Activated

__all__ = ["Explanation", "Position", "as_png", "explain_step", "explanation", "named", "strongest"]

Position = tuple[int, ...]  # in an array without the axis N: (channel, row, column) or (feature,)

_AXES = {1: ("feature",), 3: ("channel", "row", "column")}


def named(position: Position, /, first: str = "") -> str:
    """Return `position` in words; its first axis may be called `first`."""
    names = list(_AXES.get(len(position), [f"axis {i + 1}:" for i in range(len(position))]))
    names[:1] = [first or name for name in names[:1]]
    return ", ".join(f"{name} {at}" for name, at in zip(names, position, strict=True))


def strongest(a: np.ndarray, /) -> Position:
    """Return where |a| is largest, the first of several."""
    return tuple(map(int, np.unravel_index(np.argmax(np.nan_to_num(np.abs(a))), a.shape)))


@dataclass(repr=False, eq=False)
class Explanation:
    """What a layer did for one element of its output, by numbers; `str` and notebooks show it.

    Parameters
    ----------
    step : Step
        The layer at work.
    position : tuple of int
        The element of the output that is explained: (channel, row, column) or (feature,).
    source : tuple of int
        The element of the input that did most for it.
    computed : float
        What follows from the numbers of this explanation: `measured` is the layer's own number for it.
    parts : tuple of Explanation
        The layers inside.
    target : str
        What the gradients are of.
    again : callable, optional
        Explains another position where its gradients are others.
    """

    first = "channel"  # what the first axis of the output is called

    step: Step
    position: Position
    _: KW_ONLY
    source: Position = ()
    computed: float = float("nan")
    parts: tuple[Explanation, ...] = ()
    target: str = ""
    again: Callable[..., Explanation] | None = None

    @property
    def value(self) -> float:
        """The element of the output, as the layer computed it."""
        return float(self.step.y[self.position])

    @property
    def measured(self) -> float:
        """What `computed` must be: the element, or what it was before the activation."""
        return self.value

    @property
    def reached(self) -> np.ndarray:
        """Which elements of the input the gradient reached: bools of its shape."""
        return np.zeros(self.step.x.shape, bool) if self.step.dx is None else self.step.dx != 0

    def at(self, *position: int) -> Explanation:
        """Explain another element of the output.

        Parameters
        ----------
        *position : int
            Channel (filter), row and column; or the feature (unit).

        Returns
        -------
        Explanation
            Of the same layer and image.

        Raises
        ------
        OptionError
            If there is no such element.
        """
        shape = self.step.y.shape
        inside = len(position) == len(shape) and all(0 <= p < n for p, n in zip(position, shape, strict=True))
        if not inside:
            msg = f"at{position} is no element of the output; needed {len(shape)} numbers, less than {shape}"
            raise OptionError(msg, where=self.step.layer.label)
        return self.again(*position) if self.again else explain_step(self.step, position)

    def name(self) -> str:
        """Return the layer and its place in the model."""
        layer: Any = self.step.layer
        kind = type(layer).__name__ + (f" {layer.name!r}" if layer.name else "")
        active = isinstance(layer, Activated) and not isinstance(layer.act, Identity)
        return f"{layer.path}  {kind}{f' + {type(layer.act).__name__}' if active else ''}"

    def title(self) -> str:
        """Return the layer, its place and its shapes in one line."""
        x, y = (" × ".join(map(str, a.shape)) for a in (self.step.x, self.step.y))
        return f"{self.name()}  {x} → {y}"

    def lines(self) -> list[str]:
        """Return the forward pass in words and numbers."""
        x, y = self.step.x, self.step.y
        return [
            f"{name} lies between {number(a.min())} and {number(a.max())}, its mean is {number(a.mean())}"
            for name, a in (("x", x), ("y", y))
        ] + [f"y at {named(self.position)}: {number(self.value)}"]

    def backward_lines(self) -> list[str]:
        """Return the backward pass in words and numbers."""
        dx, dy = self.step.dx, self.step.dy
        if dx is None or dy is None:
            return []
        if self.step.ends:
            return ["backward: the gradient starts at the input of this layer"]
        reached, most = share(int(np.count_nonzero(dx)), dx.size), strongest(dx)
        here = f"backward: dy {number(float(dy[self.position]))} here"
        if not dx[most]:
            return [f"{here}; nothing reached x"]
        return [f"{here}; dx reached {reached}, at most {number(float(dx[most]))} at {named(most)}"]

    def inner(self) -> tuple[Explanation, ...]:
        """Return the parts that are told of after this one, not in it."""
        return self.parts

    def text(self) -> list[str]:
        """Return all lines: title, forward, backward, and the layers inside."""
        own = [self.title(), *[f"   {line}".rstrip() for line in (*self.lines(), *self.backward_lines())]]
        for part in self.inner():
            own += ["", *part.text()]
        return own

    def __str__(self) -> str:
        """Return the explanation for a terminal."""
        return "\n".join(self.text())

    __repr__ = __str__

    def plot(self, path: Any = None, /) -> Any:
        """Draw it.

        Parameters
        ----------
        path : str or Path, optional
            Where to save it; the ending says in which format.

        Returns
        -------
        matplotlib.figure.Figure
            Also shown by notebooks.
        """
        from xcnn.plots import explanations

        return explanations.explanation(self, path=path)

    def _repr_png_(self) -> bytes | None:
        return as_png(self)


def as_png(shown: Any, /) -> bytes | None:
    """Return what a notebook shows: the plot of `shown`, or None, and so its text, without matplotlib."""
    try:
        from xcnn.plots import explanations
    except Error:
        return None
    return explanations.png(shown.plot())


@singledispatch
def explanation(layer: Layer, step: Step, position: Position, /) -> Explanation:
    """Explain one element of a layer's output; chosen by the type of the layer.

    A layer of your own is explained by its shapes and ranges, until you say better: put
    ``@xcnn.explain.explanation.register`` before ``def _(layer: Mine, step, position): ...``, which returns
    an `Explanation`: for one sentence a `Said`, else one of your own whose `lines` say what happened.

    Parameters
    ----------
    layer : Layer
        Who.
    step : Step
        What it was given and made of it.
    position : tuple of int
        The element of ``step.y``.

    Returns
    -------
    Explanation
        In numbers.
    """
    dx, same = step.dx, step.x.shape == step.y.shape
    source = position if same or dx is None else strongest(step.x * dx)
    return Explanation(step, position, source=source, parts=tuple(map(explain_step, step.parts)))


def explain_step(step: Step, position: Position | None = None, /) -> Explanation:
    """Explain `step` at `position`, by default where it matters most.

    An explanation whose numbers do not give the layer's own is not told: the layer does something else
    than the class that it is made from.
    """
    if position is None:
        matters = step.y if step.dy is None or not step.dy.any() else step.y * step.dy
        position = strongest(matters if np.any(matters) else step.y)
    made = explanation(step.layer, step, position)
    if np.isnan(made.computed):
        return made
    scale = float(np.max(np.abs(step.y), initial=0.0, where=np.isfinite(step.y))) + abs(made.computed)
    share = 1e-3 if step.format is None else 1e-3 + 2.0**-step.format.digits  # to which y was rounded
    exact = abs(made.computed - made.measured) <= share * scale or made.computed == made.measured
    return made if exact else explanation.dispatch(object)(step.layer, step, position)
