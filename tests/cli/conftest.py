"""A small run to look at, and a way to call the command line."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from xcnn.cli.app import app

CONFIG = {
    "data": {"name": "digits", "train_size": 300, "test_size": 80, "validation": 0.1},
    "layers": [
        {"type": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu"},
        {"type": "MaxPool2D", "size": 2},
        "Flatten",
        {"type": "Dense", "units": 10},
    ],
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 4,
    "batch_size": 16,
    "backend": "numpy",
}


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    """Run in an empty folder, without the settings of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("XCNN_DATA", "XCNN_BACKEND", "OPENBLAS_CORETYPE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def xcnn_command():
    """Call ``xcnn`` with arguments; returns the result, whose `output` holds both streams."""

    def call(*arguments, code=0):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        raised = None if isinstance(result.exception, SystemExit) else result.exception
        assert (result.exit_code, raised) == (code, None), result.output
        return result

    return call


@pytest.fixture
def config(tmp_path):
    """Write the small configuration, changed; returns the path."""

    def write(**changes):
        path = tmp_path / "small.json"
        path.write_text(json.dumps(CONFIG | changes))
        return path

    return write


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a finished run, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.json").write_text(json.dumps(CONFIG))
    result = CliRunner().invoke(app, ["train", str(folder / "small.json"), "--out", str(folder / "run")])
    assert result.exit_code == 0, result.output
    return folder / "run", result.output


@pytest.fixture
def picture(tmp_path):
    """Write an image file of a digit; returns the path."""

    def write(name="digit.png", *, dark_on_light=False, size=(40, 40), mode="L"):
        from sklearn.datasets import load_digits

        pixels = (load_digits().images[0] * 15.9375).astype(np.uint8)
        image = Image.fromarray(255 - pixels if dark_on_light else pixels).resize(size).convert(mode)
        path = os.path.join(tmp_path, name)
        image.save(path)
        return path

    return write
