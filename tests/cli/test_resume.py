"""`xcnn train --resume`: a run that was stopped goes on, and ends as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

import xcnn
from tests.cli.conftest import CONFIG
from tests.crash.runs import outcome
from tests.nets import assert_same, host
from xcnn.callbacks import EarlyStopping
from xcnn.cli.app import app
from xcnn.cli.console import terminable
from xcnn.io import load_config
from xcnn.lock import only_writer
from xcnn.training import Checkpoint


@pytest.fixture
def stop(monkeypatch):
    """Press Ctrl-C in an epoch, from 0, after its third step; called without, let the next run be."""
    original = Checkpoint.guard

    def press(epoch=None):
        def guard(self, loop, *, resume):
            kept = original(self, loop, resume=resume)

            class Pressing:
                def __enter__(self):
                    moved = kept.__enter__()

                    def pressed():
                        moved()
                        if (loop.epoch, loop.batch) == (epoch, 3):
                            raise KeyboardInterrupt

                    return pressed

                def __exit__(self, *error):
                    return kept.__exit__(*error)

            return Pressing()

        monkeypatch.setattr(Checkpoint, "guard", original if epoch is None else guard)

    return press


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    """Draw nothing: tests/crash compares figures, too."""
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda self, file, **options: file.write(b"drawn")
    )


@pytest.fixture(scope="session")
def stopped_once(tmp_path_factory):
    """Keep a run that Ctrl-C stopped in its third epoch, after 37 steps."""
    home = tmp_path_factory.mktemp("stopped")
    (home / "small.json").write_text(json.dumps(CONFIG))
    steps = iter(range(37))
    original = xcnn.Trainer.pure_step

    def press(self, *args):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xcnn.Trainer, "pure_step", press)
        command = ["train", str(home / "small.json"), "--out", str(home / "run")]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return home / "run"


@pytest.fixture
def stopped(stopped_once, config, tmp_path):
    """Return the folder of that run, under ``runs``, with its configuration beside ``runs``."""
    config()
    return shutil.copytree(stopped_once, tmp_path / "runs" / "stopped")


@pytest.fixture
def whole(trained):
    """What a run leaves that nothing stopped."""
    folder, _ = trained
    return comparable(folder)


def comparable(folder):
    """Return what a run left, but for its name and the time it took."""
    found = outcome(folder)
    found["summary.md"] = found["summary.md"].partition(b"\n")[2]
    return {name: content for name, content in found.items() if not name.endswith(".png")}


def test_after_ctrl_c_the_folder_is_told_and_goes_on_to_the_same_end(config, xcnn_command, stop, whole):
    stop(2)
    output = xcnn_command("train", config(), "--out", "run").output
    assert "Stopped in epoch 3 of 4; what was learned is kept" in output
    assert "xcnn train --resume run goes on with it" in output
    assert outcome(config().parent / "run")["checkpoints"][1] == "checkpoint-000000037.xcnn"
    stop()
    output = xcnn_command("train", "--resume", "run").output
    assert "Going on in run after step 37" in output
    got = comparable(config().parent / "run")
    assert got == whole


WAITING = """
import time
import xcnn
from xcnn.cli import main

step, left = xcnn.Trainer.pure_step, iter(range(37))

def wait(self, *args):
    if next(left, None) is None:
        print("waiting", flush=True)
        time.sleep(60)
    return step(self, *args)

