"""NumPy on the processor: the backend that is always there."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xcnn import backend
from xcnn.errors import BackendError

__all__ = ["Backend"]


class Backend(backend.Backend):
    """NumPy arrays; lists and scalars count as NumPy's."""

    root = "numpy"
    owns = ("numpy",)
    host = True
    xp = xp

    def __init__(self, device: str = "") -> None:
        if device not in ("", "cpu"):
            msg = f"device {device!r}; NumPy has only 'cpu'"
            raise BackendError(msg, where="backend 'numpy'")
        self.name = "numpy"

    def asarray(self, a: Any, /, dtype: str | None = None) -> np.ndarray:
        """Return `a` as a NumPy array."""
        return np.asarray(a, dtype=dtype)

    @classmethod
    def to_numpy(cls, a: Any, /) -> np.ndarray:
        """Return `a`."""
        return np.asarray(a)
