"""A process of its own that runs trials: jobs come in as lines of JSON, trials go out as lines of JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import Any

from xcnn.errors import Error, FileError
from xcnn.search.trial import Images, Job, Trial, run_trial

__all__ = ["Worker", "WorkerCrashed", "main"]

_LIMITS = (
    "XCNN_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
# A fresh interpreter that finds what this one finds. It runs no script again, as multiprocessing would.
_START = "import sys; sys.path[:] = sys.argv[1:]; from xcnn.search.worker import main; main()"


class WorkerCrashed(Exception):
    """A process ended in the middle of a trial; the message says how."""


class Worker:
    """The parent's end of a process.

    Parameters
    ----------
    threads : int
        How many the process may use: limited from its start, for libraries that ask only then.

    Raises
    ------
    Error
        If the process does not come up.
    """

    def __init__(self, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **dict.fromkeys(_LIMITS, str(threads))},
            process_group=0 if os.name == "posix" else None,  # Ctrl-C on the terminal is not for it
        )
        self.ready = False

    def run(self, job: Job, /) -> Trial:
        """Run one trial.

        Parameters
        ----------
        job : Job
            What to do.

        Returns
        -------
        Trial
            What came of it.

        Raises
        ------
        WorkerCrashed
            If the process ended.
        FileError
            If it cannot write to the folder of the search.
        """
        if not self.ready:
            self.ready = bool(self._read())
        if not self.ready:
            msg = f"a worker process did not start: it {self._end()}"
            raise Error(msg, where="search")
        with contextlib.suppress(OSError):
            print(json.dumps(dataclasses.asdict(job)), file=self._process.stdin, flush=True)
        answer = self._read()
        if not answer:
            raise WorkerCrashed(f"its process {self._end()}")
        content = json.loads(answer)
        if "fatal" in content:
            raise FileError(*content["fatal"])
        return Trial(**content)

    def _read(self) -> str:
        """Return a whole line, or nothing if the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return line if line.endswith("\n") else ""

    def _end(self) -> str:
        """Say how the process ended."""
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        hint = " (was there enough memory?)" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and let go of what belongs to it."""
        self._process.kill()
        with contextlib.suppress(OSError):
            self._process.communicate()


def main() -> None:
    """Run jobs from standard input until it ends, at once even in the middle of a trial."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a trial prints is no answer
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    images = Images()
    try:
        print("ready", file=answers, flush=True)
        while True:
            answer = _answer(Job(**json.loads(jobs.get())), images)
            print(json.dumps(answer), file=answers, flush=True)
    except BrokenPipeError:  # the parent is gone
        os._exit(0)


def _answer(job: Job, images: Images) -> dict[str, Any]:
    """Return what came of a job: a trial, or the error that ends the search."""
    try:
        return dataclasses.asdict(run_trial(job, images))
    except FileError as error:
        return {"fatal": [error.what, error.where]}


def _listen(jobs: queue.SimpleQueue[Any]) -> None:
    """Pass lines on; their end means that the parent is gone."""
    for line in os.fdopen(0, encoding="utf-8"):
        jobs.put(line)
    os._exit(0)
