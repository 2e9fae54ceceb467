"""A tree of layers built for one input shape on one backend."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xcnn import losses
from xcnn.backend import Backend, get_backend, is_readable
from xcnn.build import Make
from xcnn.errors import OptionError, named
from xcnn.layer import Layer
from xcnn.layers import Sequential
from xcnn.layers.geometry import integer
from xcnn.ops.precision import check_precision
from xcnn.plan import chain, compile_plan, flatten
from xcnn.predict import Predictor
from xcnn.summary import Summary, summarize
from xcnn.tree import Tree

__all__ = ["Model"]


class Model(Tree, Predictor):
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
    precision : {"float32", "tf32", "bfloat16", "float16"}
        In which convolutions and linear maps multiply, see `xcnn.ops.precision`; with dtype "float32".
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
        precision: str = "float32",
        backend: str | Backend | None = None,
        compile: bool = True,
    ) -> None:
        extents = input_shape if isinstance(input_shape, (tuple, list)) else (input_shape,)
        self.input_shape = tuple(integer(extent, "Model: input_shape") for extent in extents)
        self.dtype = _dtype_name(dtype)
        self.precision = check_precision(precision, self.dtype)
        self.backend = get_backend(backend)
        self.seed, self.compile = integer(seed, "Model: seed", 0), compile
        self.loss: losses.Loss | None = None
        self.classes: tuple[str, ...] | None = None
        if isinstance(layers, Layer):
            layers = layers if type(layers) is Sequential else (layers,)
        elif not isinstance(layers, (list, tuple)):
            msg = f"got {layers!r}; needed a list of layers"
            raise OptionError(msg, where="Model")
        self.layers = layers if isinstance(layers, Sequential) else Sequential(*layers)
        make = Make(self.seed)
        try:
            with named("Model"):
                self.output_shape = make.build(self.layers, self.input_shape)
                self.state = make.finish(self.backend, self.dtype)
                self._plan_anew()
        except BaseException:
            make.abandon()
            raise

    def _plan_anew(self) -> None:
        backend, precision = self.backend, self.precision
        self.flat = self._plan = chain(flatten(self.layers), backend, precision)
        if self.compile:
            self._plan = compile_plan(self.flat, backend, self.dtype, precision)

    @property
    def plan(self) -> Sequential:
        """What runs: compiled runs where the backend has them, or the layers themselves."""
        return self.flat if is_readable() else self._plan

    def __repr__(self) -> str:
        size, where = f"{self.state.size:,} parameters", self.backend.name
        if self.precision != "float32":
            where += f", {self.precision}"
        return f"<model {self.input_shape} -> {self.output_shape}, {size}, {where}>"

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

    def to(
        self,
        backend: str | Backend | None = None,
        *,
        dtype: str | None = None,
        precision: str | None = None,
    ) -> Model:
        """Move parameters, gradients, buffers and optimizer state; trainers of the model go on there.

        Parameters
        ----------
        backend : str or Backend, optional
            Where to.
        dtype : {"float32", "float64"}, optional
            What to convert to.
        precision : {"float32", "tf32", "bfloat16", "float16"}, optional
            What products are to be computed in from now on.

        Returns
        -------
        Model
            This one.
        """
        target = self.backend if backend is None else get_backend(backend)
        kind = self.dtype if dtype is None else _dtype_name(dtype)
        precision = check_precision(self.precision if precision is None else precision, kind)
        self.state.move(target, kind)
        self.backend, self.dtype, self.precision = target, kind, precision
        self._plan_anew()
        return self

    def copy(
        self,
        *,
        backend: str | Backend | None = None,
        dtype: str | None = None,
        precision: str | None = None,
    ) -> Model:
        """Return a model of the same layers and values that shares nothing.

        Parameters
        ----------
        backend : str or Backend, optional
            Where the copy lives.
        dtype : {"float32", "float64"}, optional
            What it computes in.
        precision : {"float32", "tf32", "bfloat16", "float16"}, optional
            What its products are computed in.

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
            stack += layer.children()
            layer._unbuild()
        twin.__init__(  # type: ignore[misc]
            layers,
            self.input_shape,
            seed=self.seed,
            dtype=self.dtype,
            precision=self.precision,
            backend=self.backend,
            compile=self.compile,
        )
        twin.state.arrays = self.state.arrays
        twin.loss, twin.classes = self.loss, self.classes
        return twin.to(backend, dtype=dtype, precision=precision)

    def fit(self, x: Any, y: Any = None, /, **options: Any) -> Any:
        """Train, and return what was measured.

        Parameters
        ----------
        x : array (N, ...) or Loader
            Inputs, of any backend; images as uint8 or in [0, 1].
        y : array (N,) or (N, K), optional
            Labels.
        **options
            epochs, batch_size, optimizer, loss, schedule, validation, callbacks, metrics, augment, shuffle,
            seed, progress, checkpoint, resume: see `xcnn.training.fit`.

        Returns
        -------
        History
            ``history["loss"]`` and others, one number per epoch.
        """
        from xcnn.training import fit

        with self.backend.active(), named("fit"):
            return fit(self, x, y, **options)

    def evaluate(self, x: Any, y: Any, /, **options: Any) -> dict[str, float]:
        """Return the loss and the metrics.

        Parameters
        ----------
        x : array (N, ...)
            Inputs, of any backend.
        y : array (N,) or (N, K)
            Labels.
        **options
            loss, metrics, batch_size: see `xcnn.training.evaluate`.

        Returns
        -------
        dict
            ``{"loss": ..., "accuracy": ...}``.
        """
        from xcnn.training import evaluate

        with self.backend.active(), named("evaluate"):
            return evaluate(self, x, y, **options)

    def explain(self, x: Any, /, *, label: Any = None, pixel: Any = None, channel: int | None = None) -> Any:
        """Show, layer by layer, what happened to one image: ``print(model.explain(x))``.

        Parameters
        ----------
        x : array (C, H, W) or (1, C, H, W)
            One image.
        label, pixel, channel
            See `xcnn.explain.explain_model`.

        Returns
        -------
        ModelExplanation
            ``.layers[i]`` explains a layer; ``.plot()`` draws it, ``.animate(path)`` writes a GIF.
        """
        from xcnn.explain import explain_model

        with self.active(), named("explain"):
            return explain_model(self, x, label=label, pixel=pixel, channel=channel)

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
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]
    if name not in ("float32", "float64"):
        msg = f"dtype is {dtype!r}; needed 'float32' or 'float64'"
        raise OptionError(msg, where="Model")
    return name
