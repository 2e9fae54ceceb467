"""Compiled runs: one layer that does the work of several."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn.errors import Error
from xcnn.layer import Layer
from xcnn.layers import Sequential
from xcnn.ops.op import Saved
from xcnn_numpy.engine import Engine, Lease
from xcnn_numpy.folding import Folds
from xcnn_numpy.lowering import Lowered, lower
from xcnn_numpy.server import Server

__all__ = ["Run", "compile_run"]


def compile_run(leaves: list[Any], /, *, dtype: str, need_dx: bool) -> tuple[Layer, int] | None:
    """Return one layer that does the work of as many of the first `leaves` as it can, and how many, or None.

    Parameters
    ----------
    leaves : list of Layer
        In order, activations split off.
    dtype : {"float32", "float64"}
        Of the model.
    need_dx : bool
        Whether the gradient of their input is wanted.

    Returns
    -------
    (Layer, int) or None
        The run.
    """
    lowered = lower(leaves)
    if lowered is None:
        return None
    return Run(leaves[: lowered.taken], lowered, dtype), lowered.taken


class Run(Layer):
    """The layers that it was made from, in one.

    Parameters
    ----------
    leaves : list of Layer
        What it means.
    lowered : Lowered
        How it does it.
    dtype : str
        Of the model.
    """

    def __init__(self, leaves: list[Any], lowered: Lowered, dtype: str) -> None:
        super().__init__()
        self.leaves_, self.lowered, self.dtype = Sequential(*leaves), lowered, dtype
        self.input_shape, self.output_shape = leaves[0].input_shape, leaves[-1].output_shape
        parameters = _parameters(leaves)
        self.state: Any = parameters[0].state
        self.stretches = _stretches(parameters)
        size = sum(stop - start for start, stop in self.stretches)
        shapes = self.input_shape, self.output_shape
        self.engine = Engine(lowered, dtype, shapes, size, _Places(self.stretches))
        self.server = Server(lowered, dtype, self.output_shape)
        self.folds = Folds(lowered, dtype)

    @property
    def label(self) -> str:
        """What it was made from."""
        names = [type(leaf).__name__ for leaf in self.leaves_]
        shown = names if len(names) <= 9 else [*names[:4], f"{len(names) - 5} more", names[-1]]
        return f"Run({', '.join(shown)})"

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and a lease on what backward needs."""
        fits = type(x) is np.ndarray and x.dtype == self.dtype and x.shape[1:] == self.input_shape and len(x)
        if (hold and train is False) or not fits:
            return self.leaves_.forward(x, train=train, hold=hold)
        arrays = self.state.arrays
        if train is not False:
            y, lease = self.engine.forward(x, arrays.values, train=True, fixed=self.folds.fixed())
            self.state.arrays = self.folds.moved(self.state.arrays, lease.workspace, len(x))
            return y, lease
        folded = self.folds.folded(arrays)
        if self.server.prefers(len(x)):
            return self.server.serve(x, arrays, folded), None
        y, _ = self.engine.forward(x, arrays.values, train=False, fixed=self.folds.fixed(), folded=folded)
        return y, None

    def backward(self, dy, saved, /, *, need_dx=True):
        """Hand the gradients to the state, and return dx."""
        if not isinstance(saved, Lease):
            return self.leaves_.backward(dy, saved, need_dx=need_dx)
        shape = (saved.n, *self.output_shape)
        if type(dy) is not np.ndarray or dy.shape != shape or dy.dtype != self.dtype:
            self._refuse(dy, shape)
        g, dx = self.engine.backward(dy, saved, need_dx=need_dx, fixed=self.folds.fixed())
        at = 0
        for start, stop in self.stretches:
            self.state.add_gradient(
                start, stop, g[at : at + stop - start] if at or stop - start < g.size else g
            )
            at += stop - start
        return dx

    def _refuse(self, dy: Any, shape: tuple[int, ...]) -> None:
        """Say, as the last layer would, what is wrong with dy."""
        try:
            Saved(None, None, (), np.empty(shape, self.dtype)).check(dy)
        except Error as error:
            self.leaves_[-1].locate(error)
            raise

    def multiply_adds(self) -> int:
        """Return those of its layers."""
        return sum(leaf.multiply_adds() for leaf in self.leaves_)


class _Places:
    """From where a parameter starts in the model's values to where its gradient starts in the run's."""

    def __init__(self, stretches: list[tuple[int, int]]) -> None:
        self.stretches = stretches

    def __call__(self, start: int) -> int:
        at = 0
        for first, stop in self.stretches:
            if first <= start < stop:
                return at + start - first
            at += stop - first
        raise AssertionError(start)


def _parameters(leaves: Any) -> list[Any]:
    found, stack = [], list(leaves)
    while stack:
        layer = stack.pop()
        found += layer.parameters().values()
        stack += layer.children()
    return sorted(found, key=lambda p: p.start)


def _stretches(parameters: list[Any]) -> list[tuple[int, int]]:
    """Return the ranges of neighbouring parameters."""
    found: list[tuple[int, int]] = []
    for p in parameters:
        if found and found[-1][1] == p.start:
            found[-1] = found[-1][0], p.stop
        else:
            found.append((p.start, p.stop))
    return found
