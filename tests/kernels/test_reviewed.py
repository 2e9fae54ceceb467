"""Cases that a reader of the kernels found wrong once: each is what its layers are."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import xcnn
from xcnn.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    Identity,
    Normalize,
    ReLU,
    Sequential,
    Sum,
)

pytest.importorskip("numba")

from xcnn_numpy import compiler
from xcnn_numpy.team import Team


def same(f=3):
    return Conv2D(f, 3, padding="same")


def with_a_shared_layer():
    shared = same()
    return [same(), Sum(shared, Sequential(shared, ReLU())), same(2)]


def with_a_shared_norm():
    shared = BatchNorm2D()
    return [same(), Concat(shared, Sequential(same(), shared)), same(2)]


NETS = {
    "a layer used twice in one Sum": (with_a_shared_layer, (3, 6, 6)),
    "a norm used twice in one Concat": (with_a_shared_norm, (3, 6, 6)),
    "the input as the residual of a norm": (
        lambda: [Sum(Identity(), Sequential(same(), BatchNorm2D())), same(8)],
        (3, 8, 8),
    ),
    "a norm over its own residual": (lambda: [same(), Sum(Identity(), BatchNorm2D()), same(2)], (3, 6, 6)),
    "Normalize after Flatten": (lambda: [Flatten(), Normalize(0.13, 0.31), Dense(3)], (1, 4, 4)),
    "Normalize in two branches": (
        lambda: [Concat(Normalize(0.5, 0.3), Normalize(0.1, 2.0)), same()],
        (2, 6, 6),
    ),
    "Normalize beside Identity": (lambda: [Concat(Identity(), Normalize(0.5, 0.3)), same()], (2, 6, 6)),
    "Flatten in branches": (
        lambda: [same(), Concat(Flatten(), Sequential(Conv2D(4, 3), Flatten())), Dense(3)],
        (2, 6, 6),
    ),
    "features as the input": (lambda: [Dense(5, activation="relu"), Dense(3)], (9,)),
}


@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize("name", NETS)
def test_it_is_what_its_layers_are(name, n):
    build, shape = NETS[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, *shape))
    found = []
    for compiled in (True, False):
        model = xcnn.Model(build(), shape, seed=1, dtype="float64", compile=compiled, backend="numpy")
        dy = np.random.default_rng(1).normal(size=(n, *model.output_shape))
        predicted = model.predict(x)
        y, saved = model.forward(x, train=True)
        dx = model.backward(dy, saved)
        found.append([predicted, y, dx, model.state.take_gradient()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * max(1.0, np.max(np.abs(b))))


def test_a_folder_that_cannot_be_written_is_left_for_another(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XCNN_CACHE_DIR", str(blocked / "below"))
    compiler.cache_directory.cache_clear()
    try:
        folder = compiler.cache_directory()
        assert folder.is_dir()
        assert tmp_path not in folder.parents
    finally:
        compiler.cache_directory.cache_clear()


def test_a_team_without_threads_works_alone(monkeypatch):
    model = xcnn.Model([same(8)], (3, 8, 8), backend="numpy")
    x = np.random.default_rng(0).normal(size=(64, 3, 8, 8)).astype("float32")
    want = model.predict(x)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr("xcnn_numpy.program.TEAM", Team())
    before = xcnn.get_num_threads()
    xcnn.set_num_threads(2)
    try:
        np.testing.assert_array_equal(model.predict(x), want)
    finally:
        xcnn.set_num_threads(before)
