"""Activations, softmax among them: NaN, extreme inputs, known values, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.ops.checks import backward, forward, says
from tests.ops.draws import Case
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import DataError, OptionError, ShapeError

ELEMENTWISE = ["relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh"]


def apply(backend, name, x, **options):
    """Return y and the gradient of the sum of y."""
    (y,), saved = forward(backend, name, Case((x,), options))
    return y, backward(backend, saved, np.ones_like(y))[0]


@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax", "log_softmax"])
def test_nan_is_kept_where_it_is(name, backend, dtype):
    x = np.array([[1, 2], [np.nan, -1], [-3, 0]], dtype=dtype)
    y, _ = apply(backend, name, x)
    row = 1.0 if name in ELEMENTWISE else np.nan  # softmax spreads it over its row
    np.testing.assert_array_equal(np.isnan(y), np.isnan([[1, 1], [np.nan, row], [1, 1]]))


EXTREMES = [
    (name, options)
    for name in [*ELEMENTWISE, "softmax", "log_softmax"]
    for options in ([{"approximate": "none"}, {"approximate": "tanh"}] if name == "gelu" else [{}])
]


@pytest.mark.parametrize(("name", "options"), EXTREMES)
def test_large_inputs_give_finite_outputs_and_gradients(name, options, backend, dtype):
    x = 1e4 * np.array([[1, -1, 0], [-1, -1, -1], [1, 1, 1], [1e-9, -1e-9, 1e-30]], dtype=dtype)
    y, dx = apply(backend, name, x, **options)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # a square may exceed float32 where y does not
@pytest.mark.parametrize(("name", "options"), EXTREMES)
def test_the_largest_inputs_give_finite_outputs_and_gradients(name, options, backend, dtype):
    x = np.array([[1, -1, 0], [-1, -1, -1], [1, 1, 1]], dtype=dtype) * np.finfo(dtype).max / 4
    y, dx = apply(backend, name, x, **options)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "gelu", "silu"])
def test_rectifiers_are_the_identity_far_above_zero(name, backend, dtype):
    x = np.array([50, 1e4, 1e8], dtype=dtype)
    y, dx = apply(backend, name, x)
    assert_close(y, x, dtype)
    np.testing.assert_allclose(dx, 1, rtol=1e-6)


def test_infinity_is_rectified_to_infinity_and_zero(backend, dtype):
    x = np.array([np.inf, -np.inf], dtype=dtype)
    np.testing.assert_array_equal(apply(backend, "relu", x)[0], [np.inf, 0])


def test_known_values(backend):
    x = np.array([-1.0, 0.0, 2.0])
    e = math.e
    known = {
        "relu": [0, 0, 2],
        "leaky_relu": [-0.01, 0, 2],
        "elu": [1 / e - 1, 0, 2],
        "gelu": [-0.15865525393145707, 0, 1.9544997361036416],
        "silu": [-1 / (1 + e), 0, 2 / (1 + e**-2)],
        "sigmoid": [1 / (1 + e), 0.5, 1 / (1 + e**-2)],
        "tanh": [math.tanh(-1), 0, math.tanh(2)],
    }
    assert set(known) == set(ELEMENTWISE)
    for name, want in known.items():
        assert_close(apply(backend, name, x)[0], want, "float64", name)


def test_the_normal_distribution_of_gelu_is_right_in_its_tail(backend):
    x = np.linspace(-30, 10, 401)
    want = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x]
    np.testing.assert_allclose(apply(backend, "gelu", x)[0], want, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("axis", [1, -1, 0, 2])
def test_probabilities_sum_to_one_along_their_axis(backend, dtype, axis):
    x = (30 * np.random.default_rng(0).normal(size=(3, 4, 5))).astype(dtype)
    y, _ = apply(backend, "softmax", x, axis=axis)
    assert (y >= 0).all()
    np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=1e-6)
    assert_close(np.exp(apply(backend, "log_softmax", x, axis=axis)[0]), y, dtype)


def test_adding_a_constant_to_the_logits_changes_nothing(backend):
    x = np.random.default_rng(0).integers(-5, 5, size=(3, 4)).astype("float64")
    for name in ("softmax", "log_softmax"):
        np.testing.assert_array_equal(apply(backend, name, x)[0], apply(backend, name, x + 1024)[0])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [2, -3])
def test_a_missing_axis_is_refused(name, backend, axis):
    with pytest.raises(ShapeError, match=says(f"{name}: axis", str(axis), "(2, 3)")):
        getattr(ops, name)(backend.asarray(np.ones((2, 3))), axis=axis)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(2, 0), (5, 0, 0)])
def test_an_array_without_classes_is_refused(name, backend, shape):
    with pytest.raises(DataError, match=says(f"{name}: x has shape", str(shape), "one class at least")):
        getattr(ops, name)(backend.asarray(np.ones(shape)), axis=1)


def test_gelu_refuses_an_unknown_approximation(backend):
    with pytest.raises(OptionError, match=says("gelu: approximate", "'erf'", "'none'", "'tanh'")):
        ops.gelu(backend.asarray(np.ones(3)), approximate="erf")
