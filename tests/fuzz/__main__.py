"""Give targets nonsense until they break: ``python -m tests.fuzz TARGET... [--runs N] [--seed S]``.

With atheris (``pip install -e ".[fuzz]"``) it is led by the coverage of xcnn's own code; without it, or with
``--engine random``, mutation goes on blindly. Each target begins with small valid inputs, made on the spot.
For each one a line tells how many inputs it had, how long they took and what came of them. An input that
makes xcnn do anything but return or refuse in one clear error is a fault: it is kept in ``--faults``
(a folder) and told with its traceback; ``--replay FILE`` gives it to the target again.

A process that dies, or takes 5 seconds for one input, is a fault too. Where it ended, a new one goes on. A
further target is ten lines in a module of this folder: see `tests.fuzz.harness`.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import mmap
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
LARGEST = 2**18
"""Bytes of an input."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="by default all")
    parser.add_argument("--runs", type=int, default=10_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("atheris", "random"), default=None)
    parser.add_argument("--faults", type=Path, default=Path("fuzz-faults"), help="a folder for what breaks")
    parser.add_argument("--replay", type=Path, help="give one file to the target")
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


class Worker:
    """Runs one target, and leaves what it found in a folder for its parent, who outlives it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.folder = arguments, arguments.worker
        self.name = arguments.targets[0]
        path = self.folder / "current"
        path.write_bytes(bytes(8 + LARGEST))
        with open(path, "r+b") as file:
            self.current = mmap.mmap(file.fileno(), 0)

    def run(self) -> None:
        faulthandler.enable()
        if self.arguments.engine == "atheris":
            import atheris

            self.atheris = atheris
            with atheris.instrument_imports(include=["xcnn"], enable_loader_override=False):
                self.prepare()
        else:
            self.prepare()
        from tests.fuzz.harness import guarded, random_inputs

        with guarded() as self.start:
            if self.arguments.engine == "random":
                for data in random_inputs(self.target, self.arguments.runs, self.arguments.seed):
                    self.one(data[:LARGEST])
            else:
                self.fuzz()

    def prepare(self) -> None:
        """Import and compile all that the target needs."""
        from tests.fuzz.harness import Report, prepared, targets

        self.target = targets()[self.name]
        self.seeds = prepared(self.target)
        self.report = Report(self.target)

    def one(self, data: bytes) -> None:
        """Check an input, after a note of it that outlives this process."""
        self.current[:8] = len(data).to_bytes(8, "little")
        self.current[8 : 8 + len(data)] = data
        self.start()
        known = len(self.report.faults)
        self.report.add(data)
        n = self.report.outcomes.total()
        if n == self.arguments.runs or n % 500 == 0 or len(self.report.faults) > known:
            self.note()
        if n == self.arguments.runs:
            os._exit(0)  # libFuzzer would go through destructors that may wait for each other

    def note(self) -> None:
        """Write the counts, and the faults that are new."""
        for place, (data, trace) in self.report.faults.items():
            path = self.folder / hashlib.sha256(place.encode()).hexdigest()[:12]
            if not path.exists():
                path.with_suffix(".txt").write_text(f"{place}\n{trace}")
                path.write_bytes(data)
        told = {"outcomes": self.report.outcomes, "line": self.report.extremes()}
        (self.folder / "told.new").write_text(json.dumps(told))
        (self.folder / "told.new").replace(self.folder / "told.json")

    def fuzz(self) -> None:
        """Let atheris, with libFuzzer, look for inputs that reach what none reached before."""
        corpus = self.folder / "corpus"
        corpus.mkdir()
        for i, seed in enumerate(self.seeds):
            (corpus / str(i)).write_bytes(seed)
        flags = {
            "runs": self.arguments.runs,
            "seed": self.arguments.seed % 2**31 or 1,
            "max_len": LARGEST,
            "len_control": 0,
            "timeout": 0,  # the watch is the harness's
            "rss_limit_mb": 0,
            "print_final_stats": 0,
            "verbosity": 1,
        }
        given = [f"-{key}={value}" for key, value in flags.items()]
        self.atheris.Setup(["fuzz", *given, str(corpus)], self.one, custom_mutator=self.mutate)
        self.atheris.Fuzz()

    def mutate(self, data: bytes, largest: int, seed: int) -> bytes:
        """Break an input where it tells, or let libFuzzer do as it learnt."""
        rng = random.Random(seed)
        try:
            # What is refused early covers much, and would crowd out what is nearly right.
            if rng.random() < 0.3:
                data = rng.choice(self.seeds)
            if rng.random() < 0.5:
                return self.target.mutate(data, rng)[:largest]
            return self.target.repair(self.atheris.Mutate(data, largest))[:largest]
        except Exception:
            traceback.print_exc()
            os._exit(1)


class Parent:
    """Runs one target in processes of its own, and tells what came of as many inputs as are wanted."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        self.name, self.arguments = name, arguments
        self.outcomes: Counter[str] = Counter()
        self.found: set[str] = set()
        self.died, self.line = 0, ""

    def run(self) -> bool:
        """Return whether there was no fault."""
        from tests.fuzz.harness import memory

        begun, seed = time.monotonic(), self.arguments.seed
        left = self.arguments.runs
        while left > 0 and self.died < 10:
            with tempfile.TemporaryDirectory(prefix="xcnn-fuzz-", dir=memory()) as folder:
                left -= max(1, self.process(Path(folder), left, seed))
            seed += 1000
        seconds, n = time.monotonic() - begun, self.outcomes.total()
        told = f"{n:,} inputs, {self.arguments.engine}, seed {self.arguments.seed}, {seconds:.0f} s"
        print(f"{self.name}: {told}, {n / seconds:,.0f}/s, {self.line}")
        kinds = [f"{kind} {count:,}" for kind, count in self.outcomes.most_common()]
        print(f"  {', '.join(kinds)}", flush=True)
        return not self.found and not self.died

    def process(self, folder: Path, runs: int, seed: int) -> int:
        """Run one process to its end, and return how many inputs it had."""
        command = [sys.executable, "-m", "tests.fuzz", self.name, "--worker", str(folder)]
        command += ["--engine", self.arguments.engine, "--runs", str(runs), "--seed", str(seed)]
        env = {**os.environ, "TMPDIR": str(folder)}
        with open(folder / "err", "wb") as errors:
            ended = subprocess.run(command, cwd=ROOT, env=env, stdout=errors, stderr=errors, check=False)
        done = 0
        if (folder / "told.json").exists():
            told = json.loads((folder / "told.json").read_text())
            self.outcomes.update(told["outcomes"])
            self.line, done = told["line"], sum(told["outcomes"].values())
        for trace in folder.glob("*.txt"):
            place = trace.read_text().partition("\n")[0]
            if place not in self.found:
                self.found.add(place)
                self.keep(trace.with_suffix("").read_bytes(), trace.read_text())
        if done < runs:
            self.died += 1
            last = (folder / "current").read_bytes() if (folder / "current").exists() else bytes(8)
            length = int.from_bytes(last[:8], "little")
            errors = (folder / "err").read_text(errors="replace")[-6000:]
            self.keep(last[8 : 8 + length], f"the process ended with {ended.returncode}\n{errors}")
        return done

    def keep(self, data: bytes, told: str) -> None:
        """Write an input to the folder of faults, and tell why."""
        self.arguments.faults.mkdir(parents=True, exist_ok=True)
        path = self.arguments.faults / f"{self.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        print(f"{self.name}: FAULT {path}\n{told}")


def main() -> int:
    """Run what the command line names."""
    arguments = _arguments()
    if arguments.worker:
        Worker(arguments).run()
        return 0
    from importlib.util import find_spec

    from tests.fuzz.harness import check, guarded, prepared, targets

    if arguments.list:
        print("\n".join(targets()))
        return 0
    unknown = sorted(set(arguments.targets) - set(targets()))
    if unknown:
        print(f"unknown target {unknown[0]!r}; known: {', '.join(targets())}", file=sys.stderr)
        return 2
    if arguments.replay:
        target = targets()[arguments.targets[0]]
        prepared(target)
        with guarded() as start:
            start()
            print(check(target, arguments.replay.read_bytes()))
        return 0
    arguments.engine = arguments.engine or ("atheris" if find_spec("atheris") else "random")
    return 0 if all([Parent(name, arguments).run() for name in arguments.targets or targets()]) else 1


if __name__ == "__main__":
    os.environ.setdefault("XCNN_NUM_THREADS", "1")
    sys.exit(main())
