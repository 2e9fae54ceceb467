"""``python -m bench``: see the package."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import ours, process, report
from bench.clock import interleave
from bench.nets import NETS
from bench.side import check

# What BLAS and PyTorch read when they are imported.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PIN = "OPENBLAS_CORETYPE"  # holds NumPy's BLAS to the kernels of a certain processor


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser("python -m bench", description="xcnn against PyTorch eager, on the CPU.")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--nets", default=",".join(NETS), help="some of %(default)s")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each time and side (%(default)s)")
    parser.add_argument("--threads", type=int, default=processors, help="of both sides (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="processes for each import (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    options.nets = options.nets.split(",")
    for name in options.nets:
        if name not in NETS:
            parser.error(f"unknown net {name!r}; known: {', '.join(NETS)}")
    for name in ("batch", "threads", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; needed at least 1")
    return options


def in_clean_environment(threads: int, /) -> None:
    """Start again unless BLAS and PyTorch will use `threads` threads, and BLAS kernels of its own choice."""
    wanted = dict.fromkeys(THREADS, str(threads))
    environment = {k: v for k, v in os.environ.items() if k != PIN} | wanted
    if environment != dict(os.environ):
        if PIN in os.environ:
            print(f"{PIN}={os.environ[PIN]} is unset for this run: BLAS picks its kernels itself", flush=True)
        sys.exit(subprocess.call([sys.executable, *sys.orig_argv[1:]], env=environment))


def measure(name: str, options: argparse.Namespace, *, peer: bool) -> dict[str, Any]:
    """Return the times and the memory of one net."""
    sides = {"xcnn": ours.build(NETS[name], options.batch)}
    found: dict[str, Any] = {"parameters": sum(w.size for w in sides["xcnn"].weights)}
    if peer:
        from bench import peer as theirs

        sides["torch"] = theirs.build(NETS[name], options.batch, sides["xcnn"].weights)
        check(sides["xcnn"], sides["torch"])
    for work in ("step", "predict"):
        runs = {side: (getattr(run, work), run.reset) for side, run in sides.items()}
        timings = interleave(runs, options.seconds)
        found[work] = {side: timing._asdict() for side, timing in timings.items()}
        if peer:
            found[work]["ratio"] = timings["torch"].seconds / timings["xcnn"].seconds
    found["memory"] = {side: process.memory(side, name, options.batch) for side in sides}
    return found


def main() -> None:
    """Measure, print the table, write the figures."""
    options = arguments()
    in_clean_environment(options.threads)
    peer = importlib.util.find_spec("torch") is not None
    if not peer:
        print("PyTorch is not installed: xcnn is measured alone (pip install torch)")
    result = {"machine": report.machine(), "threads": options.threads, "batch": options.batch}
    modules = ["numpy", "xcnn"] + ["torch"] * peer
    result["import_seconds"] = process.import_seconds(modules, options.repeats)
    result["nets"] = {}
    for name in options.nets:
        print(f"measuring {name} ...", file=sys.stderr)
        result["nets"][name] = measure(name, options, peer=peer)
    print(report.text(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
