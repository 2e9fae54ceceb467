"""Arrays of plain Python numbers: every number of a network can be looked at, and no library is needed.

Read `layout.py`, `dtypes.py` and `array.py`, in that order; the rest are short functions over them.
`tensor.py` has the operations of a teaching text under their names.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn import backend
from xcnn.errors import BackendError, DTypeError
from xcnn_python import dtypes, namespace
from xcnn_python.array import Array

__all__ = ["Backend"]


class Backend(backend.Backend):
    """Arrays of plain Python numbers, for reading and teaching: hundreds of times slower than NumPy's."""

    root = "python"
    owns = ("xcnn_python",)

    def __init__(self, device: str = "") -> None:
        if device not in ("", "cpu"):
            msg = f"device {device!r}; plain Python has only 'cpu'"
            raise BackendError(msg, where="backend 'python'")
        self.xp, self.name, self.host = namespace, "python", True

    def asarray(self, a: Any, /, dtype: str | None = None) -> Any:
        """Return `a` as Python numbers: a copy, unless it is one already."""
        if isinstance(a, Array):
            return namespace.astype(a, dtypes.named(dtype or a.dtype), copy=False)
        host = np.asarray(a, dtype=dtype)
        try:
            kind = dtypes.named(host.dtype)
        except TypeError as error:
            raise DTypeError(str(error), where="backend 'python'") from None
        return Array(host.ravel().tolist(), host.shape, kind)

    @classmethod
    def to_numpy(cls, a: Any, /) -> np.ndarray:
        """Return `a` as a NumPy array."""
        return np.array(a.data, dtype=a.dtype.name).reshape(a.shape)
