"""First values: their distributions, and where they come from."""

from __future__ import annotations

import math

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from xcnn import initializers
from xcnn.errors import OptionError
from xcnn.layers import Conv2D, ConvTranspose2D, Dense

SHAPE = (64, 32, 5, 5)
FAN_IN, FAN_OUT = 32 * 25, 64 * 25


def draw(init, shape=SHAPE, seed=0):
    return initializers.get(init)(np.random.default_rng(seed), shape, initializers.fans(shape))


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("he", 2 / FAN_IN),
        ("glorot", 2 / (FAN_IN + FAN_OUT)),
        ("lecun", 1 / FAN_IN),
    ],
)
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_scaled_values_have_the_published_variance(name, variance, kind):
    w = draw(f"{name}_{kind}")
    assert w.shape == SHAPE
    assert w.dtype == np.float64
    assert abs(w.mean()) < 4 * math.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=0.03)
    if kind == "uniform":
        limit = math.sqrt(3 * variance)
        assert -limit <= w.min() < -0.99 * limit
        assert 0.99 * limit < w.max() < limit
    else:
        fourth = (w**4).mean() / variance**2
        assert fourth == pytest.approx(3, rel=0.1)


def test_zeros_ones_and_uniform():
    assert not draw("zeros").any()
    assert (draw("ones") == 1).all()
    w = draw("uniform")
    assert -0.5 <= w.min() < -0.499
    assert 0.499 < w.max() < 0.5
    assert (draw(initializers.Uniform(2, 3)) >= 2).all()
    assert (draw(initializers.Constant(7)) == 7).all()


def test_fans_are_inputs_of_an_output_and_outputs_of_an_input():
    assert initializers.fans((6, 3, 5, 4)) == (60, 120)
    assert initializers.fans((10, 7)) == (7, 10)
    assert initializers.fans((9,)) == (9, 9)


def test_the_same_seed_draws_the_same():
    np.testing.assert_array_equal(draw("he_normal", seed=3), draw("he_normal", seed=3))
    assert (draw("he_normal", seed=3) != draw("he_normal", seed=4)).all()


def given_to_an_initialiser(layer, shape):
    told = []

    def init(rng, shape, fans):
        told.append((shape, fans))
        return np.zeros(shape)

    layer.init = init
    xcnn.Model([layer], shape)
    return told


def test_layers_tell_the_shape_and_the_fans_of_their_weights():
    assert given_to_an_initialiser(Dense(4), (7,)) == [((4, 7), (7, 4))]
    assert given_to_an_initialiser(Conv2D(6, (5, 3)), (2, 9, 9)) == [((6, 2, 5, 3), (30, 90))]
    assert given_to_an_initialiser(Conv2D(6, 3, groups=2), (4, 9, 9)) == [((6, 2, 3, 3), (18, 54))]
    assert given_to_an_initialiser(ConvTranspose2D(6, 3), (4, 9, 9)) == [((4, 6, 3, 3), (36, 54))]


def test_a_function_of_ones_own_draws_what_it_likes():
    layer = Dense(2, init=lambda rng, shape, fans: np.full(shape, fans[0]))
    xcnn.Model([layer], (3,))
    np.testing.assert_array_equal(layer.w.value, np.full((2, 3), 3))


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(OptionError, match=says("unknown initialiser 'he_norml'; did you mean 'he_normal'?")):
        initializers.get("he_norml")
    for wrong in (5, None, ["ones"]):
        with pytest.raises(OptionError, match=says("unknown initialiser", repr(wrong))):
            initializers.get(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.Scaled(-1.0), "Scaled: gain is -1.0"),
        (lambda: initializers.Scaled(1.0, "out"), "Scaled: mode is 'out'"),
    ],
)
def test_impossible_distributions_are_refused(make, message):
    with pytest.raises(OptionError, match=says(message)):
        make()
