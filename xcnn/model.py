"""A tree of layers built for one input shape on one backend."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xcnn import losses, ops
from xcnn.backend import Backend, backend_of, get_backend, is_readable, move
from xcnn.build import Make
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError
from xcnn.layer import Layer
from xcnn.layers import Sequential
from xcnn.layers.geometry import integer
from xcnn.plan import compile_plan, ending_of, flatten
from xcnn.state import Buffer, Parameter
from xcnn.summary import Summary, summarize

__all__ = ["Model"]


class Model:
    """Layers, the arrays they use, and the plan that runs them.

    Parameters
    ----------
    layers : sequence of Layer, or Layer
        Applied one after the other; they belong to this model from now on.
    input_shape : tuple of int
        Of one input, without N: (C, H, W).
    seed : int
        Of the first values; the same on every backend.
    dtype : {"float32", "float64"}
        Of parameters and activations.
    backend : str or Backend, optional
        Where the arrays live; by default what `get_backend` returns.
    compile : bool
        Whether the backend may replace runs of layers.

    Attributes
    ----------
    layers : Sequential
        The tree, as written.
    plan : Sequential
        What runs.
    state : State
        The arrays.
    loss : Loss or None
        What it was trained with.
    classes : tuple of str or None
        Names of the classes.

    Raises
    ------
    ShapeError
        If a layer can't take the shape that the one before gives; the message names it.
    """

    def __init__(
        self,
        layers: Sequence[Layer] | Layer,
        input_shape: Sequence[int],
        *,
        seed: int = 0,
        dtype: str = "float32",
        backend: str | Backend | None = None,
        compile: bool = True,
    ) -> None:
        extents = input_shape if isinstance(input_shape, (tuple, list)) else (input_shape,)
        self.input_shape = tuple(integer(extent, "Model: input_shape") for extent in extents)
        self.dtype = _dtype_name(dtype)
        self.backend = get_backend(backend)
        self.seed, self.compile = integer(seed, "Model: seed", 0), compile
        self.loss: losses.Loss | None = None
        self.classes: tuple[str, ...] | None = None
        if isinstance(layers, Layer):
            layers = layers.layers if type(layers) is Sequential else (layers,)
        self.layers = Sequential(*layers)
        make = Make(seed)
        try:
            self.output_shape = make.build(self.layers, self.input_shape)
        except BaseException:
            make.abandon()
            raise
        self.state = make.finish(self.backend, self.dtype)
        self._plan_anew()

    def _plan_anew(self) -> None:
        self.flat = flatten(self.layers)
        self._plan = compile_plan(self.flat, self.backend, self.dtype) if self.compile else self.flat

    @property
    def plan(self) -> Sequential:
        """What runs: compiled runs where the backend has them, or the layers themselves."""
        return self.flat if is_readable() else self._plan

    def __repr__(self) -> str:
        return f"<model {self.input_shape} -> {self.output_shape}, {self.state.size:,} parameters, {self.backend.name}>"

    def walk(self) -> Iterator[Layer]:
        """Yield every layer once, outer ones first.

        Yields
        ------
        Layer
            In the order of the forward pass.
        """
        seen, stack = set[int](), [self.layers]
        while stack:
            layer: Any = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack += reversed(layer.children())

    def _named(self, kind: type) -> dict[str, Any]:
        return {
            ".".join(filter(None, (layer.path, key))): value
            for layer in self.walk()
            for key, value in vars(layer).items()
            if isinstance(value, kind)
        }

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters by their place.

        Returns
        -------
        dict
            ``"layers[0].w"`` and so on; shared ones once.
        """
        return self._named(Parameter)

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers (running statistics) by their place.

        Returns
        -------
        dict
            ``"layers[1].mean"`` and so on.
        """
        return self._named(Buffer)

    def summary(self) -> Summary:
        """Print and return the table: layer, output shape, parameters, multiply-adds, bytes, receptive field.

        Returns
        -------
        Summary
            The same text, with totals as attributes.
        """
        table = summarize(self)
        print(str(table))
        return table

    def to(self, backend: str | Backend | None = None, *, dtype: str | None = None) -> Model:
        """Move parameters, gradients, buffers and optimizer state; trainers of the model go on there.

        Parameters
        ----------
        backend : str or Backend, optional
            Where to.
        dtype : {"float32", "float64"}, optional
            What to convert to.

        Returns
        -------
        Model
            This one.
        """
        target = self.backend if backend is None else get_backend(backend)
        kind = self.dtype if dtype is None else _dtype_name(dtype)
        self.state.move(target, kind)
        self.backend, self.dtype = target, kind
        self._plan_anew()
        return self

    def copy(self, *, backend: str | Backend | None = None, dtype: str | None = None) -> Model:
        """Return a model of the same layers and values that shares nothing.

        Parameters
        ----------
        backend : str or Backend, optional
            Where the copy lives.
        dtype : {"float32", "float64"}, optional
            What it computes in.

        Returns
        -------
        Model
            The copy.
        """
        layers = copy.deepcopy(self.layers, {id(self.state): None, id(self.layers.maker): None})
        twin = Model.__new__(Model)
        stack: list[Any] = [layers]
        while stack:
            layer = stack.pop()
            layer.maker, layer.path = None, ""
            stack += layer.children()
        twin.__init__(  # type: ignore[misc]
            layers, self.input_shape, seed=self.seed, dtype=self.dtype, backend=self.backend, compile=self.compile
        )
        twin.state.arrays = self.state.arrays
        twin.loss, twin.classes = self.loss, self.classes
        return twin.to(backend, dtype=dtype)

    def accept(self, x: Any, /) -> Any:
        """Return inputs on this model's backend in its dtype, checked; uint8 images are divided by 255.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend.

        Returns
        -------
        array
            The inputs.

        Raises
        ------
        ShapeError, DTypeError, DataError
            If the shape does not fit, the dtype is an integer one other than uint8, or there are no inputs.
        """
        x = np.asarray(x) if isinstance(x, (list, tuple)) else x
        if not hasattr(x, "shape"):
            msg = f"x is a {type(x).__name__}; needed an array (N, {', '.join(map(str, self.input_shape))})"
            raise DTypeError(msg, where="Model")
        if tuple(x.shape[1:]) != self.input_shape or x.ndim != len(self.input_shape) + 1:
            needed = f"(N, {', '.join(map(str, self.input_shape))})"
            msg = f"x has shape {tuple(x.shape)}; needed {needed}{_hint(tuple(x.shape), self.input_shape)}"
            raise ShapeError(msg, where="Model")
        if x.shape[0] == 0:
            msg = f"x is empty, its shape {tuple(x.shape)}; needed one input at least"
            raise DataError(msg, where="Model")
        name = str(x.dtype).rpartition(".")[2]
        if name.startswith(("float", "bfloat")):
            return move(x, self.backend, self.dtype)
        if name != "uint8":
            msg = f"x has dtype {x.dtype}; needed a floating dtype, or uint8 images (0 to 255)"
            raise DTypeError(msg, where="Model")
        return self.backend.asarray(move(x, self.backend), self.dtype) / 255.0

    def forward(self, x: Any, /, *, train: Any = False, hold: bool | None = None) -> tuple[Any, Any]:
        """Return outputs for arrays on this model's backend, and what `backward` needs.

        Parameters
        ----------
        x : array (N, ...)
            As from `accept`.
        train, hold
            See `Layer.forward`.

        Returns
        -------
        y : array
            Outputs.
        saved : object
            For `backward`.
        """
        return self.plan.forward(x, train=train, hold=hold)

    def backward(self, dy: Any, saved: Any, /, *, need_dx: bool = True) -> Any:
        """Add to the parameters' gradients and return the gradient with respect to the input.

        Parameters
        ----------
        dy : array
            Of the shape of the outputs.
        saved : object
            From `forward`.
        need_dx : bool
            Whether dx is wanted.

        Returns
        -------
        array or None
            dx.
        """
        return self.plan.backward(dy, saved, need_dx=need_dx)

    def _predict(self, x: Any, batch_size: int, finish: Any) -> Any:
        """Return `finish` of the outputs, batch by batch, in the kind of `x`."""
        x = np.asarray(x) if isinstance(x, (list, tuple)) else x
        n, step = len(x) if hasattr(x, "shape") else 1, integer(batch_size, "Model: batch_size")
        home = backend_of(x) if hasattr(x, "shape") else self.backend
        parts = []
        for i in range(0, max(n, 1), step):
            part = x if n <= step else x[i : i + step]
            parts.append(move(finish(self.forward(self.accept(part))[0]), home))
        return parts[0] if len(parts) == 1 else home.xp.concat(parts)

    def predict(self, x: Any, /, *, batch_size: int = 256) -> Any:
        """Return the last layer's outputs, in the kind of array that x is.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend; it is transferred.
        batch_size : int
            How many inputs at a time.

        Returns
        -------
        array (N, ...)
            Outputs.
        """
        return self._predict(x, batch_size, lambda y: y)

    def predict_proba(self, x: Any, /, *, batch_size: int = 256) -> Any:
        """Return probabilities: the outputs after the loss's link, unless the model ends in probabilities.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend; it is transferred.
        batch_size : int
            How many inputs at a time.

        Returns
        -------
        array (N, K)
            Probabilities, in the kind of array that x is.
        """
        return self._predict(x, batch_size, self._link)

    def _link(self, y: Any) -> Any:
        ending = ending_of(self.flat[-1]) if len(self.flat) else None
        if ending:
            return self.backend.xp.exp(y) if ending == "log_softmax" else y
        link = self.loss.link if self.loss else ("softmax" if self.output_shape[-1] > 1 else "sigmoid")
        return y if link is None else getattr(ops, link)(y)[0]

    def predict_classes(self, x: Any, /, *, batch_size: int = 256) -> Any:
        """Return the class of each input: the largest output, or for a single output whether it is over one half.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend; it is transferred.
        batch_size : int
            How many inputs at a time.

        Returns
        -------
        array (N,)
            Integers, in the kind of array that x is.

        Raises
        ------
        DataError
            If an output is NaN.
        """

        def largest(y: Any) -> Any:
            xp = self.backend.xp
            if bool(xp.any(xp.isnan(y))):
                msg = "an output is NaN, so no class is the largest; needed finite inputs"
                raise DataError(msg, where="Model")
            if y.ndim > 1 and y.shape[-1] > 1:
                return xp.argmax(y, axis=-1)
            return xp.reshape(xp.astype(self._link(y) > 0.5, xp.int64), (-1,))

        return self._predict(x, batch_size, largest)

    def head(self, loss: losses.Loss, /) -> tuple[Sequential, bool]:
        """Return what `loss` is computed on.

        Parameters
        ----------
        loss : Loss
            If the model ends in its pair (Softmax for cross_entropy), the layers before it are taken.

        Returns
        -------
        layers : Sequential
            What runs.
        probabilities : bool
            Whether it gives probabilities rather than logits.

        Raises
        ------
        OptionError
            If the model ends in LogSoftmax and the loss is a sigmoid's.
        """
        plan = self.plan
        ending = ending_of(plan[-1]) if len(plan) else None
        if ending is None or loss.link is None:
            return plan, False
        if loss.link == ending.removeprefix("log_"):
            return Sequential(*plan[:-1]), False
        if ending == "log_softmax":
            msg = f"the model ends in LogSoftmax; {loss.name} needs logits, Sigmoid or Softmax"
            raise OptionError(msg, where="Model")
        return plan, True

    def fit(self, x: Any, y: Any = None, /, **options: Any) -> Any:
        """Train, and return what was measured. See `xcnn.training.fit`.

        Parameters
        ----------
        x : array (N, ...) or Loader
            Inputs, of any backend; images as uint8 or in [0, 1].
        y : array (N,) or (N, K), optional
            Labels.
        **options
            epochs, batch_size, optimizer, loss, schedule, validation, callbacks, metrics, augment, shuffle,
            seed, progress.

        Returns
        -------
        History
            ``history["loss"]`` and others, one number per epoch.
        """
        from xcnn.training import fit

        return fit(self, x, y, **options)

    def evaluate(self, x: Any, y: Any, /, **options: Any) -> dict[str, float]:
        """Return the loss and the metrics. See `xcnn.training.evaluate`.

        Parameters
        ----------
        x : array (N, ...)
            Inputs, of any backend.
        y : array (N,) or (N, K)
            Labels.
        **options
            loss, metrics, batch_size.

        Returns
        -------
        dict
            ``{"loss": ..., "accuracy": ...}``.
        """
        from xcnn.training import evaluate

        return evaluate(self, x, y, **options)

    def save(self, path: str | Path, /) -> None:
        """Write the model to one file that loads on any backend. See `xcnn.load`.

        Parameters
        ----------
        path : str or Path
            Ends in ``.xcnn`` by custom.
        """
        from xcnn.io import save

        save(self, path)


def _dtype_name(dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in ("float32", "float64"):
        msg = f"dtype is {dtype!r}; needed 'float32' or 'float64'"
        raise OptionError(msg, where="Model")
    return name


def _hint(shape: tuple[int, ...], needed: tuple[int, ...]) -> str:
    """Return what a user most likely forgot."""
    if len(needed) == 3:
        if shape[1:] == needed[1:] and needed[0] == 1:
            return "; add the channel axis: x[:, None]"
        if shape == needed:
            return "; a single image needs a batch axis: x[None]"
        if shape[1:] == (*needed[1:], needed[0]):
            return "; the channels come first: np.moveaxis(x, -1, 1)"
    return ""
