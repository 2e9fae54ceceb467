"""What can make CuPy unusable, each fault with the line that mends it.

A fault is a function that looks at the machine, and at what failed: the name of an error and its text. It
returns what it found, or None. `FATAL` has them in the order in which one explains the next.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from xcnn.errors import BackendError
from xcnn_cupy.machine import PACKAGES, cuda, devices, driver_version, installed, present, release, written

__all__ = ["FATAL", "Check", "Fault", "diagnose", "explained"]

OLDEST = (14,)  # CuPy
NEEDS = {12: ((5, 0), "525"), 13: ((7, 5), "580")}  # CUDA: compute capability, Linux driver
LESS = ("ModuleNotFoundError", "cudaErrorInsufficientDriver", "cudaErrorNoDevice")  # say less than the fault
ADDRESS = "https://www.nvidia.com/drivers"


class Fault(NamedTuple):
    """Something wrong, and the line that mends it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}; needed: {self.mend}"


Check: TypeAlias = Callable[[str], Fault | None]


def extra() -> str:
    """Return what installs CuPy for this driver."""
    version = driver_version()
    if version is None:
        return 'pip install "xcnn[cuda13]" (or "xcnn[cuda12]" for a CUDA 12 driver)'
    if version < 12000:
        return f"a driver of {NEEDS[12][1]} or newer ({ADDRESS}): this one knows CUDA {written(version)} only"
    return f'pip install "xcnn[cuda{12 if version < 13000 else 13}]"'


def again() -> str:
    """Return what replaces the CuPy that is installed by the right one for this driver."""
    return f"pip uninstall -y {' '.join(installed(*PACKAGES)) or 'cupy'} && {extra()}"


def toolkit() -> str:
    """Return what installs the libraries of CUDA's toolkit beside the CuPy that is there."""
    package = next((name for name in installed(*PACKAGES) if name != "cupy"), f"cupy-cuda{cuda() or 13}x")
    return f'pip install "{package}[ctk]"'


def missing(said: str) -> Fault | None:
    """Find that CuPy is not installed."""
    if present("cupy"):
        return None
    version = driver_version()
    driver = f"; the driver knows CUDA {written(version)}" if version else ""
    return Fault(f"CuPy is not installed{driver}", extra())


def twice(said: str) -> Fault | None:
    """Find two packages of CuPy, which overwrite each other's files."""
    found = installed(*PACKAGES)
    if len(found) < 2:
        return None
    return Fault(f"{' and '.join(found)} are installed together and overwrite each other", again())


def old_cupy(said: str) -> Fault | None:
    """Find a CuPy older than what xcnn is written for."""
    for name, version in installed(*PACKAGES).items():
        if release(version) < OLDEST:
            return Fault(f"{name} {version} is too old", f'pip install -U "{name}[ctk]>=14"')
    return None


def no_driver(said: str) -> Fault | None:
    """Find that there is no driver; the runtime calls that an insufficient one."""
    if devices() or driver_version() is not None:
        return None
    what = "no NVIDIA driver: libcuda.so.1 cannot be loaded"
    return Fault(what, f"a driver ({ADDRESS}); in a container: docker run --gpus all")


def hidden(said: str) -> Fault | None:
    """Find that CUDA_VISIBLE_DEVICES leaves no GPU."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None or devices():
        return None
    return Fault(f"CUDA_VISIBLE_DEVICES={shown!r} hides every GPU", "unset CUDA_VISIBLE_DEVICES")


def old_driver(said: str) -> Fault | None:
    """Find a driver for an older CUDA than CuPy's."""
    version, needed = driver_version(), cuda()
    if version is None or needed is None or version >= 1000 * needed:
        return None
    least = NEEDS.get(needed, NEEDS[13])[1]
    what = f"the driver knows CUDA {written(version)}; this CuPy needs CUDA {needed}"
    return Fault(
        what, f"{again()} (or a driver of {least} or newer, {ADDRESS})" if version >= 12000 else extra()
    )


STATES = {
    "SystemDriverMismatch": ("the driver's kernel module and its library are of two versions", "a reboot"),
    "SystemNotReady": (
        "the GPUs' switches are not ready",
        "sudo systemctl start nvidia-fabricmanager (of the driver's version)",
    ),
    "DevicesUnavailable": (
        "the GPU is taken by a process that shares it with none",
        "end that process (nvidia-smi lists it), or: sudo nvidia-smi -c DEFAULT",
    ),
    "CompatNotSupportedOnDevice": (
        "CUDA's compatibility package does not support this GPU",
        f"remove the package cuda-compat, or take a newer driver ({ADDRESS})",
    ),
    "NotPermitted": ("the GPU may not be used by this user", "sudo usermod -aG video,render $USER"),
}  # cudaError names


def state(said: str) -> Fault | None:
    """Find what the driver itself says is wrong."""
    return next((Fault(*told) for name, told in STATES.items() if f"cudaError{name}" in said), None)


