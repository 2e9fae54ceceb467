"""What of `bench.gpu` needs no GPU: options, order, arithmetic, table; on an emulated device, all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench import gpu, gpu_agree, gpu_clock, gpu_process, gpu_report, gpu_rows, gpu_tests, gpu_work, ours
from bench.gpu_rows import Row
from bench.nets import Conv, Dense, Net, Pool
from bench.side import check
from xcnn import ops

ROOT = Path(__file__).parents[1]
RUN = """
import sys
from bench import gpu, gpu_agree, gpu_work
gpu_agree.NETS = ("B",)
gpu_work.SIZE, gpu_work.COPIED = dict.fromkeys(gpu_work.SIZE, 64), 2**16
sys.exit(gpu.main(sys.argv[1:]))
"""


def _figures(**changes):
    work = {
        "seconds": {"xcnn": 0.001, "eager": 0.005, "graph": 0.0011},
        "images": 64000.0,
        "fractions": {"product": 0.42, "memory": None},
        "ratios": {"eager": 5.0, "graph": 1.1, "best": 1.1},
    }
    row = {"net": "B", "batch": 64, "precision": "float32", "parameters": 2032, "step": work, "predict": work}
    row |= {"failed": {}, "launches": {"xcnn": 12, "eager": None}, "memory": {"xcnn": 2**20, "eager": 2**21}}
    return {"peaks": {"float32": 6e13, "bytes": 4e12, "tf32": None}, "rows": [row | changes], "left": []}


def test_the_table_has_a_line_for_each_row():
    lines = gpu_report.text(_figures()).splitlines()
    assert lines[0] == "Measured peaks: float32 60.0 TFLOP/s, memory 4000 GB/s"
    work = "1.00 5.00 - 1.10 - 64,000 42% -"
    assert " ".join(lines[-1].split()) == f"B 64 float32 {work} {work} 12 - 1 2"


def test_the_table_marks_what_differs_and_says_what_failed():
    text = gpu_report.text(
        _figures(failed={"graph": "differs: by 7", "compile": "RuntimeError: no compiler"})
    )
    assert " 1.10! " in text
    assert "B 64 float32, compile: RuntimeError: no compiler" in text


def test_the_table_bears_rows_that_failed_whole_and_parts_that_are_missing():
    row = {
        **Row("A", 2048, "tf32")._asdict(),
        "failed": {"xcnn": "BackendError: full"},
        "memory": {},
        "launches": {},
    }
    found = {
        "rows": [row],
        "left": ["A 64 tf32"],
        "mnist": {"error": "no data"},
        "peaks": {"error": "OSError: -"},
    }
    text = gpu_report.text(found)
    assert "A 2048 tf32, xcnn: BackendError: full" in text
    assert "not measured, out of time: 1 rows, A 64 tf32 the first" in text
    assert "MNIST, net B: not measured: no data" in text
    assert gpu_report.text({}) == "Measured peaks: none"
    mnist = {"accuracy": 0.9812, "seconds": 0.7, "epochs": 2, "first": 5.25}
    assert "98.12 % after 0.700 s of training (2 epochs)" in gpu_report.text({"mnist": mnist})


def test_the_most_telling_rows_come_first_and_every_one_once():
    rows = gpu_rows.rows(list(gpu_rows.ALL), None, None)
    assert tuple(rows[: len(gpu_rows.FIRST)]) == gpu_rows.FIRST
    assert len(rows) == len(set(rows)) == 7 * 3 * 2 + 5 * 3 * 4
    assert gpu_rows.rows(["A"], [7], ["tf32"]) == [Row("A", 7, "tf32")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--nets A,Z", "--nets: unknown 'Z'; known: A, B"),
        ("--precisions float8", "--precisions: unknown 'float8'; known: float32"),
        ("--peers jax", "--peers: unknown 'jax'; known: eager"),
        ("--parts lunch", "--parts: unknown 'lunch'; known: doctor"),
        ("--json nowhere/f.json", "there is no folder nowhere"),
        ("--log nowhere/f.log", "there is no folder nowhere"),
        ("--resume", "--resume needs --json FILE"),
    ],
)
def test_a_wrong_option_is_named(given, expected, capsys):
    with pytest.raises(SystemExit) as stopped:
        gpu.arguments(given.split())
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


def test_quick_leaves_the_slow_parts_out():
    quick = gpu.arguments(["--quick"])
    assert (quick.nets, quick.batch) == (["B", "LeNet-5", "ResNet-18"], [64, 512])
    assert "tests" not in quick.parts
    assert "compile" not in quick.peers
    assert gpu.arguments(["--peers", "none"]).peers == []


def test_work_counts_products_and_what_goes_through_memory():
    net = Net((1, 8, 8), (Conv(4, 3), Pool(2), Dense(10)))
    conv, dense = 2 * 4 * 9 * 36, 2 * 36 * 10
    numbers = (64 + 144) + (144 + 36) + (36 + 10)
    weights = 4 * 9 + 360
    assert gpu_work.work(net, 5, "float16", training=False) == (
        5 * (conv + dense),
        5 * numbers * 2 + 4 * weights,
    )
    flops, moved = gpu_work.work(net, 5, "float32", training=True)
    assert flops == 5 * (2 * conv + 3 * dense)  # the first layer's inputs need no gradient
    assert moved == 5 * (3 * numbers - 64) * 4 + 36 * weights
    flops, _ = gpu_work.work(gpu_rows.ALL["ResNet-18"], 1, "float32", training=False)
    assert 1.10e9 < flops < 1.12e9  # 0.56 G multiplications and additions, as of the net for CIFAR


def test_everyone_takes_turns():
    calls: list[str] = []
    runs = {name: (lambda name=name: calls.append(name), lambda: time.sleep(0.0001)) for name in "ab"}
    found = gpu_clock.interleave(runs, 0.001)
    assert set(found) == {"a", "b"}
    assert all(seconds > 0 for seconds in found.values())
    assert set(calls) == {"a", "b"}


def test_every_op_has_a_case_of_agreement():
    assert {case.op for case in gpu_agree.cases()} == {*ops.__all__} - {"Op", "Saved"}


def test_numpy_agrees_with_itself_and_a_difference_is_noticed():
    rows = list(gpu_agree.differences("numpy"))
    assert len(rows) == len(gpu_agree.todo())
    assert list(gpu_agree.differences("numpy", (), len(rows) - 1)) == rows[-1:]
    assert [row for row in rows if not row["fine"]] == []
    assert "WRONG" not in gpu_agree.table(rows)
    want = np.ones((2, 3))
    assert gpu_agree.difference(want * 1.5, want) == 0.5
    assert gpu_agree.difference(want * np.nan, want) == float("inf")
    assert gpu_agree.difference(want[:1], want) == float("inf")
    wrong = rows[0] | {"fine": False, "forward": 0.5}
    assert "WRONG" in gpu_agree.table([wrong])
    broken = {"op": "relu", "options": "{}", "dtype": "float32", "error": "OSError: no", "fine": False}
    assert "relu" in gpu_agree.table([broken])
    assert "OSError: no" in gpu_agree.table([broken])
    told = gpu_agree.summary([*rows, broken], len(rows) + 1).splitlines()
    assert told[0] == f"{len(rows)} of {len(rows) + 1} agree with NumPy's float64"
    assert told[1:] == ["WRONG relu {} float32: OSError: no"]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_a_net_agrees_in_every_precision(precision):
    assert gpu_agree.net_difference("numpy", "B", precision)["fine"]


def test_a_net_differs_only_if_it_does_so_in_every_batch(monkeypatch):
    last = len(gpu_agree.todo(("B",))) - 1
    for good in ((15,), ()):
        fine = {count: {"fine": count in good} for count in gpu_agree.BATCHES}
        monkeypatch.setattr(gpu_agree, "net_difference", lambda *given, fine=fine: fine[given[3]])
        (row,) = gpu_agree.differences("numpy", ("B",), last)
        assert row["fine"] == bool(good)


def test_slack_widens_what_sides_may_differ_by():
    net = gpu_rows.ALL["A"]
    one, other = ours.build(net, 2), ours.build(net, 2, precision="bfloat16")
    check(net, one, other, slack=gpu_rows.SLACK["bfloat16"])
    with pytest.raises(AssertionError):
        check(net, one, other)


@pytest.mark.parametrize(
    ("name", "kind", "precision"),
    [
        *[("LeNet-5", "channels-last", precision) for precision in ("float32", "bfloat16", "float16")],
        *[("ResNet-20", kind, "float32") for kind in ("eager", "channels-last")],
        ("ResNet-20", "eager", "bfloat16"),
    ],
)
def test_pytorch_runs_the_same_net(name, kind, precision, torch, monkeypatch):
    from bench import gpu_peer

    monkeypatch.setattr(gpu_peer, "DEVICE", "cpu")
    net = gpu_rows.ALL[name]
    mine = ours.build(net, 4, precision=precision)
    theirs, _ = gpu_peer.build(net, 4, mine.weights, kind, precision)
    check(net, mine, theirs, slack=gpu_rows.SLACK[precision])


def test_a_row_has_the_figures_of_every_side(torch, monkeypatch):
    from bench import gpu_peer

    monkeypatch.setattr(gpu_peer, "DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    row, peaks = Row("A", 2, "float32"), {"float32": 1e12, "bytes": 1e11}
    doing = []
    for found in gpu_rows.measure(row, 0.001, ("eager", "channels-last"), peaks, "numpy"):
        doing.append(found["doing"])
    assert doing == ["xcnn", "xcnn", "eager", "channels-last", "step", "predict", "launches", "launches"]
    assert (found["failed"], found["checked"]) == ({}, ["eager", "channels-last"])
    for work in gpu_rows.WORKS:
        assert set(found[work]["seconds"]) == {"xcnn", "eager", "channels-last"}
        assert set(found[work]["ratios"]) == {"eager", "channels-last", "best"}
        assert 0 < found[work]["fractions"]["product"] < 1
    assert "step" in gpu_report.line(found)


def test_without_pytorch_on_a_gpu_nothing_is_counted(monkeypatch):
    from bench import gpu_peer

    monkeypatch.setattr(gpu_peer, "available", lambda: False)
    assert gpu_peer.launches(lambda: None, lambda: None) is None


def test_parts_are_kept_one_by_one_and_found_once(tmp_path, capsys, monkeypatch):
    path = tmp_path / "figures.json"
    monkeypatch.setattr(
        gpu, "FIND", {"peaks": lambda run: run.keep("peaks", {"bytes": 1}), "mnist": lambda run: 1 / 0}
    )
    run = gpu.Run(gpu.arguments(["--json", str(path)]))
    run.part("peaks")
    run.part("mnist")
    assert json.loads(path.read_text())["mnist"] == {"error": "ZeroDivisionError: division by zero"}
    again = {name: lambda run, name=name: run.keep(name, 4) for name in ("peaks", "mnist")}
    monkeypatch.setattr(gpu, "FIND", again)
    run = gpu.Run(gpu.arguments(["--json", str(path), "--resume"]))
    run.part("peaks")
    run.part("mnist")
    assert (run.found["peaks"], run.found["mnist"]) == ({"bytes": 1}, 4)
    late = gpu.Run(gpu.arguments(["--minutes", "0"]))
    late.part("peaks")
    late.found["torch"] = None
    gpu.rows(late)
    assert "peaks" not in late.found
    assert late.found["left"][0] == "B 64 float32"
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_row_that_cannot_run_says_so():
    run = gpu.Run(gpu.arguments(["--backend", "numpy:1"]))
    assert gpu._row(run, Row("A", 2, "float32"), (), "row")["failed"]["xcnn"].startswith("BackendError: ")


def test_compile_is_measured_by_itself_and_early_of_the_first_rows_alone():
    rows = gpu_rows.rows(["A", "B", "ResNet-18"], [64, 512], ["float32", "bfloat16"])
    order = gpu_rows.schedule(rows, ("eager", "graph", "compile"))
    assert order[0] == (Row("B", 64, "float32"), ("eager", "graph"))
    assert order[2] == (Row("B", 64, "float32"), ("compile",))
    assert order[-1][1] == ("compile",)
    assert len(order) == len(set(order)) == 2 * len(rows)
    assert {kinds for _, kinds in gpu_rows.schedule(rows, ())} == {()}


def test_a_row_takes_up_what_compile_reached_in_another_process():
    (row,) = _figures()["rows"]
    work = {"seconds": {"xcnn": 0.002, "compile": 0.001}, "ratios": {"compile": 0.5, "best": 0.5}}
    found = gpu_rows.merge(row, row | {"step": work, "predict": work, "failed": {"launches": "no"}})
    assert found["step"]["seconds"] == row["step"]["seconds"]
    assert found["step"]["ratios"] == {"eager": 5.0, "graph": 1.1, "compile": 0.5, "best": 0.5}
    assert found["failed"] == {"launches": "no"}
    assert gpu_rows.key(found) == Row("B", 64, "float32")


@pytest.mark.parametrize(
    ("work", "given", "seconds", "why"),
    [
        (os.abort, (), 60, "its process died of SIGABRT"),
        (os._exit, (3,), 60, "its process died of exit status 3"),
        (time.sleep, (60,), 2, "not done after 2 s"),
        (int, ("x",), 60, "ValueError: invalid literal for int"),
    ],
)
def test_a_process_that_is_lost_costs_nothing_else(work, given, seconds, why, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(gpu_process.Lost, match=why):
        list(gpu_process.ask(work, *given, seconds=seconds, log=log))
    assert log.exists()
    assert list(gpu_process.ask(range, 3, seconds=60, log=log)) == [0, 1, 2]


def test_a_peer_that_crashes_is_left_out_and_its_row_measured_again(monkeypatch):
    asked = []

    def ask(limit, work, row, seconds, kinds, *rest):
        asked.append(kinds)
        found = gpu_rows.empty(row)
        if "graph" in kinds:
            yield found | {"doing": "graph"}
            raise gpu_process.Lost("its process died of SIGSEGV")
        yield found | {"step": {}, "doing": "launches"}
        raise gpu_process.Lost("CUPTI")

    run = gpu.Run(gpu.arguments([]))
    monkeypatch.setattr(run, "ask", ask)
    found = gpu._row(run, Row("A", 2, "float32"), ("eager", "graph"), "row")
    assert asked == [("eager", "graph"), ("eager",)]
    assert found["failed"] == {"graph": "its process died of SIGSEGV", "launches": "CUPTI"}


def test_results_of_tests_are_read_line_by_line(monkeypatch):
    told = [
        "tests/test_a.py::test_one PASSED                [ 50%]",
        "[gw0] [ 66%] FAILED tests/test_a.py::test_two[x-y]",
        "[gw1] [ 99%] SKIPPED tests/test_a.py::test_three ",
    ]
    counts = {"PASSED": 1, "FAILED": 1, "SKIPPED": 1}
    found = {"code": None, "counts": counts, "failed": ["tests/test_a.py::test_two[x-y]"]}
    assert gpu_tests.results(told) == found
    assert gpu_tests.results([*told, "exit status 1"]) == found | {"code": 1}
    assert gpu_tests.results([]) == {"code": None, "counts": {}, "failed": []}
    monkeypatch.setattr(gpu_tests, "PLUGINS", {})
    own = list(gpu_tests.lines("numpy", 60.0, ("tests/test_errors.py",)))
    assert own[-1] == "exit status 0"
    assert set(gpu_tests.results(own)["counts"]) == {"PASSED"}


def test_without_a_gpu_the_command_says_what_is_missing(capsys):
    assert gpu.main(["--parts", "agreement", "--backend", "numpy:1"]) == 2
    assert "BackendError: backend 'numpy'" in capsys.readouterr().err


@pytest.mark.skipif(os.environ.get("XCNN_EMULATE_CUDA") != "1", reason="needs XCNN_EMULATE_CUDA=1")
def test_all_of_it_runs_on_an_emulated_device(tmp_path):
    path = tmp_path / "figures.json"
    places = ROOT / "tests" / "cuda" / "emulator", ROOT, ROOT / "backends"
    given = {"PYTHONPATH": os.pathsep.join(map(str, places)), "XCNN_DATA": str(tmp_path)}
    short = "--nets A --batch 2 --precisions float32,bfloat16 --seconds 0.001"
    parts = "doctor,agreement,peaks,mnist,rows"
    command = [sys.executable, "-c", RUN, *short.split(), "--parts", parts, "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [row["precision"] for row in found["rows"]] == ["float32", "bfloat16"]
    assert all(row["failed"] == {} and row["step"]["seconds"]["xcnn"] > 0 for row in found["rows"])
    assert "cupy:0" in found["doctor"]
    assert "XCNN_DATA" in found["mnist"]["error"]
    assert "MNIST, net B: not measured" in done.stdout
