"""Activations by name and as layers."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from xcnn import ops
from xcnn.errors import OptionError, ShapeError
from xcnn.layers import ELU, GELU, Dense, LeakyReLU, LogSoftmax, ReLU, Softmax
from xcnn.layers.activation import NAMES, activation_layer

X = np.random.default_rng(0).normal(size=(3, 4))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"identity"}))
def test_a_name_gives_the_op_of_that_name(name, backend):
    x = backend.asarray(X)
    y, _ = activation_layer(name).forward(x)
    np.testing.assert_array_equal(backend.to_numpy(y), backend.to_numpy(getattr(ops, name)(x)[0]))


def test_none_and_identity_pass_on():
    for name in (None, "identity"):
        y, _ = activation_layer(name).forward(X)
        assert y is X


@pytest.mark.parametrize("name", sorted(NAMES))
def test_activation_option_equals_a_layer_after(name, backend):
    inside = xcnn.Model([Dense(5, activation=name)], (4,), backend=backend, dtype="float64", seed=3)
    after = xcnn.Model([Dense(5), NAMES[name]()], (4,), backend=backend, dtype="float64", seed=3)
    np.testing.assert_array_equal(inside.predict(X), after.predict(X))


def test_options_reach_the_op():
    x = np.array([[-2.0, 3.0]])
    np.testing.assert_allclose(LeakyReLU(0.25).forward(x)[0], [[-0.5, 3]])
    np.testing.assert_allclose(ELU(2.0).forward(x)[0], [[2 * np.expm1(-2), 3]])
    assert (GELU("tanh").forward(x)[0] != GELU().forward(x)[0]).any()
    image = np.random.default_rng(1).normal(size=(2, 3, 4))
    np.testing.assert_allclose(Softmax(2).forward(image)[0].sum(2), 1)
    np.testing.assert_allclose(np.exp(LogSoftmax(-1).forward(image)[0]).sum(2), 1)


def test_an_unknown_activation_is_refused_with_a_suggestion():
    with pytest.raises(OptionError, match=says("unknown activation 'sigmoyd'; did you mean 'sigmoid'?")):
        Dense(3, activation="sigmoyd")
    with pytest.raises(OptionError, match=says("unknown activation", "known: elu, ")):
        Dense(3, activation=np.tanh)


def test_an_unknown_approximation_is_refused_by_name():
    with pytest.raises(OptionError, match=says("GELU", "approximate is 'tan'; needed 'none' or 'tanh'")):
        xcnn.Model([GELU("tan")], (3,)).predict(X[:, :3])


def test_an_axis_that_the_input_lacks_is_refused_when_the_model_is_built():
    for kind in (Softmax, LogSoftmax):
        with pytest.raises(ShapeError, match=says(f"{kind.__name__} (layers[0])", "axis is 2")):
            xcnn.Model([kind(2)], (3,))


@pytest.mark.parametrize("axis", [1.0, True, "1", None])
def test_what_is_no_axis_at_all_is_refused(axis):
    with pytest.raises(OptionError, match=says("LogSoftmax: axis is", repr(axis), "needed an integer")):
        LogSoftmax(axis)


def test_relu_keeps_nan(backend):
    y = backend.to_numpy(ReLU().forward(backend.asarray([[np.nan, -1.0, 2.0]]))[0])
    np.testing.assert_array_equal(y, [[np.nan, 0, 2]])
