"""CuPy on a CUDA GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from xcnn import backend
from xcnn.errors import BackendError
from xcnn.ops.precision import PRECISIONS
from xcnn_cupy import source
from xcnn_cupy.faults import explained
from xcnn_cupy.table import Table

__all__ = ["Backend"]


class Backend(backend.Backend):
    """CuPy arrays on one GPU: ``"cupy"`` is ``"cupy:0"``."""

    root = "cupy"
    owns = ("cupy",)
    many_devices = True
    host = False
    kernels = Table()
    precisions = PRECISIONS

    def __init__(self, device: str = "") -> None:
        if not (device or "0").isdecimal():
            msg = f"device {device!r}; needed the number of a GPU, as in 'cupy:1'"
            raise BackendError(msg, where="backend 'cupy'")
        with explained():
            import cupy

            found = cupy.cuda.runtime.getDeviceCount()
            if not found:
                raise RuntimeError("no CUDA-capable device is detected")
            import array_api_compat.cupy as xp
        if int(device or 0) >= found:
            msg = f"GPU {device} asked for; needed one from 0 to {found - 1}"
            raise BackendError(msg, where="backend 'cupy'")
        from xcnn_cupy import devices

        self.xp, self._cuda, self._devices = xp, cupy.cuda, devices
        self._device = cupy.cuda.Device(int(device or 0))
        self._current = devices.Current(self._device)
        self.name = f"cupy:{self._device.id}"
        if devices.announce not in source.on_compile:
            source.on_compile.append(devices.announce)

    def active(self) -> AbstractContextManager[Any]:
        """Return a block in which this GPU is current."""
        return self._current

    def probe(self) -> None:
        """Run a product and a kernel on this GPU; what fails is told with what mends it."""
        with explained(), self._device:
            super().probe()

    @staticmethod
    def compile_run(leaves: list[Any], /, **options: Any) -> Any:
        """Return one layer for the first leaves, and how many it stands for, or None."""
        from xcnn_cupy.run import compile_run

        return compile_run(leaves, **options)

    @staticmethod
    def capture(step: Callable[..., Any], /) -> Callable[..., Any]:
        """Return a step that is recorded as a CUDA graph once it is warm, and replayed from then on."""
        from xcnn_cupy.capture import Captured

        return Captured(step)

    def feed(self, batches: Iterable[Any], /) -> Iterator[Any]:
        """Yield batches copied to this GPU one ahead of their use."""
        from xcnn_cupy.feeding import feed

        return feed(batches, self._device)

    def memory_info(self) -> tuple[int, int, int, int]:
        """Return bytes in arrays, kept by CuPy, free on the GPU, and there altogether."""
        return self._devices.memory_info(self._device)

    def free_memory(self) -> None:
        """Give what CuPy keeps for later arrays back."""
        self._devices.free_memory(self._device)

    def room(self) -> int:
        """Return a quarter of the GPU's free memory."""
        return self._devices.room(self._device)

    @classmethod
    def facts(cls) -> list[tuple[str, str]]:
        """Return the GPUs, versions, and where kernels are kept."""
        from xcnn_cupy import devices

        return devices.facts()

    @classmethod
    def cautions(cls) -> list[str]:
        """Return what makes CuPy slower here than it could be, or its numbers others."""
        from xcnn_cupy.cautions import cautions

        return cautions()

    def asarray(self, a: Any, /, dtype: str | None = None) -> Any:
        """Return `a` on this GPU."""
        with self._device:
            if isinstance(a, self.xp.ndarray):
                a = a if a.device == self._device else a.copy()
                return a if dtype in (None, a.dtype.name) else a.astype(dtype)
            return self.xp.asarray(np.asarray(a, dtype=dtype))

    @classmethod
    def to_numpy(cls, a: Any, /) -> np.ndarray:
        """Return `a` on the host."""
        return a.get()

    @classmethod
    def device(cls, a: Any, /) -> str:
        """Return the GPU's number."""
        return str(a.device.id)

    def synchronize(self) -> None:
        """Wait for the GPU."""
        with self._device:
            self._cuda.get_current_stream().synchronize()
