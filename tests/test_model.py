"""The model: moving and copying."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED, USABLE
from tests.nets import assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn.backend import backend_of
from xcnn.errors import OptionError
from xcnn.layers import Dense, Sequential

X, Y = stripes()
strict_only = pytest.mark.skipif(
    "strict" not in USABLE, reason="needs array-api-strict, whose devices are pretended"
)


# Moving


@pytest.mark.parametrize("target", [*TESTED, *(["strict:device1"] if "strict" in USABLE else [])])
def test_to_moves_parameters_gradients_buffers_and_slots(target, backend):
    model = full(backend=backend)
    trainer = xcnn.Trainer(model, optimizer="adam")
    trainer.step(X, Y)
    y, saved = model.forward(model.accept(X), train=True)
    model.backward(y, saved)
    gradients = {name: backend.to_numpy(p.gradient) for name, p in model.parameters().items()}
    values, slots = host(model), [backend.to_numpy(a) for a in model.state.arrays.slots]
    assert model.to(target) is model
    there = xcnn.get_backend(target)
    assert model.backend is there
    arrays = model.state.arrays
    for a in (arrays.values, *arrays.slots, *arrays.buffers):
        assert backend_of(a) is there
    assert_same(host(model), values)
    assert len(slots) == 2
    for a, want in zip(arrays.slots, slots, strict=True):
        np.testing.assert_array_equal(there.to_numpy(a), want)
    for name, p in model.parameters().items():
        assert backend_of(p.gradient) is there
        np.testing.assert_array_equal(there.to_numpy(p.gradient), gradients[name])


def test_to_and_back_changes_nothing(backend):
    model = full()
    before = model.predict(X)
    np.testing.assert_array_equal(model.to(backend).to("numpy").predict(X), before)


def test_to_converts_the_dtype(backend):
    model = full(backend=backend)
    single = model.predict(X)
    xcnn.Trainer(model)
    model.to(dtype="float64")
    arrays = model.state.arrays
    assert model.dtype == "float64"
    for a in (arrays.values, *arrays.slots, *arrays.buffers):
        assert str(a.dtype).endswith("float64")
    double = model.predict(X)
    assert (single.dtype, double.dtype) == ("float32", "float64")
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-6)


@strict_only
def test_to_another_device_of_the_same_library():
    model = plain(backend="strict")
    before = model.predict(X)
    model.to("strict:device2")
    np.testing.assert_array_equal(model.predict(X), before)
    assert backend_of(model.state.arrays.values).name == "strict:device2"


def test_to_an_unknown_backend_or_dtype_leaves_the_model():
    model = plain()
    with pytest.raises(xcnn.BackendError):
        model.to("nunpy")
    with pytest.raises(OptionError, match=says("dtype is 'float8'")):
        model.to(dtype="float8")
    assert (model.backend.name, model.dtype) == ("numpy", "float32")
    assert model.predict(X).dtype == np.float32


# Copying


def test_a_copy_is_equal_and_shares_nothing(backend):
    model = full(backend=backend)
    model.fit(X, Y, epochs=1)
    model.classes = ("a", "b", "c")
    twin = model.copy()
    assert twin.layers[0] is not model.layers[0]
    assert (twin.loss, twin.classes, twin.seed) == (model.loss, model.classes, model.seed)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    before = host(model)
    twin.fit(X, Y, epochs=1)
    assert_same(host(model), before)


def test_a_deep_copy_is_a_copy(backend):
    model = full(backend=backend)
    model.fit(X, Y)
    twin = copy.deepcopy(model)
    assert twin.backend is model.backend
    before = host(model)
    assert_same(host(twin), before)
    twin.fit(X, Y)
    assert_same(host(model), before)


def test_a_copy_may_live_elsewhere_in_another_dtype(backend):
    model = full()
    twin = model.copy(backend=backend, dtype="float64")
    assert (twin.backend, twin.dtype) == (backend, "float64")
    assert (model.backend.name, model.dtype) == ("numpy", "float32")
    np.testing.assert_allclose(twin.predict(X), model.predict(X), rtol=1e-4, atol=1e-5)


def test_a_copy_keeps_sharing_and_options():
    layer = Dense(4, optimizer=xcnn.optim.SGD(0.1), trainable=False, name="twice")
    model = xcnn.Model([layer, Sequential(layer)], (4,), compile=False)
    twin = model.copy()
    assert twin.layers[0] is twin.layers[1].layers[0]
    assert (twin.layers[0].name, twin.layers[0].trainable, twin.compile) == ("twice", False, False)
    assert twin.layers[0].optimizer == layer.optimizer


def test_a_repr_says_shapes_size_and_backend(backend):
    assert repr(plain(backend=backend)) == f"<model (1, 8, 8) -> (3,), 151 parameters, {backend.name}>"
