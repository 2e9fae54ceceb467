"""A small trained model, and ways to ask for its answers."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from xcnn.data import load
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D


@pytest.fixture(scope="session")
def digits():
    """Scikit-learn's digits."""
    return load("digits")


@pytest.fixture(scope="session")
def model(digits):
    """A network that knows the digits of 8 x 8 pixels fairly well; nobody may change it."""
    layers = [Conv2D(8, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)]
    made = xcnn.Model(layers, input_shape=(1, 8, 8), seed=0, backend="numpy")
    x, y = digits.train.x, digits.train.y
    made.fit(
        x, y, epochs=4, batch_size=32, optimizer=xcnn.optim.Adam(5e-3), loss="cross_entropy", progress=False
    )
    return made


@pytest.fixture(scope="session")
def pictures(digits):
    """Some pictures that the model was not trained on: (N, 1, 8, 8), float32."""
    return np.ascontiguousarray(digits.test.x[:100])


@pytest.fixture
def client_of():
    """Open clients of applications; they are closed in the end."""
    testclient = pytest.importorskip("starlette.testclient", reason="the drawing pad needs xcnn[draw]")
    opened = []

    def client(app, **options):
        found = testclient.TestClient(app, base_url="http://127.0.0.1:8080", **options)
        opened.append(found.__enter__())
        return found

    yield client
    for found in opened:
        found.__exit__(None, None, None)


@pytest.fixture
def client(client_of, model, tmp_path):
    """A client of an application with one model."""
    from xcnn.draw.app import application
    from xcnn.draw.served import Served

    return client_of(application([Served("digits", model)], examples=tmp_path / "drawings"))
