"""A search on several processes: the same results, whatever happens to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xcnn
from tests.interpreter import environment
from tests.search.grids import CONFIG, GRID, comparable
from xcnn import backend
from xcnn.errors import Error
from xcnn.search import loop, pool, search
from xcnn.search.worker import Worker

IMAGE = np.linspace(0, 1, 64, dtype="float32").reshape(1, 1, 8, 8)
FILES = {"best", "config.json", "search.json", "trials.jsonl"}

posix = pytest.mark.skipif(os.name != "posix", reason="sends signals of POSIX")
proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at /proc")


@pytest.fixture(scope="module")
def alone():
    """What comes of the grid in this process, where kernels might use more threads."""
    before = xcnn.get_num_threads()
    xcnn.set_num_threads(4)
    try:
        yield search(CONFIG, GRID, workers=1)
        assert xcnn.get_num_threads() == 4
    finally:
        xcnn.set_num_threads(before)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What comes of the grid in two processes, and of each its variables and how many threads it has."""
    seen, run = {}, Worker.run

    def looked_at(self, job, /):
        trial = run(self, job)
        folder = Path("/proc", str(self._process.pid))
        if folder.exists():
            variables = dict(
                v.split("=", 1) for v in (folder / "environ").read_text().split("\0") if "=" in v
            )
            seen[self._process.pid] = variables, len(list((folder / "task").iterdir()))
        return trial

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "run", looked_at)
        return search(CONFIG, GRID, workers=2, folder=tmp_path_factory.mktemp("together")), seen


def test_two_processes_give_what_one_gives(together, alone):
    found, _ = together
    assert comparable(found) == comparable(alone)
    assert (found.model.predict(IMAGE) == alone.model.predict(IMAGE)).all()
    assert {path.name for path in found.folder.iterdir()} == FILES


@proc
def test_a_process_has_no_more_threads_than_its_share(together):
    _, seen = together
    assert 1 <= len(seen) <= 2  # the second may find nothing left to do
    for variables, threads in seen.values():
        for name in ("XCNN_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            assert variables[name] == "1"
        assert threads <= 3  # that which trains, that which listens, and the loader's


CRASH = """
import os, signal
from xcnn_numpy import Backend as NumPy

class Backend(NumPy):
    root, owns = "crashing", ()

    def __init__(self, device=""):
        if str(os.getpid()) != os.environ["PARENT"]:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(device)
        self.name = "crashing"
"""


@posix
def test_a_process_that_crashes_is_its_trials_error_and_is_replaced(tmp_path, monkeypatch, alone):
    package = tmp_path / "xcnn_crashing"
    package.mkdir()
    (package / "__init__.py").write_text(CRASH)
    monkeypatch.syspath_prepend(tmp_path)
    for known in ("_plugins", "_opened"):  # no other test is to meet this backend
        monkeypatch.setattr(backend, known, dict(getattr(backend, known)))
    monkeypatch.setenv("PARENT", str(os.getpid()))
    points = [alone.points[0], {"backend": "crashing"}, *alone.points[1:3]]
    found = search(CONFIG, points, workers=2)
    assert found.trials[1].error == "crashed: its process was ended by SIGKILL (was there enough memory?)"
    others = [found.trials[0], *found.trials[2:]]
    assert [trial.history for trial in others] == [trial.history for trial in alone.trials[:3]]


def test_a_process_that_does_not_start_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr("xcnn.search.worker._START", "import sys; sys.exit(7)")
    with pytest.raises(Error, match="a worker process did not start: it ended with exit code 7"):
        search(CONFIG, GRID, workers=2, folder=tmp_path)
    assert (tmp_path / "trials.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("options", "points", "had", "want"),
    [
        ({}, 6, 4, (4, 1)),
        ({}, 6, 8, (6, 1)),
        ({}, 3, 8, (3, 2)),
        ({}, 1, 8, (1, 8)),
        ({"workers": 1}, 3, 8, (1, 2)),  # a trial is the same, however many there are at once
        ({"workers": 2}, 6, 8, (2, 1)),
        ({"threads": 4}, 6, 8, (2, 4)),
        ({"workers": 1, "threads": 8}, 6, 8, (1, 8)),
    ],
)
def test_cores_are_divided_among_the_processes(options, points, had, want, monkeypatch):
    seen = []

    def run_all(indices, job_of, images, /, *, workers, threads):
        seen.append((workers, threads))
        yield from pool.run_all(indices, job_of, images, workers=1, threads=1)

    monkeypatch.setattr(loop, "cores", lambda: had)
    monkeypatch.setattr(loop, "get_num_threads", lambda: had)
    monkeypatch.setattr(loop, "run_all", run_all)
    search(CONFIG | {"epochs": 1}, {"seed": [*range(points)]}, **options)
    assert seen == [want]


SCRIPT = """
import json, sys
from xcnn.search import search

config, grid, folder, workers = json.loads(sys.argv[1])
found = search(config, grid, folder=folder, workers=workers, progress=False)
print("interrupted" if found.interrupted else "whole", len(found.trials), found.model is not None)
"""
LONG = CONFIG | {"epochs": 80}


class Started:
    """A search in a process of its own, of which some trials have ended."""

    def __init__(self, folder, workers, ended):
        self.folder = folder
        argument = json.dumps([LONG, GRID, str(folder), workers])
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, argument],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 60
        while self.ended() < ended:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.005)

    def ended(self):
        path = self.folder / "trials.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def children(self):
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in text.read_text().split()] if text.exists() else []


def assert_gone(pids):
    until = time.monotonic() + 20
    while any(Path("/proc", str(pid)).exists() for pid in pids):
        assert time.monotonic() < until, "a process outlived the search"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def long_alone():
    """What comes of the long trials without interruption."""
    return search(LONG, GRID, workers=1)


@posix
def test_after_a_kill_it_goes_on_to_the_same_result(tmp_path, long_alone):
    started = Started(tmp_path / "run", 2, 1)
    children = started.children()
    started.process.kill()
    started.process.communicate()
    assert_gone(children)
    ended = started.ended()
    assert 1 <= ended < 6
    found = search(LONG, GRID, folder=tmp_path / "run", workers=1)
    assert comparable(found) == comparable(long_alone)
    assert (found.model.predict(IMAGE) == long_alone.model.predict(IMAGE)).all()
    assert {path.name for path in found.folder.iterdir()} == FILES


@posix
def test_ctrl_c_keeps_what_has_ended(tmp_path, long_alone):
    started = Started(tmp_path / "run", 2, 1)
    children = started.children()
    started.process.send_signal(signal.SIGINT)
    out, err = started.process.communicate(timeout=60)
    assert started.process.returncode == 0, err
    assert "Traceback" not in err
    state, ended, kept = out.split()
    assert (state, kept) == ("interrupted", "True")
    assert int(ended) == started.ended() < 6
    assert_gone(children)
    lines = (tmp_path / "run" / "trials.jsonl").read_text().splitlines()
    for trial in map(json.loads, lines):
        assert trial["history"] == long_alone.trials[trial["index"]].history
    assert not list((tmp_path / "run").glob("*trial-*"))
