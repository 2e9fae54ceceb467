"""Configurations of runs: as text, and as trees of keys that are known and values that are not."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import numpy as np

from tests.fuzz.harness import Target, folder, written
from tests.fuzz.models import layers
from tests.fuzz.mutate import mutate_json, mutate_text
from xcnn.build import at_most
from xcnn.data import DataSet, Split
from xcnn.errors import Error
from xcnn.io import RunConfig, load_config
from xcnn.io.specs import SPECS

DENSE = {"type": "Dense", "units": 3}
CONV = {"type": "Conv2D", "filters": 2, "kernel_size": 3, "padding": 1, "activation": "relu"}
RUNS: tuple[dict[str, Any], ...] = (
    {
        "data": {"name": "digits", "train_size": 120, "classes": ["1", 2, 3], "validation": 0.2},
        "layers": [CONV, {"type": "MaxPool2D", "size": 2}, "Flatten", DENSE],
        "optimizer": {"name": "adam", "lr": 0.01},
        "epochs": 2,
        "batch_size": 32,
        "schedule": {"name": "cosine", "floor": 0.1},
        "callbacks": ["early_stopping", {"name": "json_logger", "path": "a.json"}],
        "metrics": ["accuracy"],
    },
    {
        "data": {"path": "./a", "size": [8, 8], "grey": True, "normalize": True, "augment": ["random_flip"]},
        "layers": ["Flatten", {"type": "Dense", "units": 3, "activation": {"type": "ELU", "alpha": 0.5}}],
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1, "class_weights": [1, 2, 3]},
        "optimizer": "sgd",
        "dtype": "float64",
        "backend": "numpy",
        "seed": 7,
    },
    {
        "data": "mnist",
        "layers": [{"type": "Sum", "layers": ["Identity", {**CONV, "filters": 1}]}, "GlobalAvgPool2D", DENSE],
        "precision": "bfloat16",
        "optimizer": {"name": "adamw", "lr": 0.1, "weight_decay": 0.01},
        "schedule": {"name": "warmup", "epochs": 2, "then": {"name": "step", "every": 3}},
    },
)


@cache
def words() -> tuple[str, ...]:
    """Return every key and every name that a configuration knows."""
    keys = {key for spec in SPECS.values() for key in spec.model_fields}
    names = {tag.partition(":")[2] for tag in SPECS}
    return tuple(
        sorted(keys | names | set(RunConfig.model_fields) | {"name", "type", "path", "size", "grey"})
    )


@cache
def _images() -> DataSet:
    x = np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
    part = Split(x, np.arange(6) % 3)
    return DataSet("noise", part, part, ("a", "b", "c"))


def _call(content: bytes) -> None:
    """Read a configuration; where it holds, build its model for small images and write it again."""
    config = load_config(written("run.json", content))
    assert RunConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    try:
        with at_most(100_000):
            config.build_model(_images(), backend="numpy")
        config.data.parts(_images(), config.seed)
    except Error as error:
        error.what = f"{folder() / 'run.json'}: {error}"  # what the command line puts before it
        error.where = ""
        raise
    parts = (config.optimizer, config.loss, config.schedule, *config.data.augment, *config.callbacks)
    assert all(part is None or part.make() for part in parts)


def _mutate(data: bytes, rng: random.Random) -> bytes:
    """Break the tree, or the text."""
    try:
        tree = json.loads(data) if rng.random() < 0.8 else None
    except (ValueError, RecursionError):
        tree = None
    if tree is None:
        return mutate_text(data, rng)
    parts = [*layers(), *words()[:3], *(part for run in RUNS for part in run.values())]
    return json.dumps(mutate_json(tree, rng, words(), parts)).encode()


CONFIG = Target(
    "config",
    _call,
    lambda: [json.dumps(run).encode() for run in RUNS],
    _mutate,
    names=str(folder() / "run.json"),
    sample=1_500,
    whole=(2, 50_000),
)
