"""`xcnn search`: what it tries, prints and writes, and how it goes on."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import xcnn
from tests.cli.conftest import CONFIG
from tests.interpreter import environment
from xcnn.cli.app import app
from xcnn.cli.found import shorten
from xcnn.cli.search import _axes, _folder
from xcnn.io import load_config
from xcnn.search import loop
from xcnn.search.record import Record

search_module = sys.modules["xcnn.cli.search"]

GRID = ["--grid", "optimizer.lr=log:1e-3:1e-1:3", "--grid", "layers[0].filters=2,4"]
FILES = {"best", "config.json", "heat_map.png", "search.json", "summary.md", "table.csv", "trials.jsonl"}


@pytest.fixture
def searched(xcnn_command, config, tmp_path):
    """Search with one process; returns the folder and what was printed."""

    def run(*arguments, code=0, name="run", **changes):
        path = config(**{"epochs": 2, **changes})
        result = xcnn_command(
            "search", path, "--workers", 1, "--out", tmp_path / name, *(arguments or GRID), code=code
        )
        return tmp_path / name, result.output

    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the folder of a finished search, and what was printed."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "small.json").write_text(json.dumps(CONFIG | {"epochs": 2}))
    arguments = ["search", str(folder / "small.json"), "--workers", "1", "--out", str(folder / "run"), *GRID]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder / "run", result.output


def test_everything_is_written_and_named(done):
    folder, output = done
    assert {path.name for path in folder.iterdir()} == FILES
    for name in FILES - {"best", "search.json"}:
        assert f"  {name}" in output
    with Image.open(folder / "heat_map.png") as image:
        image.verify()
    assert {"model.xcnn", "config.json", "history.json"} <= {
        path.name for path in (folder / "best").iterdir()
    }


def test_output_tells_the_points_the_ranking_and_the_test(done):
    folder, output = done
    assert (
        "Searching 6 points on digits:\n  optimizer.lr = 0.001, 0.01, 0.1\n  layers[0].filters = 2, 4"
        in output
    )
    assert "held out" not in output
    assert (
        len(
            re.findall(r"^trial \d/6  optimizer\.lr=\S+, layers\[0\]\.filters=\d  val_accuracy", output, re.M)
        )
        == 6
    )
    assert re.search(r"rank +lr +filters +val_accuracy % +best epoch +seconds", output)
    rows = re.findall(r"^ +(\d) +0\.\d+ +[24] +(\d+\.\d\d) +[12] of 2 +\d+\.\d *$", output, re.M)
    assert [int(rank) for rank, _ in rows] == [1, 2, 3, 4, 5, 6]
    scores = [float(score) for _, score in rows]
    assert scores == sorted(scores, reverse=True)
    right, low, high = re.search(
        r"\((\d+) of 80 test images right\), 95 % Wilson interval (\S+) to (\S+) %", output
    ).groups()
    assert (float(low), float(high)) == pytest.approx(
        [100 * bound for bound in xcnn.metrics.wilson_interval(int(right), 80)], abs=0.01
    )
    best = load_config(folder / "best" / "config.json")
    test = best.load_data().test
    model = xcnn.load(folder / "best" / "model.xcnn")
    assert model.evaluate(test.x, test.y)["accuracy"] == pytest.approx(int(right) / 80)


def test_table_and_summary_agree_with_the_trials(done):
    folder, _ = done
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        (trial,) = [
            t
            for t in trials
            if (t["point"]["optimizer.lr"], t["point"]["layers[0].filters"])
            == (float(row["optimizer.lr"]), int(row["layers[0].filters"]))
        ]
        assert float(row["val_accuracy"]) == trial["score"]
        assert float(row["val_loss"]) == trial["logs"]["val_loss"]
    text = (folder / "summary.md").read_text()
    assert "6 of 6 trials ended, 0 in an error" in text
    assert "on 10 % of the training images" in text
    assert len(re.findall(r"^\| \d \| 0\.", text.partition("## Trials")[2], re.M)) == 6
    assert re.search(r"\*\*accuracy .* Wilson interval", text)


def test_the_best_can_be_used_and_run_again(done, xcnn_command, tmp_path):
    folder, output = done
    accuracy = re.search(r"accuracy \S+ % \(\d+ of 80 test images right\)", output)[0]
    assert accuracy in xcnn_command("test", folder / "best").output
    xcnn_command("train", folder / "best" / "config.json", "--out", tmp_path / "again")
    history = json.loads((tmp_path / "again" / "history.json").read_text())
    assert history == json.loads((folder / "best" / "history.json").read_text())


def test_it_says_that_it_holds_out_a_tenth(searched):
    data = {"name": "digits", "train_size": 200, "test_size": 50}
    folder, output = searched("--grid", "seed=0,1", data=data)
    assert "data.validation is not set: a tenth of the training images is held out, to choose by" in output
    assert load_config(folder / "config.json").data.validation == 0.1


def test_the_same_command_goes_on_and_another_is_refused(done, xcnn_command, config, monkeypatch):
    folder, output = done
    monkeypatch.setattr(loop, "run_all", None)  # everything has ended
    command = "search", folder.parent / "small.json", "--out", folder
    again = xcnn_command(*command, *GRID).output
    assert "trial 1/6" not in again
    assert re.search(r"accuracy \S+ % .*", output)[0] in again
    refused = xcnn_command(*command, "--grid", "seed=0,1", code=2).output
    assert f"error: {folder}: holds a search with another grid" in refused
    refused = xcnn_command("search", config(epochs=3), "--out", folder, *GRID, code=2).output
    assert "another configuration (epochs)" in refused


def test_a_folder_of_something_else_is_refused(searched, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    _, output = searched(code=2)
    assert "exists already, and no run is overwritten" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "there is no grid; needed --grid PATH=VALUE,VALUE"),
        (("--grid", "seed"), "grid: got 'seed'; needed PATH=VALUE"),
        (("--grid", "seed=0", "--grid", "seed=1"), "seed comes twice; needed all its values in one --grid"),
        (("--grid", "epochs=1,0"), "epochs: got 0; needed at least 1 (at epochs=0)"),
        (("--grid", "seed=0,0"), "grid: the point seed=0 comes twice"),
        (("--grid", "seed=0", "--monitor", "accuracy_val"), "monitor: unknown measure 'accuracy_val'"),
        (("--grid", "seed=0", "--monitor", "test_accuracy"), "a search does not choose by test images"),
        (("--grid", "seed=0", "--name", "a", "--out", "b"), "got --out and --name"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments, said, xcnn_command, config, tmp_path):
    output = xcnn_command("search", config(), *arguments, code=2).output
    assert f"error: {said}" in output or said in output.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.json"]


def test_a_name_stands_under_runs_and_without_one_there_is_a_time(tmp_path):
    assert _folder(None, "mine", "digits") == Path("runs", "mine")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "search.json").write_text("{}")
    assert _folder(None, "mine", "digits") == Path("runs", "mine")  # to go on
    assert re.fullmatch(r"search-digits-\d{8}-\d{6}", _folder(None, None, "digits").name)


def test_failures_are_told_and_if_all_fail_that_is_an_error(searched):
    folder, output = searched("--grid", "layers[0].kernel_size=3,9")
    assert "failed: layers[0].kernel_size=9: ConfigError: layers[0]: Conv2D: " in output
    assert "1 in an error" in (folder / "summary.md").read_text()
    folder, output = searched("--grid", "layers[0].kernel_size=9,10", code=2, name="none")
    assert "error: no trial succeeded; the first: ConfigError: layers[0]: Conv2D: " in output


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of POSIX")
def test_ctrl_c_says_how_to_go_on(config, tmp_path, xcnn_command):
    folder, arguments = tmp_path / "run", ["search", str(config(epochs=40)), *GRID, "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "xcnn", *arguments, "--out", str(folder)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    trials = folder / "trials.jsonl"
    while not (trials.exists() and trials.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert re.search(
        rf"Stopped by Ctrl-C, \d trials? to go; the same command with --out {folder} goes on", err
    )
    assert "rank" in out
    assert "test images" not in out
    assert (folder / "heat_map.png").exists()
    output = xcnn_command(*arguments, "--out", folder).output
    assert "trial 6/6" in output
    assert "trial 1/6" not in output
    assert "of 80 test images right" in output


def test_the_table_tells_settings_and_measures_of_one_name_apart(searched):
    folder, _ = searched("--grid", "loss=cross_entropy,mse", "--grid", "epochs=1,2")
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["loss"], row["epochs"]) for row in rows} == {
        (loss, epochs) for loss in ("cross_entropy", "mse") for epochs in "12"
    }
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    for row in rows:
        (trial,) = [
            t
            for t in trials
            if (t["point"]["loss"], str(t["point"]["epochs"])) == (row["loss"], row["epochs"])
        ]
        assert float(row["train_loss"]) == trial["logs"]["loss"]
        assert row["trained_epochs"] == row["epochs"]
    fixed = {*rows[0]} - {"loss", "epochs"}
    assert not fixed & {*xcnn.io.RunConfig.model_fields}
    assert not [name for name in fixed if "." in name or "[" in name]
    assert (
        len(
            re.findall(
                r"^\| \d \| (?:cross_entropy|mse) \| [12] \|", (folder / "summary.md").read_text(), re.M
            )
        )
        == 4
    )


def test_the_table_has_every_digit(searched):
    folder, _ = searched("--grid", "optimizer.lr=0.012345678901,0.012345678902")
    with (folder / "table.csv").open() as file:
        assert {row["optimizer.lr"] for row in csv.DictReader(file)} == {"0.012345678901", "0.012345678902"}


def test_nothing_is_said_to_be_held_out_where_nothing_is(searched):
    data = {"name": "digits", "train_size": 200, "test_size": 50}
    folder, output = searched("--grid", "seed=0,1", "--monitor", "loss", data=data)
    assert "held out" not in output
    assert load_config(folder / "config.json").data.validation is None


def test_a_file_that_watches_the_validation_may_leave_it_to_the_search(searched):
    data = {"name": "digits", "train_size": 200, "test_size": 50}
    folder, output = searched("--grid", "seed=0,1", data=data, callbacks=["early_stopping"])
    assert "a tenth of the training images is held out" in output
    assert load_config(folder / "config.json").data.validation == 0.1


def test_no_picture_can_lose_the_words(searched, monkeypatch, tmp_path):
    def broken(*arguments, **options):
        raise xcnn.errors.FileError("no picture", where="heat_map.png")

    monkeypatch.setattr(xcnn.plots, "settings", broken)
    searched("--grid", "seed=0,1", code=2)
    assert {"summary.md", "table.csv"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_ctrl_c_before_the_first_trial_deletes_nothing(searched, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "_go_on", interrupted)
    (tmp_path / "run").mkdir()
    note = tmp_path / "run" / "notes.txt"
    run_search = search_module.search_grid

    def with_a_note(*arguments, **options):
        found = run_search(*arguments, **options)
        note.write_text("mine")
        return found

    monkeypatch.setattr(search_module, "search_grid", with_a_note)
    _, output = searched(code=130)
    assert note.read_text() == "mine"
    assert f"the same command with --out {tmp_path / 'run'} begins again" in output


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_without_the_best_model_that_is_said(searched, monkeypatch):
    searched("--grid", "seed=0,1")
    monkeypatch.setattr(Record, "model", lambda self: None)
    folder, output = searched("--grid", "seed=0,1", code=2)
    assert f"error: the best model is no longer in {folder / 'best'}" in output


def test_headings_are_as_short_as_they_can_be():
    paths = ["optimizer.lr", "layers[0].filters", "layers[1].filters", "epochs", "schedule.epochs"]
    assert [*shorten(paths).values()] == [
        "lr",
        "layers[0].filters",
        "layers[1].filters",
        "epochs",
        "schedule.epochs",
    ]


def test_numbers_are_whole_in_a_narrow_terminal(searched, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    path = 'optimizer={"name": "sgd", "lr": 0.0123456789, "momentum": 0.9123456789},adam'
    _, output = searched("--grid", path, "--grid", "layers[0].filters=2")
    assert len(re.findall(r" \d+\.\d\d +[12] of 2 +\d+\.\d *$", output, re.M)) == 2


def test_a_folder_of_images_may_be_given_without_a_slash(tmp_path):
    (tmp_path / "mine").mkdir()
    assert _axes(["data=digits,mine"]) == {"data": ["digits", str(tmp_path / "mine")]}
    with pytest.raises(xcnn.Error, match="unknown data set 'nine', and no folder of that name"):
        _axes(["data=digits,nine"])


def test_a_name_with_a_path_in_it_is_refused(tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "search.json").write_text("{}")
    with pytest.raises(xcnn.Error, match="needed a plain name"):
        _folder(None, "../else", "digits")
