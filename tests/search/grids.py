"""A tiny run on scikit-learn's digits, for searches that take a second."""

from __future__ import annotations

from typing import Any

CONFIG: dict[str, Any] = {
    "data": {"name": "digits", "train_size": 200, "test_size": 60, "validation": 0.2},
    "layers": [
        {"type": "Conv2D", "filters": 2, "kernel_size": 3, "activation": "relu"},
        {"type": "MaxPool2D", "size": 2},
        "Flatten",
        {"type": "Dense", "units": 10},
    ],
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 3,
    "batch_size": 16,
    "backend": "numpy",
}
GRID: dict[str, list[Any]] = {"optimizer.lr": [0.001, 0.03, 0.1], "layers[0].filters": [2, 6]}
DIVERGES = {"loss": "mse", "optimizer": {"name": "sgd", "lr": 1e30}}


def comparable(result: Any) -> list[Any]:
    """Return all that two searches have in common, times apart."""
    return [(t.index, t.point, t.score, t.epoch, t.logs, t.history, t.error) for t in result.trials]
