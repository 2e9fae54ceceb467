"""Checkpoints: a model file that also holds everything its training needs to go on.

The training's state is a tree of dicts with names, lists, numbers, strings, booleans, None and arrays. It is
kept as JSON in the file's metadata, and its arrays beside the model's tensors; nothing in it is code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xcnn.backend import plugin_of
from xcnn.errors import DTypeError, FileError
from xcnn.files import write_atomically
from xcnn.io.model_file import TRAINING, describe, fill
from xcnn.io.sealed_file import seal, unseal
from xcnn.model import Model

__all__ = ["Contents", "read_checkpoint", "restore_model", "write_checkpoint"]

_TENSOR = "$tensor"  # the key that stands for an array
_SAME = ("input_shape", "dtype", "precision", "layers", "outermost")  # of two models that are built alike


class Contents(NamedTuple):
    """What a checkpoint holds.

    Attributes
    ----------
    path : Path
        The file.
    description : dict
        Of the model; see `xcnn.io.model_file`.
    tensors : dict of array
        The model's.
    state : dict
        The training's.
    """

    path: Path
    description: dict[str, Any]
    tensors: dict[str, np.ndarray]
    state: dict[str, Any]


def write_checkpoint(path: Path, model: Model, state: Mapping[str, Any], /) -> None:
    """Write a model and the state of its training to one file, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    model : Model
        As it is in training.
    state : dict
        Of the training.

    Raises
    ------
    FileError
        If it cannot be written, or the state holds what is neither JSON nor an array.
    """
    description, tensors = describe(model, path)
    text = json.dumps(_plain(state, tensors, str(path), "state"))
    write_atomically(path, seal(tensors, description, text))


def read_checkpoint(path: Path, /) -> Contents:
    """Read what `write_checkpoint` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Contents
        Its SHA-256 is right; whether it fits a model or a training is not known yet.

    Raises
    ------
    FileError
        If the file is missing, truncated, altered, or no checkpoint.
    """
    description, training, tensors = unseal(path)
    if training is None:
        msg = "a model, but no checkpoint: how its training stood is not in it"
        raise FileError(msg, where=str(path))
    own = {name: a for name, a in tensors.items() if not name.startswith(TRAINING)}
    try:
        state = _whole(json.loads(training), tensors)
    except (KeyError, TypeError, ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise FileError("its training state cannot be read", where=str(path))
    return Contents(path, description, own, state)


def restore_model(model: Model, contents: Contents, /) -> None:
    """Give a model the parameters and statistics of a checkpoint.

    Parameters
    ----------
    model : Model
        Is changed, unless it differs.
    contents : Contents
        From `read_checkpoint`.

    Raises
    ------
    FileError
        If the checkpoint is of a model that is built otherwise.
    """
    now = json.loads(describe(model, contents.path)[0])
    for key in _SAME:
        there = contents.description.get(key)
        if there != now[key]:
            msg = (
                f"a checkpoint of another model: its {key} is {_short(there)}, the model's {_short(now[key])}"
            )
            raise FileError(msg, where=str(contents.path))
    fill(model, contents.tensors, contents.path)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."


def _plain(value: Any, tensors: dict[str, np.ndarray], path: str, where: str) -> Any:
    """Return `value` as JSON has it; its arrays go into `tensors`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping) and all(isinstance(key, str) and key != _TENSOR for key in value):
        return {key: _plain(item, tensors, path, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, tensors, path, f"{where}[{i}]") for i, item in enumerate(value)]
    try:
        a = np.asarray(plugin_of(value).to_numpy(value))
    except DTypeError:
        a = np.asarray(None)
    if a.dtype.kind not in "biuf":
        msg = f"{where} is {repr(value)[:80]}; needed numbers, strings, arrays, and lists and dicts of them"
        raise FileError(msg, where=path)
    name = f"{TRAINING}{sum(key.startswith(TRAINING) for key in tensors)}"
    tensors[name] = np.ascontiguousarray(a).reshape(a.shape)
    return {_TENSOR: name}


def _whole(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    """Return what `_plain` was given, with NumPy's arrays."""
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _whole(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item, tensors) for item in value]
    return value
