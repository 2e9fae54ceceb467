"""Dropout layers: when they act, and which mask they draw."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.ops.checks import says
from xcnn.errors import OptionError
from xcnn.layers import Dense, Dropout, Sequential, Sum

ONES = np.ones((4, 50), "float32")


def model(*layers, **options):
    return xcnn.Model(list(layers) or [Dropout(0.5)], (50,), **options)


def run(m, train):
    return m.backend.to_numpy(m.forward(m.accept(ONES), train=train)[0])


def test_evaluation_passes_on(backend):
    np.testing.assert_array_equal(model(backend=backend).predict(ONES), ONES)


def test_kept_elements_are_scaled_and_the_others_zero(backend):
    y = run(model(Dropout(0.75), backend=backend), True)
    assert set(np.unique(y)) == {0, 4}


def test_a_rate_of_zero_drops_nothing():
    np.testing.assert_array_equal(run(model(Dropout(0.0)), True), ONES)


@pytest.mark.parametrize("other", [name for name in TESTED if name != "numpy"])
def test_every_backend_draws_the_same_masks(other):
    passed = xcnn.Pass(7, 123)
    here = run(model(Dropout(0.3), Dropout(0.2)), passed)
    np.testing.assert_array_equal(
        run(model(Dropout(0.3), Dropout(0.2), backend=other), xcnn.Pass(7, 123)), here
    )


def test_the_mask_depends_on_seed_and_step_alone():
    m = model()
    first = run(m, xcnn.Pass(1, 2))
    np.testing.assert_array_equal(run(m, xcnn.Pass(1, 2)), first)
    np.testing.assert_array_equal(run(model(), xcnn.Pass(1, 2)), first)
    assert (run(m, xcnn.Pass(1, 3)) != first).any()
    assert (run(m, xcnn.Pass(2, 2)) != first).any()


def test_true_is_the_pass_of_seed_0_and_step_0():
    np.testing.assert_array_equal(run(model(), True), run(model(), xcnn.Pass(0, 0)))


def test_two_layers_draw_two_masks():
    m = model(Sum(Dropout(0.5), Dropout(0.5)))
    assert set(np.unique(run(m, True))) == {0, 2, 4}


def test_one_layer_used_twice_draws_two_masks():
    layer = Dropout(0.5)
    assert set(np.unique(run(model(Sum(layer, layer)), True))) == {0, 2, 4}


def test_the_step_may_be_an_array(backend):
    m = model(backend=backend)
    step = backend.xp.asarray(5, dtype=backend.xp.int64)
    np.testing.assert_array_equal(run(m, xcnn.Pass(3, step)), run(m, xcnn.Pass(3, 5)))


def test_dropout_as_an_activation_draws_too():
    m = model(Sequential(Dense(50, init="ones", activation=Dropout(0.5))))
    assert set(np.unique(run(m, True))) == {0, 100}


@pytest.mark.parametrize("rate", [1, 1.5, -0.1, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(OptionError, match=says(f"Dropout: rate is {rate!r}; needed 0 <= rate < 1")):
        Dropout(rate)


def test_a_pass_says_what_it_is():
    assert repr(xcnn.Pass(1, 2)) == "Pass(seed=1, step=2)"
