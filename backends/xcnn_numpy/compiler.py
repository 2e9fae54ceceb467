"""Kernels: Numba functions compiled to machine code once for every shape, kept on disk, called by address.

A kernel is ``kernel(arguments, part, parts)``: it takes its arguments out of a row of 64-bit words and does
part number `part` of the work. Being called by address keeps each kernel's code in one place, and lets a
program of many kernels run without coming back to Python between them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from xcnn_numpy.simd import I64, scalar_type
from xcnn_numpy.threads import BUILDING

__all__ = ["Kernel", "cache_directory", "call", "kernel", "unpack"]

OPTIONS = {"error_model": "numpy", "boundscheck": False}


def _digest() -> str:
    """Return what tells the state of the sources, and of what compiles them, from others."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


DIGEST = _digest()  # now, before a source may change that is imported already


@cache
def cache_directory() -> Path:
    """Return where compiled kernels are kept: a folder of its own for each state of the sources.

    Returns
    -------
    Path
        Below ``XCNN_CACHE_DIR``, or the user's cache directory; where that can't be written, a temporary
        folder of this process.
    """
    folder = cache_root() / DIGEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="xcnn-"))  # nobody else may put code there


def cache_root() -> Path:
    """Return the folder above all `cache_directory`."""
    own = os.environ.get("XCNN_CACHE_DIR")
    if own:
        return Path(own).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "xcnn" / "kernels"


class Kernel:
    """A kernel before it is compiled: `address` compiles it, or finds it on disk.

    Parameters
    ----------
    function : callable
        ``function(arguments, part, parts)``.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function, self.name = function, function.__name__
        self.__doc__ = function.__doc__
        self._compiled: dict[str, Any] = {}

    def address(self, dtype: str) -> int:
        """Return where its machine code for numbers of `dtype` is."""
        if dtype not in self._compiled:
            number = getattr(types, dtype)
            signature = types.void(types.CPointer(number), types.int64, types.int64)
            self._compiled[dtype] = compiled(self.function, signature)
        return int(self._compiled[dtype].address)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


def kernel(function: Callable[..., None]) -> Kernel:
    """Make `function` a kernel."""
    return Kernel(function)


def compiled(function: Callable[..., Any], signature: Any) -> Any:
    """Return `function` as a C function of that signature, from the disk where it is there already."""
    with in_cache(_kind(signature)):
        return numba.cfunc(signature, cache=True, **OPTIONS)(function)


def _kind(signature: Any) -> str:
    """Return the dtype that a signature speaks of."""
    return "float64" if "float64" in str(signature.args) else "float32"


@contextmanager
def in_cache(kind: str) -> Iterator[None]:
    """Let Numba keep what it compiles inside the block in the cache directory, each kind by itself.

    Numba's index of a function's versions is not locked: two processes that compile for two dtypes at once
    would otherwise mix them up.
    """
    with BUILDING:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(cache_directory() / kind)
        try:
            yield
        finally:
            numba.config.CACHE_DIR = before


_FUNCTIONS: dict[Any, Any] = {}


def compiled_function(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """Return `function` for that signature, to be called from Python."""
    key = function, signature
    if key not in _FUNCTIONS:
        make = numba.njit(signature, cache=True, nogil=True, **OPTIONS, **options)
        with in_cache(_kind(signature)):
            _FUNCTIONS[key] = make(function)
    return _FUNCTIONS[key]


@intrinsic(prefer_literal=True)
def unpack(tc, arguments, letters):
    """Return the words behind `arguments` as a tuple, one item for each letter.

    p is a pointer to numbers of the kernel's dtype, b to bytes, l to 64-bit integers, d to float64; i is a
    64-bit integer, f a number of the kernel's dtype (its word holds a float64); v is a view: a pointer, and
    the steps from block to block, channel to channel, row to row and pixel to pixel. #9 at the end is a
    tuple of nine integers.
    """
    number = arguments.dtype
    names, _, count = letters.literal_value.partition("#")
    items = [*names, *["#"] * bool(count)]
    pointers = {"p": number, "b": types.int8, "l": types.int64, "d": types.float64}

    def kind(letter: str) -> Any:
        if letter == "v":
            return types.Tuple([types.CPointer(number), *[types.int64] * 4])
        if letter == "#":
            return types.UniTuple(types.int64, int(count))
        if letter in pointers:
            return types.CPointer(pointers[letter])
        return types.int64 if letter == "i" else number

    result = types.Tuple([kind(letter) for letter in items])

    def codegen(context, b, signature, args):
        words = b.bitcast(args[0], I64.as_pointer())
        at = iter(range(10**6))

        def item(letter: str) -> Any:
            if letter == "v":
                return context.make_tuple(b, kind("v"), [item(each) for each in "piiii"])
            if letter == "#":
                return context.make_tuple(b, kind("#"), [item("i") for _ in range(int(count))])
            word = b.load(b.gep(words, [I64(next(at))]))
            if letter in pointers:
                return b.inttoptr(word, context.get_value_type(kind(letter)))
            if letter == "f":
                word = b.bitcast(word, ir.DoubleType())
                return b.fptrunc(word, scalar_type(number)) if number.name == "float32" else word
            return word

        return context.make_tuple(b, result, [item(letter) for letter in items])

    return result(arguments, letters), codegen


@intrinsic
def call(tc, address, arguments):
    """Call the C function at `address` with a tuple of arguments."""

    def codegen(context, b, signature, args):
        values = cgutils.unpack_tuple(b, args[1], len(signature.args[1]))
        kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
        b.call(b.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen
