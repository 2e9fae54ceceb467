"""All kernels: compiled together the first time, so that it is announced once and never met again."""

from __future__ import annotations

import hashlib
import sys
import time
from contextlib import suppress

import numpy as np
from llvmlite import binding
from numba.core import config

from xcnn_numpy import (
    convolution,
    filters,
    gather,
    inputs,
    layout,
    losses,
    normalization,
    pointwise,
    pooling,
    tile,
    updates,
)
from xcnn_numpy.compiler import Kernel, cache_directory
from xcnn_numpy.simd import BITS
from xcnn_numpy.team import compile_team

__all__ = ["kernels", "prepare"]

_PREPARED: set[str] = set()


def kernels() -> list[Kernel]:
    """Return all kernels.

    Returns
    -------
    list of Kernel
        In the order of the files.
    """
    modules = (layout, convolution, pooling, normalization, pointwise, filters)
    found = [k for module in modules for k in vars(module).values() if isinstance(k, Kernel)]
    return list(dict.fromkeys(found))


def prepare(dtype: str, /) -> None:
    """Compile all kernels for numbers of `dtype`, unless they are on disk already, and say so.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Of a model.
    """
    if dtype in _PREPARED:
        return
    cpu = f"{config.CPU_NAME or binding.get_host_cpu_name()} {config.CPU_FEATURES or ''} {BITS}"
    stamp = cache_directory() / f"complete-{dtype}-{hashlib.sha256(cpu.encode()).hexdigest()[:16]}"
    if not stamp.exists():
        print("xcnn: compiling kernels for this processor, once ...", end=" ", file=sys.stderr, flush=True)
        start = time.perf_counter()
        _compile_all(dtype)
        print(f"{time.perf_counter() - start:.1f} s; they are kept in {cache_directory()}", file=sys.stderr)
        with suppress(OSError):
            stamp.touch()
    _PREPARED.add(dtype)


def _compile_all(dtype: str) -> None:
    tile.sweep_address(dtype)
    gather.gather_address(dtype)
    for each in kernels():
        each.address(dtype)
    compile_team()
    inputs.compile_for(np.dtype(dtype))
    losses.compile_for(np.dtype(dtype))
    updates.compile_for(np.dtype(dtype))
