"""The harness itself: it must not miss what it is there to find."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.harness import LINE, MEBIBYTES, Report, Target, check, random_inputs, targets, unclear
from xcnn.errors import DataError, FileError

ROOT = Path(__file__).parents[2]


def target(call, names=""):
    return Target("made-up", call, lambda: [b"x"], names=names)


def test_what_returns_or_is_refused_clearly_is_no_fault():
    def call(data):
        if data:
            raise FileError("has no header; needed one", where="a.bin")

    assert check(target(call, "a.bin"), b"") == "taken"
    assert check(target(call, "a.bin"), b"x") == "FileError"


@pytest.mark.parametrize(
    ("message", "where"),
    [
        ("", "a.bin"),
        ("a.bin is nothing\n\nof the kind", "a.bin"),
        ("has no header; needed one", "another.bin"),
        ("bad", "a.bin"),
        ("has the name \ud800; needed text", "a.bin"),
    ],
)
def test_an_unclear_message_is_a_fault(message, where):
    told = f"{where}: {message}"
    assert unclear(told, "a.bin")


def test_an_endless_line_is_a_fault():
    assert unclear("a.bin: " + "x" * LINE)
    assert not unclear("a.bin: " + "x\n" * LINE + "x")


def test_any_other_error_is_a_fault_and_the_first_of_each_place_is_kept():
    def call(data):
        if data == b"c":
            raise DataError("has a c; needed none", where="letters")
        return {}[data] if data > b"c" else 1 // len(data)

    report = Report(target(call))
    for data in (b"", b"a", b"c", b"d", b"e", b""):
        report.add(data)
    assert report.outcomes == {"FAULT": 4, "taken": 1, "DataError": 1}
    assert sorted(data for data, _ in report.faults.values()) == [b"", b"d"]
    assert any("ZeroDivisionError" in trace for _, trace in report.faults.values())


def test_a_warning_is_a_fault():
    import warnings

    with pytest.raises(UserWarning):
        check(target(lambda data: warnings.warn("look", stacklevel=1)), b"")


def test_an_input_that_takes_long_is_a_fault(monkeypatch):
    monkeypatch.setattr("tests.fuzz.harness.SECONDS", 0.01)

    def call(data):
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    with pytest.raises(AssertionError, match=r"it took 0\.0 s"):
        check(target(call), b"")


def test_an_input_that_fills_the_memory_is_a_fault(monkeypatch):
    grown = iter((100, 101 + MEBIBYTES))
    monkeypatch.setattr("tests.fuzz.harness.peak", lambda: next(grown))
    with pytest.raises(AssertionError, match="MiB"):
        check(target(lambda data: None), b"")


@pytest.mark.parametrize("name", targets())
def test_a_seed_gives_the_same_inputs_again(name):
    first, second = ([*random_inputs(targets()[name], 60, 5)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 30


ENGINES = [
    "random",
    pytest.param(
        "atheris",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("atheris") is None, reason="needs atheris: pip install -e '.[fuzz]'"
        ),
    ),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_driver_counts_what_it_ran(engine, tmp_path):
    command = [sys.executable, "-m", "tests.fuzz", "idx", "--runs", "1500", "--engine", engine]
    done = subprocess.run([*command, "--faults", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^idx: 1,500 inputs, {engine}, seed 1, .*/s", done.stdout), done.stdout
    assert {"FileError", "taken"} <= set(re.findall(r"\w+", done.stdout))
    assert not list(tmp_path.iterdir())


def test_the_driver_knows_its_targets():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "idy"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unknown target 'idy'; known: " in done.stderr
