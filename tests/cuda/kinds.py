"""Arrays of every kind of number on the emulated or real GPU, and what their numbers may lose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.tolerances import EXACT, Tolerance
from xcnn.backend import backend_problems

KINDS = ("float16", "bfloat16", "float32", "float64")
REAL = dict.fromkeys(KINDS, "float32") | {"float64": "float64"}  # of statistics and parameters

# A result is computed in REAL and rounded once: half a unit of its 11 or 8 bits, and what float32 loses.
CLOSE = EXACT | {"float16": Tolerance(2.0**-11 + 1e-5, 2e-6), "bfloat16": Tolerance(2.0**-8 + 1e-5, 2e-6)}


def device() -> Any:
    """Return CuPy, or skip the module: no GPU answers and none is emulated."""
    problems = backend_problems()
    if "cupy" in problems:
        reason = f"needs a GPU, or XCNN_EMULATE_CUDA=1: {problems['cupy']}"
        pytest.skip(reason, allow_module_level=True)
    import cupy

    return cupy


def rounded(a: Any, kind: str) -> np.ndarray:
    """Return the numbers nearest to `a` that the kind has, as float64."""
    if kind == "bfloat16":
        bits = np.asarray(a, np.float32).view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
        return bits.astype(np.uint32).view(np.float32).astype(np.float64)
    return np.asarray(a).astype(kind).astype(np.float64)


def put(a: Any, kind: str, *, channels_last: bool = True) -> Any:
    """Return `a` on the device in a kind of number, images with channels last in memory if asked."""
    import cupy

    a = rounded(a, kind)
    if kind == "bfloat16":
        stored = (a.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    else:
        stored = a.astype(kind)
    if not channels_last or stored.ndim != 4:
        return cupy.asarray(stored)
    return cupy.transpose(cupy.asarray(np.ascontiguousarray(stored.transpose(0, 2, 3, 1))), (0, 3, 1, 2))


def get(a: Any) -> np.ndarray:
    """Return the numbers of an array on the device, as float64."""
    a = a.get()
    if a.dtype == np.uint16:
        return (a.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return a.astype(np.float64)


def check(got: Any, want: Any, kind: str, what: str = "", *, source: Any = 0.0) -> None:
    """Fail unless the numbers of `got` are those of `want`, within the tolerance of the kind."""
    got, want = get(got), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape}; needed {want.shape}"
    rtol, atol = CLOSE[kind]
    scale = max(float(np.max(np.abs(a), initial=0.0)) for a in (want, source))
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol * scale, err_msg=what)
