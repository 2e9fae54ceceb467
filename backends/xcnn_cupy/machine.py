"""What the machine says of its driver, of CuPy and of what belongs to it: nothing here fails."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import re
import sys

__all__ = [
    "PACKAGES",
    "cuda",
    "cudnn_version",
    "devices",
    "driver_version",
    "installed",
    "present",
    "release",
    "written",
]

PACKAGES = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")  # they overwrite each other


def driver_version() -> int | None:
    """Return the newest CUDA that the driver knows, 13.2 as 13020, or None where there is no driver."""
    library, version = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1", ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(library).cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return None
    return version.value if not failed and version.value else None


def written(version: int, /) -> str:
    """Return CUDA's 13020 as "13.2"."""
    return f"{version // 1000}.{version % 1000 // 10}"


def installed(*names: str) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def release(version: str, /) -> tuple[int, ...]:
    """Return "14.2.0rc1" as (14, 2, 0)."""
    return tuple(int(part) for part in re.match(r"[\d.]*\d|", version)[0].split(".") if part)  # type: ignore[index]


def present(name: str, /) -> bool:
    """Return whether a module can be imported, or has been."""
    if name in sys.modules:
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def devices() -> int:
    """Return how many GPUs CuPy finds; 0 where it cannot ask."""
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception:  # whatever is wrong with CuPy or CUDA
        return 0


def cuda() -> int | None:
    """Return the CUDA that CuPy was built for, 12 or 13, or None where CuPy cannot be imported."""
    try:
        import cupy

        return int(cupy.cuda.runtime.runtimeGetVersion()) // 1000
    except Exception:  # whatever is wrong with CuPy
        return None


def cudnn_version() -> int | None:
    """Return the version of the cuDNN library that the frontend has loaded, 9.19.0 as 91900, or None."""
    try:
        import cudnn

        return int(cudnn.backend_version()) or None
    except Exception:  # the frontend raises what it likes where the library is missing
        return None
