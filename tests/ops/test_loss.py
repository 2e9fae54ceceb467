"""Cross-entropies: extreme inputs, kinds of labels, weights and smoothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.ops.checks import backward, forward, says
from tests.ops.draws import Case
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import OptionError, ShapeError

CROSS = ["cross_entropy", "cross_entropy_probabilities"]
BINARY = ["binary_cross_entropy", "binary_cross_entropy_probabilities"]


def loss_of(backend, name, *arrays, **options):
    """Return the loss and its gradient with respect to the first array."""
    (loss,), saved = forward(backend, name, Case(arrays, options))
    return loss, backward(backend, saved, np.ones_like(loss))[0]


def log_likelihoods(z):
    """Return log softmax(z) in float64."""
    z = z.astype("float64")
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_extreme_logits_give_a_finite_cross_entropy(backend, dtype, size, smoothing, weighted):
    z = size * np.array([[1, -1, 0], [1, -1, 0], [-1, -1, -1], [0, 1, 1]], dtype=dtype)
    labels = np.array([0, 1, 2, 0])
    weights = np.array([1, 2, 3], dtype=dtype) if weighted else None
    loss, dz = loss_of(backend, "cross_entropy", z, labels, weights, label_smoothing=smoothing)
    assert np.isfinite(loss)
    assert np.isfinite(dz).all()
    if not smoothing and not weighted:
        assert_close(loss, -log_likelihoods(z)[np.arange(4), labels].mean(), dtype)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_give_a_finite_binary_cross_entropy(backend, dtype, size):
    z = size * np.array([1, 1, -1, -1, 0], dtype=dtype)
    loss, dz = loss_of(backend, "binary_cross_entropy", z, np.array([0, 1, 0, 1, 0]))
    assert_close(loss, (2 * size + math.log(2)) / 5, dtype)
    assert_close(dz, np.array([1, 0, 0, -1, 0.5]) / 5, dtype)


def test_confident_and_right_logits_cost_nothing(backend, dtype):
    loss, dz = loss_of(backend, "cross_entropy", np.array([[1e4, -1e4]], dtype=dtype), np.array([0]))
    assert loss == 0
    np.testing.assert_array_equal(dz, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_probabilities_of_exactly_zero_and_one_give_a_finite_cross_entropy(backend, dtype, smoothing):
    p = np.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5]], dtype=dtype)
    loss, dp = loss_of(
        backend, "cross_entropy_probabilities", p, np.array([0, 0, 1, 1]), None, label_smoothing=smoothing
    )
    assert np.isfinite(loss)
    assert np.isfinite(dp).all()
    if not smoothing:
        assert_close(loss, (-2 * math.log(np.finfo(dtype).tiny) + math.log(2)) / 4, dtype)


def test_binary_probabilities_of_exactly_zero_and_one_give_a_finite_loss(backend, dtype):
    p = np.array([0, 0, 1, 1], dtype=dtype)
    loss, dp = loss_of(backend, "binary_cross_entropy_probabilities", p, np.array([0, 1, 0, 1]))
    assert_close(loss, -math.log(np.finfo(dtype).tiny) / 2, dtype)
    assert np.isfinite(dp).all()
    assert dp[1] < 0 < dp[2]


@pytest.mark.parametrize("pair", [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")])
def test_a_loss_of_logits_equals_the_loss_of_their_probabilities(backend, pair):
    activation, name = pair
    z, labels = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 2, 2, 1, 0])
    (p,), saved = forward(backend, activation, Case((z,)))
    loss, dz = loss_of(backend, name, z, labels)
    same, dp = loss_of(backend, f"{name}_probabilities", p, labels)
    assert_close(same, loss, "float64")
    assert_close(backward(backend, saved, dp)[0], dz, "float64", source=dp)


@pytest.mark.parametrize("name", CROSS)
@pytest.mark.parametrize("floating", [False, True], ids=["integers", "one-hot"])
def test_smoothing_and_weights_equal_those_of_pytorch(backend, torch, name, floating):
    rng = np.random.default_rng(0)
    p, labels, weights = rng.dirichlet(np.ones(5), size=8), rng.integers(0, 5, 8), rng.uniform(0.2, 3, size=5)
    ours = np.eye(5)[labels] if floating else labels
    z = np.log(p) if name == "cross_entropy" else p
    for w in (None, weights):
        for smoothing in (0.0, 0.1, 0.9):
            loss, _ = loss_of(backend, name, z, ours, w, label_smoothing=smoothing)
            want = torch.nn.functional.cross_entropy(
                torch.tensor(np.log(p)),
                torch.tensor(labels),
                None if w is None else torch.tensor(w),
                label_smoothing=smoothing,
            )
            assert_close(loss, want.numpy(), "float64")


@pytest.mark.parametrize("name", CROSS)
def test_a_class_of_weight_zero_is_ignored(backend, name):
    p = np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    z = np.log(p) if name == "cross_entropy" else p
    loss, dz = loss_of(backend, name, z, np.array([0, 1, 0]), np.array([1.0, 0.0]))
    assert_close(loss, -(math.log(0.7) + math.log(0.4)) / 2, "float64")
    np.testing.assert_array_equal(dz[1], 0)


@pytest.mark.parametrize("name", CROSS)
def test_weights_may_sum_to_less_than_zero(backend, name):
    p = np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    z = np.log(p) if name == "cross_entropy" else p
    loss, dz = loss_of(backend, name, z, np.array([0, 1, 0]), np.array([-3.0, 1.0]))
    assert_close(loss, (3 * math.log(0.7) - math.log(0.8) + 3 * math.log(0.4)) / -5, "float64")
    assert np.isfinite(dz).all()


@pytest.mark.parametrize("name", CROSS)
def test_labels_of_weight_zero_alone_give_a_loss_of_zero(backend, dtype, name):
    p = np.array([[0.7, 0.3], [0.2, 0.8]], dtype=dtype)
    loss, dz = loss_of(backend, name, p, np.array([0, 0]), np.array([0, 1], dtype=dtype))
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(dz, 0)


@pytest.mark.parametrize("name", [*CROSS, *BINARY])
def test_the_gradient_scales_with_that_of_the_loss(backend, name):
    z, labels = np.random.default_rng(0).uniform(0.1, 0.9, size=(4, 3)), np.array([0, 1, 2, 0])
    (loss,), saved = forward(backend, name, Case((z, labels)))
    once, thrice = (backward(backend, saved, np.asarray(k * np.ones_like(loss)))[0] for k in (1, 3))
    assert_close(thrice, 3 * once, "float64")
    assert_close(backend.to_numpy(saved.backward(3.0)[0]), thrice, "float64")


@pytest.mark.parametrize("name", CROSS)
class TestRefusals:
    @pytest.mark.parametrize("shape", [(4,), (4, 3, 2), ()])
    def test_outputs_need_two_axes(self, name, backend, shape):
        with pytest.raises(ShapeError, match=says(f"{name}: ", str(shape), "(N, K)")):
            getattr(ops, name)(backend.asarray(np.ones(shape)), backend.asarray(np.zeros(4, dtype="int64")))

    @pytest.mark.parametrize("value", [-0.1, 1.0, 2.0, float("nan")])
    def test_smoothing_is_a_fraction(self, name, backend, value):
        z, labels = backend.asarray(np.ones((2, 3))), backend.asarray(np.zeros(2, dtype="int64"))
        with pytest.raises(OptionError, match=says(f"{name}: label_smoothing", str(value), "< 1")):
            getattr(ops, name)(z, labels, label_smoothing=value)

    @pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), ()])
    def test_there_is_one_weight_for_each_class(self, name, backend, shape):
        z, labels = backend.asarray(np.ones((2, 3))), backend.asarray(np.zeros(2, dtype="int64"))
        with pytest.raises(ShapeError, match=says(f"{name}: class_weights", str(shape), "(3,)")):
            getattr(ops, name)(z, labels, backend.asarray(np.ones(shape)))