xcnn.Trainer.pure_step = wait
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of POSIX")
def test_sigterm_stops_a_run_as_ctrl_c_does(config, xcnn_command, whole, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, "train", str(config()), "--out", "run"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any(line == "waiting\n" for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    output, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "Stopped in epoch 3 of 4; what was learned is kept" in told
    assert "summary.md" in output
    assert comparable(tmp_path / "run").keys() == whole.keys()
    assert outcome(tmp_path / "run")["checkpoints"][1] == "checkpoint-000000037.xcnn"
    xcnn_command("train", "--resume", "run")
    assert comparable(tmp_path / "run") == whole


def test_how_sigterm_was_handled_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with terminable():
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_sigterm_is_left_alone():
    def handler():
        with terminable():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() is signal.getsignal(signal.SIGTERM)


def test_the_model_of_a_resumed_run_is_that_of_one_that_was_not_stopped(stopped, xcnn_command, trained):
    xcnn_command("train", "--resume", stopped)
    got, want = (xcnn.load(folder / "model.xcnn") for folder in (stopped, trained[0]))
    assert_same(host(got), host(want))


@pytest.mark.parametrize(
    "arguments",
    [
        ["{folder}"],
        ["{folder}/"],
        ["--name", "stopped"],
        ["--out", "runs/stopped"],
        [],  # the newest
        ["{config}"],  # of which it is
        ["{config}", "--name", "stopped"],
        ["{config}", "--out", "{folder}"],
        ["{folder}/config.json", "--out", "{folder}"],
        ["{folder}/checkpoints/checkpoint-000000037.xcnn"],
        ["{folder}", "--epochs", "4"],
    ],
)
def test_a_run_is_found_by(stopped, xcnn_command, whole, arguments):
    known = {"folder": stopped, "config": stopped.parents[1] / "small.json"}
    xcnn_command("train", "--resume", *[word.format(**known) for word in arguments])
    assert comparable(stopped) == whole


def test_a_run_is_found_by_a_checkpoint_beside_one(stopped, xcnn_command, whole, monkeypatch):
    monkeypatch.chdir(stopped / "checkpoints")
    xcnn_command("train", "--resume", "checkpoint-000000037.xcnn")
    assert comparable(stopped) == whole


def test_the_same_command_begins_and_goes_on(config, xcnn_command, stop, whole):
    command = ["train", config(), "--resume", "--out", "new/run"]
    for epoch in (1, 3):
        stop(epoch)
        xcnn_command(*command)
    stop()
    for _ in range(2):
        xcnn_command(*command)
        assert comparable(config().parent / "new" / "run") == whole


def test_the_same_command_goes_on_with_images_that_were_made_alike(xcnn_command, tmp_path, picture):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            picture(f"photos/{name}/{i}.png", size=(10 + i, 12))
    command = ["train", "--data", "photos", "--epochs", 1, "--resume", "--out", "run"]
    xcnn_command(*command)
    before = comparable(tmp_path / "run")
    assert "Going on in run after step" in xcnn_command(*command).output
    assert comparable(tmp_path / "run") == before


def test_the_newest_run_is_the_one_that_trained_last(config, xcnn_command, stop, whole, tmp_path):
    stop(2)
    for name in ("first", "second"):
        xcnn_command("train", config(), "--name", name)
    stop()
    xcnn_command("train", "--resume", "runs/first", "--epochs", 5)
    assert "Going on in runs/first after step 85" in xcnn_command("train", "--resume").output
    os.utime(tmp_path / "runs" / "second" / "checkpoints", (2**32, 2**32))
    assert "Going on in runs/second after step 37" in xcnn_command("train", "--resume").output
    assert comparable(tmp_path / "runs" / "second") == whole


def test_without_a_run_there_is_nothing_to_go_on_with(xcnn_command, config, tmp_path):
    wanted = "runs: has no run to go on with; needed its folder: xcnn train --resume FOLDER"
    assert wanted in xcnn_command("train", "--resume", code=2).output
    (tmp_path / "empty").mkdir()
    assert (
        "empty: is no run: it has no config.json" in xcnn_command("train", "--resume", "empty", code=2).output
    )
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_not_there_begins_where_it_is_named(config, xcnn_command, whole, tmp_path):
    output = xcnn_command("train", config(), "--resume", "--name", "new").output
    assert "Going on" not in output
    assert comparable(tmp_path / "runs" / "new") == whole


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--batch-size", "8"], ["'batch_size': 16", "'batch_size': 8"]),
        (["--seed", "3"], ["'seed': 0", "'seed': 3"]),
        (["--epochs", "2"], ["'epochs': 4", "'epochs': 2"]),
        (["--data", "optdigits"], ["'digits'", "'optdigits'"]),
        (["--precision", "bfloat16"], ["'float32'", "'bfloat16'"]),
    ],
)
def test_another_run_is_refused_with_both_values(stopped, xcnn_command, monkeypatch, arguments, parts):
    from xcnn.io.config import RunConfig

    images = load_config(stopped / "config.json").load_data()
    monkeypatch.setattr(RunConfig, "load_data", lambda self: images)
    before = comparable(stopped)
    output = xcnn_command("train", "--resume", stopped, *arguments, code=2).output
    assert "was begun with {" in output
    assert all(part in output for part in parts), output
    assert comparable(stopped) == before


def test_the_folder_given_twice_is_refused(stopped, xcnn_command):
    output = xcnn_command("train", "--resume", stopped, "--out", "other", code=2).output
    assert "needed one of them: --resume goes on in the run's own folder" in output


