"""What every target of the fuzzers is held to: it returns, or refuses in one clear error of xcnn.

A target is one function from bytes. `targets` finds all of them, in every module of this folder::

    import xcnn
    from tests.fuzz.harness import Target, folder, written
    from tests.fuzz.models import models

    def _call(content: bytes) -> None:
        xcnn.load(written("m.xcnn", content))

    MODEL = Target("xcnn", _call, models, names=str(folder() / "m.xcnn"))

With no more than that its inputs are valid files with some bytes changed; `mutate` breaks what is in them.
"""

from __future__ import annotations

import atexit
import faulthandler
import importlib
import os
import pkgutil
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.fuzz.mutate import mutate_bytes
from xcnn.errors import Error

SECONDS = 5.0
"""That one input may take."""

MEBIBYTES = 512
"""That the most memory of the process so far may rise by, through one input."""

LINE = 1500
"""Characters of a line of a message: whatever came is shown in part."""


@dataclass(frozen=True)
class Target:
    """Something of xcnn that takes what nobody vouches for.

    Parameters
    ----------
    name : str
        What the command line calls it.
    call : callable
        ``call(data)`` of bytes: returns, or raises `xcnn.errors.Error`; whatever else it raises is a fault.
    seeds : callable
        Returns valid inputs, to begin with; they are made, not stored.
    mutate : callable
        ``mutate(data, rng)``: another input, broken where it tells.
    repair : callable
        ``repair(data)``: the same with its sums put right, after bytes were changed anyhow.
    names : str
        What each message must name: the file, or the layer.
    sample : int
        How many inputs a plain run of the tests gives it.
    whole : tuple of int
        How many runs there are in a whole one, and how many inputs each has: a few minutes.
    """

    name: str
    call: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, random.Random], bytes] = mutate_bytes
    repair: Callable[[bytes], bytes] = bytes
    names: str = ""
    sample: int = 200
    whole: tuple[int, int] = (1, 10_000)


@cache
def targets() -> dict[str, Target]:
    """Return all targets by their name, from every module beside this one."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith(("__", "test_", "conftest", "harness", "mutate")):
            held = vars(importlib.import_module(f"tests.fuzz.{module.name}")).values()
            found.update({target.name: target for target in held if isinstance(target, Target)})
    return found


def memory() -> str | None:
    """Return where files lie in memory, unless TMPDIR says where they shall lie."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) and "TMPDIR" not in os.environ else None


@cache
def folder() -> Path:
    """Return a folder for what targets read from files."""
    made = tempfile.mkdtemp(prefix="xcnn-fuzz-", dir=memory())
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def written(name: str, content: bytes) -> Path:
    """Return the path of a file that holds `content`."""
    path = folder() / name
    path.write_bytes(content)
    return path


def check(target: Target, data: bytes) -> str:
    """Give a target one input, and fail unless it keeps its promises.

    Returns
    -------
    str
        "taken", or the class of the error.
    """
    begun, had = time.process_time(), peak()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target.call(data)
        outcome, told = "taken", None
    except Error as error:
        outcome = type(error).__name__
        told = str(error)
    spent, grown = time.process_time() - begun, peak() - had
    assert spent < SECONDS, f"it took {spent:.1f} s"
    assert grown < MEBIBYTES, f"it took {grown} MiB"
    if told is not None:
        fault = unclear(told, target.names)
        assert not fault, f"{fault}: {told[: 4 * LINE]!r}"
    return outcome


def unclear(message: str, names: str = "") -> str:
    """Return what is wrong with a message: it must say where, be one paragraph, and fit on a screen."""
    lines = message.split("\n")
    if not message.strip() or any(not line.strip() for line in lines):
        return "an empty message or line"
    if names and names not in lines[0]:
        return f"the message does not name {names}"
    if len(message.removeprefix(names).strip(": ")) < 8:
        return "the message does not say what came"
    if max(map(len, lines)) > LINE:
        return "a line of the message is endless"
    try:
        message.encode()
    except UnicodeEncodeError:
        return "the message cannot be printed"
    return ""


def peak() -> int:
    """Return the most memory that the process has had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@contextmanager
def limited(mebibytes: int = 4096) -> Iterator[None]:
    """Let the process allocate only so much beyond what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + mebibytes * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def guarded(seconds: float = SECONDS) -> Iterator[Callable[[], object]]:
    """End the process, with a traceback, if an input hangs it, be it in C; limit its memory.

    Yields
    ------
    callable
        To be called before each input.
    """
    faulthandler.register(signal.SIGALRM, chain=True)
    try:
        with limited():
            yield lambda: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.unregister(signal.SIGALRM)


@dataclass
class Report:
    """What came of some inputs.

    Parameters
    ----------
    target : Target
        What they were given to.
    """

    target: Target
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    slowest: float = 0.0

    def add(self, data: bytes) -> None:
        """Check an input, and keep the first of each kind of fault."""
        begun = time.monotonic()
        try:
            self.outcomes[check(self.target, data)] += 1
        except Exception as error:
            self.outcomes["FAULT"] += 1
            frames = [
                f for f in traceback.extract_tb(error.__traceback__) if "fuzz/harness" not in f.filename
            ]
            last = ([f for f in frames if "/xcnn" in f.filename] or frames)[-1:]
            place = "".join(f"{type(error).__name__} at {Path(f.filename).name}:{f.lineno}" for f in last)
            place = place or str(error).partition(":")[0]
            self.faults.setdefault(place, (data, "".join(traceback.format_exception(error))))
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def extremes(self) -> str:
        """Return the longest time that an input took, and the most memory."""
        return f"slowest {1000 * self.slowest:.0f} ms, peak {peak()} MiB"


def prepared(target: Target) -> list[bytes]:
    """Return the seeds, after a first look at each: what is imported and compiled then counts as no hang."""
    seeds = target.seeds()
    for seed in seeds:
        Report(target).add(seed)
    return seeds


def random_inputs(target: Target, runs: int, seed: int) -> Iterator[bytes]:
    """Yield the seeds and what mutation makes of them: the driver where there is no atheris."""
    rng = random.Random(seed)
    files = target.seeds()
    for n in range(runs):
        yield files[n] if n < len(files) else target.mutate(files[rng.randrange(len(files))], rng)
