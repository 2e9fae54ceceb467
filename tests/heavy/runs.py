"""What is done again and again: steps, `fit` and predictions of a small network with all kinds of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import xcnn
from xcnn.data import Compose, RandomFlip, RandomShift
from xcnn.layers import (
    BatchNorm2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Identity,
    MaxPool2D,
    ReLU,
    Sequential,
    Sum,
)

BATCH = 16


def net(backend: str | None = "numpy", *, width: int = 4, compile: bool = True) -> xcnn.Model:
    """Return a small residual network with batch norm, pooling and dropout."""
    body = Sequential(Conv2D(width, 3, padding=1), ReLU())
    head = [Conv2D(width, 3, padding=1, bias=False), BatchNorm2D(), ReLU(), MaxPool2D(2)]
    layers = [*head, Sum(Identity(), body), Dropout(0.1), Flatten(), Dense(10)]
    return xcnn.Model(layers, (1, 8, 8), backend=backend, compile=compile)


def images(n: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return n images of bytes, and their labels."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8), rng.integers(0, 10, n)


def steps(backend: str, *, compile: bool = True) -> Callable[[int], Any]:
    """Return a function that takes n steps of one trainer."""
    x, y = images(BATCH)
    trainer = xcnn.Trainer(net(backend, compile=compile))

    def work(n: int) -> None:
        for _ in range(n):
            assert np.isfinite(float(trainer.step(x, y)))

    return work


def fits(backend: str, *, compile: bool = True) -> Callable[[int], Any]:
    """Return a function that takes n steps in `fit`, of four steps an epoch, with all that `fit` offers."""
    x, y = images(64)
    model = net(backend, compile=compile)
    augment = Compose([RandomShift(1), RandomFlip()])

    def work(n: int) -> None:
        loader = xcnn.data.Loader(x, y, batch_size=BATCH, augment=augment, prefetch=2)
        seen: list[int] = []
        callbacks = [lambda epoch, logs: seen.append(epoch), xcnn.callbacks.EarlyStopping(patience=n)]
        model.fit(
            loader,
            epochs=n // len(loader),
            optimizer=xcnn.optim.SGD(0.01, momentum=0.9),
            schedule="cosine",
            validation=(x[:32], y[:32]),
            callbacks=callbacks,
            metrics=["accuracy"],
            progress=False,
        )
        assert len(seen) == n // len(loader)

    return work


def predictions(backend: str, *, compile: bool = True) -> Callable[[int], Any]:
    """Return a function that predicts n times, batches of 1 to 40 images."""
    x, _ = images(64)
    model = net(backend, compile=compile)

    def work(n: int) -> None:
        for i in range(n):
            assert model.predict_classes(x[: 1 + i % 40]).shape == (1 + i % 40,)

    return work
