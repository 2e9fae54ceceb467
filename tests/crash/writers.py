"""Everything that writes a file, in two versions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import xcnn
from tests.crash.runs import CONFIG
from tests.nets import plain, stripes
from xcnn import io, plots
from xcnn.callbacks import JSONLogger
from xcnn.data.download import fetch
from xcnn.data.files import Content, Source
from xcnn.draw.examples import Examples
from xcnn.reproduce.page import write_page
from xcnn.training import History


def _history(version: int) -> History:
    history = History()
    for epoch in range(3 + version):
        history.record({"loss": 1 / (1 + epoch), "accuracy": 0.5, "val_loss": 1.0})
    return history


def model(folder: Path, version: int) -> None:
    """Save a model."""
    plain(seed=version).save(folder / "model.xcnn")


def weights(folder: Path, version: int) -> None:
    """Save weights."""
    io.save_weights(plain(seed=version), folder / "weights.safetensors")


def history(folder: Path, version: int) -> None:
    """Save a history."""
    _history(version).save(folder / "history.json")


def config(folder: Path, version: int) -> None:
    """Save a configuration."""
    io.RunConfig.from_dict(CONFIG | {"seed": version}).save(folder / "config.json")


def figure(folder: Path, version: int) -> None:
    """Draw learning curves."""
    plots.learning_curves(_history(version), path=folder / "curves.png")


def animation(folder: Path, version: int) -> None:
    """Draw a window that slides."""
    x, _ = stripes()
    plain(seed=version).explain(x[0]).layers[0].animate(folder / "window.gif", most=2)


def onnx(folder: Path, version: int) -> None:
    """Export a model."""
    io.onnx.export(plain(seed=version), folder / "model.onnx")


def example(folder: Path, version: int) -> None:
    """Keep a drawing."""
    Examples(folder).save(np.full((1, 8, 8), 0.5 * version, "float32"), "seven")


def page(folder: Path, version: int) -> None:
    """Write the report of no experiments."""
    write_page(folder, [], machine=f"machine {version}", quick=False)


def line(folder: Path, version: int) -> None:
    """Append a line to a log."""
    logger = JSONLogger(folder / "log.jsonl")
    logger.on_train_begin(None, None)
    logger.on_epoch_end(None, version, {"loss": 1.0})


def download(folder: Path, version: int) -> None:
    """Fetch a file from a mirror."""
    served = folder.with_name(f"served-{version}")
    data = bytes([version]) * 300_000
    served.write_bytes(data)
    content = Content("numbers", len(data), hashlib.sha256(data).hexdigest())
    fetch(Source("set", "numbers", (content,), (served.as_uri(),), "numbers"), folder)


def search(folder: Path, version: int) -> None:
    """Search over two learning rates."""
    from tests.search.grids import CONFIG as TINY

    found = xcnn.search.search(
        TINY | {"epochs": 1}, {"optimizer.lr": [0.001, 0.03]}, folder=folder, workers=1
    )
    assert found.best is not None


WRITERS: tuple[Callable[[Path, int], Any], ...] = (
    model,
    weights,
    history,
    config,
    figure,
    animation,
    onnx,
    example,
    page,
    download,
)
