"""Processes that are killed: one that has imported everything forks a child for each attempt.

Starting Python takes a second, forking some milliseconds. The zygote has a single thread, so that a fork is
whole; a child says in shared memory what it is doing, so that it is known what a kill fell into.
"""

from __future__ import annotations

import functools
import importlib
import json
import mmap
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PHASES = ("starting", "resuming", "training", "saving", "ending")
ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How an attempt ended: killed or by itself, in which phase, after how many calls and seconds."""

    killed: bool
    code: int
    phase: str
    calls: int
    seconds: float
    output: str


class Zygote:
    """The process that forks; `run` waits for the end of a child."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, what: str, folder: Path, *, after: float = 0, at: int = 0, **options: Any) -> Ended:
        """Do one of `tests.crash.runs`, or ``module.function``.

        It is killed `after` seconds, or `at` a call to the system in the folder, counted from 1.
        """
        asked = {"what": what, "folder": str(folder), "after": after, "at": at, "options": options}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return Ended(**json.loads(self._process.stdout.readline()))


@contextmanager
def zygote() -> Iterator[Zygote]:
    """Start one, and end it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backends"), *filter(None, sys.path)])
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "XCNN_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.zygote"],
        env=os.environ | one | {"PYTHONPATH": paths, "MPLBACKEND": "agg", "XCNN_BACKEND": "numpy"},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield Zygote(process)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def main() -> None:
    """Fork for each line."""
    from tests.crash import runs

    runs.warm_up()
    threads = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
    assert threads == 1, f"{threads} threads: a fork would not have all of them"
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        with mmap.mmap(-1, 16) as shared:
            print(json.dumps(_attempt(asked, shared)), flush=True)


def _attempt(asked: dict[str, Any], shared: mmap.mmap) -> dict[str, Any]:
    folder = Path(asked["folder"])
    log = folder.with_name(f"{folder.name}.log")
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _live(asked, shared, folder, log)
    end = start + asked["after"] if asked["after"] else float("inf")
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.0005)
    return {
        "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
        "code": os.waitstatus_to_exitcode(status),
        "phase": PHASES[shared[0]],
        "calls": int.from_bytes(shared[8:12], "little"),
        "seconds": time.monotonic() - start,
        "output": log.read_text() if log.exists() else "",
    }


def _live(asked: dict[str, Any], shared: mmap.mmap, folder: Path, log: Path) -> None:
    """Be the child."""
    code = 1
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        _tell_phases(shared)
        _count_calls(shared, str(folder), asked["at"])
        module, _, name = asked["what"].rpartition(".")
        module = importlib.import_module(f"tests.crash.{module or 'runs'}")
        code = getattr(module, name)(folder, **asked["options"]) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell_phases(shared: mmap.mmap) -> None:
    """Write into shared memory what is being done."""
    from xcnn.training import Checkpoint
    from xcnn.training.loop import Loop

    def during(owner: type, name: str, phase: str, then: str | None = None) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def told(*args: Any, **options: Any) -> Any:
            before, shared[0] = shared[0], PHASES.index(phase)
            try:
                return original(*args, **options)
            finally:
                shared[0] = before if then is None else PHASES.index(then)

        setattr(owner, name, told)

    during(Checkpoint, "_restore", "resuming")
    during(Checkpoint, "_save", "saving")
    during(Loop, "run", "training", "ending")


def _count_calls(shared: mmap.mmap, folder: str, at: int) -> None:
    """Count what the system is asked to do in the folder, and die before call number `at` is done."""
    fsync = os.fsync

    def count() -> None:
        calls = int.from_bytes(shared[8:12], "little") + 1
        shared[8:12] = calls.to_bytes(4, "little")
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"):
            return
        writes = event != "open" or args[1] is None or set(str(args[1])) & set("wax+")
        if writes and isinstance(args[0], (str, os.PathLike)) and os.path.abspath(args[0]).startswith(folder):
            count()

    def counted(handle: int) -> None:
        count()
        fsync(handle)

    os.fsync = counted
    sys.addaudithook(heard)


if __name__ == "__main__":
    main()
