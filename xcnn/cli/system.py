"""What a run ran on: versions, the library behind matrix products, threads."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

import numpy as np

import xcnn
from xcnn.search.pool import cores

__all__ = ["blas", "cores", "threads", "versions", "warnings"]

_PACKAGES = ("numpy", "numba", "array-api-compat", "array-api-extra", "pydantic", "safetensors")
_OPTIONAL = (
    "scikit-learn",
    "matplotlib",
    "pillow",
    "typer",
    "rich",
    "torch",
    "array-api-strict",
    "threadpoolctl",
)
_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def versions(*, every: bool = False) -> dict[str, str]:
    """Return the versions of Python, xcnn and what it needs; with `every`, those of what it can use."""
    found = {"Python": platform.python_version(), "xcnn": xcnn.__version__}
    for name in (*_PACKAGES, *(_OPTIONAL if every else ())):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def blas() -> str:
    """Return what NumPy was built with for matrix products."""
    built: Any = np.show_config(mode="dicts")
    found = built.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def threads() -> list[str]:
    """Return a line for each thread pool loaded, where threadpoolctl is installed."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return []
    from threadpoolctl import threadpool_info

    lines = []
    for pool in threadpool_info():
        kernels = f", kernels for {pool['architecture']}" if pool.get("architecture") else ""
        version = pool.get("version") or "of unknown version"
        lines.append(f"{pool['internal_api']} {version}: {pool['num_threads']} threads{kernels}")
    return list(dict.fromkeys(lines))


def warnings() -> list[str]:
    """Return what the environment does to speed and results."""
    found = []
    core = os.environ.get("OPENBLAS_CORETYPE")
    if core:
        found.append(
            f"OPENBLAS_CORETYPE={core} makes OpenBLAS take kernels for that processor: they may be slow, "
            "and the last digits of results change; needed: unset OPENBLAS_CORETYPE"
        )
    for name in _LIMITS:
        if os.environ.get(name):
            found.append(f"{name}={os.environ[name]} limits threads")
    return found
