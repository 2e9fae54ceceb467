"""What is killed: a command, and scripts; each goes on with what it finds in its folder."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import xcnn
from tests.nets import full, stripes
from xcnn import callbacks as c
from xcnn.callbacks import EarlyStopping
from xcnn.files import remove_leftovers
from xcnn.training import Checkpoint

CONFIG = {
    "data": {
        "name": "digits",
        "train_size": 120,
        "test_size": 40,
        "validation": 0.2,
        "augment": [{"name": "random_shift", "pixels": 1}],
    },
    "layers": [
        {"type": "Conv2D", "filters": 4, "kernel_size": 3},
        "BatchNorm2D",
        "ReLU",
        {"type": "MaxPool2D", "size": 2},
        {"type": "Dropout", "rate": 0.2},
        "Flatten",
        {"type": "Dense", "units": 10},
    ],
    "optimizer": {"name": "adam", "lr": 0.05},
    "schedule": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 0},
    "callbacks": [
        {"name": "early_stopping", "monitor": "val_loss", "patience": 2},
        {"name": "model_checkpoint", "path": "best.xcnn", "monitor": "val_loss"},
        {"name": "json_logger", "path": "log.jsonl"},
        {"name": "block_loss", "samples": 50},
    ],
    "epochs": 30,
    "batch_size": 16,
    "backend": "numpy",
}


def warm_up() -> None:
    """Load everything that a run needs, compiled kernels too, by doing each once."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        code = command(Path(folder, "command"), every=30)
        script(Path(folder, "script"), every=30)
    os.chdir(home)
    assert code == 0


def command(folder: Path, *, every: float) -> int:
    """Run ``xcnn train CONFIG --out FOLDER --resume``."""
    from xcnn.cli import main

    Checkpoint.__init__.__kwdefaults__["every"] = every
    config = folder.with_name("small.json")
    config.write_text(json.dumps(CONFIG))
    os.chdir(folder.parent)
    sys.argv = ["xcnn", "train", str(config), "--out", folder.name, "--resume"]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def script(folder: Path, *, every: float, units: int = 8, epochs: int = 5) -> None:
    """Fit a network with everything that has a state; the more units, the longer a checkpoint takes."""
    remove_leftovers(folder)  # of the files that it saves itself
    model = full() if units == 8 else _large(units)
    early = EarlyStopping("val_loss", patience=4)
    history = model.fit(
        *_confusing(48),
        callbacks=[
            early,
            c.ModelCheckpoint(folder / "best.xcnn", monitor="val_loss"),
            c.JSONLogger(folder / "log.jsonl"),
            c.BlockLoss(15),
        ],
        **_options(epochs),
        checkpoint=Checkpoint(folder / "checkpoints", every=every),
        resume=True,
    )
    model.save(folder / "model.xcnn")
    history.save(folder / "history.json")
    kept = {"best": early.best, "epoch": early.best_epoch, "waited": early.waited}
    (folder / "early.json").write_text(json.dumps(kept))


def _confusing(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images of which a third is called wrong: what is measured goes up and down."""
    x, y = stripes(n, seed=n)
    return x, np.where(np.arange(n) % 3 == 0, (y + 1) % 3, y)


def _options(epochs: int) -> dict[str, Any]:
    return {
        "epochs": epochs,
        "batch_size": 10,
        "optimizer": xcnn.optim.Adam(0.05),
        "schedule": xcnn.schedules.ReduceOnPlateau(0.5, patience=0),
        "validation": _confusing(24),
        "augment": xcnn.data.augment.RandomShift(1),
        "seed": 3,
    }


def _large(units: int) -> xcnn.Model:
    return xcnn.Model(
        [
            xcnn.layers.Flatten(),
            xcnn.layers.Dense(units, activation="relu"),
            xcnn.layers.Dropout(0.3),
            xcnn.layers.Dense(units, activation="relu"),
            xcnn.layers.Dense(3),
        ],
        (1, 8, 8),
    )


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a run left, but for the time it took; a file that should not be there is in it, too."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.parent.name == "checkpoints" or path.is_dir():
            continue
        content: Any = path.read_bytes()
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in content.splitlines()]
            content = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
        elif path.suffix == ".md":
            content = re.sub(rb"Learned for .*? s in|\(.*? images/s\)|^\d{4}-.*", b"", content, flags=re.M)
        found[str(path.relative_to(folder))] = content
    *before, last, lock = sorted(path.name for path in (folder / "checkpoints").iterdir())
    found["checkpoints"] = len(before) <= 1, last, lock  # how far apart they are, the clock decides
    return found
