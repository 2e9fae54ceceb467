"""Sealed files: safetensors with texts, under a SHA-256; the same content gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xcnn.errors import FileError

__all__ = ["FORMAT", "seal", "unseal"]

FORMAT = 1  # of the files that this version writes, and reads


def seal(tensors: dict[str, np.ndarray], description: str, training: str | None = None, /) -> bytes:
    """Return the bytes of a file, with their SHA-256.

    Parameters
    ----------
    tensors : dict of array
        By name.
    description : str
        JSON, with the number of the format.
    training : str, optional
        What a checkpoint holds beside the model.

    Returns
    -------
    bytes
        A safetensors file.
    """
    from safetensors.numpy import save as to_bytes

    texts = {"xcnn": description} if training is None else {"xcnn": description, "training": training}
    return _in_order(to_bytes(tensors, {**texts, "sha256": _digest(tensors, [*texts.values()])}))


def unseal(path: Path, /) -> tuple[dict[str, Any], str | None, dict[str, np.ndarray]]:
    """Read a file and check its SHA-256.

    Parameters
    ----------
    path : Path
        Of a model or a checkpoint.

    Returns
    -------
    content : dict
        The description.
    training : str or None
        What a checkpoint holds beside the model.
    tensors : dict of array
        By name.

    Raises
    ------
    FileError
        If the file is missing, truncated, altered, no file of xcnn, or of a newer format.
    """
    metadata, tensors = _read(path)
    try:
        content = json.loads(metadata["xcnn"])
        number = content["format"]
    except (KeyError, TypeError, ValueError, RecursionError):
        msg = "a safetensors file, but no model of xcnn; needed one that Model.save wrote"
        raise FileError(msg, where=str(path)) from None
    if number != FORMAT:
        msg = f"written in format {number!r}; this version of xcnn reads {FORMAT}"
        raise FileError(msg, where=str(path))
    texts = [metadata[key] for key in ("xcnn", "training") if key in metadata]
    if metadata.get("sha256") != _digest(tensors, texts):
        msg = "its content does not match its SHA-256: it was altered or damaged; needed the file as written"
        raise FileError(msg, where=str(path))
    return content, metadata.get("training"), tensors


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file whose texts, which come in any order, stand in one."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[start:]])


def _digest(tensors: dict[str, np.ndarray], texts: Sequence[str]) -> str:
    """Return the SHA-256 of the texts and of every tensor's name, dtype, shape and bytes."""
    sha = hashlib.sha256("\0".join(texts).encode())
    for name in sorted(tensors):
        a = tensors[name]
        sha.update(f"\0{name}\0{a.dtype.name}\0{a.shape}\0".encode())
        sha.update(a.ravel().data)
    return sha.hexdigest()


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
