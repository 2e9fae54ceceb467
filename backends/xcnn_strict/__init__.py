"""array-api-strict: the Python array API standard and nothing else, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn import backend
from xcnn.errors import BackendError

__all__ = ["Backend"]


class Backend(backend.Backend):
    """Arrays of array-api-strict, on any of its pretended devices.

    The main device, ``CPU_DEVICE``, needs no name; ``device1``, ``device2`` and ``no_float64`` do.
    Values are not read inside a step, as on a GPU.
    """

    root = "strict"
    owns = ("array_api_strict",)
    many_devices = True
    host = False

    def __init__(self, device: str = "") -> None:
        try:
            import array_api_strict as xp
        except ImportError as error:
            msg = f'{error}; needed: pip install "xcnn[dev]"'
            raise BackendError(msg, where="backend 'strict'") from error
        try:
            self._device = xp.Device(device or "CPU_DEVICE")
        except ValueError as error:
            raise BackendError(str(error), where="backend 'strict'") from error
        self.xp, self._array = xp, type(xp.asarray(0))
        device = self.device(xp.zeros(1, dtype=xp.float32, device=self._device))
        self.name = f"strict:{device}" if device else "strict"

    def asarray(self, a: Any, /, dtype: str | None = None) -> Any:
        """Return `a` on this device."""
        xp = self.xp
        kind = None if dtype is None else getattr(xp, dtype)
        if isinstance(a, self._array):
            a = a if a.device == self._device else a.to_device(self._device)
            return a if kind in (None, a.dtype) else xp.astype(a, kind)
        return xp.asarray(np.asarray(a, dtype=dtype), dtype=kind, device=self._device, copy=True)

    @classmethod
    def to_numpy(cls, a: Any, /) -> np.ndarray:
        """Return `a` on the host."""
        import array_api_strict as xp

        return np.asarray(a.to_device(xp.Device("CPU_DEVICE")))

    @classmethod
    def device(cls, a: Any, /) -> str:
        """Return the name of the pretended device; the main one's is empty."""
        name = str(a.device).split("'")[1]
        return "" if name == "CPU_DEVICE" else name
