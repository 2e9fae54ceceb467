"""Compiled runs: one layer that does the work of several."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from xcnn.errors import Error
from xcnn.layer import Layer
from xcnn.layers import Sequential
from xcnn.ops.op import Saved
from xcnn_numpy.layout import from_lanes, to_lanes
from xcnn_numpy.library import prepare
from xcnn_numpy.lowering import Lowered, find_needs, lower
from xcnn_numpy.memory import fresh
from xcnn_numpy.program import get_num_threads
from xcnn_numpy.serving import Serving, is_better, pack, serve
from xcnn_numpy.simd import lanes
from xcnn_numpy.stage_norm import Norm
from xcnn_numpy.stage_pixel import Standardize
from xcnn_numpy.workspace import Workspace

__all__ = ["Run", "compile_run"]

WAITING = 4  # workspaces, for each size of batch, that wait to be used again
SIZES = 4  # sizes of batch whose workspaces are kept


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


class Lease:
    """What a forward holds: a workspace, given back when nobody holds this any more."""

    __slots__ = ("n", "run", "values", "workspace")

    def __init__(self, run: Run, workspace: Any, values: np.ndarray, n: int) -> None:
        self.run, self.workspace, self.values, self.n = run, workspace, values, n

    def __del__(self) -> None:
        self.run.give(self.workspace)


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
        self.lanes = lanes(dtype)
        parameters = _parameters(leaves)
        self.state: Any = parameters[0].state
        self.stretches = _stretches(parameters)
        self.size = sum(stop - start for start, stop in self.stretches)
        self.norms = [s for s in lowered.stages if isinstance(s, Norm)]
        self.fixed = [s for s in lowered.stages if isinstance(s, Standardize)]
        self._folded: tuple[Any, Any, Any] = None, None, None
        self._fixed: tuple[Any, Any, Any] = None, None, None
        self._packed: tuple[Any, Any, Any, Any] = None, None, None, None
        self._small: dict[int, bool] = {}
        self._waiting: dict[tuple[int, int, bool], list[Workspace]] = {}
        self._building = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave workspaces out of copies."""
        return vars(self) | {"_waiting": {}, "_building": None, "_packed": (None, None, None, None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _building=threading.Lock())

    @property
    def label(self) -> str:
        """What it was made from."""
        return f"Run of {', '.join(type(leaf).__name__ for leaf in self.leaves_)}"

    def place(self, start: int) -> int:
        """Return where the gradient of a parameter that starts at `start` lies in the run's own."""
        at = 0
        for first, stop in self.stretches:
            if first <= start < stop:
                return at + start - first
            at += stop - first
        raise AssertionError(start)

    def take(self, n: int, train: bool) -> Workspace:
        """Return a workspace for n images that nobody else uses."""
        key = -(-n // self.lanes), get_num_threads(), train
        try:
            return self._waiting[key].pop()
        except (KeyError, IndexError):
            with self._building:
                return self._build(*key)

    def give(self, ws: Workspace) -> None:
        """Take a workspace back."""
        key = ws.blocks, ws.threads, ws.train
        waiting = self._waiting.setdefault(key, [])
        if len(waiting) < WAITING:
            waiting.append(ws)
        if len(self._waiting) > SIZES:
            self._waiting.pop(next(k for k in self._waiting if k != key), None)

    def _build(self, blocks: int, threads: int, train: bool) -> Workspace:
        prepare(self.dtype)
        ws = Workspace(self.dtype, self.lanes, blocks, threads, train)
        ws.place = self.place
        low = self.lowered
        tmp = ws.scratch(self.lanes**2)
        x = ws.view(low.input)
        c, h, w = low.input.c, low.input.h, low.input.w
        ws.program.add(
            to_lanes, ("x", 0), x, tmp, ("n", 0), c, h, w, tasks=blocks * c,
            work=8.0 * blocks * c * h * w,
        )  # fmt: skip
        last = {id(value): i for i, stage in enumerate(low.stages) for value in stage.reads()}
        for i, stage in enumerate(low.stages):
            stage.forward(ws)
            if not train:
                for value in {id(v): v for v in stage.reads()}.values():
                    if last[id(value)] == i and value is not low.output:
                        ws.release(value)
        y = ws.view(low.output)
        sizes = _plane(low.output, y)
        ws.program.add(
            from_lanes, y, ("y", 0), tmp, ("n", 0), *sizes, tasks=blocks * sizes[0],
            work=8.0 * blocks * low.output.size,
        )  # fmt: skip
        ws.program.finish()
        return ws

    def _backward_of(self, ws: Workspace, need_dx: bool) -> Any:
        """Return the backward program, with the gradient of the input or without."""
        if need_dx not in ws.backwards:
            with self._building:
                self._build_backward(ws, need_dx)
        return ws.backwards[need_dx]

    def _build_backward(self, ws: Workspace, need_dx: bool) -> None:
        low = self.lowered
        find_needs(low, need_dx)
        ws.begin_backward()
        tmp = ws.scratch(self.lanes**2)
        dy, _ = ws.gradient(low.output)
        sizes = _plane(low.output, dy)
        ws.backward.add(
            to_lanes, ("dy", 0), dy, tmp, ("n", 0), *sizes,
            tasks=ws.blocks * sizes[0], work=8.0 * ws.blocks * low.output.size,
        )  # fmt: skip
        for stage in reversed(low.stages):
            if getattr(stage, "norm", None) is None:
                stage.backward(ws)
                ws.release_gradient(stage.y)
        if need_dx:
            dx, _ = ws.gradient(low.input)
            sizes = _plane(low.input, dx)
            ws.backward.add(
                from_lanes, dx, ("dx", 0), tmp, ("n", 0), *sizes,
                tasks=ws.blocks * sizes[0], work=8.0 * ws.blocks * low.input.size,
            )  # fmt: skip
        ws.backwards[need_dx] = ws.backward.finish()

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and a lease on what backward needs."""
        fits = type(x) is np.ndarray and x.dtype == self.dtype and x.shape[1:] == self.input_shape and len(x)
        if (hold and train is False) or not fits:
            return self.leaves_.forward(x, train=train, hold=hold)
        n, arrays = x.shape[0], self.state.arrays
        if train is False and n < self.lanes and self._is_small(n):
            return self._serve(x, n, arrays), None
        ws = self.take(n, train is not False)
        lease = Lease(self, ws, arrays.values, n)
        y = fresh((n, *self.output_shape), self.dtype)
        ws.program.run(
            x=np.ascontiguousarray(x), y=y, values=arrays.values, n=n, fixed=self._fixed_for(),
            folded=None if train is not False else self._fold(arrays),
        )  # fmt: skip
        if train is not False:
            self._move_statistics(ws, arrays, n)
        return y, lease

    def _is_small(self, n: int) -> bool:
        if n not in self._small:
            self._small[n] = is_better(self.lowered, n, self.lanes)
        return self._small[n]

    def _serve(self, x: np.ndarray, n: int, arrays: Any) -> np.ndarray:
        """Return y for fewer images than lanes."""
        values, buffers, packed, waiting = self._packed
        if values is not arrays.values or buffers is not arrays.buffers:
            packed = pack(self.lowered, arrays.values, self._fold(arrays), self.lanes)
            waiting = {}
            self._packed = arrays.values, arrays.buffers, packed, waiting
        key = n, get_num_threads()
        free = waiting.setdefault(key, [])
        try:
            ws = free.pop()
        except IndexError:
            with self._building:
                prepare(self.dtype)
                ws = Serving(self.dtype, self.lanes, n, key[1])
                serve(self.lowered, ws, packed)
                ws.program.finish()
        ws.input[...] = x
        ws.program.run()
        out = self.lowered.output
        view = ws.view(out)
        y = fresh((n, *self.output_shape), self.dtype)
        vectors = view.a.reshape(n, -1, view.c // self.lanes, self.lanes)
        y.reshape(n, out.c, -1)[...] = (
            vectors[:, :, : out.h * out.w].swapaxes(2, 3).reshape(n, -1, out.h * out.w)[:, : out.c]
        )
        free.append(ws)
        return y

    def backward(self, dy, saved, /, *, need_dx=True):
        """Hand the gradients to the state, and return dx."""
        if not isinstance(saved, Lease):
            return self.leaves_.backward(dy, saved, need_dx=need_dx)
        shape = (saved.n, *self.output_shape)
        if type(dy) is not np.ndarray or dy.shape != shape or dy.dtype != self.dtype:
            self._refuse(dy, shape)
        g = fresh((self.size,), self.dtype)
        dx = fresh((saved.n, *self.input_shape), self.dtype) if need_dx else None
        self._backward_of(saved.workspace, need_dx).run(
            dy=np.ascontiguousarray(dy), g=g, dx=dx, values=saved.values, n=saved.n, fixed=self._fixed_for()
        )
        at = 0
        for start, stop in self.stretches:
            self.state.add_gradient(
                start, stop, g if stop - start == self.size else g[at : at + stop - start]
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

    def _fold(self, arrays: Any) -> np.ndarray | None:
        """Return batch norm's running statistics, or convolutions with them folded in."""
        if not self.norms:
            return None
        values, buffers, folded = self._folded
        if values is not arrays.values or buffers is not arrays.buffers:
            folded = np.zeros(self.lowered.folded, self.dtype)
            for stage in self.norms:
                layer, conv, at = stage.layer, stage.convolution, stage.place
                mean, var = (np.asarray(b.value, "float64") for b in (layer.mean, layer.var))
                scale = np.asarray(layer.w.value, "float64") / np.sqrt(var + layer.eps)
                shift = np.asarray(layer.b.value, "float64")
                if conv is None:
                    c = len(mean)
                    folded[at : at + c] = mean
                    folded[at + 3 * c : at + 4 * c] = scale
                    folded[at + 4 * c : at + 5 * c] = shift
                    continue
                g = conv.geometry
                size = g.f * g.taps
                w = arrays.values[conv.w : conv.w + size].reshape(g.f, -1)
                b = 0.0 if conv.b is None else arrays.values[conv.b : conv.b + g.f]
                folded[at : at + size] = (w * scale[:, None]).reshape(-1)
                folded[at + size : at + size + g.f] = shift + (b - mean) * scale
            self._folded = arrays.values, arrays.buffers, folded
        return folded

    def _fixed_for(self) -> np.ndarray | None:
        """Return what `Standardize` needs."""
        if not self.fixed:
            return None
        layer = self.fixed[0].layer
        mean, scale = layer.shift.value, layer.scale.value
        if self._fixed[0] is not mean or self._fixed[1] is not scale:
            none = np.zeros_like(mean)
            self._fixed = (
                mean,
                scale,
                np.concatenate(
                    [mean, none, none, 1.0 / scale, none, none, none, none, 1.0 / scale, none]
                ).astype(self.dtype),
            )
        return self._fixed[2]

    def _move_statistics(self, ws: Workspace, arrays: Any, n: int) -> None:
        """Move the running statistics as batch norm does."""
        if not self.norms:
            return
        buffers = list(arrays.buffers)
        for stage, found in zip(self.norms, ws.found, strict=True):
            layer, c = stage.layer, stage.raw.c
            m, count = layer.momentum, n * stage.raw.h * stage.raw.w
            mean, var = found[:c], found[c : 2 * c] * (count / max(count - 1, 1))
            buffers[layer.mean.index] = (1 - m) * buffers[layer.mean.index] + m * mean
            buffers[layer.var.index] = (1 - m) * buffers[layer.var.index] + m * var
        self.state.arrays = self.state.arrays._replace(buffers=tuple(buffers))

    def multiply_adds(self) -> int:
        """Return those of its layers."""
        return sum(leaf.multiply_adds() for leaf in self.leaves_)


def _plane(value: Any, view: Any) -> tuple[int, int, int]:
    """Return (c, h, w) as the way in and out of lanes takes them: features in one long row."""
    if value.h == value.w == 1 and view.c == view.s:
        return 1, 1, value.c
    return value.c, value.h, value.w


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
