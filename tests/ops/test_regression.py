"""Losses on numbers: where the gradient bends, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.checks import backward, forward, says
from tests.ops.draws import Case
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import OptionError


def loss_of(backend, name, y, target, **options):
    """Return the loss and its gradient."""
    (loss,), saved = forward(backend, name, Case((np.asarray(y), np.asarray(target)), options))
    return loss, backward(backend, saved, np.ones_like(loss))[0]


def test_a_perfect_output_costs_nothing_and_has_no_gradient(backend, dtype):
    y = np.array([1, -2, 3], dtype=dtype)
    for name in ("mse", "mae", "huber"):
        loss, dy = loss_of(backend, name, y, y.copy())
        assert loss == 0
        np.testing.assert_array_equal(dy, 0)


def test_known_values(backend, dtype):
    y, target = np.array([[0, 3], [1, -4]], dtype=dtype), np.array([[0, 1], [1.5, 0]], dtype=dtype)
    for name, loss, dy in (
        ("mse", 20.25 / 4, [[0, 1], [-0.25, -2]]),
        ("mae", 6.5 / 4, [[0, 0.25], [-0.25, -0.25]]),
        ("huber", (1.5 + 0.125 + 3.5) / 4, [[0, 0.25], [-0.125, -0.25]]),
    ):
        got, gradient = loss_of(backend, name, y, target)
        assert_close(got, loss, dtype, name)
        assert_close(gradient, dy, dtype, name)


def test_huber_is_half_the_square_within_delta_and_absolute_beyond(backend):
    y, target = np.array([0.5, -0.5]), np.zeros(2)
    assert_close(loss_of(backend, "huber", y, target, delta=100.0)[0], 0.125, "float64")
    assert_close(loss_of(backend, "huber", 1e6 * y, target)[0], 5e5 - 0.5, "float64")


def test_huber_is_smooth_at_delta(backend):
    _, inside = loss_of(backend, "huber", np.array([1 - 1e-12]), np.zeros(1))
    _, outside = loss_of(backend, "huber", np.array([1 + 1e-12]), np.zeros(1))
    np.testing.assert_allclose(inside, outside, rtol=1e-11)


def test_large_errors_stay_finite(backend, dtype):
    y, target = np.array([1e4, -1e4], dtype=dtype), np.array([-1e4, 1e4], dtype=dtype)
    for name, want in (("mse", 4e8), ("mae", 2e4), ("huber", 2e4 - 0.5)):
        loss, dy = loss_of(backend, name, y, target)
        assert_close(loss, want, dtype)
        assert np.isfinite(dy).all()


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_delta_is_positive(backend, delta):
    y = backend.asarray(np.ones(3))
    with pytest.raises(OptionError, match=says("huber: delta", str(delta), "positive")):
        ops.huber(y, y, delta=delta)
