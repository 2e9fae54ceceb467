"""``python -m bench.gpu``: one command on a machine with an NVIDIA GPU; everything that only a GPU can tell.

In this order, unless ``--parts`` says another: `xcnn doctor`; how far every op and some nets are from
NumPy's float64; measured peaks; net B on MNIST; steps and predictions of nets, batches and precisions
against PyTorch, the most telling first; the whole test suite on CuPy. Each part, and each row of the table,
is a process of its own with a time limit: a crash or a hang costs that one. Figures are written after each,
``--minutes`` ends in time, ``--resume`` goes on where it ended. What is printed is short; ``--log`` has all
the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import (
    environment,
    gpu_agree,
    gpu_mnist,
    gpu_peer,
    gpu_report,
    gpu_rows,
    gpu_tests,
    gpu_work,
    report,
)
from bench.gpu_process import Lost, ask

__all__ = ["arguments", "main"]

ROOT = Path(__file__).parents[1]
PARTS = ("doctor", "agreement", "peaks", "mnist", "rows", "tests")
QUICK = ("B", "LeNet-5", "ResNet-18")
CUPTI = {"DISABLE_CUPTI_LAZY_REINIT": "1", "TEARDOWN_CUPTI": "0"}  # it must outlive recorded graphs
LIMITS = {"agreement": 300, "peaks": 120, "mnist": 180, "row": 150, "compile": 300, "tests": 3600}  # seconds
CRASHES = 5  # after so many, the rest of the agreement is left out


def arguments(given: Sequence[str] | None = None, /) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser("python -m bench.gpu", description="xcnn against PyTorch, on a GPU.")
    add = parser.add_argument
    add("--parts", default=",".join(PARTS), type=_words(PARTS), help="which, in order (%(default)s)")
    add("--nets", type=_words(gpu_rows.ALL), help=f"some of {','.join(gpu_rows.ALL)}")
    add("--batch", type=environment.numbers, help="images in a batch, like 64,512 (64,512,2048)")
    add("--precisions", type=_words(gpu_rows.SLACK), help=f"some of {','.join(gpu_rows.SLACK)}")
    add("--peers", default=",".join(gpu_peer.KINDS), help="some of %(default)s, or none")
    add("--quick", action="store_true", help="three nets, batch 64 and 512, no torch.compile, no tests")
    add("--minutes", type=float, default=float("inf"), help="everything ends after so many")
    add("--seconds", type=float, default=0.5, help="of timing, for each side and work (%(default)s)")
    add("--backend", default="cupy", help="ours (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="where to write the figures")
    add("--log", type=Path, metavar="FILE", help="where to write what processes and tests print")
    add("--resume", action="store_true", help="keep the figures of --json and measure what it lacks")
    options = parser.parse_args(given)
    options.nets = options.nets or list(QUICK if options.quick else gpu_rows.ALL)
    options.batch = options.batch or ([64, 512] if options.quick else None)
    try:
        options.peers = [] if options.peers == "none" else _words(gpu_peer.KINDS)(options.peers)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --peers: {error}")
    if options.quick:
        options.peers = [kind for kind in options.peers if kind != "compile"]
        options.parts = [part for part in options.parts if part != "tests"]
    for name in ("json", "log"):
        file = getattr(options, name)
        if file and not file.absolute().parent.is_dir():
            parser.error(f"--{name} {file}: there is no folder {file.parent}")
    if options.resume and not options.json:
        parser.error("--resume needs --json FILE")
    return options


def _words(known: Sequence[str] | dict[str, Any], /) -> Callable[[str], list[str]]:
    """Return what makes a list of an option like ``A,B``."""

    def words(text: str) -> list[str]:
        found = text.split(",")
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown {name!r}; known: {', '.join(known)}")
        return found

    return words


class Run:
    """What was found so far; every piece is written as soon as it is there.

    Parameters
    ----------
    options : argparse.Namespace
        Of `arguments`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.begin = options, time.monotonic()
        self.found: dict[str, Any] = {}
        if options.resume and options.json.exists():
            self.found = json.loads(options.json.read_text(encoding="utf-8"))
        self.found["machine"] = report.machine()
        self.found["left"] = []

    def left(self) -> float:
        """Return the seconds that are left."""
        return 60 * self.options.minutes - (time.monotonic() - self.begin)

    def keep(self, name: str, value: Any) -> None:
        """Keep what was found, and write all of it."""
        self.found[name] = value
        if self.options.json:
            new = self.options.json.with_suffix(".new")
            new.write_text(json.dumps(self.found, indent=1, default=str) + "\n", encoding="utf-8")
            new.replace(self.options.json)

    def ask(self, limit: str, work: Callable[..., Any], *given: Any) -> Any:
        """Yield what a process gives within a limit, and within what is left."""
        return ask(work, *given, seconds=max(min(LIMITS[limit], self.left()), 1), log=self.options.log)

    def part(self, name: str) -> None:
        """Find one part, unless it was found before; if it fails, the others are found all the same."""
        before = self.found.get(name)
        if self.left() <= 0 or (before is not None and "error" not in before and name not in RESUMED):
            return
        print(f"\n== {name}", flush=True)
        try:
            FIND[name](self)
        except Exception as error:
            self.keep(name, {"error": f"{type(error).__name__}: {error}"})
            print(self.found[name]["error"], flush=True)


