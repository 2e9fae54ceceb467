"""How many threads kernels use, and the lock among those that build. None of it imports Numba."""

from __future__ import annotations

import os
import threading

__all__ = ["BUILDING", "get_num_threads", "set_num_threads"]


def _default() -> int:
    """Return what XCNN_NUM_THREADS or OMP_NUM_THREADS says, or how many processors this process may use."""
    for name in ("XCNN_NUM_THREADS", "OMP_NUM_THREADS"):
        wanted = os.environ.get(name, "")
        if wanted.isdigit() and int(wanted):
            return int(wanted)
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_count = _default()
BUILDING = threading.RLock()  # of those that compile kernels and build programs
if hasattr(os, "register_at_fork"):  # a fork waits for them: its child would wait for ever
    os.register_at_fork(
        before=BUILDING.acquire, after_in_parent=BUILDING.release, after_in_child=BUILDING.release
    )


def get_num_threads() -> int:
    """Return how many threads kernels use at most; small ones use fewer.

    Returns
    -------
    int
        At least 1.
    """
    return _count


def set_num_threads(n: int, /) -> None:
    """Let kernels use n threads from now on.

    Parameters
    ----------
    n : int
        At least 1.
    """
    global _count
    _count = n
