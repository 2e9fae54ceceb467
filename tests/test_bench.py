"""What the benchmark times is the same on both sides, and a short run reports it. Times are not judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import ours
from bench.nets import IMAGE, NETS
from bench.side import check

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("net", NETS)
def test_both_sides_of_a_net_agree(net, torch):
    from bench import peer

    mine = ours.build(NETS[net], 8)
    theirs = peer.build(NETS[net], 8, mine.weights)
    assert [w.shape for w in mine.weights] == [w.shape for w in theirs.weights]
    check(mine, theirs)


def test_a_difference_between_the_sides_is_noticed(torch):
    from bench import peer

    mine = ours.build(NETS["A"], 8)
    theirs = peer.build(NETS["A"], 8, [1.001 * w for w in mine.weights])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(mine, theirs)


def test_a_reset_brings_the_beginning_back():
    side = ours.build(NETS["B"], 4)
    first = [float(side.step()) for _ in range(3)]
    side.reset()
    assert [float(side.step()) for _ in range(3)] == first


def test_nets_are_those_of_the_table():
    layers = {name: [type(layer).__name__ for layer in ours.layers(net)] for name, net in NETS.items()}
    assert layers["A"] == ["Conv2D", "MaxPool2D", "Flatten", "Dense"]
    assert layers["F"] == ["Conv2D", "MaxPool2D", "Conv2D", "MaxPool2D", "Flatten", "Dense", "Dense"]
    sizes = {name: sum(w.size for w in ours.build(net, 1).weights) for name, net in NETS.items()}
    assert sizes == {"A": 13610, "B": 2032, "C": 2784, "D": 2674, "E": 3554, "F": 3454, "LeNet-5": 61706}
    assert IMAGE == (1, 28, 28)


def test_a_short_run_prints_a_table_and_writes_the_figures(tmp_path):
    given = {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "backends"))),
        "OPENBLAS_CORETYPE": "Haswell",
    }
    command = [
        "-m",
        "bench",
        "--nets",
        "A",
        "--seconds",
        "0.05",
        "--repeats",
        "1",
        "--threads",
        "1",
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "figures.json")],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "OPENBLAS_CORETYPE=Haswell is unset for this run" in done.stdout
    assert "step, ms" in done.stdout
    assert "\nimport: numpy " in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["threads"] == 1
    assert "OPENBLAS_CORETYPE" not in figures["machine"]["environment"]
    found = figures["nets"]["A"]
    assert found["step"]["xcnn"]["seconds"] > 0
    assert found["predict"]["xcnn"]["seconds"] > 0
    assert found["memory"].keys() == found["step"].keys() - {"ratio"}
    if "torch" in figures["import_seconds"]:
        times = found["step"]
        assert np.isclose(times["ratio"], times["torch"]["seconds"] / times["xcnn"]["seconds"])
    else:
        assert "PyTorch is not installed: xcnn is measured alone" in done.stdout
