"""Linear algebra, as far as array-api-compat asks for its names."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupy._apply import apply
from cupy._functions import namespace

_BLAS = ("matmul", "tensordot", "outer", "vecdot", "cross")


def _function(name: str) -> Any:
    function = getattr(np.linalg, name)
    return lambda *args, **kwargs: apply("matmul", function, *args, **kwargs)


for _name in (
    "cholesky",
    "det",
    "eigh",
    "inv",
    "lstsq",
    "matrix_rank",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
):
    globals()[_name] = _function(_name)
globals().update({name: one for name, one in namespace().items() if name in _BLAS})
LinAlgError = np.linalg.LinAlgError
