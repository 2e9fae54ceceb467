"""What a process holds, and whether that grows while it does the same again and again."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import sys
import threading
import time
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

STATUS = Path("/proc/self/status")
WHOLE = os.environ.get("XCNN_TEST_WHOLE") == "1"
NO_PROC = "resident memory and open files are read from /proc, which only Linux has"

PARTS = 4
# A leak grows in every part of a run; what grows in one part only (a dictionary that doubles, a page that the
# allocator keeps) is none. So the smallest growth of the parts is compared with half of the smallest leak:
TRACED = 4 / 2  # bytes a step that Python knows of: one 4-byte number, as in an array("f")
RESIDENT = 4096 / 4  # bytes a step: a quarter of the smallest batch (16 images of 8 x 8 in float32)


# CPython keeps the names of up to 4,096 attributes that were looked up, by their addresses: with names made
# at run time, getattr(torch, "float" + "32"), it takes thousands of steps until that cache is full.
_forget_lookups = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache


class Held(NamedTuple):
    """What a process holds."""

    resident: int  # bytes of memory, of whatever kind
    traced: int  # bytes that Python allocated, as far as tracemalloc watches
    objects: int  # of classes of xcnn and its backends
    files: int
    threads: int


def status(key: str) -> int:
    """Return a number of /proc/self/status in bytes: VmRSS, RssAnon, VmHWM."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def held() -> Held:
    """Return what this process holds, after collecting garbage."""
    _forget_lookups()
    gc.collect()
    modules = (str(type(a).__module__) for a in gc.get_objects())
    objects = sum(module.startswith("xcnn") for module in modules)
    traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
    files = len(os.listdir("/proc/self/fd"))
    return Held(status("VmRSS"), traced, objects, files, threading.active_count())


def growth(work: Callable[[int], Any], steps: int) -> list[Held]:
    """Return what is held before, between and after parts of ``work(steps)``."""
    size = len(Held._fields)
    found = array("q", bytes(8 * size * (PARTS + 1)))  # made now: readings are not to be held themselves
    for part in range(PARTS + 1):
        if part:
            work(steps // PARTS)
        for i, number in enumerate(held()):
            found[part * size + i] = number
    return [Held(*found[i : i + size]) for i in range(0, len(found), size)]


def leaks(found: list[Held], steps: int) -> list[str]:
    """Return what grew in every part of a run."""
    words = []
    for name, limit in {
        "resident": RESIDENT,
        "traced": TRACED,
        "objects": 0,
        "files": 0,
        "threads": 0,
    }.items():
        values = [getattr(each, name) for each in found]
        least = min(b - a for a, b in itertools.pairwise(values)) / max(steps // PARTS, 1)
        if least > limit:
            words.append(f"{name}: {least:.3g} a step in each part; {values}")
    return words


def watch(work: Callable[[int], Any], steps: int, traced: int, warm: int = 0) -> dict[str, Any]:
    """Return what leaks while `work` does steps, plainly, then others watched by tracemalloc; and figures."""
    began = time.process_time()
    work(warm)
    plain = growth(work, steps)
    words = leaks(plain, steps)
    seconds = time.process_time() - began
    tracemalloc.start()
    work(warm // 3)
    known = [each._replace(resident=0) for each in growth(work, traced)]  # tracemalloc's own tables grow
    tracemalloc.stop()
    return {
        "leaks": words + leaks(known, traced),
        "resident, MB": [round(each.resident / 2**20, 2) for each in plain],
        "traced, bytes": [each.traced for each in known],
        "seconds, without tracemalloc": round(seconds, 1),
    }


def planted(work: Callable[[int], Any], leak: str) -> Callable[[int], Any]:
    """Return `work` with a leak in every step."""
    kept: list[Any] = []
    numbers = array("f")
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

    def plant() -> None:
        if leak == "number":
            numbers.append(1.0)
        elif leak == "batch":  # in memory that Python does not know of
            ctypes.memset(libc.malloc(4096), 1, 4096)
        elif leak == "object":
            from xcnn.layers import ReLU

            kept.append(ReLU())
        elif leak == "file":
            kept.append(open(os.devnull))  # noqa: SIM115
        elif leak == "thread":
            thread = threading.Thread(target=threading.Event().wait, daemon=True)
            thread.start()

    def leaking(steps: int) -> None:
        work(steps)
        for _ in range(steps):
            plant()

    return leaking
