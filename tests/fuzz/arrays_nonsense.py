"""Arrays, labels and options that nobody should pass, and some that one may: drawn from a `random.Random`.

Each draw depends on the numbers of its generator alone: a seed brings a case back, and Hypothesis can make it
smaller.
"""

from __future__ import annotations

import decimal
import fractions
import math
import warnings
from functools import cache
from random import Random
from typing import Any

import numpy as np

from xcnn.backend import available_backends, get_backend

__all__ = ["images", "labels", "option", "others", "usable"]

Shape = tuple[int, ...]

FLOATS = ("float32", "float64", "float16", ">f4", ">f8", "longdouble")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i4", ">u2", "bool")
ODD = ("object", "complex64", "complex128", "U3", "S3", "M8[s]", "m8[s]", "V4", "f4,i4")
VIRTUAL = 2**31

OPTIONS: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 5, 7, 2**31, 2**63, 10**30, -(10**30), 0.0, -0.5, 0.5, 1.0, 2.5, 1e308),
    *(math.nan, math.inf, -math.inf, 3e38, True, False, None, 1 + 1j, fractions.Fraction(1, 2)),
    *("same", "valid", "full", "relu", "", "nonsense", b"x", "1" * 9, "x" * 99_999, [0] * 99_999),
    *((), (1,), (1, 2), (2, 3), (1, 2, 3), (0, 0), (-1, 1), (1.5, 2), ("a", "b"), (None, None), (1, 10**30)),
    *(
        ((0, 1), (1, 0)),
        ((1,), (2,)),
        ((0, 1), 2),
        [[1, 2], [3, 4]],
        [1, 1],
        [],
        {},
        {1: 2},
        {1, 2},
        range(2),
    ),
    *(decimal.Decimal("0.5"), object(), Ellipsis, slice(1), int, len, np.str_("same"), np.bool_(True)),
    *(np.int64(2), np.uint8(1), np.float32(0.5), np.float64("nan"), np.asarray(2), np.asarray([1, 2])),
    np.asarray(0.25),
)


class Subclass(np.ndarray):
    """An array type of somebody's own."""


class Lying:
    """Says that it has a shape, and has nothing else."""

    def __init__(self, shape: Any, dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype


class Numbers:
    """Something with a length and rows, as a data set in a file has."""

    def __init__(self, a: np.ndarray) -> None:
        self.a = a

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, key: Any) -> Any:
        return self.a[key]


@cache
def usable() -> list[str]:
    """Return the names of the backends that can be used here."""
    return available_backends()


def option(rng: Random) -> Any:
    """Return anything at all, in the place of an option."""
    return rng.choice(OPTIONS)


def _shape(rng: Random, right: Shape) -> Shape:
    """Return a shape that is near `right`, or none at all."""
    shape = list(right)
    for _ in range(rng.randint(1, 2)):
        kind = rng.randrange(6)
        if kind == 0 and shape:
            del shape[rng.randrange(len(shape))]
        elif kind == 1:
            shape.insert(rng.randint(0, len(shape)), rng.choice((0, 1, 1, 2, 3)))
        elif kind == 2:
            rng.shuffle(shape)
        elif kind == 3:
            shape = [rng.randint(0, 4) for _ in range(rng.randint(0, 7))]
        elif shape:
            shape[rng.randrange(len(shape))] = rng.choice((0, 1, 2, 3, 5, 9))
    return tuple(shape)


def _numbers(rng: Random, shape: Shape) -> np.ndarray:
    return np.random.default_rng(rng.getrandbits(32)).normal(size=shape)


def _with_bad_values(rng: Random, a: np.ndarray) -> np.ndarray:
    """Return an array in which some elements are NaN, infinite, huge or tiny."""
    a = a.copy()
    if a.size:
        for _ in range(rng.choice((1, 1, 3, a.size))):
            bad = (math.nan, math.inf, -math.inf, 3e38, -1e300, 1e-310, 1e-45, -0.0)
            with np.errstate(over="ignore"):
                a.reshape(-1)[rng.randrange(a.size)] = rng.choice(bad)
    return a


def _cast(a: np.ndarray, dtype: str) -> np.ndarray:
    """Return `a` in another dtype, as well as that goes."""
    with np.errstate(all="ignore"):
        if dtype == "f4,i4":
            return np.zeros(a.shape, dtype)
        if dtype == "V4":
            return np.zeros(a.shape, "i4").view("V4") if a.shape else np.zeros((), "V4")
        if np.dtype(dtype).kind in "iuMm":
            return np.nan_to_num(a).astype("int64").astype(dtype)
        return a.astype(dtype)


def _laid_out(rng: Random, a: np.ndarray) -> np.ndarray:
    """Return the same numbers in other memory: strided, reversed, unaligned, read-only."""
    kind = rng.randrange(8)
    if a.dtype.hasobject or not a.ndim:
        return a
    if kind == 0:
        return np.asfortranarray(a)
    if kind == 1:
        return a[tuple([slice(None, None, rng.choice((1, -1))) for _ in a.shape])]
    if kind == 2:
        return np.repeat(a, 2, axis=-1)[..., ::2]
    if kind == 3 and a.size:
        return np.broadcast_to(a[:1, ...], a.shape)  # stride 0
    if kind == 4:
        raw = np.empty(a.nbytes + 1, "u1")  # unaligned
        raw[1:] = np.frombuffer(np.ascontiguousarray(a).tobytes(), "u1")
        return raw[1:].view(a.dtype).reshape(a.shape)
    if kind == 5:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0)
    a = a.copy()
    a.flags.writeable = kind > 6
    return a