def no_gpu(said: str) -> Fault | None:
    """Find that the driver shows no GPU."""
    if cuda() is None or devices():
        return None
    return Fault(
        "the driver shows no GPU", "one that `nvidia-smi` lists; in a container: docker run --gpus all"
    )


def old_gpu(said: str) -> Fault | None:
    """Find a GPU that CuPy's CUDA no longer compiles for."""
    major = cuda()
    if major not in NEEDS or not any(word in said for word in ("arch", "NO_BINARY", "NoKernelImage")):
        return None
    import cupy

    for k in range(devices()):
        found = cupy.cuda.Device(k).compute_capability
        capability = int(found[:-1]), int(found[-1])
        if capability < NEEDS[major][0]:
            least, own = (".".join(map(str, pair)) for pair in (NEEDS[major][0], capability))
            what = f"GPU {k} has compute capability {own}; CUDA {major} needs {least}"
            mend = (
                'pip uninstall -y cupy-cuda13x && pip install "xcnn[cuda12]"' if major > 12 else "a newer GPU"
            )
            return Fault(what, mend)
    return None


def bad_path(said: str) -> Fault | None:
    """Find that CUDA_PATH names a folder in which there is no toolkit."""
    path = os.environ.get("CUDA_PATH")
    if path is None or any(
        (Path(path) / part).exists() for part in ("include/cuda.h", "lib64", "lib/x64", "bin")
    ):
        return None
    return Fault(f"CUDA_PATH={path} is no CUDA toolkit", "unset CUDA_PATH")


def no_library(said: str) -> Fault | None:
    """Find that a library of CUDA's toolkit, or its headers, are not there."""
    names = r"nvrtc|cublas|cublasLt|cudart|nvJitLink|cusolver|cusparse|curand|cufft"
    found = re.search(rf"(?:lib({names})\S*: cannot open|Failure finding \W*(?:lib)?({names}))", said)
    if found:
        return Fault(f"{found[1] or found[2]}, a library of CUDA's toolkit, is not found", toolkit())
    if "cannot open source file" in said or "could not open source file" in said:
        return Fault("the headers of CUDA's toolkit are not found", toolkit())
    return None


def new_compiler(said: str) -> Fault | None:
    """Find a toolkit whose minor version is ahead of the driver's."""
    signs = (
        "UNSUPPORTED_PTX_VERSION",
        "UnsupportedPtxVersion",
        "INVALID_IMAGE",
        "NO_BINARY",
        "NoKernelImage",
    )
    version = driver_version()
    if version is None or not any(sign in said for sign in signs):
        return None
    own = written(version)
    what = f"the GPU cannot run what the toolkit compiled; the driver knows CUDA {own}"
    return Fault(what, f'{toolkit()} "cuda-toolkit=={own}.*", or a newer driver ({ADDRESS})')


def no_memory(said: str) -> Fault | None:
    """Find that other programs have the GPU's memory."""
    if not any(
        sign in said for sign in ("OutOfMemoryError", "MemoryAllocation", "OUT_OF_MEMORY", "ALLOC_FAILED")
    ):
        return None
    mend = 'end the programs that use the GPU (nvidia-smi lists them), or another GPU: "cupy:1"'
    return Fault("the GPU's memory is taken", mend)


def broken(said: str) -> Fault | None:
    """Find that CuPy is there and cannot be imported."""
    if not said or cuda() is not None:
        return None
    return Fault("CuPy cannot be imported", again())


FATAL: tuple[Check, ...] = (
    *(missing, twice, old_cupy, no_driver, hidden, old_driver, state, no_library, broken, no_gpu),
    *(old_gpu, new_compiler, no_memory, bad_path),
)


def diagnose(said: str, checks: tuple[Check, ...] = FATAL, /) -> list[Fault]:
    """Return the faults that are found, in order.

    Parameters
    ----------
    said : str
        What failed: the name of an error and its text; or nothing.
    checks : tuple of callable
        Which to look for.

    Returns
    -------
    list of Fault
        Empty where none is known.
    """
    return [fault for check in checks if (fault := check(said)) is not None]


@contextmanager
def explained() -> Iterator[None]:
    """Make whatever fails inside the block a BackendError that names the fault and the line that mends it."""
    try:
        yield
    except BackendError:
        raise
    except Exception as error:  # CUDA's libraries, their loaders and CuPy raise what they like
        lines = [line.strip(" =") for line in str(error).splitlines()]
        said = f"{type(error).__name__}: {next(filter(None, reversed(lines)), '')}"
        found = diagnose(f"{type(error).__name__}: {error}")
        told = "" if any(sign in said for sign in LESS) else f" ({said})"
        msg = f"{found[0].what}{told}; needed: {found[0].mend}" if found else f"cannot be used here: {said}"
        raise BackendError(msg, where="backend 'cupy'") from error
