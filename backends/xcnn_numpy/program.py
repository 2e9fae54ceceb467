"""Programs: lists of kernels with their arguments, run in one go on several threads."""

from __future__ import annotations

import os
import struct
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from xcnn_numpy.compiler import Kernel, call, compiled_function
from xcnn_numpy.simd import I32, I64

__all__ = ["Program", "View", "get_num_threads", "set_num_threads"]

GRAIN = 25_000  # multiplications of vectors that are worth another thread (about 3 us)


@intrinsic
def _flush_denormals(tc):
    """Make this thread take denormal numbers for zero, and return the old mode."""

    def codegen(context, b, signature, args):
        return _mode(b, lambda old: b.or_(old, ir.Constant(old.type, FLUSH)))

    return types.int64(), codegen


@intrinsic
def _restore(tc, mode):
    """Set this thread's floating-point mode."""

    def codegen(context, b, signature, args):
        _mode(b, lambda old: args[0] if old.type == I64 else b.trunc(args[0], I32))
        return context.get_dummy_value()

    return types.void(mode), codegen


MACHINE = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
X86, ARM = MACHINE.lower() in ("x86_64", "amd64"), MACHINE.lower() in ("aarch64", "arm64")
FLUSH = 0x8040 if X86 else 1 << 24  # flush to zero and denormals are zero


def _mode(b: Any, change: Any) -> Any:
    """Emit old mode, with the change made."""
    if X86:
        place = cgutils.alloca_once(b, I32)
        pointer = b.bitcast(place, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type])
        b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.sse.stmxcsr"), [pointer])
        old = b.load(place)
        b.store(change(old), place)
        b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.sse.ldmxcsr"), [pointer])
        return b.zext(old, I64)
    if ARM:
        get, put = ir.FunctionType(I64, []), ir.FunctionType(ir.VoidType(), [I64])
        old = b.call(cgutils.get_or_insert_function(b.module, get, "llvm.aarch64.get.fpcr"), [])
        b.call(cgutils.get_or_insert_function(b.module, put, "llvm.aarch64.set.fpcr"), [change(old)])
        return old
    return I64(0)


def _execute(code: Any, alone: bool) -> None:
    """Run the rows (address, arguments, parts) of `code` in turn, the parts of each side by side."""
    for i in range(code.shape[0]):
        address, arguments, parts = code[i, 0], code[i, 1], code[i, 2]
        if parts == 1 or alone:
            mode = _flush_denormals()
            for part in range(parts):
                call(address, (arguments, part, parts))
            _restore(mode)
        else:
            for part in numba.prange(parts):
                mode = _flush_denormals()
                call(address, (arguments, part, parts))
                _restore(mode)


EXECUTE = types.void(types.Array(types.int64, 2, "C"), types.boolean)


class _Executor:
    """Numba's threads, started when first used."""

    def __init__(self) -> None:
        self.threads = _processors()
        self.guard: AbstractContextManager[Any] = nullcontext()
        self.forked = False
        self._execute: Any = None
        if hasattr(os, "register_at_fork"):  # threads don't survive a fork, and OpenMP's must not start again
            os.register_at_fork(after_in_child=lambda: setattr(self, "forked", True))

    def start(self) -> Any:
        """Return the compiled `_execute`."""
        if self._execute is None:
            if numba.config.THREADING_LAYER_PRIORITY == ["tbb", "omp", "workqueue"]:
                numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
            self._execute = compiled_function(_execute, EXECUTE, parallel=True)
            numba.set_num_threads(numba.get_num_threads())  # chooses the layer
            if numba.threading_layer() == "workqueue":  # it breaks when two threads use it at once
                self.guard = threading.RLock()
        return self._execute

    def run(self, code: np.ndarray, most: int) -> None:
        """Run rows that have `most` parts at most."""
        execute = self._execute or self.start()
        with self.guard:
            before = most if most == 1 or self.forked else numba.get_num_threads()
            if before == most or self.forked:
                execute(code, self.forked)
                return
            numba.set_num_threads(most)
            try:
                execute(code, False)
            finally:
                numba.set_num_threads(before)


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count()
    else:
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(count or 1, int(numba.config.NUMBA_NUM_THREADS)))


