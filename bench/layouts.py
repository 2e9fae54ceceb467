"""Further ways to run an operation: kernels in a memory layout of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.cases import Case

__all__ = ["kernels"]


def kernels(case: Case, /) -> dict[str, Callable[[], Any]] | None:
    """Return ways to run a case on arrays that are already in a layout of their own.

    Each becomes a column of `bench.ops`, beside xcnn's op from NCHW to NCHW and PyTorch. Here is the place
    for the kernels of `backends/xcnn_numpy`: bring ``case.arrays`` into their layout, allocate what they
    write, and return functions that run nothing but the kernel.

    Parameters
    ----------
    case : Case
        Says ``op``, ``shape``, ``n`` and ``arrays``.

    Returns
    -------
    dict or None
        Heading of the column to function; None where there is no other way.
    """
    return None
