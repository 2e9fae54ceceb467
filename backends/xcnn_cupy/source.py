"""Kernels: CUDA sources, compiled by NVRTC when first needed, and launched with checked arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xcnn.errors import BackendError, DTypeError

__all__ = ["FILES", "KINDS", "OPTIONS", "kind_of", "launch", "on_compile", "signatures", "text"]

FOLDER = Path(__file__).parent / "kernels"
FILES = tuple(sorted(path.stem for path in FOLDER.glob("*.cu")))
KINDS = {"float16": ("f16", "float"), "bfloat16": ("bf16", "float")} | {
    "float32": ("float", "float"),
    "float64": ("double", "double"),
}  # how numbers are stored and computed in
_STORED = {"float16": "e", "bfloat16": "H", "float32": "f", "float64": "d"}  # codes of NumPy's dtypes
_NAMES = {code: kind for kind, code in _STORED.items()}
OPTIONS = ("-std=c++17",)
BLOCK = 256  # threads
MOST = 2**16  # blocks along x of a launch: kernels loop over what is left
ROWS = 2**16 - 1  # blocks along y that CUDA allows

on_compile: list[Callable[[str, str], None]] = []
"""Called with a file and a kind before a process compiles it, or finds it in CuPy's cache on the disk."""

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
_KERNEL = re.compile(r"^KERNEL\s+(\w+)\s*\(([^)]*)\)", re.MULTILINE)
_HALF = """
__device__ __forceinline__ float __half_bits_to_float(unsigned short bits) {
    float a;
    asm("cvt.f32.f16 %0, %1;" : "=f"(a) : "h"(bits));
    return a;
}
__device__ __forceinline__ unsigned short __float_to_half_bits(float a) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(a));
    return bits;
}
"""


def text(file: str, kind: str, /) -> str:
    """Return the source of a file for one kind of number, whole: what it includes stands in it.

    Parameters
    ----------
    file : str
        One of `FILES`.
    kind : str
        One of `KINDS`.

    Returns
    -------
    str
        CUDA C++.
    """
    stored, computed = KINDS[kind]
    parts = [f"#define T {stored}\n#define REAL {computed}\n", _HALF]
    parts += [_read("common.cuh"), _INCLUDE.sub(lambda found: _read(found[1]), _read(f"{file}.cu"))]
    return "\n".join(parts)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def signatures(file: str, /) -> dict[str, tuple[str, ...]]:
    """Return the types of the parameters of each kernel of a file.

    Parameters
    ----------
    file : str
        One of `FILES`.

    Returns
    -------
    dict
        Name to types, such as ``("const T*", "index_t", "float")``.
    """
    source = _read(f"{file}.cu")
    return {
        name: tuple(re.sub(r"\s*\w+$", "", " ".join(one.split())) for one in parameters.split(","))
        for name, parameters in _KERNEL.findall(source)
    }


def kind_of(a: Any, /) -> str:
    """Return the kind of number of an array; bfloat16, which CuPy lacks, is kept in uint16."""
    dtype = a.dtype
    return _NAMES.get(dtype.char) or str(dtype.name)


_SCALARS = {
    "int": np.int32,
    "index_t": np.int64,
    "word_t": np.uint32,
    "float": np.float32,
    "double": np.float64,
}
_POINTED = {
    "float": "f",
    "double": "d",
    "int": "i",
    "index_t": "lq",
    "word_t": "I",
    "byte_t": "Bb?",
    "bool": "?",
}
_POINTED["void"] = "?bBhHiIlLqQefd"  # any: what is only copied
_NULL = np.uint64(0)


def _pointer(dtypes: str) -> Callable[[Any], Any]:
    """Return what checks an array given for a pointer; None is a null pointer."""

    def check(a: Any) -> Any:
        if a is None:
            return _NULL
        if a.dtype.char not in dtypes:
            raise TypeError
        return a

    return check


def _parameter(type_: str, kind: str) -> Callable[[Any], Any]:
    """Return what makes an argument what a parameter of that type takes."""
    name = type_.removeprefix("const ").removesuffix("*").strip()
    name = KINDS[kind][1] if name == "REAL" else name
    if not type_.endswith("*"):
        return _SCALARS[name]
    return _pointer(_STORED[kind] if name == "T" else _POINTED[name])


@cache
def _module(file: str, kind: str) -> Any:
    import cupy

    for called in on_compile:
        called(file, kind)
    return cupy.RawModule(code=text(file, kind), options=OPTIONS)


@cache
def _kernel(file: str, kind: str, name: str) -> tuple[Any, tuple[Callable[[Any], Any], ...]]:
    """Return a kernel, which CuPy compiles for each device that it runs on, and its parameters."""
    parameters = tuple([_parameter(type_, kind) for type_ in signatures(file)[name]])
    module = _module(file, kind)
    try:
        return module.get_function(name), parameters
    except Exception as error:
        msg = f"kernels/{file}.cu was not compiled for {kind}: {error}; `xcnn doctor` may know why"
        raise BackendError(msg, where="backend 'cupy'") from error


def launch(
    file: str, kind: str, name: str, threads: int, /, *args: Any, block: int = BLOCK, rows: int = 1
) -> None:
    """Run a kernel on the current stream of the current device.

    Parameters
    ----------
    file, kind, name : str
        Which kernel of which file, for which kind of number.
    threads : int
        How many along x at least: one for each element, say; at most `MOST` blocks are started, so kernels
        loop from ``first()`` in steps of ``step()``.
    *args : array, number or None
        In the order of its parameters; dense arrays of the dtype that it takes, None for a null pointer.
    block : int
        Threads in a block.
    rows : int
        Blocks along y, at most `ROWS`.

    Raises
    ------
    BackendError
        If it does not compile.
    DTypeError
        If an array has another dtype than the kernel takes.
    """
    kernel, parameters = _kernel(file, kind, name)
    blocks = max(1, min(-(-threads // block), MOST))
    try:
        given = tuple([check(a) for check, a in zip(parameters, args, strict=True)])
    except TypeError as error:
        came = ", ".join(str(getattr(a, "dtype", type(a).__name__)) for a in args)
        msg = f"got ({came}); needed ({', '.join(signatures(file)[name])}), T being {kind}"
        raise DTypeError(msg, where=f"kernel {name} of {file}.cu") from error
    kernel((blocks, max(1, rows)), (block,), given)
