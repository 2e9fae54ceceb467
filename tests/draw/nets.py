"""Models that tests of the drawing pad share: a residual one, and one with everything that can be odd."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import xcnn
from xcnn.draw.numbers import plain, to_json
from xcnn.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    Identity,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    Sum,
)

SHAPE = (1, 10, 10)


class Twice(Layer):
    """A layer of a user's own: one convolution, applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Conv2D(4, 3, padding="same", activation="relu")

    def build(self, input_shape, make):
        """Build the convolution."""
        return make.build(self.body, input_shape, at="body")

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        y, first = self.body.forward(x, train=train, hold=hold)
        y, second = self.body.forward(y, train=train, hold=hold)
        return y, (first, second)

    def backward(self, dy, saved, /, *, need_dx=True):
        """Return dx."""
        return self.body.backward(self.body.backward(dy, saved[1]), saved[0])


def residual(**options: Any) -> xcnn.Model:
    """Return a small ResNet: layers in layers, branches, a gate, a layer used twice."""
    shared = Conv2D(4, 1)
    block = Sequential(Conv2D(4, 3, padding="same", bias=False), BatchNorm2D(), ReLU(), Twice())
    excite = Sequential(GlobalAvgPool2D(), Dense(2, activation="relu"), Dense(4, activation="sigmoid"))
    layers = [
        Conv2D(4, 3, stride=2, padding=1, activation="relu"),
        Sum(Identity(), block),
        Concat(shared, Sequential(shared, MaxPool2D(3, stride=1, padding=1))),
        Sequential(Sequential(Conv2D(4, 3)), Gate(excite)),
        Flatten(),
        Dense(3, activation="softmax"),
    ]
    return xcnn.Model(layers, SHAPE, **options)


def picture(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Return a random picture in [0, 1], float32."""
    return np.random.default_rng(seed).random(shape, np.float32)


def sent(value: Any) -> Any:
    """Return what arrives of `value` at the other end of a connection; NaN would not pass."""
    return json.loads(to_json(plain(value)))
