"""CUDA sources, compiled by g++ behind a shim, and launched with checked arguments."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cupy import emulator
from cupy._apply import same_device, submit
from cupy._array import ndarray
from cupy.cuda.compiler import CompileException
from cupy.cuda.runtime import CUDARuntimeError

SHIM = Path(__file__).parent.parent / "shim.hpp"
CACHE = Path(
    os.environ.get("XCNN_EMULATOR_CACHE") or Path(tempfile.gettempdir()) / f"xcnn-emulator-{os.getuid()}"
)
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
FLAGS += ("-U_FORTIFY_SOURCE", "-fvisibility=hidden", "-fno-stack-protector", "-fsanitize=alignment")
_NAME = re.compile(r"(?:\bKERNEL|__global__\s+void)\s+(\w+)\s*\(")
_HALF = re.compile(
    r"__device__[^;{}]*\b(?:__half_bits_to_float|__float_to_half_bits)\s*\([^)]*\)\s*\{.*?\n\}", re.DOTALL
)

# What a parameter takes, by the letter and size that the shim reports.
SCALARS = {
    "i4": np.int32,
    "i8": np.int64,
    "u4": np.uint32,
    "u8": np.uint64,
    "f4": np.float32,
    "f8": np.float64,
}
SCALARS |= {"b1": np.bool_, "u1": np.uint8, "i1": np.int8, "i2": np.int16, "u2": np.uint16}
POINTED = {"f4": "float32", "f8": "float64", "i4": "int32", "i8": "int64", "u4": "uint32", "u8": "uint64"}
POINTED |= {"b1": "bool", "u1": "uint8", "i1": "int8", "i2": "int16", "u2": "uint16"}
STRUCTS = {"f16": "float16", "bf16": "uint16"}


@functools.cache
def compiled(code: str) -> ctypes.PyDLL:
    """Return the library made of a CUDA source; on disk it is kept by what it was made of."""
    text = _HALF.sub("", code)
    names = dict.fromkeys(_NAME.findall(text))
    whole = "\n".join([f'#include "{SHIM}"', text, "#undef T", *(f"EMULATED({name})" for name in names)])
    digest = hashlib.sha256((whole + SHIM.read_text() + " ".join(FLAGS)).encode()).hexdigest()[:24]
    library = CACHE / f"{digest}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            source, made = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            source.write_text(whole)
            said = subprocess.run(
                ["g++", *FLAGS, str(source), "-o", str(made)], capture_output=True, text=True
            )
            if said.returncode:
                raise CompileException(said.stderr, whole, "kernels.cpp", FLAGS)
            made.replace(library)
    return ctypes.PyDLL(str(library))  # keeps the GIL: one launch at a time


class RawKernel:
    """One kernel: ``kernel(grid, block, args)``."""

    def __init__(self, code: str, name: str, options: tuple[str, ...] = (), **others: Any) -> None:
        self.name = name
        library = compiled(code)
        try:
            self._run = library[f"emulated_{name}"]
        except AttributeError as error:
            msg = f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}"
            raise RuntimeError(msg) from error
        self._run.restype = ctypes.c_char_p
        described = library[f"emulated_{name}_types"]
        described.restype = ctypes.c_char_p
        self.types = tuple(described().decode().split())

    def compile(self, log_stream: Any = None) -> None:
        """Do nothing: it is compiled."""

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, *, shared_mem: int = 0
    ) -> None:
        grid, block = (tuple(map(int, (*one, 1, 1)[:3])) for one in (grid, block))
        if min(*grid, *block) < 1 or np.prod(block) > 1024 or max(grid[1:]) > 65535:
            msg = f"{self.name}: a grid of {grid} blocks of {block} threads"
            raise CUDARuntimeError(1, msg)
        if len(args) != len(self.types):
            msg = f"{self.name} takes {len(self.types)} arguments, got {len(args)}"
            raise TypeError(msg)
        arrays = [a for a in args if isinstance(a, ndarray)]
        same_device(arrays)
        rooms = [self._room(i, a) for i, a in enumerate(args)]
        pointers = (ctypes.c_void_p * max(len(rooms), 1))(*[room.ctypes.data for room in rooms])
        shape = (ctypes.c_uint * 6)(*grid, *block)
        raws = [one for one in (getattr(a._memory, "raw", None) for a in arrays) if one is not None]
        emulator.count("launches")

        def work() -> None:
            said = self._run(shape, pointers)
            if said:
                raise CUDARuntimeError(700, f"{self.name}: {said.decode()}")
            for one in raws:
                one.check(self.name)
            return rooms  # kept as long as the work is

        submit(work, *arrays)

    def _room(self, i: int, a: Any) -> np.ndarray:
        """Return the bytes of one argument, of the very type that the kernel takes."""
        wanted = self.types[i]
        if not wanted.startswith("*"):
            if type(a) is not SCALARS[wanted]:
                needed, got = SCALARS[wanted].__name__, type(a).__name__
                msg = f"{self.name}, argument {i + 1}: needed {needed}, got {got}"
                raise TypeError(msg)
            return np.array(a)
        if isinstance(a, np.uint64 | np.int64):
            return np.array(a)
        pointed = wanted[1:]
        dtype = STRUCTS.get(pointed, POINTED.get(pointed))
        if not isinstance(a, ndarray) or (dtype is not None and a.dtype.name != dtype):
            got = a.dtype.name if isinstance(a, ndarray) else type(a).__name__
            needed = f"an array of {dtype or 'numbers'} or a uint64"
            msg = f"{self.name}, argument {i + 1}: needed {needed}, got {got}"
            raise TypeError(msg)
        return np.array(a._a.ctypes.data, np.uint64)


class RawModule:
    """All kernels of a source."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), **others: Any) -> None:
        self.code, self.options = code, options

    def compile(self, log_stream: Any = None) -> None:
        compiled(self.code)

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self.code, name, self.options)
