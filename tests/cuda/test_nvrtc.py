"""Every kernel compiles for every GPU that xcnn supports, without a word from the compiler; no GPU is needed.

Each GPU's own code is made, since only its assembler knows which instructions it has: for one of them with
the options that CuPy gives, for the others in a hurry. ``XCNN_TEST_NVRTC=1`` says that the compiler must be
there (pip install nvidia-cuda-nvrtc, of CUDA 13).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from functools import cache
from pathlib import Path

import pytest

from xcnn_cupy import source

QUICKLY = ("--Ofast-compile=max",)
CUPYS = ("--device-as-default-execution-space",)
GPUS = {"sm_75": QUICKLY, "sm_80": QUICKLY, "sm_90": CUPYS, "sm_100": QUICKLY}
BROKEN = 'extern "C" __global__ void f(float* x) { x[0] = y; }'
LATE = 'extern "C" __global__ void f(short* x) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(x[0]) : "f"(1.0f)); }'
UNUSED = 'extern "C" __global__ void f(float* x) { int unused; x[0] = 0; }'


def _library() -> ctypes.CDLL | None:
    """Return NVRTC from its wheel, whatever the CUDA version of the wheel is."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for path in sorted(Path(folder).rglob("*nvrtc*")):
            if path.name.startswith(("libnvrtc.so", "nvrtc64")) and "builtins" not in path.name:
                return ctypes.CDLL(str(path))
    return None


@pytest.fixture(scope="module")
def nvrtc() -> ctypes.CDLL:
    """The compiler; a missing one fails where it is required."""
    library = _library()
    if library is None:
        reason = "the CUDA sources are NOT compiled: pip install nvidia-cuda-nvrtc"
        pytest.fail(reason) if os.environ.get("XCNN_TEST_NVRTC") == "1" else pytest.skip(reason)
    return library


@cache
def _compile(nvrtc: ctypes.CDLL, code: str, gpu: str) -> tuple[int, str, str]:
    """Return NVRTC's status, everything that it said, and the PTX."""
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None) == 0
    try:
        given = (*source.OPTIONS, *GPUS[gpu], f"--gpu-architecture={gpu}")
        options = [option.encode() for option in given]
        status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        texts = [_text(nvrtc, program, what) for what in ("ProgramLog", "PTX")]
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return status, *texts


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    found = ctypes.create_string_buffer(max(size.value, 1))
    getattr(nvrtc, f"nvrtcGet{what}")(program, found)
    return found.value.decode().strip()


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("kind", source.KINDS)
@pytest.mark.parametrize("file", source.FILES)
def test_kernels_compile_without_a_warning(nvrtc, file, kind, gpu):
    status, log, _ = _compile(nvrtc, source.text(file, kind), gpu)
    assert (status, log) == (0, "")


def _doubles(ptx: str) -> list[str]:
    """Return the instructions on float64."""
    return [line for line in ptx.splitlines() if ".f64" in line and ".param" not in line]


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("file", source.FILES)
def test_nothing_is_computed_in_float64_by_accident(nvrtc, file, kind):
    """A GPU of 2026 does that at a half to a sixty-fourth of the speed."""
    _, _, ptx = _compile(nvrtc, source.text(file, kind), "sm_90")
    assert ".entry" in ptx
    if not any("double" in types for types in source.signatures(file).values()):
        assert not _doubles(ptx)


def test_a_double_constant_is_noticed(nvrtc):
    code = 'extern "C" __global__ void f(float* x) { x[0] = x[0] * 0.1; }'
    assert _doubles(_compile(nvrtc, code, "sm_90")[2])


def test_an_instruction_that_a_gpu_lacks_is_noticed(nvrtc):
    status, log, _ = _compile(nvrtc, LATE, "sm_75")
    assert status != 0
    assert "requires .target sm_80 or higher" in log
    assert _compile(nvrtc, LATE, "sm_80")[:2] == (0, "")


def test_what_does_not_compile_is_noticed(nvrtc):
    status, log, _ = _compile(nvrtc, BROKEN, "sm_90")
    assert status != 0
    assert 'identifier "y" is undefined' in log


def test_warnings_are_noticed(nvrtc):
    status, log, _ = _compile(nvrtc, UNUSED, "sm_90")
    assert status == 0
    assert '"unused" was declared but never referenced' in log
