"""GPUs: which one is current, what is in its memory, and what `xcnn doctor` says of them."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from xcnn.errors import BackendError
from xcnn_cupy import source
from xcnn_cupy.machine import cuda, cudnn_version, driver_version, installed, written

__all__ = ["Current", "announce", "facts", "free_memory", "memory_info", "room"]

SHARE = 4  # of the memory that is free, a data set on the device may have one part in so many
GB = 1e9
FULL = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")


class Current:
    """A block in which a GPU is the current one; what its memory cannot hold there becomes a BackendError.

    Parameters
    ----------
    device : cupy.cuda.Device
        Which GPU.
    """

    def __init__(self, device: Any) -> None:
        self._device = device

    def __enter__(self) -> None:
        self._device.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.__exit__(kind, error, trace)
        if error is not None and not isinstance(error, BackendError) and _is_full(error):
            used, reserved, free, total = memory_info(self._device)
            msg = (
                f"{str(error).splitlines()[0].rstrip('.')}; arrays have {used / GB:.2f} GB, "
                f"{(reserved - used) / GB:.2f} GB are kept for later ones, {free / GB:.2f} of "
                f"{total / GB:.2f} GB are free; needed: a smaller batch_size, "
                'precision="bfloat16", xcnn.free_memory(), or a GPU that no other program uses'
            )
            raise BackendError(msg, where=f"cupy:{self._device.id}") from error


def _is_full(error: BaseException) -> bool:
    from cupy.cuda.memory import OutOfMemoryError

    return isinstance(error, OutOfMemoryError) or any(sign in str(error) for sign in FULL)


def memory_info(device: Any, /) -> tuple[int, int, int, int]:
    """Return the bytes in arrays, in CuPy's pool, free on the GPU, and there altogether.

    Parameters
    ----------
    device : cupy.cuda.Device
        Which GPU.

    Returns
    -------
    tuple of int
        The first two count CuPy's default pool alone: a captured step, cuDNN and CUDA have memory beside it.
    """
    import cupy

    with device:
        pool = cupy.get_default_memory_pool()
        free, total = device.mem_info
        return int(pool.used_bytes()), int(pool.total_bytes()), int(free), int(total)


def free_memory(device: Any, /) -> None:
    """Give what CuPy keeps for later arrays, on the GPU and in pinned memory, back.

    Parameters
    ----------
    device : cupy.cuda.Device
        Which GPU.
    """
    import cupy

    with device:
        cupy.cuda.get_current_stream().synchronize()
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


def room(device: Any, /) -> int:
    """Return how many bytes a data set may have on the GPU: a quarter of what is free.

    Parameters
    ----------
    device : cupy.cuda.Device
        Which GPU.

    Returns
    -------
    int
        What CuPy's pool keeps for later arrays counts as free.
    """
    used, reserved, free, _ = memory_info(device)
    return (free + reserved - used) // SHARE


def cache_folder() -> Path:
    """Return where CuPy keeps compiled kernels."""
    return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache").absolute()


@cache
def _said() -> None:
    folder = cache_folder()
    print(
        f"xcnn: compiling CUDA kernels, once for this GPU; they are kept in {folder}",
        file=sys.stderr,
        flush=True,
    )


def announce(file: str, kind: str, /) -> None:
    """Say once, before a kernel that this machine has not compiled before, that it takes a while.

    Parameters
    ----------
    file, kind : str
        Which source, for which kind of number, is about to be compiled.
    """
    import cupy

    versions = cupy.__version__, cupy.cuda.nvrtc.getVersion(), cupy.cuda.Device().compute_capability
    digest = hashlib.sha256(repr((versions, source.text(file, kind))).encode()).hexdigest()[:16]
    stamp = cache_folder() / f"xcnn-{digest}"
    if not stamp.exists():
        _said()
        with suppress(OSError):
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()


def facts() -> list[tuple[str, str]]:
    """Return what `xcnn doctor` says: GPUs, versions, cuDNN, where kernels are kept, how products round.

    Returns
    -------
    list of tuple of str
        What, and what it is.
    """
    import cupy

    rows = []
    for k in range(cupy.cuda.runtime.getDeviceCount()):
        device = cupy.cuda.Device(k)
        name = cupy.cuda.runtime.getDeviceProperties(k)["name"]
        name = name.decode() if isinstance(name, bytes) else name
        *_, free, total = memory_info(device)
        capability = f"{device.compute_capability[:-1]}.{device.compute_capability[-1]}"
        memory = f"{free / GB:.1f} of {total / GB:.1f} GB free"
        rows.append((f"cupy:{k}", f"{name}, compute capability {capability}, {memory}"))
    driver = driver_version() or int(cupy.cuda.runtime.driverGetVersion())
    compiler = ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
    rows.append(
        (
            "cupy versions",
            f"CuPy {cupy.__version__} for CUDA {cuda()}; driver: CUDA {written(driver)}; NVRTC {compiler}",
        )
    )
    (frontend,) = installed("nvidia-cudnn-frontend").values() or ("",)
    number = cudnn_version()
    cudnn = f"{number // 10000}.{number // 100 % 100}.{number % 100}" if number else "not usable"
    if not frontend and not number:
        rows.append(("cupy cuDNN", f'not installed: generic path, slower (pip install "xcnn[cuda{cuda()}]")'))
    else:
        rows.append(("cupy cuDNN", f"{cudnn}; frontend {frontend or 'of unknown version'}"))
    rounded = "TF32 (CUPY_TF32=1)" if os.environ.get("CUPY_TF32") == "1" else "true float32"
    rows.append(
        ("cupy kernels", f"kept in {cache_folder()} (CUPY_CACHE_DIR); CuPy's own products: {rounded}")
    )
    return rows
