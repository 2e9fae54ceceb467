"""The array: a NumPy array that NumPy cannot reach, on a device, with CuPy's manners."""

from __future__ import annotations

import ctypes
import math
import operator
from typing import Any

import numpy as np

from cupy import emulator
from cupy.cuda import device, memory
from cupy.cuda.stream import get_current_stream


class ndarray:
    """An array on one emulated device."""

    __slots__ = ("__weakref__", "_a", "_memory")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"
    ) -> None:
        shape = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if memptr is None:
            memptr = memory.alloc(size)
        if strides is not None and size:
            size = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + kind.itemsize
        end = memptr.mem.ptr + memptr.mem.size
        if memptr.ptr + size > end:
            msg = f"{size} bytes at an address with {end - memptr.ptr} left"
            raise ValueError(msg)
        room = (ctypes.c_ubyte * size).from_address(memptr.ptr)
        self._a = np.ndarray(shape, kind, room, strides=strides, order=order)
        self._memory = memptr.mem

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: self._a.flags)
    base = property(lambda self: self._a.base)
    device = property(lambda self: device.Device(self._memory.device_id))
    T = property(lambda self: self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))
    real = property(lambda self: wrap(self._a.real, self._memory))
    imag = property(lambda self: wrap(self._a.imag, self._memory))
    flat = property(lambda self: self.ravel())

    @property
    def data(self) -> memory.MemoryPointer:
        return memory.MemoryPointer(self._memory, ptr=self._a.ctypes.data)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False), "version": 3}

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        msg = "Implicit conversion to a NumPy array is not allowed. "
        msg += "Please use `.get()` to construct a NumPy array explicitly."
        raise TypeError(msg)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        import cupy

        ours = getattr(cupy, ufunc.__name__, None)
        if method != "__call__" or ours is None:
            return NotImplemented
        return ours(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        import cupy

        ours = getattr(cupy, function.__name__, None)
        if ours is None or not all(issubclass(one, ndarray) for one in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # What the host sees: each waits for the device.

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """Return a copy on the host."""
        if out is not None and not blocking:
            stream = stream or get_current_stream()
            if self._a.flags.c_contiguous and out.flags.c_contiguous and out.dtype == self.dtype:
                stream.defer(out.ctypes.data, self._a.ctypes.data, self.nbytes, self, out)
                return out
        (stream or get_current_stream()).wait()
        emulator.count("syncs")
        if out is None:
            return np.array(self._a, order="K" if order == "A" else order)
        out[...] = self._a
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        """Take the numbers of a host array."""
        if not isinstance(arr, np.ndarray):
            msg = "Only numpy.ndarray can be set to cupy.ndarray"
            raise TypeError(msg)
        if arr.dtype != self.dtype:
            msg = f"{arr.dtype} array cannot be set to {self.dtype} array"
            raise TypeError(msg)
        if arr.shape != self.shape:
            msg = f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}"
            raise ValueError(msg)
        if not self._a.flags.c_contiguous:
            msg = "Cannot set to non-contiguous array"
            raise RuntimeError(msg)
        emulator.count("uploads")
        arr = np.ascontiguousarray(arr)
        if stream is None:
            get_current_stream().wait()
            self._a[...] = arr
        else:
            stream.defer(self._a.ctypes.data, arr.ctypes.data, self.nbytes, self, arr)

    def item(self, *args: Any) -> Any:
        return self.get().item(*args)

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __index__(self) -> int:
        return operator.index(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get() if self.ndim else self.get()[()], spec)

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Any:
        if not self.ndim:
            msg = "iteration over a 0-d array"
            raise TypeError(msg)
        return iter([self[i] for i in range(len(self))])

    def __reduce__(self) -> Any:
        import cupy

        return cupy.array, (self.get(),)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return self.copy()

    def __dlpack__(self, **options: Any) -> Any:
        msg = "the emulator has no DLPack: it would give device memory to another library"
        raise BufferError(msg)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._memory.device_id

    def copy(self, order: str = "C") -> ndarray:
        """Return a copy on the current device, wherever this array is."""
        import cupy

        fresh = cupy.empty_like(self, order=order)
        fresh._copy_from(self)
        return fresh

    def _copy_from(self, other: ndarray) -> None:
        from cupy._apply import submit

        target, source = self._a, other._a
        emulator.count("launches")
        submit(lambda: np.copyto(target, source, casting="unsafe"), self, other)

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        from cupy._apply import apply

        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return apply("astype", lambda a: a.astype(dtype, order=order, copy=True), self)

    def view(self, dtype: Any = None) -> ndarray:
        return wrap(self._a.view() if dtype is None else self._a.view(dtype), self._memory)

    def fill(self, value: Any) -> None:
        self[...] = value

    def __getitem__(self, key: Any) -> ndarray:
        from cupy._indexing import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        from cupy._indexing import setitem

        setitem(self, key, value)


def wrap(a: np.ndarray, owner: Any) -> ndarray:
    """Return a NumPy array as one of the device: a view of the memory `owner`, or new if that is None."""
    fresh = ndarray.__new__(ndarray)
    if owner is None:
        owner = memory.adopt(a.nbytes)
        owner.ptr = a.ctypes.data
    fresh._a, fresh._memory = a, owner
    return fresh


def like(a: np.ndarray) -> ndarray:
    """Return a fresh, poisoned array of the shape, dtype and strides of a dense one."""
    return ndarray(a.shape, a.dtype, strides=None if a.flags.c_contiguous or not a.size else a.strides)


ndarray.__module__ = "cupy"