def doctor(run: Run, /) -> None:
    """Print and keep what `xcnn doctor` says."""
    command = [sys.executable, "-m", "xcnn", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    print(done.stdout + done.stderr, flush=True)
    run.keep("doctor", done.stdout + done.stderr)


def agreement(run: Run, /) -> None:
    """Keep how far ops and nets are from NumPy's float64, and print a line for what is wrong."""
    found, crashes = run.found.get("agreement", []), 0
    found = found if isinstance(found, list) else []
    todo = gpu_agree.todo(gpu_agree.NETS)
    while len(found) < len(todo) and crashes < CRASHES and run.left() > 0:
        try:
            given = run.options.backend, gpu_agree.NETS, len(found)
            for row in run.ask("agreement", gpu_agree.differences, *given):
                run.keep("agreement", [*found, row])
                found = run.found["agreement"]
        except Lost as error:
            crashes += 1
            run.keep("agreement", [*found, gpu_agree.failure(todo[len(found)], error)])
            found = run.found["agreement"]
    if run.options.log:
        with run.options.log.open("a", encoding="utf-8") as log:
            log.write(gpu_agree.table(found) + "\n")
    print(gpu_agree.summary(found, len(todo)), flush=True)


def peaks(run: Run, /) -> None:
    """Keep what products and copies reach here."""
    for found in run.ask("peaks", gpu_work.peaks, gpu_work.SIZE, gpu_work.COPIED, run.options.seconds):
        run.keep("peaks", found)


def mnist(run: Run, /) -> None:
    """Keep how long net B takes to learn MNIST's digits."""
    for found in run.ask("mnist", gpu_mnist.learn, run.options.backend):
        run.keep("mnist", found)
        print(found, flush=True)


def rows(run: Run, /) -> None:
    """Measure row after row, until the time is over."""
    options = run.options
    wanted = gpu_rows.rows(options.nets, options.batch, options.precisions)
    kept = {gpu_rows.key(row): row for row in run.found.get("rows", [])}
    kinds = options.peers if run.found["torch"] else []
    for row, peers in gpu_rows.schedule(wanted, tuple(kinds)):
        before, late = kept.get(row), peers == ("compile",)
        if late and (before is None or "step" not in before or "compile" in before):
            continue
        if before is not None and not late:
            continue
        label = " ".join(map(str, row)) + " compile" * late
        found = _row(run, row, peers, "compile" if late else "row") if run.left() > 0 else None
        if found is None:
            run.found["left"].append(label)
            continue
        kept[row] = gpu_rows.merge(before, found) if late and before else found
        run.keep("rows", list(kept.values()))
        print(f"{run.left():6.0f} s left: {label}: {gpu_report.line(found)}", file=sys.stderr, flush=True)


def _row(run: Run, row: gpu_rows.Row, peers: tuple[str, ...], limit: str) -> dict[str, Any] | None:
    """Return the figures of a row without the peers that crash or hang; None if the time was over."""
    failed: dict[str, str] = {}
    while True:
        found = gpu_rows.empty(row)
        given = row, run.options.seconds, peers, run.found.get("peaks", {}), run.options.backend
        try:
            for figures in run.ask(limit, gpu_rows.measure, *given):
                found = figures
        except Lost as error:
            if run.left() <= 1 and "step" not in found:
                return None
            culprit = found["doing"]
            failed[culprit] = str(error)[:300]
            peers, before = tuple(kind for kind in peers if kind != culprit), peers
            if "step" not in found and peers and peers != before:
                continue
        return found | {"failed": found["failed"] | failed}


def tests(run: Run, /) -> None:
    """Run the test suite on the backend and on NumPy; keep the exit status, the counts and what failed."""
    seconds, told = min(LIMITS["tests"], run.left()), list[str]()
    try:
        for line in run.ask("tests", gpu_tests.lines, run.options.backend, seconds):
            told.append(line)
    except Lost as error:
        print(error, flush=True)
    found = gpu_tests.results(told)
    run.keep("tests", found)
    print("\n".join([*(line[:160] for line in found["failed"][:20]), str(found["counts"])]), flush=True)


FIND = {
    "doctor": doctor,
    "agreement": agreement,
    "peaks": peaks,
    "mnist": mnist,
    "rows": rows,
    "tests": tests,
}
RESUMED = ("agreement", "rows")  # parts that look themselves what is missing


def main(given: Sequence[str] | None = None, /) -> int:
    """Do all parts; return 0, or 1 if a test failed or numbers differ, 2 without a GPU."""
    run = Run(arguments(given))
    for name, value in CUPTI.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if "doctor" in run.options.parts:
            run.part("doctor")
        try:
            for name, value in run.ask("peaks", gpu_rows.sides, run.options.backend):
                run.keep(name, value)
        except Lost as error:
            print(error, file=sys.stderr)
            return 2
        if not run.found["torch"]:
            print("PyTorch with CUDA is not here: xcnn is measured alone (pip install torch)", flush=True)
        for part in run.options.parts:
            if part != "doctor":
                run.part(part)
    except KeyboardInterrupt:
        print("stopped: what was measured until then", file=sys.stderr)
    run.keep("left", run.found["left"])
    print(gpu_report.text(run.found), flush=True)
    agreed, tested = run.found.get("agreement", []), run.found.get("tests", {})
    wrong = "error" in agreed or any(not row["fine"] for row in agreed if isinstance(row, dict))
    return int(wrong or tested.get("code", "error" in tested) != 0)


if __name__ == "__main__":
    sys.exit(main())