def _held(rng: Random, a: np.ndarray) -> Any:
    """Return the same numbers in another kind of thing."""
    kind = rng.randrange(13)
    plain = a.dtype.kind in "biuf" and a.dtype.isnative and a.dtype != np.longdouble
    if kind == 0:
        return a.tolist()
    if kind == 1:
        return tuple(a.tolist()) if a.ndim else a.tolist()
    if kind == 2:
        return a.view(Subclass)
    if kind == 3:
        return np.ma.masked_array(a, mask=rng.random() < 0.5)
    if kind == 4 and a.ndim == 2 and a.dtype.kind in "biuf":
        with warnings.catch_warnings(action="ignore"):
            return np.asmatrix(a)
    if kind == 5:
        return (row for row in a) if a.ndim else iter(())
    if kind == 6:
        return list(a) if a.ndim else a[()]  # a list of arrays; a scalar of NumPy's
    if kind == 7 and a.ndim:
        return Numbers(a)
    if kind == 8:
        return memoryview(np.ascontiguousarray(a)) if plain else bytes(3)
    if kind in (9, 10, 11) and plain:
        return _elsewhere(rng, a)
    return a


def _elsewhere(rng: Random, a: np.ndarray) -> Any:
    """Return the same numbers in an array of another library, if it has such numbers."""
    known = [name for name in ("torch", "strict", "python") if name in usable()]
    if not known or a.dtype == np.float16 or (a.dtype.kind == "u" and a.dtype.itemsize > 1):
        return a
    other = get_backend(rng.choice(known)).asarray(np.array(a, order="C"))
    if hasattr(other, "requires_grad_") and a.dtype.kind == "f" and rng.random() < 0.5:
        other.requires_grad_()
    return other


def others(rng: Random) -> Any:
    """Return what is no array at all."""
    kind = rng.randrange(7)
    if kind == 0:
        ragged = [[1.0] * rng.randint(0, 3) for _ in range(rng.randint(1, 4))]
        return [ragged] if rng.random() < 0.5 else ragged
    if kind == 1:
        shapes: tuple[Any, ...] = ((2, 1, 6, 6), (2,), (), None, "abc", 3, (-1, 1, 6, 6), (2.5, "a"))
        return Lying(rng.choice(shapes), rng.choice((np.dtype("float32"), "float32", None, 3)))
    if kind == 2:
        deep: Any = 1.0
        for _ in range(rng.choice((5, 40, 70))):
            deep = [deep]
        return deep
    if kind == 3:
        return np.broadcast_to(
            np.float32(0.5), rng.choice(((4, VIRTUAL), (4, 1, VIRTUAL, 6), (VIRTUAL, 1, 6), (VIRTUAL,)))
        )
    if kind == 4:
        return [rng.choice(OPTIONS) for _ in range(rng.randint(0, 4))]
    return rng.choice(OPTIONS)


def images(rng: Random, right: Shape) -> Any:
    """Return inputs: one time in three such as fit, else wrong in one way or several."""
    if rng.random() < 0.1:
        return others(rng)
    good = rng.random() < 0.4
    shape = right if good or rng.random() < 0.5 else _shape(rng, right)
    a = _numbers(rng, shape).astype(rng.choice(("float32", "float64")))
    if rng.random() < 0.15:
        a = np.clip(np.abs(a) * 99, 0, 255).astype("uint8")
    if not good:
        if rng.random() < 0.25 and a.dtype.kind == "f":
            a = _with_bad_values(rng, a)
        if rng.random() < 0.3:
            a = _cast(a, rng.choice(FLOATS + INTEGERS + ODD))
    if rng.random() < 0.4:
        a = _laid_out(rng, a)
    return _held(rng, a) if rng.random() < 0.35 else a


def labels(rng: Random, n: int, outputs: Shape) -> Any:
    """Return labels for `n` images: one time in three such as fit, else wrong in one way or several."""
    if rng.random() < 0.1:
        return others(rng)
    k, good = outputs[-1] if outputs else 1, rng.random() < 0.4
    rows = np.random.default_rng(rng.getrandbits(32))
    kind = rng.randrange(4)
    if kind < 2:
        a = rows.integers(0, max(k, 2), n)
    elif kind == 2:
        a = rows.random((n, *outputs)).astype("float32")
    else:
        a = np.eye(max(k, 1))[rows.integers(0, max(k, 1), n)]
    if good:
        a = a.astype(rng.choice(INTEGERS[:-1])) if kind < 2 else a.astype(rng.choice(("float32", "float64")))
    else:
        if rng.random() < 0.4:
            a = np.resize(a, _shape(rng, a.shape)) if a.size else a.reshape(a.shape[::-1])
        if a.size and rng.random() < 0.4 and a.dtype.kind == "i":
            a = np.ascontiguousarray(a)
            a.reshape(-1)[rng.randrange(a.size)] = rng.choice((-1, k, -(2**62), 2**62, 255, 256, 2**31))
        if a.dtype.kind == "f" and rng.random() < 0.4:
            a = _with_bad_values(rng, a)
        if rng.random() < 0.4:
            a = _cast(a, rng.choice(FLOATS + INTEGERS + ODD))
    if rng.random() < 0.3:
        a = _laid_out(rng, a)
    return _held(rng, a) if rng.random() < 0.35 else a
