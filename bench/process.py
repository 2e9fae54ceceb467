"""What needs processes of its own: peak memory, and the time of an import."""

from __future__ import annotations

import importlib
import importlib.util
import re
import statistics
import subprocess
import sys
from pathlib import Path

from bench.nets import NETS

__all__ = ["import_seconds", "memory"]

CALLS = 5  # steps and predictions whose memory is measured
SIDES = {"xcnn": "bench.ours", "torch": "bench.peer"}
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def import_seconds(modules: list[str], repeats: int, /) -> dict[str, float]:
    """Return how long each import takes in a fresh process, compiled files and disk cache warm.

    Parameters
    ----------
    modules : list of str
        What to import, in turns.
    repeats : int
        Processes for each, after a first one that does not count; the median is taken.

    Returns
    -------
    dict
        Module to seconds.
    """
    found: dict[str, list[float]] = {module: [] for module in modules}
    for turn in range(repeats + 1):
        for module in modules:
            out = _python("-c", IMPORT.format(module))
            if turn:
                found[module].append(float(out))
    return {module: statistics.median(times) for module, times in found.items()}


def memory(side: str, net: str, size: int, /) -> dict[str, int] | None:
    """Return the peak memory of a process that runs one net of one side.

    Parameters
    ----------
    side : {"xcnn", "torch"}
        Which framework.
    net : str
        Which of `NETS`.
    size : int
        Images in the batch.

    Returns
    -------
    dict or None
        In bytes: ``imports``, the peak once the framework is imported; ``run``, by how much building the net,
        steps and predictions raised it. None where the system does not tell.
    """
    before, after = map(int, _python("-m", "bench.process", side, net, str(size)).split())
    return {"imports": before, "run": after - before} if before else None


def _python(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def _peak() -> int:
    """Return the peak of this process's resident memory in bytes, or 0 where the system does not tell."""
    try:  # not ru_maxrss, which on Linux begins with the peak of the process that started this one
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
    except (OSError, IndexError):
        if importlib.util.find_spec("resource") is None:
            return 0
        usage = importlib.import_module("resource")
        peak: int = usage.getrusage(usage.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _measure(side: str, net: str, size: str) -> None:
    """Print the peak before the net is built, and after it ran."""
    framework = importlib.import_module(SIDES[side])
    before = _peak()
    run = framework.build(NETS[net], int(size))
    for _ in range(CALLS):
        run.step()
        run.predict()
    print(before, _peak())


if __name__ == "__main__":
    _measure(*sys.argv[1:])
