"""Time functions side by side, and leave out the chunks that other programs disturbed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["CHUNKS", "Timing", "interleave"]

CHUNKS = 7  # that a figure is the median of
TRIES = 3 * CHUNKS  # before disturbed ones must do
PAUSE = 0.05  # seconds: the threads of a BLAS spin on after their last job, and would slow the other side
TOLERATED = 0.05  # fraction of a chunk in which one processor may work for others
TICK = 0.01  # seconds: what /proc/stat resolves


class Timing(NamedTuple):
    """How long one call takes.

    Attributes
    ----------
    seconds : float
        Median over the chunks of each chunk's median call.
    chunks : int
        Chunks behind it.
    quiet : bool or None
        Whether nobody else used the processor meanwhile; None where the system does not tell.
    """

    seconds: float
    chunks: int
    quiet: bool | None


def interleave(
    runs: Mapping[str, tuple[Callable[[], object], Callable[[], None]]], seconds: float, /
) -> dict[str, Timing]:
    """Time functions in turns.

    Parameters
    ----------
    runs : mapping
        Name to (function, what to call before each chunk).
    seconds : float
        For each function, in all chunks together.

    Returns
    -------
    dict
        Name to Timing.
    """
    quiet: dict[str, list[float]] = {name: [] for name in runs}
    disturbed: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TRIES):
        for name, (run, reset) in runs.items():
            if len(quiet[name]) < CHUNKS:
                reset()
                time.sleep(PAUSE)
                median, others = _chunk(run, seconds / CHUNKS)
                (quiet if others is None or others <= 0 else disturbed)[name].append(median)
        if all(len(medians) >= CHUNKS for medians in quiet.values()):
            break
    told = _busy() is not None
    found = {}
    for name in runs:
        good = quiet[name] or disturbed[name]
        found[name] = Timing(statistics.median(good), len(good), bool(quiet[name]) if told else None)
    return found


def _chunk(run: Callable[[], object], seconds: float) -> tuple[float, float | None]:
    """Return the median time of a call, and by how many seconds others exceeded what is tolerated."""
    run()
    times: list[float] = []
    busy, own = _busy(), _own()
    begin = now = time.perf_counter()
    while now - begin < seconds or len(times) < 3:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        times.append(now - start)
    after = _busy()
    if busy is None or after is None:
        return statistics.median(times), None
    others = (after - busy) - (_own() - own)
    return statistics.median(times), others - max(2 * TICK, TOLERATED * (now - begin))


def _busy() -> float | None:
    """Return the seconds that all processors have worked since the system started, or None."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, first[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """Return the seconds that this process has worked."""
    spent = os.times()
    return spent.user + spent.system
