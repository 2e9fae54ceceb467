"""The plan of a model: what runs, with compiled runs in place of the layers that a backend takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from xcnn.backend import Backend
from xcnn.layer import Layer
from xcnn.layers import LogSoftmax, Sequential, Sigmoid, Softmax
from xcnn.ops.precision import in_precision

__all__ = ["Plan", "chain", "compile_plan", "ending_of", "flatten"]


class Plan(Sequential):
    """Layers that run while a device is the current one, and multiply in a precision.

    Parameters
    ----------
    layers, backend, precision
        See `chain`.
    """

    def __init__(self, layers: Iterable[Layer], backend: Backend, precision: str) -> None:
        super().__init__(*layers)
        self.backend, self.precision = backend, precision

    def forward(self, x: Any, /, *, train: Any = False, hold: bool | None = None) -> tuple[Any, Any]:
        """Return y and what backward needs."""
        with self.backend.active(), in_precision(self.precision):
            return super().forward(x, train=train, hold=hold)

    def backward(self, dy: Any, saved: Any, /, *, need_dx: bool = True) -> Any:
        """Run the layers backward and return dx."""
        with self.backend.active():  # products know what they were computed in
            return super().backward(dy, saved, need_dx=need_dx)


def chain(layers: Iterable[Layer], backend: Backend, precision: str, /) -> Sequential:
    """Return layers that run one after the other, as a model of that backend and precision runs them.

    Parameters
    ----------
    layers : iterable of Layer
        Leaves, or compiled runs.
    backend : Backend
        Of the model.
    precision : str
        Of the model.

    Returns
    -------
    Sequential
        The composition.
    """
    if precision == "float32" and type(backend).active is Backend.active:
        return Sequential(*layers)
    return Plan(layers, backend, precision)


def flatten(layers: Layer, /) -> Sequential:
    """Return the leaves of `layers` in order: Sequentials opened, activations split off.

    Parameters
    ----------
    layers : Layer
        The tree.

    Returns
    -------
    Sequential
        The same function.
    """
    return Sequential(*layers.leaves())


def _keys(leaf: Layer) -> Counter[int]:
    """Return what tells a leaf and its parts from others, and how often each is in it."""
    keys, stack = Counter[int](), [leaf]
    while stack:
        part = stack.pop()
        keys.update([id(p) for p in part.parameters().values()])
        keys[part.number] += 1
        stack += part.children()
    return keys


def _uses(leaves: list[Layer]) -> Counter[int]:
    return sum(map(_keys, leaves), Counter[int]())


def compile_plan(flat: Sequential, backend: Backend, dtype: str, /, precision: str = "float32") -> Sequential:
    """Offer `backend` the leaves of a model, again and again, and put what it compiles in their place.

    Parameters
    ----------
    flat : Sequential
        From `flatten`.
    backend : Backend
        Its ``compile_run(leaves, *, dtype, need_dx)`` answers ``(layer, taken)`` or None; it gets
        ``precision=`` too where that is not "float32".
    dtype, precision : str
        Of the model.

    Returns
    -------
    Sequential
        What runs. Layers used more than once, and a final probability activation, stay as they are, and all
        do where the backend does not know the precision.
    """
    compile_run = type(backend).compile_run
    if compile_run is None or precision not in type(backend).precisions:
        return flat
    options = {} if precision == "float32" else {"precision": precision}
    leaves = list(flat)
    plan: list[Layer] = []
    last = [leaves.pop()] if leaves and ending_of(leaves[-1]) else []
    uses = _uses(leaves)
    while leaves:
        once = list(takewhile(lambda leaf: all(uses[key] < 2 for key in _keys(leaf)), leaves))
        found = compile_run(once, dtype=dtype, need_dx=bool(plan), **options) if once else None
        layer, taken = found or (leaves[0], 1)
        plan.append(layer)
        leaves = leaves[taken:]
    return chain([*plan, *last], backend, precision)


def ending_of(leaf: Any, /) -> str | None:
    """Return the kind of probability that a last leaf gives.

    Parameters
    ----------
    leaf : Layer
        The last leaf of a model.

    Returns
    -------
    str or None
        ``"softmax"``, ``"log_softmax"``, ``"sigmoid"``; None for any other.
    """
    kinds = {Softmax: "softmax", LogSoftmax: "log_softmax", Sigmoid: "sigmoid"}
    return kinds.get(type(leaf))
