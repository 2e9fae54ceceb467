"""Integers that threads share, and the modes of the processor: what kernels' threads stand on."""

from __future__ import annotations

import os
import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from xcnn_numpy.simd import I32, I64

__all__ = [
    "fetch_add",
    "flush_denormals",
    "get",
    "processor",
    "put",
    "relax",
    "restore",
    "swap",
    "yield_processor",
]

MACHINE = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
X86, ARM = MACHINE.lower() in ("x86_64", "amd64"), MACHINE.lower() in ("aarch64", "arm64")
FLUSH = 0x8040 if X86 else 1 << 24  # flush to zero, and denormals are zero


def _place(context: Any, b: Any, signature: Any, args: Any) -> Any:
    """Emit the place of element args[1] of the array args[0]."""
    return b.gep(context.make_array(signature.args[0])(context, b, args[0]).data, [args[1]])


@intrinsic
def get(tc, a, i):
    """Return a[i], and see what was written before it was put there."""

    def codegen(context, b, signature, args):
        return b.load_atomic(_place(context, b, signature, args), "acquire", 8)

    return types.int64(a, types.int64), codegen


@intrinsic
def put(tc, a, i, value):
    """Write a[i], after all that was written before."""

    def codegen(context, b, signature, args):
        b.store_atomic(args[2], _place(context, b, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64), codegen


@intrinsic
def fetch_add(tc, a, i, value):
    """Add to a[i] and return what was there."""

    def codegen(context, b, signature, args):
        return b.atomic_rmw("add", _place(context, b, signature, args), args[2], "acq_rel")

    return types.int64(a, types.int64, types.int64), codegen


@intrinsic
def swap(tc, a, i, old, new):
    """Write new to a[i] if old is there, and return whether it was."""

    def codegen(context, b, signature, args):
        place = _place(context, b, signature, args)
        return b.extract_value(b.cmpxchg(place, args[2], args[3], "acq_rel", "acquire"), 1)

    return types.boolean(a, types.int64, types.int64, types.int64), codegen


@intrinsic
def relax(tc):
    """Let the processor know that this thread only waits."""

    def codegen(context, b, signature, args):
        if X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.sse2.pause"), [])
        elif ARM:
            kind = ir.FunctionType(ir.VoidType(), [I32])
            b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.aarch64.hint"), [I32(1)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def yield_processor(tc):
    """Let other threads have the processor."""

    def codegen(context, b, signature, args):
        if sys.platform != "win32":
            kind = ir.FunctionType(I32, [])
            b.call(cgutils.get_or_insert_function(b.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def processor(tc):
    """Return the number of the processor that this thread is on; -1 where the system does not tell."""

    def codegen(context, b, signature, args):
        if not sys.platform.startswith("linux"):
            return I64(-1)
        kind = ir.FunctionType(I32, [])
        return b.sext(b.call(cgutils.get_or_insert_function(b.module, kind, "sched_getcpu"), []), I64)

    return types.int64(), codegen


@intrinsic
def flush_denormals(tc):
    """Make this thread take denormal numbers for zero, and return its old mode."""

    def codegen(context, b, signature, args):
        return _mode(b, lambda old: b.or_(old, ir.Constant(old.type, FLUSH)))

    return types.int64(), codegen


@intrinsic
def restore(tc, mode):
    """Set this thread's floating-point mode."""

    def codegen(context, b, signature, args):
        _mode(b, lambda old: args[0] if old.type == I64 else b.trunc(args[0], I32))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _mode(b: Any, change: Any) -> Any:
    """Emit the change of the floating-point mode, and return the old one."""
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
        take, give = ir.FunctionType(I64, []), ir.FunctionType(ir.VoidType(), [I64])
        old = b.call(cgutils.get_or_insert_function(b.module, take, "llvm.aarch64.get.fpcr"), [])
        b.call(cgutils.get_or_insert_function(b.module, give, "llvm.aarch64.set.fpcr"), [change(old)])
        return old
    return I64(0)
