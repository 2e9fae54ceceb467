"""What the benchmark times is the same on both sides, and a short run reports it. Times are not judged."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench import cases, clock, environment, ops, ours, plot, process, report
from bench.nets import NETS, Net, normed
from bench.side import check

ROOT = Path(__file__).parents[1]
PATH = os.pathsep.join(map(str, (ROOT, ROOT / "backends")))
DEEP = [name for name, net in NETS.items() if normed(net.parts)]


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_both_sides_of_a_net_agree(name, tuned, torch):
    from bench import peer

    net, size = NETS[name], 2 if name in DEEP else 8
    mine = ours.build(net, size)
    theirs = peer.build(net, size, mine.weights, tuned=tuned)
    assert [w.shape for w in mine.weights] == [w.shape for w in theirs.weights]
    check(net, mine, theirs)


@pytest.mark.parametrize("name", ["A", "ResNet-20"])
def test_a_difference_between_the_sides_is_noticed(name, torch):
    from bench import peer

    mine = ours.build(NETS[name], 2)
    theirs = peer.build(NETS[name], 2, [1.001 * w for w in mine.weights])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(NETS[name], mine, theirs)


@pytest.mark.parametrize("name", ["B", "MobileNet-like"])
def test_a_reset_brings_the_beginning_back(name):
    side = ours.build(NETS[name], 2)
    logits = np.asarray(side.predict())
    first = [float(side.step()) for _ in range(3)]
    side.reset()
    assert np.array_equal(side.predict(), logits)
    assert [float(side.step()) for _ in range(3)] == first


def test_nets_are_those_of_the_table():
    layers = {name: [type(layer).__name__ for layer in ours.layers(net.parts)] for name, net in NETS.items()}
    assert layers["A"] == ["Conv2D", "MaxPool2D", "Flatten", "Dense"]
    assert layers["F"] == ["Conv2D", "MaxPool2D", "Conv2D", "MaxPool2D", "Flatten", "Dense", "Dense"]
    assert layers["ResNet-20"].count("Sum") == 9
    assert layers["ResNet-20"][-2:] == ["GlobalAvgPool2D", "Dense"]
    assert layers["vgg-small"][:4] == ["Conv2D", "BatchNorm2D", "ReLU", "Conv2D"]
    sizes = {name: sum(w.size for w in ours.build(net, 1).weights) for name, net in NETS.items()}
    assert sizes == {
        **{"A": 13610, "B": 2032, "C": 2784, "D": 2674, "E": 3554, "F": 3454, "LeNet-5": 61706},
        **{"vgg-small": 551018, "ResNet-20": 272474, "wide": 4286282, "MobileNet-like": 136778},
    }
    assert {net.image for net in NETS.values()} == {(1, 28, 28), (3, 32, 32)}
    assert [name for name, net in NETS.items() if net.batch != 64] == ["ResNet-20"]
    assert DEEP == ["vgg-small", "ResNet-20", "wide", "MobileNet-like"]
    assert not normed(Net((1, 8, 8), NETS["A"].parts).parts)


def test_everyone_comes_first_in_turn_and_is_reset():
    calls: list[str] = []

    def pair(name):
        return lambda: (calls.append(name), time.sleep(0.001)), lambda: calls.append(f"reset {name}")

    found = clock.interleave({name: pair(name) for name in "ab"}, 0.02)
    assert set(found) == {"a", "b"}
    assert all(timing.seconds > 0 and timing.chunks >= 1 for timing in found.values())
    order = [call[-1] for call in calls if call.startswith("reset")]
    assert order[:4] == ["a", "b", "b", "a"]
    assert calls[:2] == ["reset a", "a"]


def test_a_slow_call_is_not_repeated_for_long():
    calls: list[int] = []
    found = clock.interleave({"slow": (lambda: time.sleep(0.02), lambda: calls.append(1))}, 0.01)
    assert found["slow"].seconds >= 0.02
    assert len(calls) < clock.CHUNKS


def test_threads_and_batches_are_lists_of_numbers():
    assert environment.numbers("1,16,64") == [1, 16, 64]
    for wrong in ("0", "1,", "-1", "a", "1.5", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="needed positive numbers"):
            environment.numbers(wrong)


def test_a_clean_environment_has_the_threads_and_no_pin(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    found = environment.clean(3)
    assert "OPENBLAS_CORETYPE" not in found
    assert all(found[f"{name}_NUM_THREADS"] == "3" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"))


@pytest.mark.parametrize(("op", "shape"), cases.CASES, ids=lambda value: str(value).replace(" ", "-"))
def test_both_sides_of_an_operation_agree(op, shape, torch):
    from bench.peer_ops import theirs

    case = cases.build(op, shape, 2)
    assert case.bytes > 0
    assert bool(case.flops) == op.startswith(("conv", "dense"))
    for name, run in theirs(case).items():
        ops.agree(case, name, run())


@pytest.mark.parametrize(("op", "shape"), cases.CASES, ids=lambda value: str(value).replace(" ", "-"))
def test_the_matrix_product_has_the_arithmetic_of_the_operation(op, shape):
    case = cases.build(op, shape, 2)
    if case.gemm:
        assert 2 * math.prod(case.gemm) * (2 if op == "dense back" else 1) == case.flops
    if op == "conv":
        y, w = case.run(), case.arrays["w"]
        assert case.flops == 2 * y.size * w[0].size
        assert case.bytes == y.nbytes + w.nbytes + case.arrays["x"].nbytes


def test_kernels_of_a_layout_of_their_own_become_a_column(monkeypatch):
    monkeypatch.setattr(ops, "kernels", lambda case: {"blocked": case.run})
    found = [ops.one(cases.build(op, shape, 1), 0.001, peer=False) for op, shape in cases.CASES[:1]]
    limits = {"flops": 1e9, "bytes": 1e9}
    table = ops.text({"machine": report.machine(), "threads": 1, "limits": limits, "ops": found})
    assert "1->6 5x5, 28x28" in table
    assert "blocked" in table.splitlines()[-3]


def test_a_plot_shows_every_net(tmp_path):
    pytest.importorskip("matplotlib")
    timing = {"seconds": 0.001, "chunks": 7, "quiet": False}
    ratios = {"ratios": {"eager": 12.0, "best": 0.8}, **dict.fromkeys(("xcnn", "eager", "tuned"), timing)}
    runs = [{"net": name, "batch": n, "step": ratios, "predict": ratios} for name in "AB" for n in (1, 8)]
    found = [{"machine": report.machine(), "threads": threads, "runs": runs} for threads in (1, 2)]
    plot.draw(found, tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")
    titles = ["1 thread, batch 1", "1 thread, batch 8", "2 threads, batch 1", "2 threads, batch 8"]
    assert list(plot.rows(found)) == titles


def _run(*command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    given = {"PYTHONPATH": PATH, "OPENBLAS_CORETYPE": "Haswell", "MPLCONFIGDIR": str(tmp_path)}
    command = (sys.executable, "-m", *command)
    return subprocess.run(command, cwd=ROOT, env=os.environ | given, capture_output=True, text=True)


def test_a_short_run_prints_tables_and_writes_the_figures(tmp_path):
    short = "bench --nets A --batch 2 --seconds 0.01 --repeats 1 --threads 1 --no-fresh --json"
    done = _run(*short.split(), str(tmp_path / "figures.json"), tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "OPENBLAS_CORETYPE=Haswell is unset for this run" in done.stdout
    assert "step, ms" in done.stdout
    assert "first step, s" not in done.stdout
    assert "\nimport: numpy " in done.stdout
    (figures,) = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["threads"] == 1
    assert "OPENBLAS_CORETYPE" not in figures["machine"]["environment"]
    assert figures["machine"]["environment"]["OMP_NUM_THREADS"] == "1"
    (found,) = figures["runs"]
    assert (found["net"], found["batch"], found["parameters"]) == ("A", 2, 13610)
    assert found["step"]["xcnn"]["seconds"] > 0
    assert found["predict"]["xcnn"]["seconds"] > 0
    assert found["fresh"] == {}
    if "torch" in figures["import_seconds"]:
        times = found["step"]
        seconds = {side: times[side]["seconds"] for side in ("xcnn", "eager", "tuned")}
        assert np.isclose(times["ratios"]["eager"], seconds["eager"] / seconds["xcnn"])
        best = min(seconds["eager"], seconds["tuned"])
        assert np.isclose(times["ratios"]["best"], best / seconds["xcnn"])
    else:
        assert "PyTorch is not installed: xcnn is measured alone" in done.stdout


@pytest.mark.parametrize("side", ["xcnn", "torch"])
def test_a_process_of_its_own_tells_its_first_step_and_memory(side, monkeypatch):
    if side == "torch":
        pytest.importorskip("torch")
    monkeypatch.chdir(ROOT)
    found = process.start(side, "A", 2, PYTHONPATH=PATH)
    assert 0 < found["first_step"] < 60
    if sys.platform == "linux":
        assert found["imports"] > 0 < found["run"]


def test_fresh_processes_are_cold_then_warm_and_share_a_cache(monkeypatch):
    calls = []

    def start(side, net, size, /, **environment):
        calls.append((side, net, size, environment[process.CACHE]))
        assert os.listdir(environment[process.CACHE]) == []
        return {"first_step": 1.0, "imports": 2**20, "run": 2**21}

    monkeypatch.setattr(process, "start", start)
    found = process.fresh("A", 4, peer=True)
    assert list(found) == ["cold", "warm", "torch"]
    assert [call[:3] for call in calls] == [("xcnn", "A", 4), ("xcnn", "A", 4), ("torch", "A", 4)]
    assert len({call[3] for call in calls}) == 1
    timing = {"seconds": 0.00123, "chunks": 7, "quiet": False}
    run = {"net": "A", "batch": 4, "parameters": 13610, "step": {"xcnn": timing}, "predict": {"xcnn": timing}}
    whole = {"machine": report.machine(), "threads": 1, "import_seconds": {"numpy": 0.1}}
    table = report.text(whole | {"runs": [run | {"fresh": found}]})
    assert "1.23*" in table
    assert " ".join(table.splitlines()[-3].split()) == "A 4 13,610 1.00 1.00 1.00 3 3 2.0 2.0"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("bench --nets A,Z", "unknown net 'Z'"),
        ("bench --batch 0", "needed positive numbers"),
        ("bench --repeats 0", "needed at least 1"),
        ("bench --json nowhere/figures.json", "there is no folder nowhere"),
        ("bench.ops --ops sort", "unknown operation 'sort'"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_measured(command, expected, tmp_path):
    done = _run(*command.split(), tmp_path=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
