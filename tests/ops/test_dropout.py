"""Dropout: the same mask everywhere, another for every seed and stream."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import TESTED
from tests.ops.checks import backward, forward, says
from tests.ops.draws import Case
from xcnn import ops
from xcnn.backend import get_backend
from xcnn.errors import OptionError


def drop(backend, x, **options):
    """Return the output and the gradient of its sum."""
    (y,), saved = forward(backend, "dropout", Case((x,), options))
    return y, backward(backend, saved, np.ones_like(y))[0]


@pytest.mark.parametrize("other", [name for name in TESTED if name != "numpy"])
def test_every_backend_drops_the_same_elements(other, dtype):
    x = np.ones((3, 5, 7, 11), dtype=dtype)
    options = {"rate": 0.3, "seed": 2**40 + 17, "stream": (123456, 7, 2)}
    here, there = drop(get_backend("numpy"), x, **options), drop(get_backend(other), x, **options)
    np.testing.assert_array_equal(here[0] == 0, there[0] == 0)
    np.testing.assert_allclose(here[0], there[0], rtol=1e-6)


def test_both_dtypes_drop_the_same_elements(backend):
    single, double = (drop(backend, np.ones((64, 10), dtype=d), seed=5)[0] for d in ("float32", "float64"))
    np.testing.assert_array_equal(single == 0, double == 0)


def test_the_same_seed_and_stream_give_the_same_mask(backend):
    x = np.ones((40, 25))
    options = {"seed": 3, "stream": (1, 2, 3)}
    np.testing.assert_array_equal(drop(backend, x, **options)[0], drop(backend, x, **options)[0])


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4, "stream": (1, 2, 3)},
        {"seed": 3 + 2**32, "stream": (1, 2, 3)},
        {"seed": 3, "stream": (2, 2, 3)},
        {"seed": 3, "stream": (1, 3, 3)},
        {"seed": 3, "stream": (1, 2, 4)},
        {"seed": 3, "stream": (2, 1, 3)},
    ],
)
def test_another_seed_step_layer_or_use_gives_an_independent_mask(backend, other):
    x = np.ones((50, 50))
    a, b = (drop(backend, x, **o)[0] > 0 for o in ({"seed": 3, "stream": (1, 2, 3)}, other))
    assert abs(np.mean(a == b) - 0.5) < 0.06  # six standard deviations


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_kept_fraction_is_one_minus_the_rate(backend, rate):
    y, _ = drop(backend, np.ones((100, 100)), rate=rate, seed=11)
    assert abs(np.mean(y > 0) - (1 - rate)) < 0.03  # six standard deviations
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)], rtol=1e-12)


def test_kept_elements_are_scaled_so_that_the_mean_stays(backend, dtype):
    x = np.random.default_rng(0).normal(size=(20, 30)).astype(dtype)
    y, _ = drop(backend, x, rate=0.75)
    np.testing.assert_allclose(y[y != 0], 4 * x[y != 0], rtol=1e-6)


def test_backward_uses_the_mask_of_forward(backend):
    y, dx = drop(backend, np.ones((30, 40)), rate=0.4, seed=9)
    np.testing.assert_array_equal(dx, y)


def test_rate_zero_is_the_identity(backend, dtype):
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(dtype)
    y, dx = drop(backend, x, rate=0.0)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dx, 1)


def test_neighbours_are_dropped_independently(backend):
    kept = (drop(backend, np.ones((200, 200)), seed=1)[0] > 0).astype(float) - 0.5
    for shift in (1, 2, 3, 4, 200):
        flat = kept.ravel()
        assert abs(4 * np.mean(flat[shift:] * flat[:-shift])) < 0.03  # six standard deviations


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_rates_outside_zero_to_one_are_refused(backend, rate):
    with pytest.raises(OptionError, match=says("dropout: rate", str(rate), "0 <= rate < 1")):
        ops.dropout(backend.asarray(np.ones(3)), rate=rate)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a"])
def test_seeds_are_integers_of_64_bits(backend, seed):
    with pytest.raises(OptionError, match=says("dropout: seed", repr(seed), "2**64 - 1")):
        ops.dropout(backend.asarray(np.ones(3)), seed=seed)
