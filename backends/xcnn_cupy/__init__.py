"""CuPy on a CUDA GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn import backend
from xcnn.errors import BackendError

__all__ = ["Backend"]


class Backend(backend.Backend):
    """CuPy arrays on one GPU: ``"cupy"`` is ``"cupy:0"``."""

    root = "cupy"
    owns = ("cupy",)
    many_devices = True
    host = False

    def __init__(self, device: str = "") -> None:
        try:
            import array_api_compat.cupy as xp
            import cupy
        except ImportError as error:
            msg = f'{error}; needed: pip install "xcnn[cuda13]" (or "xcnn[cuda12]" for a CUDA 12 driver)'
            raise BackendError(msg, where="backend 'cupy'") from error
        if not (device or "0").isdecimal():
            msg = f"device {device!r}; needed the number of a GPU, as in 'cupy:1'"
            raise BackendError(msg, where="backend 'cupy'")
        self.xp, self._cuda = xp, cupy.cuda
        try:
            found = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            msg = f"no CUDA GPU answers: {error}; needed an NVIDIA driver that `nvidia-smi` can reach"
            raise BackendError(msg, where="backend 'cupy'") from error
        if int(device or 0) >= found:
            msg = f"GPU {device} asked for; {found} found"
            raise BackendError(msg, where="backend 'cupy'")
        self._device = cupy.cuda.Device(int(device or 0))
        self.name = f"cupy:{self._device.id}"

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
