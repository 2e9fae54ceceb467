"""NumPy on the processor: the backend that is always there."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xcnn import backend
from xcnn.errors import BackendError
from xcnn.plugin import Kernel
from xcnn_numpy import threads

__all__ = ["Backend"]


class _Kernels(Mapping[str, Any]):
    """Kernels by name. Numba is imported when the first is asked for; without it there are none."""

    NAMES = (
        "conv2d",
        "max_pool2d",
        "scale_bytes",
        "cross_entropy",
        "all_finite",
        "SGD",
        "Adagrad",
        "RMSprop",
        "Adam",
        "AdamW",
    )

    def __init__(self) -> None:
        self._found: dict[str, Any] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """Return the kernel of that name."""
        if name not in self.NAMES:
            return default
        if self._found is None:
            self._found = _load()
        return self._found.get(name, default)

    def __getitem__(self, name: str) -> Any:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.NAMES)

    def __len__(self) -> int:
        return len(self.NAMES)


@cache
def has_numba() -> bool:
    """Return whether Numba works: it lags behind new versions of Python and NumPy."""
    try:
        importlib.import_module("numba")
    except ImportError:
        return False
    return True


def _load() -> dict[str, Any]:
    if not has_numba():
        return {}
    from xcnn_numpy import inputs, losses, operations, updates

    return {
        "conv2d": Kernel(operations.conv2d, operations.conv2d_gradient),
        "max_pool2d": Kernel(operations.max_pool2d, operations.max_pool2d_gradient),
        "scale_bytes": inputs.scale_bytes,
        "cross_entropy": Kernel(losses.cross_entropy, losses.cross_entropy_gradient),
        "all_finite": updates.all_finite,
        **updates.UPDATES,
    }


class Backend(backend.Backend):
    """NumPy arrays; lists and scalars count as NumPy's."""

    root = "numpy"
    owns = ("numpy",)
    host = True
    xp = xp
    kernels = _Kernels()

    def __init__(self, device: str = "") -> None:
        if device not in ("", "cpu"):
            msg = f"device {device!r}; NumPy has only 'cpu'"
            raise BackendError(msg, where="backend 'numpy'")
        self.name = "numpy"

    @staticmethod
    def compile_run(leaves: Any, /, *, dtype: str, need_dx: bool) -> Any:
        """Return one layer for the first of `leaves`, and how many it stands for, or None."""
        if not has_numba():
            return None
        from xcnn_numpy.run import compile_run

        return compile_run(leaves, dtype=dtype, need_dx=need_dx)

    @classmethod
    def set_num_threads(cls, n: int, /) -> None:
        """Let kernels use n threads."""
        threads.set_num_threads(n)

    @classmethod
    def get_num_threads(cls) -> int:
        """Return how many threads kernels use at most."""
        return threads.get_num_threads()

    @classmethod
    def facts(cls) -> list[tuple[str, str]]:
        """Return what compiles the kernels, how many threads they use, and where they are kept."""
        if not has_numba():
            return [("numpy kernels", "none: Numba is not installed (pip install numba); readable pairs run")]
        import numba

        from xcnn_numpy.compiler import cache_directory
        from xcnn_numpy.simd import BITS

        return [
            ("numpy kernels", f"compiled by Numba {numba.__version__} for vectors of {BITS} bits"),
            ("numpy threads", f"{threads.get_num_threads()} (xcnn.set_num_threads, XCNN_NUM_THREADS)"),
            ("numpy cache", f"{cache_directory()} (XCNN_CACHE_DIR)"),
        ]

    def asarray(self, a: Any, /, dtype: str | None = None) -> np.ndarray:
        """Return `a` as a NumPy array."""
        return np.asarray(a, dtype=dtype)

    @classmethod
    def to_numpy(cls, a: Any, /) -> np.ndarray:
        """Return `a`."""
        return np.asarray(a)
