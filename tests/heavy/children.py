"""What a child does: it must be importable, for children that are started afresh."""

from __future__ import annotations

from typing import Any

import numpy as np

import xcnn
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Flatten, MaxPool2D, ReLU


def prepared(backend: str, *, compile: bool) -> tuple[xcnn.Model, xcnn.Trainer, np.ndarray, np.ndarray]:
    """Return a network large enough for several threads, its trainer, images and labels."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 3, 32, 32)).astype("float32"), np.arange(64) % 10
    stem = [Conv2D(16, 3, padding=1, bias=False), BatchNorm2D(), ReLU(), MaxPool2D(2)]
    layers = [*stem, Conv2D(32, 3, padding=1), ReLU(), Flatten(), Dense(64), ReLU(), Dense(10)]
    model = xcnn.Model(layers, (3, 32, 32), backend=backend, compile=compile)
    return model, xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.01)), x, y


def child(queue: Any, backend: str, compile: bool, values: Any, x: Any, y: Any, forked: Any) -> None:
    """Predict with the parent's model, or one like it, and take a step."""
    xcnn.set_num_threads(2)
    model = forked
    if model is None:
        model, trainer, _, _ = prepared(backend, compile=compile)
        trainer.step(x, y)  # the running statistics come with it
        model.state.arrays = model.state.arrays._replace(values=model.backend.asarray(values))
    first = np.asarray(model.predict(x))
    loss = float(xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.01)).step(x, y))
    queue.put((first, loss, model.backend.get_num_threads()))
