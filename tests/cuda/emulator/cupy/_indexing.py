"""Reading and writing by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupy import emulator
from cupy._apply import apply, raw, same_device, submit, upload
from cupy._array import ndarray
from cupy.cuda.stream import get_current_stream


def _keys(key: Any) -> list[Any]:
    return list(key) if isinstance(key, tuple) else [key]


def _on_device(key: Any) -> Any:
    """Return a key with lists and host arrays moved to the device, as CuPy does."""
    if isinstance(key, tuple):
        return tuple(map(_on_device, key))
    if isinstance(key, list) or (isinstance(key, np.ndarray) and key.ndim):
        return upload(np.asarray(key))
    return key


def _wrapped(shape: tuple[int, ...], key: Any) -> Any:
    """Return a key whose integer arrays wrap around: CuPy checks no bounds."""
    keys, axis = [], 0
    given = sum(one is not None and one is not Ellipsis for one in _keys(key))
    for one in _keys(key):
        if one is Ellipsis:
            axis += len(shape) - given
        elif one is not None:
            if isinstance(one, np.ndarray) and one.ndim and one.dtype.kind in "iu" and shape[axis]:
                one = one % shape[axis]
            axis += 1
        keys.append(one)
    return tuple(keys)


def _masked(key: Any) -> bool:
    return any(getattr(one, "dtype", None) == np.bool_ for one in _keys(key))


def getitem(a: ndarray, key: Any) -> ndarray:
    """Return ``a[key]``: a mask makes the host wait for the number of its trues."""
    key = _on_device(key)
    for one in _keys(key):
        if isinstance(one, float):
            raise IndexError(
                "Only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and arrays index"
            )
    if _masked(key):
        get_current_stream().wait()
        emulator.count("syncs")
        return apply("getitem", lambda x, k: x[k], a, key)
    if not any(isinstance(one, ndarray) for one in _keys(key)):
        return apply("getitem", lambda x: x[key], a)
    return apply("getitem", lambda x, k: x[_wrapped(x.shape, k)], a, key)


def setitem(a: ndarray, key: Any, value: Any) -> None:
    """Do ``a[key] = value``."""
    if isinstance(value, np.ndarray):
        if value.ndim and not (key is Ellipsis or key == slice(None)):
            msg = f"Unsupported type {type(value)}"
            raise TypeError(msg)
        value = upload(np.array(value))
    arrays: list[ndarray] = [a]
    keys, given = raw(_on_device(key), arrays), raw(value, arrays)
    if _masked(keys):
        get_current_stream().wait()
        emulator.count("syncs")
    same_device(arrays)
    emulator.count("launches")
    room = a._a

    def work() -> None:
        with np.errstate(all="ignore"):
            room[keys] = given

    submit(work, *arrays)
