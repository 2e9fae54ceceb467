"""Model files: one safetensors file that holds everything needed to use a model, on any backend."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xcnn import losses
from xcnn.backend import get_backend
from xcnn.build import at_most
from xcnn.errors import BackendError, Error, FileError, OptionError
from xcnn.files import write_atomically
from xcnn.io.architecture import layer_from_json, layer_to_json
from xcnn.io.sealed_file import FORMAT, seal, unseal
from xcnn.layer import Layer
from xcnn.model import Model
from xcnn.ops import Op

__all__ = ["TRAINING", "describe", "fill", "load", "save"]

TRAINING = "training:"  # begins the names of what a checkpoint holds beside the model


def save(model: Model, path: str | Path, /) -> None:
    """Write a model to one file: parameters, statistics, layers, classes, loss unless it is your own.

    The file is written whole or not at all, holds no code and loads on any backend.

    Parameters
    ----------
    model : Model
        Any.
    path : str or Path
        Ends in ``.xcnn`` by custom.

    Raises
    ------
    FileError
        If it cannot be written, or an option of a layer is no JSON.
    """
    description, tensors = describe(model, path)
    write_atomically(path, seal(tensors, description))


def describe(model: Model, path: str | Path, /) -> tuple[str, dict[str, np.ndarray]]:
    """Return what a model's file holds.

    Parameters
    ----------
    model : Model
        Any.
    path : str or Path
        The file, for errors.

    Returns
    -------
    description : str
        JSON: layers, shapes, loss, classes.
    tensors : dict of array
        Parameters and statistics by name.

    Raises
    ------
    FileError
        See `save`.
    """
    loss = None
    if model.loss is not None and type(model.loss) is losses.NAMES.get(model.loss.name):
        options = {f.name: getattr(model.loss, f.name) for f in dataclasses.fields(model.loss) if f.init}  # type: ignore[arg-type]
        loss = {"name": model.loss.name, **options}
    try:
        tree = layer_to_json(model.layers)
    except FileError as error:
        error.where = str(path)
        raise
    description = json.dumps(
        {
            "format": FORMAT,
            "input_shape": model.input_shape,
            "dtype": model.dtype,
            "precision": model.precision,
            "seed": model.seed,
            "loss": loss,
            "classes": None if model.classes is None else [str(name) for name in model.classes],
            "layers": tree.pop("layers"),
            "outermost": tree,
        }
    )
    named: dict[str, Any] = {**model.parameters(), **model.buffers()}
    if len(named) < len(model.state.parameters) + len(model.state.buffers):
        msg = "a layer does not name what it built; needed children() and attributes that hold its parameters"
        raise FileError(msg, where=str(path))
    tensors = {
        name: np.ascontiguousarray(model.backend.to_numpy(holder.value)).reshape(holder.shape)
        for name, holder in named.items()
    }
    return description, tensors


def load(path: str | Path, /, *, backend: Any = None, custom: Sequence[type[Layer] | Op[...]] = ()) -> Model:
    """Read a model.

    Parameters
    ----------
    path : str or Path
        A file that `Model.save` wrote, or a checkpoint.
    backend : str or Backend, optional
        Where it is to live; by default what `get_backend` returns.
    custom : sequence of type or Op
        Layers and ops of your own that occur in it.

    Returns
    -------
    Model
        Ready to use.

    Raises
    ------
    FileError
        If the file is missing, truncated, altered, no model of xcnn, or of a newer format, or if names or
        shapes do not match its layers. Nothing is unpickled.
    OptionError
        If `custom` has anything but layers' classes and ops.
    """
    if not isinstance(path, (str, os.PathLike)):
        msg = f"got {path!r}; needed the path of a model file"
        raise FileError(msg, where="load")
    for own in custom:
        if not isinstance(own, Op) and not (isinstance(own, type) and issubclass(own, Layer)):
            msg = f"custom has {own!r}; needed classes of layers, and ops"
            raise OptionError(msg, where="load")
    backend = get_backend(backend)
    content, _, tensors = unseal(Path(path))
    tensors = {name: a for name, a in tensors.items() if not name.startswith(TRAINING)}
    try:
        layers = layer_from_json({**content["outermost"], "layers": content["layers"]}, custom)
        with at_most(max(10**6, sum(a.size for a in tensors.values()))):
            model = Model(
                layers,
                content["input_shape"],
                seed=content["seed"],
                dtype=content["dtype"],
                precision=content.get("precision", "float32"),  # older files have none
                backend=backend,
            )
        if content["loss"] is not None:
            options = dict(content["loss"])
            model.loss = losses.NAMES[options.pop("name")](**options)
        model.classes = None if content["classes"] is None else tuple(content["classes"])
    except FileError as error:
        error.where, error.located = str(path), True
        raise
    except BackendError:
        raise
    except (
        Error,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        MemoryError,
        RecursionError,
    ) as error:
        msg = f"its description is not valid: {type(error).__name__}: {error}"
        raise FileError(msg, where=str(path)) from error
    fill(model, tensors, path)
    return model


def fill(model: Model, tensors: dict[str, np.ndarray], path: str | Path, /) -> None:
    """Give a model the parameters and statistics of a file.

    Parameters
    ----------
    model : Model
        Is changed, unless they don't match.
    tensors : dict of array
        By name.
    path : str or Path
        The file, for errors.

    Raises
    ------
    FileError
        If names, shapes or dtypes are not the model's.
    """
    named: dict[str, Any] = {**model.parameters(), **model.buffers()}
    _match(named, tensors, model.dtype, str(path))
    for name, holder in named.items():
        holder.value = tensors[name]


def _match(named: dict[str, Any], tensors: dict[str, np.ndarray], dtype: str, path: str) -> None:
    """Refuse names, shapes or dtypes other than the layers'."""
    missing, extra = sorted(set(named) - set(tensors)), sorted(set(tensors) - set(named))
    if missing or extra:
        lacks, more = ", ".join(missing) or "nothing", ", ".join(extra) or "nothing"
        msg = f"it lacks {lacks} that its layers need, and has {more} that they don't"
        raise FileError(msg, where=path)
    for name, holder in named.items():
        if tensors[name].dtype.name != dtype:
            msg = f"{name} has dtype {tensors[name].dtype}; the model has {dtype}"
            raise FileError(msg, where=path)
        if tensors[name].shape != holder.shape:
            msg = f"{name} has shape {tensors[name].shape}; its layer needs {holder.shape}"
            raise FileError(msg, where=path)
