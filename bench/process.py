"""What needs processes of its own: peak memory, the time to a first step, the time of an import."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.nets import NETS

__all__ = ["CACHE", "fresh", "import_seconds", "start"]

CACHE = "XCNN_CACHE_DIR"  # names the folder of compiled kernels
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


def fresh(net: str, size: int, /, *, peer: bool) -> dict[str, dict[str, Any]]:
    """Return what processes that begin with nothing take until their first step, and in memory.

    Parameters
    ----------
    net : str
        Which of `NETS`.
    size : int
        Images in the batch.
    peer : bool
        Whether to measure PyTorch too.

    Returns
    -------
    dict
        ``cold`` (xcnn, no kernel compiled before), ``warm`` (xcnn, once more) and ``torch``, each to what
        `start` returns.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        sides = {"cold": "xcnn", "warm": "xcnn"} | ({"torch": "torch"} if peer else {})
        return {name: start(side, net, size, **{CACHE: cache}) for name, side in sides.items()}


def start(side: str, net: str, size: int, /, **environment: str) -> dict[str, Any]:
    """Start a process that builds one net of one side, and takes steps and predictions.

    Parameters
    ----------
    side : {"xcnn", "torch"}
        Which framework.
    net : str
        Which of `NETS`.
    size : int
        Images in the batch.
    **environment : str
        Further variables.

    Returns
    -------
    dict
        ``first_step``, seconds from the start of the process; in bytes, or None where the system does not
        tell, ``imports``, the peak of memory once the framework is imported, and ``run``, by how much all
        that came after raised it.
    """
    begin = time.time()
    out = _python("-m", "bench.process", side, net, str(size), **environment)
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    found["first_step"] -= begin
    return found


def _python(*arguments: str, **environment: str) -> str:
    """Return what a new process prints; what it says of itself is shown only if it fails."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.strip()


def _peak() -> int | None:
    """Return the peak of this process's resident memory in bytes, or None where the system does not tell."""
    try:  # not ru_maxrss, which on Linux begins with the peak of the process that started this one
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
    except (OSError, IndexError):
        if importlib.util.find_spec("resource") is None:
            return None
        usage = importlib.import_module("resource")
        peak: int = usage.getrusage(usage.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _measure(side: str, net: str, size: str) -> None:
    """Print the time after the first step, the peak before the net is built, and what was added to it."""
    framework = importlib.import_module(SIDES[side])
    imports = _peak()
    run = framework.build(NETS[net], int(size))
    float(run.step())
    first_step = time.time()
    for _ in range(CALLS):
        run.predict()
        run.step()
    peak = _peak()
    added = None if imports is None or peak is None else peak - imports
    print(json.dumps({"first_step": first_step, "imports": imports, "run": added}))


if __name__ == "__main__":
    _measure(*sys.argv[1:])
