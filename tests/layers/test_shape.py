"""Layers that change shapes alone."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from xcnn.errors import ShapeError
from xcnn.layers import Flatten, Reshape, UpSample2D


def test_reshape_is_row_major_and_works_out_one_extent(backend):
    x = np.arange(24.0).reshape(2, 12)
    model = xcnn.Model([Reshape((3, -1))], (12,), backend=backend)
    assert model.output_shape == (3, 4)
    np.testing.assert_array_equal(model.predict(x), x.reshape(2, 3, 4))
    assert xcnn.Model([Reshape(-1)], (3, 2, 2)).output_shape == (12,)


@pytest.mark.parametrize("shape", [(5,), (5, -1), (-1, -1), (2, 3)])
def test_a_reshape_that_does_not_fit_is_refused(shape):
    with pytest.raises(ShapeError, match=says("Reshape (layers[0])", "12 elements", str(shape))):
        xcnn.Model([Reshape(shape)], (3, 2, 2))


def test_flatten_of_features_is_nothing():
    assert xcnn.Model([Flatten()], (7,)).output_shape == (7,)


def test_upsampling_repeats_pixels(backend):
    model = xcnn.Model([UpSample2D((1, 2))], (1, 2, 2), backend=backend)
    np.testing.assert_array_equal(
        model.predict([[[[1.0, 2.0], [3.0, 4.0]]]]), [[[[1, 1, 2, 2], [3, 3, 4, 4]]]]
    )
    assert xcnn.Model([UpSample2D()], (1, 2, 3)).output_shape == (1, 4, 6)
