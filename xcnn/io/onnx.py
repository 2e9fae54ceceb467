"""Models to and from ONNX, the exchange format that other frameworks and runtimes read."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from xcnn.build import at_most
from xcnn.errors import BackendError, Error, FileError
from xcnn.files import write_atomically
from xcnn.io.onnx_graph import Graph
from xcnn.io.onnx_read import Reader
from xcnn.io.onnx_write import write
from xcnn.layers import Sequential
from xcnn.layers.geometry import integer
from xcnn.model import Model

__all__ = ["OPSET", "export", "load"]

OPSET = 21
"""Of what `export` writes: the first in which GroupNormalization scales each channel."""

_IR = 10  # the file format that came with it
_LARGEST = 2**31 - 1  # bytes: no message of protobuf is larger


def export(model: Model, path: str | Path, /, *, batch: int | None = None) -> None:
    """Write a model as one ONNX file, as it predicts: dropout does nothing, batch norm uses its statistics.

    Inputs are called "x", outputs "y". The metadata hold, as JSON, "xcnn.classes" (names of the classes) and
    "xcnn.input_range": uint8 images are to be divided by 255 first, as `Model.predict` does.

    Parameters
    ----------
    model : Model
        Of xcnn's own layers. Products are written in its dtype, whatever its precision.
    path : str or Path
        Ends in ``.onnx`` by custom. Written whole or not at all.
    batch : int, optional
        How many inputs it takes at a time; by default any number, called "N" in the file.

    Raises
    ------
    OptionError
        If ONNX has no operator for a layer; the message names it.
    FileError
        If it cannot be written, or is larger than the 2 GiB of an ONNX file.
    BackendError
        If the package onnx is not installed.
    """
    onnx = _onnx()
    count: Any = "N" if batch is None else integer(batch, "export: batch")
    graph = Graph(model.backend.to_numpy, model.dtype)
    last = write(graph, model.layers, "x")
    graph.nodes.append(onnx.helper.make_node("Identity", [last], ["y"], name="y"))
    kind = getattr(onnx.TensorProto, "FLOAT" if model.dtype == "float32" else "DOUBLE")
    ends = [
        onnx.helper.make_tensor_value_info(name, kind, [count, *shape])
        for name, shape in (("x", model.input_shape), ("y", model.output_shape))
    ]
    content = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "xcnn", ends[:1], ends[1:], list(graph.arrays.values())),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR,
        producer_name="xcnn",
    )
    told = {"xcnn.input_range": json.dumps([0, 1])}
    if model.classes is not None:
        told["xcnn.classes"] = json.dumps([str(name) for name in model.classes])
    onnx.helper.set_model_props(content, told)
    if content.ByteSize() > _LARGEST:
        msg = f"the model takes {content.ByteSize():,} bytes; an ONNX file holds at most {_LARGEST:,}"
        raise FileError(msg, where=str(path))
    write_atomically(path, content.SerializeToString())


def load(path: str | Path, /, *, backend: Any = None) -> Model:
    """Read an ONNX file of the operators that xcnn has, as a model that can be used and trained on.

    The graph is one input, one output, and between them chains whose branches meet in Add, Sum, Concat or
    Mul: they become Sum, Concat and Gate. Arrays used twice become two layers.

    Parameters
    ----------
    path : str or Path
        Of opset 13 or later, in float32 or float64, all in one file. Nothing else is opened, nothing run.
    backend : str or Backend, optional
        Where it is to live; by default what `get_backend` returns.

    Returns
    -------
    Model
        With the names of the classes if `export` wrote it.

    Raises
    ------
    FileError
        If the file is missing, damaged or no ONNX, keeps arrays in other files, or has an operator, a shape
        or a branch that no layer of xcnn is; the message names the node.
    BackendError
        If the package onnx is not installed.
    """
    if not isinstance(path, (str, os.PathLike)):
        msg = f"got {path!r}; needed the path of an ONNX file"
        raise FileError(msg, where="load")
    onnx = _onnx()
    content = _parse(onnx, Path(path))
    try:
        reader = Reader(content)
        with at_most(max(10**7, content.ByteSize())), np.errstate(all="ignore"):
            layers = reader.layers()
            model = Model(Sequential(*layers), reader.input_shape, dtype=reader.dtype, backend=backend)
        reader.fill()
        model.classes = _classes(content)
    except BackendError:
        raise
    except FileError as error:
        error.where, error.located = str(path), True
        raise
    except (
        Error,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        msg = f"its content is not valid: {type(error).__name__}: {' '.join(str(error).split())}"
        raise FileError(msg, where=str(path)) from error
    return model


def _onnx() -> Any:
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        msg = "the package onnx is not installed; needed pip install 'xcnn[onnx]'"
        raise BackendError(msg, where="xcnn.io.onnx") from error


def _parse(onnx: Any, path: Path) -> Any:
    """Return the checked content of a file."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size > _LARGEST:
            msg = f"has {size:,} bytes; an ONNX file holds at most {_LARGEST:,}"
            raise FileError(msg if path.is_file() else "this is no file", where=str(path))
        found = path.read_bytes()
    except FileError:
        raise
    except (OSError, ValueError) as error:
        msg = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise FileError(msg, where=str(path)) from error
    try:
        content = onnx.load_model_from_string(found)
        outside = [t.name for t in content.graph.initializer if t.data_location or t.external_data]
        if outside:
            msg = f"keeps {outside[0]!r} in another file; needed all arrays in this one"
            raise FileError(msg, where=str(path))
        onnx.checker.check_model(content)
    except FileError:
        raise
    except Exception as error:  # protobuf and onnx have no class of errors in common
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise FileError(f"is damaged or no ONNX file: {reason}", where=str(path)) from error
    return content


def _classes(content: Any) -> tuple[str, ...] | None:
    """Return the names that `export` wrote."""
    told = {entry.key: entry.value for entry in content.metadata_props}
    if "xcnn.classes" not in told:
        return None
    names = json.loads(told["xcnn.classes"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f"xcnn.classes is {told['xcnn.classes'][:80]!r}; needed a list of names"
        raise FileError(msg)
    return tuple(names)