def test_more_epochs_go_on_from_the_end(trained, config, xcnn_command, tmp_path):
    shutil.copytree(trained[0], "run")
    xcnn_command("train", "--resume", "run", "--epochs", 6)
    assert load_config("run/config.json").epochs == 6
    xcnn_command("train", config(epochs=6), "--out", "six")
    got, want = (comparable(tmp_path / name) for name in ("run", "six"))
    assert got == want


def test_a_finished_run_stays_as_it_is(trained, xcnn_command, tmp_path, whole, monkeypatch):
    shutil.copytree(trained[0], "run")
    monkeypatch.setattr(xcnn.Trainer, "advance", None)
    for _ in range(2):
        xcnn_command("train", "--resume", "run")
        assert comparable(tmp_path / "run") == whole


def test_a_backend_may_be_changed(stopped, xcnn_command):
    output = xcnn_command("train", "--resume", stopped, "--backend", "strict").output
    assert "backend strict" in output
    assert load_config(stopped / "config.json").backend == "strict"
    assert len(json.loads((stopped / "history.json").read_text())["epochs"]["loss"]) == 4


def test_a_run_killed_before_it_began_begins(config, xcnn_command, whole, tmp_path):
    for left in ([".config.json.0123456789abcdef"], ["checkpoints/lock"]):
        folder = tmp_path / f"run-{len(left[0])}"
        for name in left:
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text("")
        xcnn_command("train", config(), "--out", folder, *(["--resume"] if "lock" in left[0] else []))
        assert comparable(folder) == whole


def test_a_run_killed_before_its_first_checkpoint_begins(trained, xcnn_command, whole, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(trained[0] / "config.json", "run")
    (tmp_path / "run" / "checkpoints" / ".checkpoint-000000000.xcnn.0123456789abcdef").write_bytes(b"half")
    assert "after step 0" in xcnn_command("train", "--resume", "run").output
    assert comparable(tmp_path / "run") == whole


def test_what_a_kill_left_half_written_goes(stopped, xcnn_command, whole):
    for name in ("model.xcnn", "history.json", "summary.md"):
        (stopped / f".{name}.0123456789abcdef").write_bytes(b"half")
    xcnn_command("train", "--resume", stopped)
    assert comparable(stopped) == whole


def test_a_lost_configuration_comes_from_the_checkpoint(stopped, xcnn_command, whole):
    (stopped / "config.json").unlink()
    xcnn_command("train", "--resume", stopped)
    assert comparable(stopped) == whole


@pytest.mark.filterwarnings("always")
def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(stopped, xcnn_command, whole):
    newest = stopped / "checkpoints" / "checkpoint-000000037.xcnn"
    newest.write_bytes(newest.read_bytes()[:-9])
    output = xcnn_command("train", "--resume", stopped).output
    assert "checkpoint-000000037.xcnn: cannot be read as a model" in output
    assert "going on from checkpoint-000000000.xcnn" in output
    assert comparable(stopped) == whole


def test_while_a_run_trains_another_process_is_refused_and_harms_nothing(stopped, xcnn_command, tmp_path):
    before = comparable(stopped)
    refused = "another training is writing here; needed another folder, or its end"
    with only_writer(stopped / "checkpoints" / "lock", "training"):
        for more in ([], ["--epochs", 9]):
            assert refused in xcnn_command("train", "--resume", stopped, *more, code=2).output
    assert comparable(stopped) == before
    with only_writer(tmp_path / "new" / "checkpoints" / "lock", "training"):  # about to begin
        assert refused in xcnn_command("train", tmp_path / "small.json", "--out", "new", code=2).output
        assert (tmp_path / "new" / "checkpoints" / "lock").is_file()


def test_ctrl_c_before_an_epoch_leaves_a_run_to_go_on_with(config, xcnn_command, stop, whole, tmp_path):
    stop(0)
    xcnn_command("train", config(), "--out", "run")
    stop()
    xcnn_command("train", "--resume", "run")
    assert comparable(tmp_path / "run") == whole


def test_ctrl_c_while_an_epoch_ends_loses_nothing(config, xcnn_command, monkeypatch, whole, tmp_path):
    with monkeypatch.context() as patch:

        def press(self, trainer, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt
            original(self, trainer, epoch, logs)

        original = EarlyStopping.on_epoch_end
        patch.setattr(EarlyStopping, "on_epoch_end", press)
        xcnn_command("train", config(), "--out", "run")
    xcnn_command("train", "--resume", "run")
    assert comparable(tmp_path / "run") == whole
