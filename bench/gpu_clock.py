"""Time work on a GPU: calls are handed over one after the other, and the last one is waited for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["CHUNKS", "interleave", "once"]

CHUNKS = 7  # that a figure is the median of
LEAST = 3  # calls in a chunk

Run = tuple[Callable[[], object], Callable[[], None]]


def interleave(runs: Mapping[str, Run], seconds: float, /) -> dict[str, float]:
    """Time functions in turns; who comes first changes from round to round.

    Parameters
    ----------
    runs : mapping
        Name to (function, what waits until the GPU is done). They are warm already.
    seconds : float
        For each function, in all chunks together.

    Returns
    -------
    dict
        Name to seconds of one call: the median over chunks of many calls each.
    """
    each = {name: _chunk(*run, LEAST) for name, run in runs.items()}
    calls = {name: max(LEAST, round(seconds / CHUNKS / max(took, 1e-9))) for name, took in each.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(CHUNKS):
        for name in names:
            found[name].append(_chunk(*runs[name], calls[name]))
        names = [*names[1:], names[0]]
    return {name: statistics.median(times) for name, times in found.items()}


def once(run: Callable[[], object], wait: Callable[[], None], seconds: float, /) -> float:
    """Return the seconds of one call of a function alone.

    Parameters
    ----------
    run, wait : callable
        The function, and what waits until the GPU is done.
    seconds : float
        In all chunks together.

    Returns
    -------
    float
        See `interleave`.
    """
    _chunk(run, wait, LEAST)
    return interleave({"": (run, wait)}, seconds)[""]


def _chunk(run: Callable[[], object], wait: Callable[[], None], calls: int) -> float:
    """Return the seconds of one of so many calls."""
    run()  # the clocks of a GPU that waited are low
    wait()
    begin = time.perf_counter()
    for _ in range(calls):
        run()
    wait()
    return (time.perf_counter() - begin) / calls
