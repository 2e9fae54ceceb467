"""Element types: which Python numbers an array may hold, and how they are made to fit."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

__all__ = [
    "bool", "finfo", "float32", "float64", "int8", "int16", "int32", "int64", "isdtype", "result_type",
    "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip

_PYTHON = {"b": bool, "i": int, "u": int, "f": float}  # what holds an element of a kind
_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "",
    "numeric": "iuf",
}


class DType:
    """A kind of number (b, i, u, f) and its size in bits; there is one object for each.

    Python has the numbers: bool, int and float, which is float64. What it lacks is the size. The standard
    library's `array` knows it: ``array("f", values)`` rounds to single precision, beyond the largest to
    infinity, and ``array("b", values)`` refuses an integer that 8 bits cannot hold.
    """

    __slots__ = ("bits", "code", "kind", "name")

    def __init__(self, name: str, kind: str, bits: int, code: str) -> None:
        self.name, self.kind, self.bits, self.code = name, kind, bits, code

    def fit(self, values: list[Any], /) -> list[Any]:
        """Return what a computation gave, rounded to this precision or wrapped around."""
        if not self.code:
            return values
        try:
            return array(self.code, values).tolist()
        except OverflowError:  # of integers alone
            low = -(1 << self.bits - 1) if self.kind == "i" else 0
            mask = (1 << self.bits) - 1
            return [((v - low) & mask) + low for v in values]

    def convert(self, values: Iterable[Any], /) -> list[Any]:
        """Return numbers of any kind as numbers of this one."""
        return self.fit(list(map(_PYTHON[self.kind], values)))

    def given(self, values: list[Any], /) -> list[Any]:
        """Return numbers that were written down as numbers of this kind; integers must not wrap around."""
        found = self.convert(values)
        if self.kind in "iu":
            for value, number in zip(values, found, strict=True):
                if int(value) != number:
                    msg = f"{value!r} does not fit {self.name}"
                    raise OverflowError(msg)
        return found

    def scalar(self, value: Any, /) -> Any:
        """Return a Python scalar that meets an array of this dtype, fitted to it."""
        kind = "b" if isinstance(value, _PYTHON["b"]) else "i" if isinstance(value, int) else "f"
        if self.kind not in {"b": "b", "i": "iuf", "f": "f"}[kind]:
            msg = f"an array of {self.name} met {value!r}; needed a Python {_PYTHON[self.kind].__name__}"
            raise TypeError(msg)
        return self.given([value])[0]

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:  # copies and pickles are the same object
        return self.name


bool = DType("bool", "b", 8, "")
int8 = DType("int8", "i", 8, "b")
int16 = DType("int16", "i", 16, "h")
int32 = DType("int32", "i", 32, "i")
int64 = DType("int64", "i", 64, "q")
uint8 = DType("uint8", "u", 8, "B")
uint16 = DType("uint16", "u", 16, "H")
uint32 = DType("uint32", "u", 32, "I")
uint64 = DType("uint64", "u", 64, "Q")
float32 = DType("float32", "f", 32, "f")
float64 = DType("float64", "f", 64, "")

ALL = {d.name: d for d in (bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)}


def named(dtype: Any, /) -> DType:
    """Return the dtype whose name another library's dtype ends in."""
    name = getattr(dtype, "name", str(dtype)).rpartition(".")[2]  # NumPy's str tells the order of bytes too
    if name not in ALL:
        msg = f"got dtype {name}; needed one of {', '.join(ALL)}"
        raise TypeError(msg)
    return ALL[name]


def promote(a: DType, b: DType, /) -> DType:
    """Return the smallest dtype that holds both, where the standard has one: never across kinds."""
    if a is b:
        return a
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    if {a.kind, b.kind} == {"i", "u"}:
        signed, unsigned = (a, b) if a.kind == "i" else (b, a)
        bits = max(signed.bits, 2 * unsigned.bits)
        if bits <= 64:
            return ALL[f"int{bits}"]
    msg = f"{a} and {b} have no common dtype; needed xp.astype"
    raise TypeError(msg)


def result_type(*given: Any) -> DType:
    """Return the dtype that arrays and dtypes promote to; Python scalars don't count."""
    kinds = [getattr(g, "dtype", g) for g in given if not isinstance(g, (int, float))]
    if not kinds or not all(isinstance(kind, DType) for kind in kinds):
        msg = f"got {given}; needed arrays of plain Python numbers, or their dtypes"
        raise TypeError(msg)
    found = kinds[0]
    for kind in kinds[1:]:
        found = promote(found, kind)
    return found


def isdtype(dtype: DType, kind: Any, /) -> Any:
    """Return whether `dtype` is `kind`: a dtype, "real floating" and the like, or any of a tuple of them."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    return dtype is kind if isinstance(kind, DType) else dtype.kind in _KINDS[kind]


def finfo(dtype: Any, /) -> SimpleNamespace:
    """Return the range and precision of a floating dtype, or of an array of it."""
    dtype = result_type(dtype)
    digits, top = {"float32": (24, 128), "float64": (53, 1024)}[dtype.name]
    largest = math.ldexp(1 - 2.0**-digits, top)
    limits = {"max": largest, "min": -largest, "smallest_normal": 2.0 ** (2 - top)}
    return SimpleNamespace(bits=dtype.bits, eps=2.0 ** (1 - digits), dtype=dtype, **limits)
