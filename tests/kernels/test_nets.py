"""Whole nets: forward, gradients and running statistics of compiled models against the truth."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.kernels.nets import NETS, SINGLE_NUMBERS
from tests.kernels.truth import EPS, Truth, draw, fill, parts, runs
from xcnn.layers import BatchNorm2D, Dense

every_net = pytest.mark.parametrize("name", NETS)


def check(name, n, dtype, *counts):
    """Compare on one thread, on two, and cut into seven parts, as `counts` say; without dx too, at last."""
    shape, make = NETS[name]
    known = Truth(make, shape, n)
    for count in counts:
        with parts(count):
            model = known.model(dtype)
            assert runs(model), model.plan
            known.check(model)
    with parts(counts[-1]):
        known.check(model, need_dx=False)


@every_net
@pytest.mark.parametrize("n", [1, 3, 17, 64])
def test_float32_is_as_near_to_the_truth_as_the_layers(name, n):
    if not (n == 1 and name in SINGLE_NUMBERS):
        check(name, n, "float32", 1, 2)


@every_net
@pytest.mark.parametrize("n", [1, 3, 17, 64])
def test_float64_is_as_near_to_the_truth_as_the_layers(name, n):
    if not (n == 1 and name in SINGLE_NUMBERS):
        check(name, n, "float64", *((2,) if n == 64 else (1, 2)))


@every_net
def test_work_cut_into_seven_parts_is_as_near_to_the_truth(name):
    check(name, 33, "float32", 7)


@every_net
def test_an_uncompiled_net_is_as_near_to_the_truth_as_the_layers(name):
    """Kernels of single ops may run in it."""
    shape, make = NETS[name]
    known = Truth(make, shape, 17)
    for dtype in ("float32", "float64"):
        known.check(known.model(dtype, compile=False))


def test_the_gradient_through_the_norm_of_a_single_number_is_nothing_but_rounding(dtype):
    """It is 0: the floor is what is subtracted from itself, dy times the weights and 1 / sqrt(eps)."""
    model = xcnn.Model([Dense(5), BatchNorm2D(eps=1e-4)], (4,), dtype=dtype)
    given = draw(model, 1)
    fill(model, given)
    y, saved = model.forward(given.x.astype(dtype), train=True)
    np.testing.assert_allclose(y[0], model.layers[1].b.value, rtol=8 * EPS[dtype])
    dx = model.backward(given.dy.astype(dtype), saved)
    steps = np.abs(given.dy) * np.abs(model.layers[1].w.value) * 100.0
    assert np.max(np.abs(dx)) <= 8 * EPS[dtype] * np.max(steps @ np.abs(model.layers[0].w.value))
