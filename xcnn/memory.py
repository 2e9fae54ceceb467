"""Memory of the device on which a backend computes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from xcnn.backend import Backend, get_backend
from xcnn.errors import BackendError

__all__ = ["MemoryInfo", "free_memory", "memory_info"]

PROCESS, MACHINE = Path("/proc/self/status"), Path("/proc/meminfo")


class MemoryInfo(NamedTuple):
    """How much memory is in use, in bytes.

    Attributes
    ----------
    used : int
        In the arrays of this process; on a host, in all that is the process's.
    reserved : int
        Held by this process, with what its library keeps for later arrays.
    free : int
        Left on the device, or on the machine, for every program.
    total : int
        There altogether.
    """

    used: int
    reserved: int
    free: int
    total: int


def memory_info(backend: str | Backend | None = None, /) -> MemoryInfo:
    """Return how much of a device's memory is in use.

    Parameters
    ----------
    backend : str, Backend or None
        See `get_backend`: ``"cupy:1"`` is the second GPU, ``"numpy"`` this machine; None: the default.

    Returns
    -------
    MemoryInfo
        In bytes. On a GPU, CUDA itself, cuDNN and recorded training steps hold memory that is neither
        used nor reserved, yet not free.

    Raises
    ------
    BackendError
        If the backend cannot be used, or does not tell.
    """
    opened = get_backend(backend)
    found = opened.memory_info() or (_machine() if opened.host else None)
    if found is None:
        msg = "does not tell how much memory is in use; needed a GPU, or a host that runs Linux"
        raise BackendError(msg, where=f"backend {opened.name!r}")
    return MemoryInfo(*found)


def free_memory(backend: str | Backend | None = None, /) -> None:
    """Give the memory that a library keeps for later arrays back to the device, for other programs.

    What arrays and models hold stays theirs: let go of them first (``del model``).

    Parameters
    ----------
    backend : str, Backend or None
        See `get_backend`; None is the default backend.

    Raises
    ------
    BackendError
        If the backend cannot be used.
    """
    get_backend(backend).free_memory()


def _machine() -> tuple[int, int, int, int] | None:
    """Return what Linux says of this process and of the machine."""
    try:
        process, machine = PROCESS.read_text(encoding="utf-8"), MACHINE.read_text(encoding="utf-8")
        texts = [(process, "VmRSS"), (process, "VmRSS"), (machine, "MemAvailable"), (machine, "MemTotal")]
        used, reserved, free, total = (
            1024 * int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) for text, name in texts
        )
    except (OSError, IndexError):
        return None
    return used, reserved, free, total
