"""NumPy's functions on emulated arrays, made from lists of their names, and the operators and methods."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from cupy import emulator
from cupy._apply import apply, submit, upload
from cupy._array import like, ndarray


def _words(text: str) -> list[str]:
    return text.split()


# fmt: off
UFUNCS = _words("""
abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_count
bitwise_not bitwise_or bitwise_xor ceil conj conjugate copysign cos cosh cbrt deg2rad degrees divide
divmod equal exp exp2 expm1 fabs float_power floor floor_divide fmax fmin fmod frexp gcd greater
greater_equal heaviside hypot invert isfinite isinf isnan lcm ldexp left_shift less less_equal log log10
log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum mod modf
multiply negative nextafter not_equal positive power rad2deg radians reciprocal remainder right_shift rint
sign signbit sin sinh sqrt square subtract tan tanh true_divide trunc
""")
REDUCTIONS = _words("""
all any amax amin argmax argmin average count_nonzero cumprod cumsum max mean median min nanargmax
nanargmin nanmax nanmean nanmin nansum percentile prod ptp quantile std sum trace var
""")
SHAPES = _words("""
append around array_split atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_to clip column_stack
concatenate delete diag diagonal diff dot dsplit dstack einsum expand_dims flip fliplr flipud hsplit
hstack inner interp isclose isin kron lexsort matmul matrix_transpose moveaxis nan_to_num nonzero
flatnonzero argwhere outer pad partition argpartition permute_dims ravel real imag repeat reshape roll
rollaxis rot90 round searchsorted sort argsort split squeeze stack swapaxes tensordot tile
transpose tril triu unique vdot vstack where choose array_equal allclose bincount digitize histogram
convolve cross ediff1d extract fill_diagonal tri compress
""")
PLAIN = _words("""
broadcast_shapes bool_ can_cast complex128 complex64 complexfloating dtype e euler_gamma exceptions finfo
float16 float32 float64 floating format_float_positional format_float_scientific generic iinfo index_exp
inexact inf int16 int32 int64 int8 intc integer intp isdtype isscalar issubdtype long longlong
min_scalar_type nan ndindex newaxis number pi promote_types result_type s_ short signedinteger uint16
uint32 uint64 uint8 uintp unsignedinteger
""")
METHODS = _words("""
all any argmax argmin argsort choose clip conj cumprod cumsum diagonal dot max mean min nonzero prod ptp
ravel repeat reshape round searchsorted squeeze std sum swapaxes take trace transpose var
""")
OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift", "matmul": "matmul",
}
COMPARISONS = {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
    "ne": "not_equal",
}
# fmt: on


def _function(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return apply(name, function, *args, **kwargs)

    wrapper.__name__ = wrapper.__qualname__ = name
    wrapper.__module__ = "cupy"
    return wrapper


def _result_type(*args: Any) -> Any:
    return np.result_type(*[a.dtype if isinstance(a, ndarray) else a for a in args])


def take(a: ndarray, indices: Any, axis: int | None = None, out: Any = None) -> ndarray:
    """As NumPy's; CuPy wraps what lies outside."""
    indices = indices if isinstance(indices, ndarray | int) else upload(np.asarray(indices))
    return apply("take", lambda x, i: np.take(x, i, axis=axis, mode="wrap"), a, indices)


def take_along_axis(a: ndarray, indices: ndarray, axis: int) -> ndarray:
    """As NumPy's; CuPy wraps what lies outside."""
    n = a.shape[axis]
    return apply("take_along_axis", lambda x, i: np.take_along_axis(x, i % n, axis), a, indices)


def array(obj: Any, dtype: Any = None, copy: bool | None = True, order: str = "K", **options: Any) -> ndarray:
    """Return `obj` on the current device."""
    if isinstance(obj, ndarray):
        kind = obj.dtype if dtype is None else np.dtype(dtype)
        if not copy and kind == obj.dtype and (order in "KA" or obj.flags[f"{order}_CONTIGUOUS"]):
            return obj
        return obj.copy(order) if kind == obj.dtype else obj.astype(kind, order=order)
    if isinstance(obj, list | tuple) and obj and any(isinstance(one, ndarray) for one in obj):
        return apply("stack", lambda *a: np.array(a, dtype), *obj)
    a = np.array(obj, dtype=dtype, order=order)
    if a.dtype.kind not in "biufc":
        msg = f"Unsupported dtype {a.dtype}"
        raise ValueError(msg)
    return upload(a)


def asarray(a: Any, dtype: Any = None, order: str = "K", **options: Any) -> ndarray:
    return array(a, dtype, copy=False, order=order)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return array(a, dtype, copy=False, order="C")


