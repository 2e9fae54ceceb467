"""SIGKILL at random moments: whatever it falls into, training resumes and ends as if nothing had happened.

By default some 30 kills; with ``XCNN_TEST_WHOLE=1`` 200 at random times, and more at calls to the system.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tests.crash import runs
from tests.crash.conftest import WHOLE
from tests.crash.zygote import PHASES, ROOT

MOST = 40 if WHOLE else 2  # kills of one run, which then is left alone

# What is run, its options, the mean time until a kill as a part of the time it takes, and kills in all.
KINDS = [
    ("command", {"every": 0.02}, 0.3, 3, 30),
    ("command", {"every": 30}, 0.5, 0, 10),
    ("script", {"every": 0}, 0.15, 7, 60),
    ("script", {"every": 0.03, "epochs": 9}, 0.2, 5, 50),
    ("script", {"every": 0, "units": 700}, 0.15, 4, 50),  # takes most of its time to save
]


@pytest.fixture(scope="module")
def undisturbed(processes, tmp_path_factory):
    """What a run leaves that nobody kills, how long it takes, and how many calls it makes; known once."""
    known = {}

    def look(what, options):
        key = what, *sorted(options.items())
        if key not in known:
            folder = tmp_path_factory.mktemp("undisturbed") / "run"
            ended = processes.run(what, folder, **options)
            assert (ended.killed, ended.code) == (False, 0), ended.output
            known[key] = runs.outcome(folder), ended
        return known[key]

    return look


def phase_of(ended, folder):
    """Name what a kill fell into."""
    if ended.phase == "starting" and not list(folder.glob("checkpoints/*.xcnn")):
        return "before the first checkpoint"
    return ended.phase


def tell(met, how, record_property):
    """Print what the kills fell into; return the counts."""
    counts = {name: met[name] for name in ("before the first checkpoint", *PHASES)}
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    record_property("conformance", f"killed {how} {met.total()} times: {told}")
    return counts


def test_runs_killed_again_and_again_end_as_if_they_had_not_been(
    processes, undisturbed, tmp_path, record_property
):
    met = Counter()
    for number, kind in enumerate(KINDS):
        met += survive(processes, undisturbed, tmp_path / f"{number}", *kind)
    counts = tell(met, "at random moments", record_property)
    if WHOLE:
        assert met.total() >= 200
        assert all(counts.values()), counts


def survive(processes, undisturbed, home, what, options, mean, few, many):
    """Kill runs of one kind, and see that each ends well; return what the kills fell into."""
    want, whole = undisturbed(what, options)
    rng = np.random.default_rng([7, len(str(options))])
    met, wanted = Counter(), many if WHOLE else few
    for turn in itertools.count():
        if met.total() >= wanted:
            return met
        folder = home / f"{turn}" / "run"
        folder.parent.mkdir(parents=True)
        for attempt in itertools.count():
            alone = attempt == MOST or met.total() == wanted
            time = rng.exponential(mean) if attempt else rng.uniform()
            after = 0 if alone else max(0.001, time * whole.seconds)
            ended = processes.run(what, folder, after=after, **options)
            if not ended.killed:
                break
            met[phase_of(ended, folder)] += 1
        assert ended.code == 0, ended.output
        got = runs.outcome(folder)
        assert got.keys() == want.keys()
        assert [name for name in want if got[name] != want[name]] == []
    return met


@pytest.mark.parametrize(
    ("what", "few", "many"), [("script", 8, 160), ("command", 1, 20)], ids=["script", "command"]
)
def test_a_run_killed_at_a_call_to_the_system_ends_as_if_it_had_not_been(
    processes, undisturbed, tmp_path, record_property, what, few, many
):
    want, whole = undisturbed(what, {"every": 0})
    rng, met = np.random.default_rng(11), Counter()
    numbers = {*range(1, 9), *rng.integers(9, whole.calls, many).tolist()}  # first come folder and lock
    for number in sorted(numbers)[:: 1 if WHOLE else -(-len(numbers) // few)]:
        folder = tmp_path / f"{number}" / "run"
        folder.parent.mkdir()
        for at in (number, int(rng.integers(1, 16))):  # the second falls into resuming
            ended = processes.run(what, folder, at=at, every=0)
            if ended.killed:
                met[phase_of(ended, folder)] += 1
        ended = processes.run(what, folder, every=0)
        assert ended.code == 0, ended.output
        assert runs.outcome(folder) == want, number
    tell(met, f"at calls to the system ({what})", record_property)


@pytest.mark.parametrize("after", [1.5, 2.5, 3.5, 4.5, 6] if WHOLE else [3.5])
def test_a_process_started_by_hand_goes_on(processes, undisturbed, tmp_path, after):
    options = {"every": 30}
    want, _ = undisturbed("command", options)
    config, folder = tmp_path / "small.json", tmp_path / "run"
    config.write_text(runs.json.dumps(runs.CONFIG))
    command = [sys.executable, "-m", "xcnn", "train", str(config), "--out", str(folder), "--resume"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backends"), *filter(None, sys.path)])
    options = {"env": os.environ | {"PYTHONPATH": paths}, "cwd": tmp_path, "capture_output": True}
    try:
        done = subprocess.run(command, timeout=after, **options)  # which kills
    except subprocess.TimeoutExpired:
        done = subprocess.run(command, timeout=100, **options)
    assert done.returncode == 0, done.stderr.decode()
    assert runs.outcome(folder) == want
