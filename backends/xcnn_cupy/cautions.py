"""What makes CuPy slow here, or its numbers others, each with the line that mends it."""

from __future__ import annotations

import os

from xcnn_cupy.faults import Check, Fault, bad_path, diagnose, old_cupy, twice
from xcnn_cupy.machine import cuda, cudnn_version, installed, present, release

__all__ = ["LAMING", "cautions"]

FRONTEND = (1, 18)
CUDNN = 90600  # 9.6.0, as cuDNN writes it


def no_frontend(said: str) -> Fault | None:
    """Find that cuDNN's frontend is missing: convolutions are sums over windows without it."""
    if present("cudnn"):
        return None
    what = "cuDNN's frontend is not installed: convolutions take the generic path, several times slower"
    return Fault(what, f'pip install "xcnn[cuda{cuda() or 13}]"')


def old_frontend(said: str) -> Fault | None:
    """Find a frontend that lacks functions that plans are built with."""
    version = installed("nvidia-cudnn-frontend").get("nvidia-cudnn-frontend")
    if version is None or release(version) >= FRONTEND:
        return None
    what = f"nvidia-cudnn-frontend {version} is too old"
    return Fault(what, 'pip install -U "nvidia-cudnn-frontend>=1.18,<1.24"')


def no_cudnn(said: str) -> Fault | None:
    """Find that the frontend has no cuDNN to load, or one that is too old."""
    if not present("cudnn"):
        return None
    version, mend = cudnn_version(), f"pip install -U nvidia-cudnn-cu{cuda() or 13}"
    if version is None:
        return Fault("cuDNN's library cannot be loaded: convolutions take the generic path", mend)
    return Fault(f"cuDNN {version} is too old", mend) if version < CUDNN else None


def other_cudnn(said: str) -> Fault | None:
    """Find a cuDNN of another CUDA than CuPy's, as PyTorch may bring it; both lie in one folder."""
    major = cuda()
    other = {12: 13, 13: 12}.get(major or 0)
    if other is None or not installed(f"nvidia-cudnn-cu{other}"):
        return None
    what = f"nvidia-cudnn-cu{other} is installed and CuPy is for CUDA {major}: cuDNN may be the wrong one"
    right = f"pip install --force-reinstall --no-deps nvidia-cudnn-cu{major}"
    mend = f"pip uninstall -y nvidia-cudnn-cu{other} && {right}"
    return Fault(what, f"{mend} (a PyTorch for CUDA {major} beside it)")


VARIABLES = {
    "CUPY_TF32": ("1", "makes CuPy's own matrix products round to TF32"),
    "NVIDIA_TF32_OVERRIDE": ("01", "overrides which products use TF32, whatever a model's precision"),
    "CUPY_COMPILE_WITH_PTX": ("1", "makes CuPy compile kernels at each start"),
    "CUPY_CACHE_IN_MEMORY": ("1", "makes CuPy compile kernels at each start"),
    "CUPY_CUDA_COMPILE_WITH_DEBUG": ("1", "makes kernels slow"),
    "CUDA_LAUNCH_BLOCKING": ("1", "waits for each kernel: slow"),
    "CUDA_DISABLE_PTX_JIT": ("1", "forbids kernels for GPUs newer than the toolkit"),
}  # those that change numbers or speed: values that do, and how


def variables(said: str) -> Fault | None:
    """Find variables that change CuPy's numbers or its speed."""
    found = {k: how for k, (values, how) in VARIABLES.items() if os.environ.get(k, "") in tuple(values)}
    told = [f"{name}={os.environ[name]} {how}" for name, how in found.items()]
    own = os.environ.get("CUPY_ACCELERATORS")
    if own is not None and "cub" not in own:
        found["CUPY_ACCELERATORS"] = ""
        told.append(f"CUPY_ACCELERATORS={own} makes CuPy's sums slow")
    return Fault("; ".join(told), f"unset {' '.join(found)}") if found else None


LAMING: tuple[Check, ...] = (
    *(twice, old_cupy, no_frontend, old_frontend, no_cudnn, other_cudnn, bad_path, variables),
)


def cautions() -> list[str]:
    """Return what lames CuPy here, a line for each."""
    return [str(fault) for fault in diagnose("", LAMING)]
