"""Time functions side by side, and leave out the chunks that other programs disturbed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["CHUNKS", "Timing", "busy", "interleave"]

CHUNKS = 7  # that a figure is the median of
TRIES = 3 * CHUNKS  # before disturbed ones must do
PATIENCE = 6  # times the seconds asked for, before what there is, or the least disturbed, must do
PAUSE = 0.05  # seconds: the threads of a BLAS spin on after their last job, and would slow the other side
WARM = 0.1  # seconds of calls before a chunk: threads that slept may wake on one processor, and stay a while
TOLERATED = 0.05  # fraction of a chunk in which one processor may work for others
TICK = 0.01  # seconds: what /proc/stat resolves
RENEW = 256  # calls after which a chunk begins anew: many steps on one batch would end in denormal numbers


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
    """Time functions in turns; who comes first changes from round to round.

    Parameters
    ----------
    runs : mapping
        Name to (function, what to call before each chunk, and in long ones now and then).
    seconds : float
        For each function, in all chunks together.

    Returns
    -------
    dict
        Name to Timing.
    """
    quiet: dict[str, list[float]] = {name: [] for name in runs}
    disturbed: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    names = list(runs)
    end = time.perf_counter() + PATIENCE * seconds * len(names)
    for _ in range(TRIES):
        for name in names:
            if len(quiet[name]) < CHUNKS:
                median, others = _chunk(*runs[name], seconds)
                if others is None or others <= 0:
                    quiet[name].append(median)
                else:
                    disturbed[name].append((others, median))
        if all(len(medians) >= CHUNKS for medians in quiet.values()) or time.perf_counter() > end:
            break
        names = [*names[1:], names[0]]
    told = busy() is not None
    found = {}
    for name in runs:
        good = quiet[name] or [median for _, median in sorted(disturbed[name])[:3]]
        found[name] = Timing(statistics.median(good), len(good), bool(quiet[name]) if told else None)
    return found


def _chunk(
    run: Callable[[], object], reset: Callable[[], None], seconds: float
) -> tuple[float, float | None]:
    """Return the median time of a call, and by how many seconds others exceeded what is tolerated."""
    reset()
    time.sleep(min(PAUSE, seconds))
    run()
    _calls(run, reset, min(WARM, seconds / CHUNKS), 0)
    worked, own = busy(), _own()
    begin = time.perf_counter()
    times = _calls(run, reset, seconds / CHUNKS, seconds)
    took, after = time.perf_counter() - begin, busy()
    if worked is None or after is None:
        return statistics.median(times), None
    others = (after - worked) - (_own() - own)
    return statistics.median(times), others - max(2 * TICK, TOLERATED * took)


def _calls(run: Callable[[], object], reset: Callable[[], None], seconds: float, most: float) -> list[float]:
    """Return how long calls take, for some seconds; if `most` allows, three of them, and one anyway."""
    times: list[float] = []
    begin = now = time.perf_counter()
    while not times or now - begin < (seconds if len(times) >= 3 else max(seconds, most)):
        if len(times) % RENEW == RENEW - 1:
            reset()
            run()
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        times.append(now - start)
    return times


def busy() -> float | None:
    """Return the seconds that all processors have worked since the system started, or None.

    Returns
    -------
    float or None
        None where the system does not tell.
    """
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
