"""``python -m bench``: see the package."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from pathlib import Path

from bench import environment, report
from bench.nets import NETS

ALL = {"batch": [1, 16, 64, 256], "threads": [1, 2]}


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser("python -m bench", description="xcnn against PyTorch, on the CPU.")
    add, several = parser.add_argument, environment.numbers
    own = ", ".join(f"{net.batch} for {name}" for name, net in NETS.items() if net.batch != 64)
    add("--nets", default=",".join(NETS), help="some of %(default)s")
    add("--batch", type=several, help=f"images in a batch, like 1,16,64 (64; {own})")
    add("--threads", type=several, help=f"of both sides, like 1,2 ({environment.processors()})")
    add("--all", action="store_true", help="batches 1, 16, 64, 256 and 1 and 2 threads, unless given")
    add("--seconds", type=float, default=1.5, help="for each time and side (%(default)s)")
    add("--repeats", type=int, default=5, help="processes for each import (%(default)s)")
    add("--no-fresh", dest="fresh", action="store_false", help="neither first steps nor memory")
    add("--json", type=Path, metavar="FILE", help="where to write the figures")
    add("--plot", type=Path, metavar="FILE.png", help="where to draw the ratios")
    options = parser.parse_args()
    options.nets = options.nets.split(",")
    for name in options.nets:
        if name not in NETS:
            parser.error(f"unknown net {name!r}; known: {', '.join(NETS)}")
    if options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}; needed at least 1")
    for name in ("json", "plot"):  # not after an hour
        path = getattr(options, name)
        if path and not path.absolute().parent.is_dir():
            parser.error(f"--{name} {path}: there is no folder {path.parent}")
    options.peer = importlib.util.find_spec("torch") is not None
    for name, needed in (("torch", "PyTorch to compare with"), ("matplotlib", "Matplotlib")):
        if options.plot and importlib.util.find_spec(name) is None:
            parser.error(f"--plot needs {needed} (pip install {name})")
    if options.all:
        options.batch = options.batch or ALL["batch"]
        options.threads = options.threads or ALL["threads"]
    options.threads = options.threads or [environment.processors()]
    return options


def main() -> None:
    """Measure, print the tables, write the figures, draw the ratios."""
    options = arguments()
    if environment.PIN in os.environ:
        pinned = f"{environment.PIN}={os.environ[environment.PIN]}"
        print(f"{pinned} is unset for this run: BLAS picks its kernels itself", flush=True)
    if not options.peer:
        print("PyTorch is not installed: xcnn is measured alone (pip install torch)", flush=True)
    given = {name: getattr(options, name) for name in ("nets", "seconds", "repeats", "peer", "fresh")}
    given["batches"] = options.batch
    found = []
    for threads in options.threads:
        found.append(environment.call("bench.measure", given | {"threads": threads}, threads))
        print(report.text(found[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from bench import plot

        plot.draw(found, options.plot)


if __name__ == "__main__":
    main()
