"""Models of several architectures, built, used in every way and dropped."""

from __future__ import annotations

import copy
import gc
import itertools
from pathlib import Path
from typing import Any

import numpy as np

import xcnn
from tests.heavy.measure import Held, held
from xcnn.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    Identity,
    LayerNorm,
    MaxPool2D,
    ReLU,
    Sequential,
    Sigmoid,
    Sum,
)


def lenet(k: int) -> xcnn.Model:
    """Return convolutions and pooling."""
    layers = [Conv2D(4 + k % 5, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)]
    return xcnn.Model(layers, (1, 8 + k % 7, 9), seed=k)


def residual(k: int) -> xcnn.Model:
    """Return a residual block with batch norm, of which copies share nothing."""
    body = Sequential(Conv2D(4, 3, padding=1, bias=False), BatchNorm2D())
    stem = [Conv2D(4, 3, padding=1, bias=False), BatchNorm2D(), ReLU()]
    return xcnn.Model([*stem, Sum(Identity(), body), ReLU(), GlobalAvgPool2D(), Dense(10)], (2, 6 + k % 4, 6))


def gated(k: int) -> xcnn.Model:
    """Return what compiled runs take only in part."""
    gate = Gate(Sequential(GlobalAvgPool2D(), Dense(6), Sigmoid()))
    both = Concat(AvgPool2D(2), MaxPool2D(2))
    layers = [Conv2D(6, 3), gate, both, Dropout(0.2), ConvTranspose2D(3, 2, stride=2), Flatten(), LayerNorm()]
    return xcnn.Model([*layers, Dense(10)], (1, 8, 8 + k % 3), seed=k)


def dense(k: int) -> xcnn.Model:
    """Return a perceptron."""
    return xcnn.Model([Dense(20 + k % 11, activation="relu"), Dense(10)], (12,), seed=k)


ARCHITECTURES = (lenet, residual, gated, dense)


def live(k: int, folder: Path, *, onnx: bool) -> None:
    """Build model number k, train, predict, copy, save, load and export it, and forget it."""
    model = ARCHITECTURES[k % len(ARCHITECTURES)](k)
    n = 3 + k % 30
    rng = np.random.default_rng(k)
    x, y = rng.normal(size=(n, *model.input_shape)).astype("float32"), np.arange(n) % 10
    trainer = xcnn.Trainer(model, optimizer=("adam", "momentum")[k % 2])
    trainer.step(x, y)
    given = model.predict(x)
    path = folder / f"{k % 3}.xcnn"
    model.save(path)
    for twin in (copy.deepcopy(model), model.copy(), xcnn.load(path)):
        np.testing.assert_array_equal(twin.predict(x), given)
    if onnx and not isinstance(model.layers[0], Dense):
        xcnn.io.onnx.export(model, folder / "model.onnx")


def lives(count: int, folder: Path, *, onnx: bool, parts: int = 4) -> list[Held]:
    """Return what is held before and after parts of so many lives."""
    number = itertools.count()
    for k in itertools.islice(number, count // 5):
        live(k, folder, onnx=onnx)
    found = [held()]
    for _ in range(parts):
        for k in itertools.islice(number, count // parts):
            live(k, folder, onnx=onnx)
        found.append(held())
    return found


def of_kind(name: str) -> list[Any]:
    """Return the objects of a class of xcnn or its backends that are alive."""
    return [
        a for a in gc.get_objects() if type(a).__name__ == name and str(type(a).__module__).startswith("xcnn")
    ]
