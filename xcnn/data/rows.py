"""Rows of anything that can be indexed: arrays of any library, memory maps, HDF5 data sets, lists."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import array_api_compat
import numpy as np

from xcnn.backend import plugin_of
from xcnn.errors import DataError, DTypeError

__all__ = ["Rows"]


class Rows:
    """Some rows of an array that is not read before they are asked for: a memory map, an HDF5 data set.

    Parameters
    ----------
    base : array_like
        Has rows; most have a shape and a dtype.
    index : numpy.ndarray
        Shape (n,), int64: the rows, in any order.

    Attributes
    ----------
    shape : tuple of int
        n, then the shape of one row.
    dtype : numpy.dtype
        That of the base.
    """

    def __init__(self, base: Any, index: np.ndarray, /) -> None:
        row = base if hasattr(base, "dtype") and hasattr(base, "shape") else read_rows(base, index[:1])
        self._base, self._index = base, index
        self.shape: tuple[int, ...] = (len(index), *row.shape[1:])
        self.dtype = row.dtype

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._index)

    def __getitem__(self, key: Any, /) -> np.ndarray:
        """Read the rows that `key` (an integer, a slice or an integer array) picks out of these."""
        index = self._index[key]
        rows = row_reader(self._base)(np.atleast_1d(index))
        return rows if np.ndim(index) else rows[0]


def from_list(a: Any, /, where: str = "") -> Any:
    """Return a list, or an array of a subclass of NumPy's, as a NumPy array, and anything else as it is.

    Refused are uneven rows, masked elements, and what has a shape but is no array.
    """
    if type(a) is np.ndarray or isinstance(a, np.memmap):
        return a
    if isinstance(a, (list, tuple, range, np.ndarray)):
        return _plain(a, where)
    if getattr(a, "requires_grad", False) is True:
        return a.detach()  # here, gradients are computed by hand
    if hasattr(a, "shape") and not _is_array(a):
        msg = f"got a {type(a).__module__}.{type(a).__qualname__} that has a shape; needed an array"
        raise DTypeError(msg, where=where)
    return a


def from_rows(a: Any, name: str, where: str, /) -> Any:
    """Return `a`, which `from_list` has seen, if it has rows, else refuse it."""
    if not isinstance(a, (list, tuple)):
        a = from_list(a, where)
    if isinstance(a, (str, bytes, Mapping)) or not (hasattr(a, "shape") or hasattr(a, "__len__")):
        fits = False
    else:
        fits = hasattr(a, "__getitem__") and (not hasattr(a, "shape") or len(a.shape) > 0)
    if not fits:
        msg = f"{name} is a {type(a).__name__} without rows; needed an array (N, ...), or a list"
        raise DTypeError(msg, where=where)
    return a


def _plain(a: Any, where: str) -> np.ndarray:
    """Return a list, a tuple, or an array of a subclass as an array of NumPy's own class."""
    if isinstance(a, np.ma.MaskedArray) and a.dtype.names is None and np.ma.is_masked(a):
        msg = f"{np.ma.count_masked(a)} of {a.size} elements are masked; needed none: x.filled(0)"
        raise DataError(msg, where=where)
    try:
        return np.asarray(a)
    except MemoryError:
        raise
    except Exception as error:  # of whatever the list holds
        fault = "whose rows differ in shape" if isinstance(error, ValueError) else "that NumPy cannot read"
        msg = f"a list {fault}; needed rows of one shape ({error})"
        raise DataError(msg, where=where) from error


def _is_array(a: Any) -> bool:
    """Return whether `a` is an array of some library, or can be read like one."""
    if array_api_compat.is_array_api_obj(a):
        return True
    shape = a.shape
    fits = isinstance(shape, (tuple, list)) and all(hasattr(n, "__index__") and n >= 0 for n in shape)
    return fits and hasattr(a, "__getitem__") and not isinstance(a, memoryview)  # whose rows cannot be read


def in_memory(a: Any, /) -> bool:
    """Return whether `a` is an array of some library that was read already."""
    return array_api_compat.is_array_api_obj(a) and not isinstance(a, np.memmap)


def count(a: Any, /) -> int:
    """Return how many rows `a` has; the standard's arrays need have no length."""
    return (*a.shape, 0)[0] if hasattr(a, "shape") else len(a)


def read_rows(a: Any, index: np.ndarray, /) -> np.ndarray:
    """Return the rows `index` of `a`, which is no array, as an array.

    Rows are read in rising order, which HDF5 insists on and disks like, then put in the order asked for; one
    by one where `a` cannot be indexed by an array.
    """
    order = np.argsort(index, kind="stable")
    rising = index[order]
    adjacent = len(index) > 0 and bool(np.all(np.diff(rising) == 1))
    try:
        rows = np.asarray(a[int(rising[0]) : int(rising[-1]) + 1] if adjacent else a[rising])
        if rows.shape[:1] != index.shape:
            raise IndexError
    except (TypeError, ValueError, LookupError):
        single = [np.asarray(from_list(a[i])) for i in rising.tolist()]
        shapes = sorted({row.shape for row in single})
        if len(shapes) > 1:
            msg = f"rows of shapes {shapes[0]} and {shapes[1]} in one batch; needed the same shape"
            raise DataError(msg, where=type(a).__name__) from None
        rows = np.stack(single)
    result = np.empty_like(rows)
    result[order] = rows
    return result


def read_slice(a: Any, start: int, stop: int, /) -> Any:
    """Return adjacent rows of `a`: a view of an array in memory."""
    return a[start:stop, ...] if in_memory(a) else read_rows(a, np.arange(start, stop))


def take(a: Any, index: np.ndarray, /) -> Any:
    """Return rows of `a`: a copy of an array in memory, on its device; `Rows` of anything else."""
    return row_reader(a)(on_device(index, a)) if in_memory(a) else Rows(a, index)


def row_reader(a: Any, /) -> Callable[[Any], Any]:
    """Return the quickest function from an integer array on the device of `a` to those rows of `a`."""
    if isinstance(a, np.ndarray):
        host = np.asarray(a)  # a memory map as a plain array of the same memory
        if host.flags.c_contiguous:
            return lambda i: host.take(i, axis=0)
        return host.__getitem__  # take would first copy the whole array
    if array_api_compat.is_array_api_obj(a):
        xp = array_api_compat.array_namespace(a)
        return lambda i: xp.take(a, i, axis=0)
    return lambda i: read_rows(a, i)


def whole(value: Any, /) -> int:
    """Return an option as an integer, or -1 if it is none."""
    try:
        return -1 if isinstance(value, np.bool_) else operator.index(value)  # NumPy 2.0 indexes by its bools
    except TypeError:
        return -1


def on_device(index: Any, a: Any, /) -> Any:
    """Return `index` where indexing `a` needs it."""
    if isinstance(a, np.ndarray) or not array_api_compat.is_array_api_obj(a):
        return index
    return array_api_compat.array_namespace(a).asarray(index, device=array_api_compat.device(a))


def to_host(a: Any, /) -> np.ndarray:
    """Return `a`, an array of any library or anything NumPy can read, as a NumPy array."""
    if isinstance(a, np.ndarray) or not array_api_compat.is_array_api_obj(a):
        return np.asarray(a)
    return plugin_of(a).to_numpy(a)
