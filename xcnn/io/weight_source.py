"""Where weights come from: arrays of any library, or a safetensors file; nothing is unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xcnn.backend import plugin_of
from xcnn.errors import DataError, DTypeError, FileError

__all__ = ["ORDER", "read_weights", "refuse_other_files"]

ORDER = "xcnn.order"  # in a file's metadata: the names in the order of the network
_TORCH = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_KERAS = (".h5", ".hdf5", ".keras")
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def refuse_other_files(path: Path, /) -> None:
    """Refuse what other libraries pickle or pack, with the line that converts it.

    Parameters
    ----------
    path : Path
        Of any file.

    Raises
    ------
    FileError
        By its suffix.
    """
    line = None
    if path.suffix.lower() in _TORCH:
        line = (
            f"safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True), "
            f"{path.stem + '.safetensors'!r})"
        )
    elif path.suffix.lower() in _KERAS:
        found = "{v.path: v.numpy() for v in keras_model.weights}"
        line = f"xcnn.io.load_weights(model, {found}, convention='keras')"
    if line:
        msg = f"xcnn reads and writes safetensors files alone, which hold no code; to convert it: {line}"
        raise FileError(msg, where=str(path))


def read_weights(source: Any, ignored: tuple[str, ...], /) -> tuple[dict[str, np.ndarray], bool]:
    """Return arrays on the host by their name, and whether they come in the order of their network.

    Parameters
    ----------
    source : mapping, str or Path
        Name -> array of any library; or a safetensors file.
    ignored : tuple of str
        Ends of the names that are no weights.

    Returns
    -------
    tensors : dict
        Name -> array, bfloat16 as float32.
    ordered : bool
        A file alone keeps no order, unless xcnn wrote it.

    Raises
    ------
    FileError
        If the file is no whole safetensors file.
    DataError
        If the source is no mapping from names to arrays.
    """
    if isinstance(source, (str, os.PathLike)):
        tensors, order = _read(Path(source), ignored)
        return ({name: tensors[name] for name in order}, True) if order else (tensors, False)
    if not isinstance(source, Mapping):
        hint = "; pass its state_dict()" if hasattr(source, "state_dict") else ""
        msg = f"got a {type(source).__name__}; needed names and arrays, or the path of a file{hint}"
        raise DataError(msg, where="load_weights")
    found = {}
    for name, value in source.items():
        if not isinstance(name, str):
            msg = f"got {name!r} as a name; needed str"
            raise DataError(msg, where="load_weights")
        if not name.endswith(ignored):
            found[name] = _host(name, value)
    return found, True


def _host(name: str, value: Any) -> np.ndarray:
    if isinstance(value, Mapping):
        msg = f"{name!r} is a mapping itself; needed an array: pass source[{name!r}]"
        raise DataError(msg, where="load_weights")
    try:
        a = plugin_of(value).to_numpy(value)
    except DTypeError:
        if not callable(getattr(value, "numpy", None)):
            msg = f"{name!r} is a {type(value).__name__}; needed an array"
            raise DataError(msg, where="load_weights") from None
        a = np.asarray(value.numpy())  # a variable of Keras
    return a.astype(np.float32) if a.dtype.name == "bfloat16" else np.asarray(a)


def _read(path: Path, ignored: tuple[str, ...]) -> tuple[dict[str, np.ndarray], list[str] | None]:
    """Return the arrays of a file and, where it keeps it, their order.

    Not by `safetensors.numpy`, which lacks bfloat16.
    """
    from safetensors import SafetensorError, deserialize

    refuse_other_files(path)
    if not path.is_file():
        msg = "there is no such file" if not path.exists() else "this is no file"
        raise FileError(msg, where=str(path))
    try:
        content = path.read_bytes()
        entries = deserialize(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, OSError, ValueError) as error:
        msg = f"cannot be read as weights: truncated, or no safetensors file ({error})"
        raise FileError(msg, where=str(path)) from error
    found = {}
    for name, entry in sorted(entries):  # as they come, their order changes from run to run
        if not name.endswith(ignored):
            found[name] = _decode(name, entry, path)
    try:
        order = json.loads(header["__metadata__"][ORDER])
        kept = order if isinstance(order, list) and sorted(order) == sorted(found) else None
    except (KeyError, TypeError, ValueError, RecursionError):
        kept = None
    return found, kept


def _decode(name: str, entry: dict[str, Any], path: Path) -> np.ndarray:
    dtype = entry["dtype"]
    if dtype not in _DTYPES:
        msg = f"{name!r} has dtype {dtype}; needed one of {', '.join(_DTYPES)}"
        raise FileError(msg, where=str(path))
    a = np.frombuffer(entry["data"], _DTYPES[dtype]).reshape(entry["shape"])
    return (a.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else a  # its upper half
