"""Building: layers meet their input shape, parameters get their place and first values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from xcnn import initializers
from xcnn.backend import Backend
from xcnn.errors import Error, ShapeError
from xcnn.layer import Layer
from xcnn.state import Arrays, Buffer, Parameter, State, make_room

__all__ = ["Make"]

Shape = tuple[int, ...]


_LARGEST = 2**48  # numbers: beyond, no machine has the memory, and indices run over
_limit: ContextVar[int | None] = ContextVar("limit", default=None)


@contextmanager
def at_most(values: int, /) -> Iterator[None]:
    """Refuse models of more values inside the block, before any is drawn: a file may ask for too many.

    Parameters
    ----------
    values : int
        How many.

    Yields
    ------
    None
        Nothing.
    """
    token = _limit.set(values)
    try:
        yield
    finally:
        _limit.reset(token)


def _attribute(parent: Layer, child: Layer) -> str:
    """Return the attribute of `parent` that holds `child`, or its number among those built."""
    held = (key for key, value in vars(parent).items() if value is child)
    return next(held, f"parts[{len(parent.built)}]")


def _about(layer: Layer, error: Error) -> Error:
    layer.locate(error)
    return error


class Make:
    """Given to `Layer.build`: declares parameters, and hands them out again where a layer is used again.

    Parameters
    ----------
    seed : int
        Of the host's generator that draws the first values, the same on every backend.
    """

    def __init__(self, seed: int) -> None:
        self.state = State()
        self._rng = np.random.default_rng(seed)
        self._drawn: dict[int, np.ndarray] = {}
        self._built: list[Layer] = []
        self._own: dict[int, list[Any]] = {}  # id of a layer -> its parameters and buffers, as declared
        self._stack: list[tuple[Layer, int]] = []  # the layers being built, and how much each has declared

    def build(self, layer: Layer, input_shape: Shape, /, *, at: str = "") -> Shape:
        """Build `layer` for inputs of `input_shape`.

        Parameters
        ----------
        layer : Layer
            A child of the layer being built.
        input_shape : tuple of int
            Without N.
        at : str
            Where its parent keeps it: ``"layers[0]"``.

        Returns
        -------
        tuple of int
            The shape of its outputs, without N.

        Raises
        ------
        ShapeError
            If the shape is impossible for it, or other than at an earlier use.
        Error
            If it belongs to another model.
        """
        if not isinstance(layer, Layer):
            msg = f"got {layer!r} among the layers; needed a Layer"
            raise Error(msg, where=at or "Model")
        parent = self._stack[-1][0] if self._stack else None
        outer = parent.path if parent else ""
        if parent and not any(layer is child for child in parent.built):
            at = at or _attribute(parent, layer)
            parent.built = (*parent.built, layer)
        if layer.maker is None:
            layer.path = ".".join(filter(None, (outer, at)))
            layer.maker, layer.number = self, len(self._built)
            self._built.append(layer)
        elif layer.maker is not self:
            raise _about(layer, Error("it belongs to another model; needed a new layer, or model.copy()"))
        elif layer.input_shape != input_shape:
            msg = f"it is used at input shapes {layer.input_shape} and {input_shape}; needed one"
            raise _about(layer, ShapeError(msg))
        layer.input_shape = input_shape
        self._stack.append((layer, 0))
        try:
            layer.output_shape = tuple(layer.build(input_shape, self))
            if math.prod(layer.output_shape) > _LARGEST:
                msg = f"its outputs have shape {layer.output_shape}; needed {_LARGEST} numbers at most"
                raise ShapeError(msg)
        except Error as error:
            layer.locate(error)
            raise
        finally:
            self._stack.pop()
        return layer.output_shape

    def _refuse_many(self, what: str, shape: Shape) -> None:
        """Refuse more values than there may be, or than an array can hold."""
        limit, state = _limit.get(), self.state
        size = sum(p.size for p in state.parameters) + sum(math.prod(b.shape) for b in state.buffers)
        if limit is not None and size + math.prod(shape) > limit:
            msg = f"a {what} of shape {shape} makes more than the {limit} values that are there"
            raise ShapeError(msg)
        if math.prod(shape) > _LARGEST:
            msg = f"a {what} of shape {shape} has {math.prod(shape)} values; needed {_LARGEST} at most"
            raise ShapeError(msg)

    def _declare(self, create: Any) -> Any:
        """Return the next parameter or buffer of the layer being built, made by `create` at its first use."""
        layer, count = self._stack[-1]
        self._stack[-1] = layer, count + 1
        own = self._own.setdefault(id(layer), [])
        if count == len(own):
            own.append(create())
        return own[count]

    def parameter(
        self,
        shape: Shape,
        init: Any,
        /,
        *,
        fans: tuple[int, int] | None = None,
        weight: bool | None = None,
    ) -> Parameter:
        """Declare a parameter of the layer being built.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        init : str or callable
            Name of an initialiser, or ``init(rng, shape, fans) -> numpy array``.
        fans : (fan_in, fan_out), optional
            Inputs of an output and outputs of an input; by default from `shape`.
        weight : bool, optional
            Whether penalties and decay apply; by default if it has two axes or more.

        Returns
        -------
        Parameter
            The same one when the layer is built again.
        """

        def create() -> Parameter:
            self._refuse_many("parameter", shape)
            owners = tuple(layer for layer, _ in reversed(self._stack))
            p = Parameter(self.state, shape, owners, len(shape) > 1 if weight is None else weight)
            drawn = np.asarray(initializers.get(init)(self._rng, shape, fans or initializers.fans(shape)))
            if drawn.shape != shape:
                msg = f"the initialiser gave shape {drawn.shape}; needed {shape}"
                raise ShapeError(msg)
            self._drawn[id(p)] = np.reshape(drawn, (-1,))
            self.state.parameters.append(p)
            return p

        return self._declare(create)

    def buffer(self, shape: Shape, fill: Any, /) -> Buffer:
        """Declare a buffer of the layer being built.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        fill : float or sequence
            Its first value.

        Returns
        -------
        Buffer
            The same one when the layer is built again.
        """

        def create() -> Buffer:
            self._refuse_many("buffer", shape)
            buffer = Buffer(self.state, len(self.state.buffers), shape)
            self._drawn[id(buffer)] = np.broadcast_to(np.asarray(fill, dtype=np.float64), shape)
            self.state.buffers.append(buffer)
            return buffer

        return self._declare(create)

    def finish(self, backend: Backend, dtype: str, /) -> State:
        """Lay the values out, weights first, on `backend`.

        Parameters
        ----------
        backend : Backend
            Where they live.
        dtype : str
            For example ``"float32"``.

        Returns
        -------
        State
            The model's.
        """
        state, at = self.state, 0
        state.parameters.sort(key=lambda p: not p.is_weight)  # stable
        for p in state.parameters:
            p.start, at = at, at + p.size
        make_room(at)
        drawn = [self._drawn[id(p)] for p in state.parameters]
        values = np.concatenate([np.empty(0), *drawn])
        buffers = tuple(backend.asarray(self._drawn[id(b)], dtype) for b in state.buffers)
        state.arrays = Arrays(backend.asarray(values, dtype), (), buffers)
        self._drawn.clear()
        return state

    def abandon(self) -> None:
        """Set the layers free: building failed."""
        for layer in self._built:
            layer._unbuild()
