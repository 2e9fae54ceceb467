"""Running a NumPy function on emulated arrays: checked, in the stream's order, recorded under capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cupy import emulator
from cupy._array import like, ndarray, wrap
from cupy.cuda import device
from cupy.cuda.runtime import CUDARuntimeError
from cupy.cuda.stream import get_current_stream

# What CuPy gives to cuBLAS, which it keeps from running under capture.
BLAS = {
    "matmul",
    "dot",
    "vdot",
    "inner",
    "outer",
    "tensordot",
    "einsum",
    "kron",
    "vecdot",
    "cross",
    "convolve",
}
# What waits for the device, because a shape depends on numbers or Thrust waits.
WAITING = {
    "nonzero", "flatnonzero", "argwhere", "unique", "extract", "bincount", "sort", "argsort", "lexsort",
    "partition", "argpartition", "compress", "delete", "allclose", "array_equal", "histogram", "percentile",
    "quantile", "median", "isin",
}  # fmt: skip
JOINED = 8  # more arrays than these take CuPy's concatenate through the host


def raw(a: Any, found: list[ndarray]) -> Any:
    """Return an argument as NumPy takes it; arrays are put on `found`, those of the host are refused."""
    if isinstance(a, ndarray):
        found.append(a)
        return a._a
    if isinstance(a, np.ndarray):
        msg = f"Unsupported type {type(a)}: arrays of NumPy and of CuPy don't mix"
        raise TypeError(msg)
    if isinstance(a, list | tuple):
        return (
            type(a)(*(raw(one, found) for one in a))
            if hasattr(a, "_fields")
            else type(a)(raw(one, found) for one in a)
        )
    return a


def same_device(arrays: list[ndarray]) -> None:
    """Refuse arrays that are elsewhere than the current device."""
    here = device.current().id
    for one in arrays:
        if one._memory.device_id != here:
            msg = (
                "Array device must be same as the current device: "
                f"array device = {one._memory.device_id} while current = {here}"
            )
            raise ValueError(msg)


def refuse(name: str, arrays: list[ndarray], args: tuple[Any, ...]) -> None:
    """Raise what CuPy raises under capture; count the waiting otherwise."""
    stream = get_current_stream()
    if name in WAITING:
        stream.wait()
        emulator.count("syncs")
    if not stream.is_capturing():
        return
    if name in BLAS and any(one._a.size for one in arrays):
        msg = f"{name}: calling cuBLAS API during stream capture is currently unsupported"
        raise NotImplementedError(msg)
    if name in ("concatenate", "stack", "vstack", "hstack") and len(args[0]) > JOINED:
        stream._refuse(
            f"{name} of {len(args[0])} arrays, more than {JOINED}, copies their addresses from the host"
        )


def _zeroed(a: Any) -> Any:
    """Return an argument with its indices zero: under capture they are garbage, the shape alone counts."""
    if isinstance(a, np.ndarray) and a.dtype.kind in "iu":
        return np.zeros_like(a)
    return type(a)(map(_zeroed, a)) if type(a) in (list, tuple) else a


def _pick(result: Any, arrays: list[ndarray]) -> Any:
    """Return the array that a result is a view of, or None."""
    if isinstance(result, np.ndarray) and (
        result.base is not None or any(result is one._a for one in arrays)
    ):
        for one in arrays:
            if np.may_share_memory(result, one._a):
                return one
    return None


def apply(name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return ``function(*args, **kwargs)`` on the device.

    A view is a view. Anything else runs in the order of the current stream; while that captures, it only
    tells its shape: the numbers are poison until the graph is launched.
    """
    arrays: list[ndarray] = []
    out = kwargs.pop("out", None)
    plain = tuple([raw(a, arrays) for a in args])
    options = {key: raw(a, arrays) for key, a in kwargs.items()}
    refuse(name, arrays, args)
    stream = get_current_stream()
    if out is not None:
        return _into(name, function, out[0] if isinstance(out, tuple) else out, plain, options, arrays)
    stream._flush()
    with np.errstate(all="ignore"):
        try:
            result = function(*plain, **options)
        except IndexError:
            if not stream.is_capturing():
                raise
            result = function(*_zeroed(plain), **{key: _zeroed(a) for key, a in options.items()})
    several = isinstance(result, tuple | list)
    results = list(result) if several else [result]
    wrapped, fresh = [], []
    for at, one in enumerate(results):
        if not isinstance(one, np.ndarray | np.generic):
            wrapped.append(one)
            continue
        source = _pick(one, arrays)
        if source is None and stream.is_capturing():
            wrapped.append(like(np.asarray(one)))
        else:
            wrapped.append(wrap(np.asarray(one), source._memory if source is not None else None))
        fresh += [(at, wrapped[-1])] if source is None else []
    if fresh:
        same_device(arrays)
        emulator.count("launches")
    if fresh and stream.is_capturing():
        rooms = [(at, one._a) for at, one in fresh]

        def again() -> None:
            new = function(*plain, **options)
            for at, room in rooms:
                np.copyto(room, new[at] if several else new)

        submit(again, *[one for _, one in fresh], *arrays)
    if not several:
        return wrapped[0]
    return type(result)(*wrapped) if hasattr(result, "_fields") else type(result)(wrapped)


def _into(name: str, function: Any, out: ndarray, plain: Any, options: Any, arrays: list[ndarray]) -> ndarray:
    if not isinstance(out, ndarray):
        msg = f"{name}: out must be a cupy.ndarray, got {type(out)}"
        raise TypeError(msg)
    same_device([*arrays, out])
    emulator.count("launches")
    room = out._a

    def work() -> None:
        with np.errstate(all="ignore"):
            function(*plain, out=room, **options)

    submit(work, out, *arrays)
    return out


def submit(work: Callable[[], Any], *arrays: ndarray) -> None:
    """Run or record work on the current stream, and keep what it works on."""
    stream = get_current_stream()
    stream.submit(work)
    if stream.is_capturing():
        for one in arrays:
            stream.works_in(one._memory, one._a)


def upload(a: np.ndarray) -> ndarray:
    """Return a host array on the current device, as ``cupy.asarray`` does: refused under capture."""
    get_current_stream().wait()
    emulator.count("uploads")
    return wrap(a, None)


__all__ = ["CUDARuntimeError", "apply", "raw", "refuse", "same_device", "submit", "upload"]
