"""What the emulated device counted, for tests: a real CuPy has no such module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

syncs = 0  # times the host waited for the device: float(a), bool(a), a.item(), a.get(), synchronize()
uploads = 0  # times numbers went from the host to the device
launches = 0  # kernels and array functions that ran or were recorded, views not among them
replays = 0  # graphs launched


def count(name: str, /) -> None:
    """Add one to a counter of this module."""
    globals()[name] += 1


def counted(f: Callable[[], Any], /) -> dict[str, int]:
    """Return how far each counter moved while `f` ran."""
    names = ("syncs", "uploads", "launches", "replays")
    before = {name: globals()[name] for name in names}
    f()
    return {name: globals()[name] - before[name] for name in names}
