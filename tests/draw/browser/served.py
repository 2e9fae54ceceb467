"""Models to try, and the page that tries them, as tests and pictures of the page need both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import xcnn
from bench import ours
from bench.nets import NETS
from xcnn.data import DataSet, load
from xcnn.draw import Running, serve
from xcnn.draw.served import Served
from xcnn.errors import Error
from xcnn.io.data_spec import DataSpec
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D

__all__ = ["Trained", "chromium", "serving", "trained"]

FIT = {"epochs": 1, "batch_size": 32, "loss": "cross_entropy", "progress": False}


@dataclass(frozen=True)
class Trained:
    """Two models of one data set, neither of them good, so that they differ now and then.

    Parameters
    ----------
    name : str
        Of the data set.
    data : DataSet
        The images.
    models : mapping
        Name to model; the first is the one that the page begins with.
    """

    name: str
    data: DataSet
    models: Mapping[str, xcnn.Model]

    @property
    def model(self) -> xcnn.Model:
        """The first one."""
        return next(iter(self.models.values()))

    def digits(self, each: int) -> list[tuple[int, np.ndarray]]:
        """Return labels and the first images (C, H, W) of each class of the test set, as bytes."""
        x, y = self.data.test.x, np.asarray(self.data.test.y)
        found = [(k, np.asarray(x[i])) for k in range(10) for i in np.flatnonzero(y == k)[:each]]
        return [(k, a if a.dtype == np.uint8 else np.rint(255 * a).astype(np.uint8)) for k, a in found]


def chromium() -> str | None:
    """Return where Chromium is, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def trained(size: int = 6000) -> Trained:
    """Return nets B and A after a moment with MNIST; without it, two of their kind with digits.

    B learns from the first `size` images, A from a tenth of them.
    """
    try:
        name, data = "mnist", load("mnist", download=False)
        layers = {kind: ours.layers(NETS[kind].parts) for kind in "BA"}
    except Error:
        name, data = "digits", load("digits")
        layers = {
            "B": [
                Conv2D(6, 3, activation="relu"),
                MaxPool2D(2),
                Conv2D(6, 2, activation="relu"),
                Flatten(),
                Dense(10),
            ],
            "A": [Conv2D(8, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)],
        }
    models = {}
    for kind, count in (("B", size), ("A", size // 10)):
        x, y = data.train.x[:count], data.train.y[:count]
        models[kind] = xcnn.Model(layers[kind], input_shape=x.shape[1:], seed=0, backend="numpy")
        models[kind].fit(x, y, optimizer=xcnn.optim.Adam(2e-3), **FIT)
    return Trained(name, data, models)


def serving(made: Trained, examples: Path) -> Running:
    """Serve the models; nothing is downloaded to tell which channels are dead."""
    spec = DataSpec(name=made.name, download=False)
    return serve(
        [Served(name, model, spec) for name, model in made.models.items()], port=0, examples=examples
    )