def asfortranarray(a: Any, dtype: Any = None) -> ndarray:
    return array(a, dtype, copy=False, order="F")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, **options: Any) -> np.ndarray:
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a)


def copy(a: ndarray, order: str = "K") -> ndarray:
    return a.copy(order)


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    dst[...] = src if where is None else apply("where", np.where, where, src, dst)


def astype(x: ndarray, dtype: Any, /, *, copy: bool = True, device: Any = None) -> ndarray:
    return x.astype(dtype, copy=copy)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, float if dtype is None else dtype, order=order)


def empty_like(
    a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return like(np.empty_like(a._a, dtype, order, shape=shape))


def _filled(a: ndarray, value: Any) -> ndarray:
    a[...] = value
    return a


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    return _filled(
        empty(shape, dtype or getattr(fill_value, "dtype", np.asarray(fill_value).dtype), order), fill_value
    )


def full_like(
    a: ndarray, fill_value: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return _filled(empty_like(a, dtype, order, shape=shape), fill_value)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _filled(empty(shape, dtype, order), 0)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _filled(empty(shape, dtype, order), 1)


def zeros_like(
    a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return _filled(empty_like(a, dtype, order, shape=shape), 0)


def ones_like(
    a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return _filled(empty_like(a, dtype, order, shape=shape), 1)


def _made(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        """As NumPy's, by a kernel on the device: allowed under capture, its numbers don't change."""
        emulator.count("launches")
        numbers = function(*args, **kwargs)
        made = like(numbers)
        room = made._a
        submit(lambda: np.copyto(room, numbers), made)
        return made

    wrapper.__name__ = name
    return wrapper


def meshgrid(*xi: ndarray, indexing: str = "xy", **options: Any) -> list[ndarray]:
    return list(apply("meshgrid", functools.partial(np.meshgrid, indexing=indexing), *xi))


def get_array_module(*args: Any) -> Any:
    import cupy

    return cupy if builtins.any(isinstance(a, ndarray) for a in args) else np


def shape(a: Any) -> tuple[int, ...]:
    return a.shape


def ndim(a: Any) -> int:
    return getattr(a, "ndim", 0)


def may_share_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    return np.may_share_memory(a._a, b._a)


shares_memory = may_share_memory


def namespace() -> dict[str, Any]:
    """Return every function by its name."""
    names = {name: getattr(np, name) for name in PLAIN}
    names |= {name: _function(name) for name in (*UFUNCS, *REDUCTIONS, *SHAPES) if hasattr(np, name)}
    names |= {name: _made(name) for name in ("arange", "linspace", "eye", "identity", "indices")}
    own = (take, take_along_axis, array, asarray, ascontiguousarray, asfortranarray, asnumpy, copy, copyto)
    own += (astype, empty, empty_like, full, full_like, zeros, ones, zeros_like, ones_like, meshgrid)
    own += (get_array_module, shape, ndim)
    names |= {one.__name__: one for one in own}
    aliases = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "concat": "concatenate", "pow": "power"}
    aliases |= {"bitwise_invert": "invert", "round_": "round", "asanyarray": "asarray"}
    names |= {name: names[old] for name, old in aliases.items()}
    return names | {
        "result_type": _result_type,
        "may_share_memory": may_share_memory,
        "shares_memory": may_share_memory,
    }


def equip(functions: dict[str, Any]) -> None:
    """Give the array its operators and methods."""
    for name in METHODS:
        setattr(ndarray, name, _method(functions[name], name))
    ndarray.flatten = lambda self, order="C": self.ravel(order).copy()
    ndarray.__divmod__ = lambda self, other: functions["divmod"](self, other)
    for name, ufunc in (OPERATORS | COMPARISONS).items():
        setattr(ndarray, f"__{name}__", _operator(functions[ufunc], swapped=False))
    for name, ufunc in OPERATORS.items():
        setattr(ndarray, f"__r{name}__", _operator(functions[ufunc], swapped=True))
        setattr(ndarray, f"__i{name}__", _in_place(functions[ufunc]))
    for name, ufunc in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
        setattr(ndarray, f"__{name}__", _method(functions[ufunc], name))


def _method(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        if name in ("reshape", "transpose") and len(args) != 1 and args:
            args = (args,)
        return function(self, *args, **kwargs)

    return method


def _operator(function: Callable[..., Any], *, swapped: bool) -> Callable[..., Any]:
    def method(self: ndarray, other: Any) -> Any:
        if not isinstance(other, ndarray | np.ndarray | np.generic | int | float | complex):
            return NotImplemented
        return function(other, self) if swapped else function(self, other)

    return method


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(self, other, out=self)
