"""`xcnn train`: what it learns, prints and writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

import xcnn
from xcnn.callbacks import EarlyStopping
from xcnn.cli.train import default_config
from xcnn.io import load_config

FILES = {
    "checkpoints",
    "config.json",
    "confusion_matrix.png",
    "history.json",
    "kernels.png",
    "learning_curves.png",
    "model.xcnn",
    "predictions.png",
    "summary.md",
}


def history(folder):
    return json.loads((folder / "history.json").read_text())


def test_everything_is_written_and_named(trained):
    folder, output = trained
    assert {path.name for path in folder.iterdir()} == FILES
    assert all(name in output for name in FILES)
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(folder / name) as image:
                image.verify()


def test_output_says_what_happens_and_how_good_it_is(trained):
    folder, output = trained
    assert "Training on digits: 270 images of 1 x 8 x 8, validation on 30, test on 80 others" in output
    assert "Conv2D + ReLU" in output
    assert "cross_entropy, adam 0.01; 4 epochs of 17 steps of 16 images; seed 0; backend numpy" in output
    found = re.search(
        r"accuracy (\S+) % \((\d+) of 80 test images right\), 95 % Wilson interval (\S+) to (\S+) %", output
    )
    accuracy, right, low, high = map(float, found.groups())
    assert accuracy == pytest.approx(100 * right / 80, abs=0.01)
    expected = xcnn.metrics.wilson_interval(int(right), 80)
    assert (low, high) == pytest.approx([100 * bound for bound in expected], abs=0.01)
    assert re.search(r"class +precision % +recall % +F1 % +images", output)
    assert len(re.findall(r"^ \d( +\S+){4} *$", output, re.M)) == 10
    assert f"Next: xcnn predict {folder / 'model.xcnn'} IMAGE.png" in output


def test_model_is_that_of_the_best_epoch(trained):
    folder, output = trained
    best = int(re.search(r"kept the values of epoch (\d+), the best in validation", output)[1])
    losses = history(folder)["epochs"]["val_loss"]
    assert losses[best - 1] == min(losses)
    config = load_config(folder / "config.json")
    data = config.load_data()
    _, validation = config.data.parts(data, config.seed)
    model = xcnn.load(folder / "model.xcnn")
    assert model.evaluate(validation.x, validation.y)["loss"] == pytest.approx(min(losses), rel=1e-5)
    assert model.classes == tuple("0123456789")


def test_summary_tells_the_run_again(trained):
    folder, output = trained
    text = (folder / "summary.md").read_text()
    assert re.search(r"accuracy .*Wilson interval.*", output)[0] in text
    for part in (
        "| class | precision % |",
        "270 images to learn from",
        "Conv2D + ReLU",
        '"lr": 0.01',
        "numpy ",
    ):
        assert part in text


def test_configuration_that_was_written_gives_the_same_run(trained, xcnn_command, tmp_path):
    folder, _ = trained
    xcnn_command("train", folder / "config.json", "--out", tmp_path / "again")
    assert history(tmp_path / "again") == history(folder)


def test_options_take_the_place_of_the_configuration(config, xcnn_command):
    options = ["--epochs", 1, "--batch-size", 90, "--seed", 3, "--backend", "strict", "--name", "other"]
    output = xcnn_command("train", config(), *options).output
    assert "1 epoch of 3 steps of 90 images; seed 3; backend strict" in output
    written = load_config("runs/other/config.json")
    assert (written.epochs, written.batch_size, written.seed, written.backend) == (1, 90, 3, "strict")


def test_a_precision_is_kept_with_the_run_and_the_model(config, xcnn_command):
    output = xcnn_command("train", config(epochs=1), "--precision", "bfloat16", "--out", "run").output
    assert "products in bfloat16" in output
    assert load_config("run/config.json").precision == "bfloat16"
    assert xcnn.load("run/model.xcnn").precision == "bfloat16"
    refused = xcnn_command("train", config(), "--precision", "bf16", code=2).output
    assert "unknown precision 'bf16'; did you mean 'bfloat16'?" in refused


def test_run_is_named_after_data_and_time(config, xcnn_command, tmp_path):
    xcnn_command("train", config(epochs=1))
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"digits-\d{8}-\d{6}", folder.name)


def test_without_a_configuration_digits_are_learned(xcnn_command, tmp_path):
    output = xcnn_command("train", "--epochs", 1, "--out", tmp_path / "run").output
    assert "Training on digits: 1,213 images" in output
    accuracy = float(re.search(r"accuracy (\S+) %", output)[1])
    assert accuracy > 60  # after one epoch of twenty
    assert load_config(tmp_path / "run" / "config.json").layers == default_config().layers


def test_without_a_configuration_a_folder_of_images_is_learned(xcnn_command, tmp_path, picture):
    for name in ("cat", "dog", "owl"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            picture(f"photos/{name}/{i}.png", dark_on_light=name == "dog", size=(12, 10), mode="RGB")
    output = xcnn_command("train", "--data", "photos", "--epochs", 2, "--out", "run").output
    assert "Training on photos: 16 images of 3 x 10 x 12, validation on 2, test on 6 others" in output
    assert xcnn.load("run/model.xcnn").classes == ("cat", "dog", "owl")
    assert "6 images" in xcnn_command("test", "run").output


def test_images_that_differ_are_made_alike(xcnn_command, tmp_path, picture):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            picture(f"photos/{name}/{i}.png", size=(10 + i, 12), mode="L" if i % 2 else "RGB")
    output = xcnn_command("train", "--data", "photos", "--epochs", 1, "--out", "run").output
    assert "note: the images differ in size or colour: all are made 3 x 32 x 32" in output
    assert xcnn.load("run/model.xcnn").input_shape == (3, 32, 32)
    assert "on photos: 4 images" in xcnn_command("test", "run").output


def test_an_existing_folder_is_not_overwritten(config, xcnn_command, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("")
    output = xcnn_command("train", config(), "--out", "run", code=2).output
    assert "run: exists already, and no run is overwritten; needed a new folder: --out or --name" in output
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious"]


def test_an_empty_folder_will_do(config, xcnn_command, tmp_path):
    (tmp_path / "run").mkdir()
    xcnn_command("train", config(epochs=1), "--out", "run")
    assert (tmp_path / "run" / "model.xcnn").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere.json"], "nowhere.json: cannot be read: No such file or directory"),
        (
            ["--data", "minst"],
            "--data: unknown data set 'minst', and no folder of that name; did you mean 'mnist'?",
        ),
        (["--backend", "nump"], "unknown backend 'nump'; did you mean 'numpy'?"),
        (["--out", "a", "--name", "b"], "got --out and --name; needed one of them"),
        (["--name", "a/b"], "--name is 'a/b'; needed a plain name"),
        (["--epochs", "0"], "--epochs"),
    ],
)
def test_errors_are_one_line_and_write_nothing(xcnn_command, tmp_path, options, message):
    output = xcnn_command("train", *options, code=2).output
    assert message in output
    assert "Traceback" not in output
    assert not (tmp_path / "runs").exists()


def test_errors_of_a_configuration_name_the_file_and_the_path(config, xcnn_command):
    wrong = [{"type": "Conv2D", "filters": 4, "kernel_size": -1}, "Flaten"]
    output = xcnn_command("train", config(layers=wrong), code=2).output
    assert "small.json: layers[0].kernel_size: got -1; needed an integer of at least 1\n" in output
    assert "small.json: layers[1]: unknown layer 'Flaten'; did you mean 'Flatten'?\n" in output
    output = xcnn_command("train", config(layers=["Flatten", "Flatten", "GlobalAvgPool2D"]), code=2).output
    assert "small.json: layers[2]: GlobalAvgPool2D: x has shape (N, 64); needed images (N, C, H, W)" in output


def test_debug_shows_where_an_error_came_from(xcnn_command):
    from typer.testing import CliRunner

    from xcnn.cli.app import app

    result = CliRunner().invoke(app, ["train", "nowhere.json", "--debug"])
    assert isinstance(result.exception, xcnn.errors.FileError)


def test_ctrl_c_keeps_what_was_learned(config, xcnn_command, monkeypatch, tmp_path):
    def interrupt(self, trainer, epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt
        original(self, trainer, epoch, logs)

    original = EarlyStopping.on_epoch_end
    monkeypatch.setattr(EarlyStopping, "on_epoch_end", interrupt)
    output = xcnn_command("train", config(), "--out", "run").output
    assert "Stopped in epoch 3 of 4; what was learned is kept" in output
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert history(tmp_path / "run")["interrupted"] is True
    assert "Training was stopped before its end" in (tmp_path / "run" / "summary.md").read_text()


def test_ctrl_c_before_anything_was_learned_leaves_nothing(config, xcnn_command, monkeypatch, tmp_path):
    def interrupt(self, trainer, history):
        raise KeyboardInterrupt

    monkeypatch.setattr(EarlyStopping, "on_train_begin", interrupt)
    assert "error: interrupted" in xcnn_command("train", config(), "--out", "run", code=130).output
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_leaves_nothing(config, xcnn_command, tmp_path):
    wild = {"name": "sgd", "lr": 1e30}
    output = xcnn_command("train", config(optimizer=wild), "--out", "run", code=2).output
    assert "was not applied: NaN or infinity first appeared here" in output
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_later_keeps_what_was_learned(config, xcnn_command, tmp_path):
    wild = {"name": "exponential", "rate": 1e25}
    output = xcnn_command("train", config(schedule=wild, epochs=9), "--out", "run", code=2).output
    assert "Kept in run: the model as it was then, and its history" in output
    kept = {"checkpoints", "config.json", "history.json", "learning_curves.png", "model.xcnn"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == kept


def test_early_stopping_of_the_configuration_is_followed(config, xcnn_command, tmp_path):
    stop = {"name": "early_stopping", "monitor": "val_loss", "patience": 0, "min_delta": 100}
    xcnn_command("train", config(callbacks=[stop]), "--out", "run")
    assert len(history(tmp_path / "run")["epochs"]["loss"]) == 2


def test_module_runs_as_a_program(config, tmp_path):
    command = [sys.executable, "-m", "xcnn", "train", str(config(epochs=1)), "--out", "run"]
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=100,
    )
    said = [line for line in done.stderr.splitlines() if "compiling kernels" not in line]
    assert (done.returncode, said) == (0, [])
    assert "95 % Wilson interval" in done.stdout
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
