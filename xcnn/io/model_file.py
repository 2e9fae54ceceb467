"""Model files: one safetensors file that holds everything needed to use a model, on any backend."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xcnn import losses
from xcnn.backend import get_backend
from xcnn.build import at_most
from xcnn.errors import Error, FileError, OptionError
from xcnn.files import write_atomically
from xcnn.io.architecture import layer_from_json, layer_to_json
from xcnn.layer import Layer
from xcnn.model import Model
from xcnn.ops import Op

__all__ = ["load", "save"]

_FORMAT = 1


def _digest(tensors: dict[str, np.ndarray], description: str) -> str:
    """Return the SHA-256 of the description and of every tensor's name, dtype, shape and bytes."""
    sha = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        a = tensors[name]
        sha.update(f"\0{name}\0{a.dtype.name}\0{a.shape}\0".encode())
        sha.update(a.tobytes())
    return sha.hexdigest()


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
    from safetensors.numpy import save as to_bytes

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
            "format": _FORMAT,
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
    metadata = {"xcnn": description, "sha256": _digest(tensors, description)}
    write_atomically(path, to_bytes(tensors, metadata))


def load(path: str | Path, /, *, backend: Any = None, custom: Sequence[type[Layer] | Op[...]] = ()) -> Model:
    """Read a model.

    Parameters
    ----------
    path : str or Path
        A file that `Model.save` wrote.
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
    metadata, tensors = _read(Path(path))
    try:
        content = json.loads(metadata["xcnn"])
        number = content["format"]
    except (KeyError, TypeError, ValueError):
        msg = "a safetensors file, but no model of xcnn; needed one that Model.save wrote"
        raise FileError(msg, where=str(path)) from None
    if number != _FORMAT:
        msg = f"written in format {number!r}; this version of xcnn reads {_FORMAT}"
        raise FileError(msg, where=str(path))
    if metadata.get("sha256") != _digest(tensors, metadata["xcnn"]):
        msg = "its content does not match its SHA-256: it was altered or damaged; needed the file as written"
        raise FileError(msg, where=str(path))
    try:
        layers = layer_from_json({**content["outermost"], "layers": content["layers"]}, custom)
        with at_most(max(10**7, sum(a.size for a in tensors.values()))):
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
    except (KeyError, TypeError, ValueError, Error) as error:
        msg = f"its description is not valid: {type(error).__name__}: {error}"
        raise FileError(msg, where=str(path)) from error
    named: dict[str, Any] = {**model.parameters(), **model.buffers()}
    _match(named, tensors, model.dtype, str(path))
    for name, holder in named.items():
        holder.value = tensors[name]
    return model


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        msg = "there is no such file" if not path.exists() else "this is no file"
        raise FileError(msg, where=str(path))
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        msg = f"cannot be read as a model: truncated, or no safetensors file ({error})"
        raise FileError(msg, where=str(path)) from error


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
