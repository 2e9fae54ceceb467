"""The plan of a model: what runs, with compiled runs in place of the layers that a backend takes."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import Any

from xcnn.backend import Backend
from xcnn.layer import Layer
from xcnn.layers import LogSoftmax, Sequential, Sigmoid, Softmax

__all__ = ["compile_plan", "ending_of", "flatten"]


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


def compile_plan(flat: Sequential, backend: Backend, dtype: str, /) -> Sequential:
    """Offer `backend` the leaves of a model, again and again, and put what it compiles in their place.

    Parameters
    ----------
    flat : Sequential
        From `flatten`.
    backend : Backend
        Its ``compile_run(leaves, *, dtype, need_dx)`` answers ``(layer, taken)`` or None.
    dtype : str
        Of the model.

    Returns
    -------
    Sequential
        What runs. Layers used more than once, and a final probability activation, stay as they are.
    """
    compile_run = type(backend).compile_run
    if compile_run is None:
        return flat
    leaves = list(flat)
    plan: list[Layer] = []
    last = [leaves.pop()] if leaves and ending_of(leaves[-1]) else []
    uses = _uses(leaves)
    while leaves:
        once = list(takewhile(lambda leaf: all(uses[key] < 2 for key in _keys(leaf)), leaves))
        found = compile_run(once, dtype=dtype, need_dx=bool(plan)) if once else None
        layer, taken = found or (leaves[0], 1)
        plan.append(layer)
        leaves = leaves[taken:]
    return Sequential(*plan, *last)


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
