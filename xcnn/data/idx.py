"""IDX, the file format of MNIST: a magic number, the extents, the bytes."""

from __future__ import annotations

import gzip
import math
import os
import struct
import sys
import zlib
from typing import Any

import numpy as np

from xcnn.errors import FileError

__all__ = ["read_idx"]

_PART = 2**24  # bytes that are asked for at a time


def read_idx(path: str | os.PathLike[str], /) -> np.ndarray:
    """Read an IDX file of unsigned bytes, such as those of MNIST and its relatives (EMNIST, KMNIST).

    Big-endian: ``0, 0, 8, number of axes`` as bytes, the extents as 32-bit integers, then the elements, the
    last axis running fastest.

    Parameters
    ----------
    path : path
        The file; a name that ends in ``.gz`` is decompressed, to no more than its header promises.

    Returns
    -------
    numpy.ndarray
        Of dtype uint8: images (N, H, W), labels (N,).

    Raises
    ------
    FileError
        If it cannot be read, is of another format, or is truncated or too long.
    """
    name = os.fspath(path)
    try:
        with gzip.open(name) if name.endswith(".gz") else open(name, "rb") as file:
            return _parse(file, name)
    except FileError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        msg = f"cannot be read: {type(error).__name__}: {error}; needed a whole IDX file"
        raise FileError(msg, where=name) from error


def parse_idx(file: Any, shape: tuple[int, ...], name: str, /) -> np.ndarray:
    """Read an IDX file that must have this shape."""
    a = _parse(file, name)
    if a.shape != shape:
        raise FileError(f"holds {a.shape}; needed {shape}", where=name)
    return a


def _parse(file: Any, name: str) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
        msg = f"begins with the bytes {magic.hex(' ')!r}; needed '00 00 08' and the number of axes, 01 to 04"
        raise FileError(msg, where=name)
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise FileError(f"ends in its header; needed {magic[3]} extents", where=name)
    shape = struct.unpack(f">{magic[3]}I", header)
    if math.prod(filter(None, shape)) > sys.maxsize:
        msg = f"promises {' x '.join(map(str, shape))} elements; needed what an array can have"
        raise FileError(msg, where=name)
    size, data = math.prod(shape), bytearray()
    while len(data) < size and (part := file.read(min(size - len(data), _PART))):  # nobody vouches for size
        data += part
    if len(data) < size or file.read(1):
        came = "more" if len(data) == size else f"only {len(data)}"
        msg = f"promises {' x '.join(map(str, shape))} = {size} bytes and has {came}; needed as many"
        raise FileError(msg, where=name)
    return np.frombuffer(data, np.uint8).reshape(shape)
