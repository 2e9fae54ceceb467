"""Small models and data that tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

import xcnn
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D

SHAPE = (1, 8, 8)
CLASSES = 3


def stripes(n: int = 48, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 1, 8, 8) in [0, 1], float32, with a bright stripe whose place is their class (N,)."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(n) % CLASSES
    x = 0.3 * rng.random((n, *SHAPE))
    for image, k in zip(x, y, strict=True):
        image[:, 3 * k : 3 * k + 2] += 0.6
    return x.astype("float32"), y


def plain(**options: Any) -> xcnn.Model:
    """Return a model without randomness or buffers: convolution, pooling, dense."""
    layers = [Conv2D(4, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(CLASSES)]
    return xcnn.Model(layers, SHAPE, **options)


def full(**options: Any) -> xcnn.Model:
    """Return a model with everything that a step may meet: buffers and dropout too."""
    layers = [
        Conv2D(4, 3, padding="same", bias=False),
        BatchNorm2D(),
        MaxPool2D(2),
        Conv2D(4, 3, activation="relu"),
        Dropout(0.25),
        Flatten(),
        Dense(8, activation="tanh"),
        Dense(CLASSES),
    ]
    return xcnn.Model(layers, SHAPE, **options)


def host(model: xcnn.Model, /) -> dict[str, np.ndarray]:
    """Return copies of the parameters and buffers of `model` on the host, by their place."""
    named = {**model.parameters(), **model.buffers()}
    return {name: np.array(model.backend.to_numpy(holder.value)) for name, holder in named.items()}


def assert_same(got: dict[str, np.ndarray], want: dict[str, np.ndarray], /) -> None:
    """Fail unless both hold the same names and the same numbers, bit for bit."""
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
