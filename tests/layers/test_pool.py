"""Pooling layers: the stride's default, ragged edges, global pools."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from xcnn.errors import ShapeError
from xcnn.layers import AvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D, MaxPool2D


def run(layer, x):
    """Return the output of one image of one channel, (H, W)."""
    x = np.asarray(x, dtype="float64")
    return xcnn.Model([layer], (1, *x.shape), dtype="float64").predict(x[None, None])[0, 0]


NUMBERS = np.arange(25).reshape(5, 5)


def test_the_stride_is_the_size_by_default():
    np.testing.assert_array_equal(run(MaxPool2D(2), NUMBERS), [[6, 8], [16, 18]])
    np.testing.assert_array_equal(run(AvgPool2D((1, 2)), NUMBERS[:1]), [[0.5, 2.5]])
    assert inspect.signature(MaxPool2D).parameters["stride"].default is None


def test_the_ragged_edge_is_dropped_unless_ceil():
    assert run(MaxPool2D(2), NUMBERS).shape == (2, 2)
    np.testing.assert_array_equal(
        run(MaxPool2D(2, ceil=True), NUMBERS), [[6, 8, 9], [16, 18, 19], [21, 23, 24]]
    )
    np.testing.assert_array_equal(run(AvgPool2D(2, ceil=True), NUMBERS)[-1], [20.5, 22.5, 24])


def test_a_ceil_window_must_start_inside_the_image_or_its_leading_padding():
    for kind in (MaxPool2D, AvgPool2D):
        assert run(kind(1, stride=3, ceil=True), NUMBERS).shape == (2, 2)
        assert run(kind(2, stride=4, padding=1, ceil=True), NUMBERS).shape == (2, 2)


def test_padding_never_wins():
    np.testing.assert_array_equal(
        run(MaxPool2D(3, stride=3, padding=1), -NUMBERS - 1.0), [[-1, -3], [-11, -13]]
    )


def test_padding_counts_in_the_mean_unless_told_otherwise():
    ones = np.ones((2, 2))
    np.testing.assert_array_equal(run(AvgPool2D(2, padding=1), ones), np.full((2, 2), 0.25))
    np.testing.assert_array_equal(run(AvgPool2D(2, padding=1, count_include_pad=False), ones), ones)


def test_global_pools_give_one_number_per_channel():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    for kind, want in ((GlobalAvgPool2D, x.mean((2, 3))), (GlobalMaxPool2D, x.max((2, 3)))):
        model = xcnn.Model([kind()], (4, 5, 6), dtype="float64")
        assert model.output_shape == (4,)
        np.testing.assert_allclose(model.predict(x), want)


@pytest.mark.parametrize("layer", [GlobalAvgPool2D(), GlobalMaxPool2D(), MaxPool2D(1), AvgPool2D(1)])
def test_features_are_no_images(layer):
    kind = type(layer).__name__
    with pytest.raises(
        ShapeError, match=says(f"{kind} (layers[0]): x has shape (N, 7); needed images (N, C, H, W)")
    ):
        xcnn.Model([layer], (7,))


def test_a_window_larger_than_the_image_is_refused_even_with_ceil():
    with pytest.raises(ShapeError, match=says("MaxPool2D (layers[0])", "3 x 3", "2 x 2")):
        xcnn.Model([MaxPool2D(3, ceil=True)], (1, 2, 2))
