"""Compiled runs: one layer that does the work of several, on images with channels last."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import cupy

from xcnn.errors import Error
from xcnn.layer import Layer
from xcnn.layers import Sequential
from xcnn.ops.op import Saved
from xcnn_cupy import convolutions
from xcnn_cupy.layout import to_nchw, to_nhwc
from xcnn_cupy.lowering import image, lower
from xcnn_cupy.packing import Entry, Packed, Packing
from xcnn_cupy.serving import Serving
from xcnn_cupy.stages import Chain, Job
from xcnn_cupy.stages_linear import Convolution
from xcnn_cupy.stages_pixel import Standardize

__all__ = ["Run", "compile_run"]

KINDS = {"bfloat16": "bfloat16", "float16": "float16"}  # of what is stored, where not the dtype


def compile_run(
    leaves: list[Any], /, *, dtype: str, need_dx: bool, precision: str = "float32"
) -> tuple[Layer, int] | None:
    """Return one layer that does the work of as many of the first `leaves` as it can, and how many, or None.

    Parameters
    ----------
    leaves : list of Layer
        In order, activations split off.
    dtype : {"float32", "float64"}
        Of the model.
    need_dx : bool
        Whether the gradient of their input is wanted.
    precision : str
        Of products.

    Returns
    -------
    (Layer, int) or None
        The run; None without cuDNN.
    """
    math = "tf32" if precision == "tf32" else "float32"
    found = lower(leaves, math) if convolutions.available() else None
    if found is None:
        return None
    chain, taken = found
    return Run(leaves[:taken], chain, dtype, KINDS.get(precision, dtype)), taken


class Kept(NamedTuple):
    """What a training pass leaves for its backward.

    Attributes
    ----------
    n : int
        Images.
    device : int
        Where they are.
    job : Job
        The pass.
    saved : object
        What the stages left.
    """

    n: int
    device: int
    job: Job
    saved: Any


class Run(Layer):
    """The layers that it was made from, in one.

    Parameters
    ----------
    leaves : list of Layer
        What it means.
    chain : Chain
        How it does it.
    dtype : str
        Of the model.
    kind : str
        Of the numbers between the stages.
    """

    def __init__(self, leaves: list[Any], chain: Chain, dtype: str, kind: str) -> None:
        super().__init__()
        self.leaves_, self.chain, self.dtype, self.kind = Sequential(*leaves), chain, dtype, kind
        self.input_shape, self.output_shape = leaves[0].input_shape, leaves[-1].output_shape
        parameters = {start: shape for stage in chain.walk() for start, shape in stage.parameters.items()}
        self.packing = Packing([_entry(*each) for each in parameters.items()], dtype, kind)
        biases = [stage.b for stage in chain.walk() if isinstance(stage, Convolution) and kind != dtype]
        found = [Entry(b, (*parameters[b], 1), "kernel") for b in biases if b is not None]
        self.biases = Packing(found, dtype, kind)  # which cuDNN wants of the kind of images
        self.state: Any = _state(leaves)
        self.entering = dtype if isinstance(chain.stages[0], Standardize) else kind
        self._packed: tuple[Any, Any] = None, None  # in evaluation: of which values
        self._serving = Serving()

    @property
    def label(self) -> str:
        """What it was made from."""
        names = [type(leaf).__name__ for leaf in self.leaves_]
        shown = names if len(names) <= 9 else [*names[:4], f"{len(names) - 5} more", names[-1]]
        return f"Run({', '.join(shown)})"

    def forward(self, x: Any, /, *, train: Any = False, hold: bool | None = None) -> tuple[Any, Any]:
        """Return y and what backward needs."""
        arrays, training = self.state.arrays, train is not False
        device = arrays.values.data.device_id
        if (hold and not training) or not _fits(x, self.dtype, self.input_shape, device):
            return self.leaves_.forward(x, train=train, hold=hold)
        weights = self._weights(arrays.values, training)
        job = Job(self.kind, weights, arrays.buffers, train if training else None, bool(hold))
        if not training:
            return self._serving(lambda x: self._predict(x, job), x, (weights, *arrays.buffers)), None
        y, saved = self.chain.forward(_enter(x, self.input_shape, self.entering), job)
        if job.moved:
            buffers = [job.moved.get(i, old) for i, old in enumerate(arrays.buffers)]
            self.state.arrays = self.state.arrays._replace(buffers=tuple(buffers))
        return self._leave(y, self.output_shape), Kept(len(x), device, job, saved)

    def backward(self, dy: Any, saved: Any, /, *, need_dx: bool = True) -> Any:
        """Hand the gradients to the state, and return dx."""
        if not isinstance(saved, Kept):
            return self.leaves_.backward(dy, saved, need_dx=need_dx)
        shape = (saved.n, *self.output_shape)
        if not _fits(dy, self.dtype, self.output_shape, saved.device) or len(dy) != saved.n:
            self._refuse(dy, shape)
        packed = self.packing.gradients()
        job = dataclasses.replace(saved.job, gradients=_by_start(self.packing, packed))
        dy = _enter(dy, self.chain.shape, self.kind)
        dx = self.chain.backward(dy, saved.saved, job, need_dx)
        for start, stop, g in self.packing.unpack(packed):
            self.state.add_gradient(start, stop, g)
        return self._leave(dx, self.input_shape) if need_dx else None

    def _weights(self, values: Any, training: bool) -> dict[int, Any]:
        """Return the packed parameters; those of an evaluation are kept for the next one.

        In training every pass packs them: `values` may be memory that replayed graphs overwrite, and what is
        packed while a graph is recorded belongs to the graph.
        """
        fleeting = training or cupy.cuda.get_current_stream().is_capturing()
        known, weights = self._packed
        if fleeting or known is not values:
            weights = _by_start(self.packing, self.packing.pack(values))
            if self.biases.entries:
                packed = _by_start(self.biases, self.biases.pack(values))
                weights |= {start: b.reshape(-1) for start, b in packed.items()}
        if not fleeting:
            self._packed = values, weights
        return weights

    def _predict(self, x: Any, job: Job) -> Any:
        y, _ = self.chain.forward(_enter(x, self.input_shape, self.entering), job)
        return self._leave(y, self.output_shape)

    def _leave(self, y: Any, shape: tuple[int, ...]) -> Any:
        """Return y as layers take it."""
        return to_nchw(y, self.dtype).reshape(len(y), *shape)

    def _refuse(self, dy: Any, shape: tuple[int, ...]) -> None:
        """Say, as the last layer would, what is wrong with dy."""
        try:
            Saved(None, None, (), cupy.empty(shape, self.dtype)).check(dy)
        except Error as error:
            self.leaves_[-1].locate(error)
            raise

    def multiply_adds(self) -> int:
        """Return those of its layers."""
        return sum(leaf.multiply_adds() for leaf in self.leaves_)


def _fits(x: Any, dtype: str, shape: tuple[int, ...], device: int) -> bool:
    """Return whether x is a batch of that dtype and shape, on a device."""
    fits = isinstance(x, cupy.ndarray) and x.dtype == dtype and x.shape[1:] == shape
    return fits and len(x) > 0 and x.data.device_id == device


def _enter(x: Any, shape: tuple[int, ...], kind: str) -> Any:
    """Return x as the stages take it."""
    return to_nhwc(x.reshape(len(x), *image(shape)), kind)


def _entry(start: int, shape: tuple[int, ...]) -> Entry:
    return Entry(start, shape, "kernel" if len(shape) > 1 else "vector")


def _by_start(packing: Packing, packed: Packed) -> dict[int, Any]:
    """Return packed arrays by where their parameters start in the values."""
    return {entry.start: a for entry, a in zip(packing.entries, packed.arrays, strict=True)}


def _state(leaves: list[Any]) -> Any:
    """Return the state that holds the parameters of the leaves."""
    stack = list(leaves)
    while stack:
        layer = stack.pop()
        for parameter in layer.parameters().values():
            return parameter.state
        stack += layer.children()
    raise AssertionError(leaves)