EXECUTOR = _Executor()


def set_num_threads(n: int, /) -> None:
    """Let kernels use n threads from now on, at most as many as Numba was started with."""
    EXECUTOR.threads = max(1, min(n, int(numba.config.NUMBA_NUM_THREADS)))


def get_num_threads() -> int:
    """Return how many threads kernels use."""
    return EXECUTOR.threads


class View(NamedTuple):
    """Images in lanes: where the first pixel of the first channel is, and the steps from there, in numbers.

    Attributes
    ----------
    a : array or str
        Memory, or a name that stands for it.
    first : int
        Place of the first pixel.
    n, c, r, s : int
        Steps from block to block of images, channel to channel, row to row, pixel to pixel.
    """

    a: Any
    first: int = 0
    n: int = 0
    c: int = 0
    r: int = 0
    s: int = 0


class Program:
    """Kernels and their arguments.

    Parameters
    ----------
    dtype : str
        Of the numbers.
    threads : int
        How many parts there may be.
    """

    def __init__(self, dtype: str, threads: int) -> None:
        self.dtype, self.threads = dtype, threads
        self.rows: list[tuple[int, int, int]] = []
        self.records: list[
            tuple[str, int, int]
        ] = []  # kernel, tasks, parts: what runs, for tests and summaries
        self._words: list[int] = []
        self._names: dict[str, list[tuple[int, int]]] = {}
        self._kept: list[Any] = []
        self._code: np.ndarray | None = None

    def add(self, kernel: Kernel, *arguments: Any, tasks: int = 1, work: float = 0.0) -> int:
        """Append a kernel.

        Parameters
        ----------
        kernel : Kernel
            What to run.
        *arguments
            Integers, floats, arrays, (array, offset), names and (name, offset): a name stands for an array
            that `run` gets, an offset counts numbers.
        tasks : int
            Into how many pieces the work can be cut.
        work : float
            Vector operations, for the choice of how many threads it is worth.

        Returns
        -------
        int
            How many parts it runs in.
        """
        parts = max(1, min(self.threads, tasks, int(work / GRAIN) + 1))
        self.rows.append((kernel.address(self.dtype), len(self._words), parts))
        self.records.append((kernel.name, tasks, parts))
        for argument in arguments:
            if isinstance(argument, View):
                self._words.append(self._word((argument.a, argument.first)))
                self._words += argument[2:]
            else:
                self._words.append(self._word(argument))
        return parts

    def _word(self, argument: Any) -> int:
        a, offset = argument if isinstance(argument, tuple) else (argument, 0)
        if isinstance(a, str):
            self._names.setdefault(a, []).append((len(self._words), offset * np.dtype(self.dtype).itemsize))
            return 0
        if isinstance(a, np.ndarray):
            self._kept.append(a)
            return address_of(a) + offset * a.itemsize
        if isinstance(a, float):
            return int(struct.unpack("<q", struct.pack("<d", a))[0])
        return int(a)

    def finish(self) -> Program:
        """Lay out the code; nothing is added any more."""
        self._data = np.array(self._words or [0], np.int64)
        start = address_of(self._data)
        rows = [(kernel, start + 8 * first, parts) for kernel, first, parts in self.rows]
        self._code = np.array(rows, np.int64).reshape(-1, 3)
        self._bind = {
            name: (np.array([p for p, _ in places]), np.array([o for _, o in places], np.int64))
            for name, places in self._names.items()
        }
        self._most = max((parts for *_, parts in rows), default=1)
        return self

    def run(self, **arrays: Any) -> None:
        """Run the kernels.

        Parameters
        ----------
        **arrays
            For each name an array, or an integer.
        """
        for name, (places, offsets) in self._bind.items():
            a = arrays[name]
            self._data[places] = offsets + (address_of(a) if isinstance(a, np.ndarray) else a)
        EXECUTOR.run(self._code, self._most)


def address_of(a: np.ndarray, /) -> int:
    """Return where the numbers of `a` are."""
    return int(a.__array_interface__["data"][0])
