"""The array: Python numbers in a list, a shape, and a dtype."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xcnn_python import dtypes, ieee
from xcnn_python.dtypes import DType, result_type
from xcnn_python.layout import Shape, broadcast_shapes, gather, parts, spread, walk

__all__ = ["Array", "apply", "check_device", "each", "need"]

_WORDS = {"b": "bools", "f": "floating numbers", "iu": "integers", "iuf": "real numbers"}


def check_device(device: Any, /) -> None:
    """Refuse a device other than the processor."""
    if device not in (None, "cpu"):
        msg = f"device {device!r}; plain Python has only 'cpu'"
        raise ValueError(msg)


def each(function: Callable[..., Any], /) -> ieee.Compute:
    """Return `function` of the elements of lists."""
    return lambda *data: list(map(function, *data))


def need(what: str, dtype: DType, /, *kinds: str) -> str:
    """Return the first of `kinds` that `dtype` is of, or refuse it."""
    for kind in kinds:
        if dtype.kind in kind:
            return kind
    msg = f"{what} of {dtype}; needed {' or '.join(_WORDS[kind] for kind in kinds)}"
    raise TypeError(msg)


def apply(what: str, table: Mapping[str, ieee.Compute], /, *operands: Any, dtype: DType | None = None) -> Any:
    """Return a function of the elements of arrays, broadcast and promoted; Python scalars may be among them.

    Parameters
    ----------
    what : str
        Name of the function, in errors.
    table : mapping
        From kinds of dtypes ("f", "iu") to the function of lists that computes on them.
    *operands : Array or scalar
        At least one Array.
    dtype : DType, optional
        Of a result that is exact and left as it is; by default the operands', to which the result is fitted.

    Returns
    -------
    Array
        Of the shape that the operands broadcast to.
    """
    common = result_type(*operands)
    arrays = [a if isinstance(a, Array) else Array([common.scalar(a)], (), common) for a in operands]
    compute = table[need(what, common, *table)]
    shape = arrays[0].shape
    if any(a.shape != shape for a in arrays):
        shape = broadcast_shapes(*[a.shape for a in arrays])
    data = compute(*[spread(a.data, a.shape, shape) for a in arrays])
    return Array(common.fit(data) if dtype is None else data, shape, dtype or common)


def _operator(what: str, dtype: DType | None = None, /, **table: ieee.Compute) -> tuple[Any, Any]:
    """Return the methods ``a ? b`` and, for a scalar a, ``a ? b`` from the right."""

    def left(self: Array, other: Any, /) -> Any:
        if not isinstance(other, (Array, int, float)):
            return NotImplemented
        return apply(what, table, self, other, dtype=dtype)

    def right(self: Array, other: Any, /) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        return apply(what, table, other, self, dtype=dtype)

    return left, right


class Array:
    """An array of the Python array API standard, as far as xcnn needs it, on plain Python numbers.

    Parameters
    ----------
    data : list
        The elements in row-major order: bool, int or float, as the dtype says, and fitted to it.
    shape : tuple of int
        Extents of the axes; their product is the length of `data`.
    dtype : DType
        What the elements are.
    """

    __slots__ = ("data", "dtype", "shape")
    __array_ufunc__ = None  # NumPy leaves `numpy_array + array` to this class, which refuses it
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: list[Any], shape: Shape, dtype: DType, /) -> None:
        self.data, self.shape, self.dtype = data, shape, dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.data)

    @property
    def device(self) -> str:
        """Where it lives."""
        return "cpu"

    def to_device(self, device: str, /, *, stream: None = None) -> Array:
        """Return itself."""
        check_device(device)
        return self

    @property
    def T(self) -> Array:
        """The transpose of a matrix."""
        if self.ndim != 2:
            msg = f"T of an array of shape {self.shape}; needed two axes"
            raise ValueError(msg)
        return self.mT

    @property
    def mT(self) -> Array:
        """The transposes of a stack of matrices: the last two axes exchanged."""
        return self.__array_namespace__().matrix_transpose(self)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        from xcnn_python import namespace

        return namespace

    def tolist(self) -> Any:
        """Return the elements as nested lists, or the only one of an array without axes."""
        nested = self.data[:]
        for axis in range(self.ndim - 1, 0, -1):
            nested = parts(nested, math.prod(self.shape[:axis]))
        return nested if self.shape else nested[0]

    def __repr__(self) -> str:
        if len(self.data) > 1000:
            return f"<array of shape {self.shape}, {self.dtype}>"
        single = self.dtype is dtypes.float32
        numbers = [float(f"{v:.7g}") for v in self.data] if single else self.data
        return f"array({Array(numbers, self.shape, self.dtype).tolist()}, {self.dtype})"

    # Reading and writing elements. A part is a copy: no two arrays share what is written to one of them.

    def __getitem__(self, key: Any, /) -> Array:
        shape, strides, start = walk(self.shape, key)
        return Array(gather(self.data, shape, strides, start), shape, self.dtype)

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            msg = "an array of shape () has no axis to go along"
            raise TypeError(msg)
        return (self[i] for i in range(self.shape[0]))

    def __setitem__(self, key: Any, value: Any, /) -> None:
        shape, strides, start = walk(self.shape, key)
        if not isinstance(value, Array):
            value = Array([self.dtype.scalar(value)], (), self.dtype)
        if result_type(self, value) is not self.dtype:
            msg = f"{value.dtype} written to an array of {self.dtype}; needed xp.astype"
            raise TypeError(msg)
        if broadcast_shapes(value.shape, shape) != shape:
            msg = f"an array of shape {value.shape} written to elements of shape {shape}"
            raise ValueError(msg)
        places = gather(range(self.size), shape, strides, start)
        numbers = spread(value.data, value.shape, shape)[:]  # a copy: `value` may be this array
        for place, v in zip(places, numbers, strict=True):
            self.data[place] = v

    def _only(self) -> Any:
        if len(self.data) != 1 or self.shape:
            msg = f"an array of shape {self.shape}; needed a single element, of shape ()"
            raise TypeError(msg)
        return self.data[0]

    def __bool__(self) -> bool:
        return bool(self._only())

    def __int__(self) -> int:
        return int(self._only())

    def __float__(self) -> float:
        return float(self._only())

    def __index__(self) -> int:
        need("an index", self.dtype, "iu")
        return int(self._only())

    # Operators

    __add__, __radd__ = _operator("+", iuf=each(operator.add))
    __sub__, __rsub__ = _operator("-", iuf=each(operator.sub))
    __mul__, __rmul__ = _operator("*", iuf=each(operator.mul))
    __truediv__, __rtruediv__ = _operator("/", f=ieee.divide)
    __floordiv__, __rfloordiv__ = _operator("//", f=ieee.floor_divide, iu=each(operator.floordiv))
    __mod__, __rmod__ = _operator("%", f=ieee.remainder, iu=each(operator.mod))
    __pow__, __rpow__ = _operator("**", f=ieee.power, iu=each(operator.pow))
    __and__, __rand__ = _operator("&", b=each(operator.and_), iu=each(operator.and_))
    __or__, __ror__ = _operator("|", b=each(operator.or_), iu=each(operator.or_))
    __xor__, __rxor__ = _operator("^", b=each(operator.xor), iu=each(operator.xor))
    __lshift__, __rlshift__ = _operator("<<", iu=each(operator.lshift))
    __rshift__, __rrshift__ = _operator(">>", iu=each(operator.rshift))
    __lt__ = _operator("<", dtypes.bool, iuf=each(operator.lt))[0]
    __le__ = _operator("<=", dtypes.bool, iuf=each(operator.le))[0]
    __gt__ = _operator(">", dtypes.bool, iuf=each(operator.gt))[0]
    __ge__ = _operator(">=", dtypes.bool, iuf=each(operator.ge))[0]
    __eq__ = _operator("==", dtypes.bool, b=each(operator.eq), iuf=each(operator.eq))[0]
    __ne__ = _operator("!=", dtypes.bool, b=each(operator.ne), iuf=each(operator.ne))[0]

    def __neg__(self) -> Array:
        return apply("-", {"iuf": each(operator.neg)}, self)

    def __pos__(self) -> Array:
        return apply("+", {"iuf": list}, self)

    def __abs__(self) -> Array:
        return apply("abs", {"iuf": each(abs)}, self)

    def __invert__(self) -> Array:
        return apply("~", {"b": each(operator.not_), "iu": each(operator.invert)}, self)

    def __matmul__(self, other: Any, /) -> Any:
        return self.__array_namespace__().matmul(self, other) if isinstance(other, Array) else NotImplemented
