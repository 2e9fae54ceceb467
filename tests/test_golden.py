"""The 6 x 6 image under a 3 x 3 low-pass filter, worked out on paper.

Grzegorz Kajda, "Constructing a convolutional neural network from ground up", equations 8 to 12, and the
padded image of equation 14.
"""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.layers import Conv2D

IMAGE = np.array(  # equation 8
    [
        [4, 1, 2, 9, 8, 6],
        [9, 5, 9, 5, 8, 5],
        [1, 5, 9, 7, 6, 4],
        [2, 9, 8, 3, 7, 1],
        [8, 1, 6, 4, 2, 2],
        [1, 0, 5, 7, 8, 2],
    ]
)
FILTER = np.full((3, 3), 1 / 9)  # equation 9
FILTERED = np.array(  # equation 12, rounded to two decimals there
    [[5, 5.78, 7, 6.44], [6.33, 6.67, 6.89, 5.11], [5.44, 5.78, 5.78, 4], [4.44, 4.78, 5.56, 4]]
)
SUMS = np.array(  # of each pixel and its neighbours, with the zeros of equation 14 around the image
    [
        [19, 30, 31, 41, 41, 27],
        [25, 45, 52, 63, 58, 37],
        [31, 57, 60, 62, 46, 31],
        [26, 49, 52, 52, 36, 22],
        [21, 40, 43, 50, 36, 22],
        [10, 21, 23, 32, 25, 14],
    ]
)
SIDES = ((1, 1), (1, 1))

every_way = pytest.mark.parametrize(
    "op", [ops.conv2d, ops.conv2d_loops, ops.conv2d_indices, ops.true_conv2d], ids=lambda op: op.name
)  # true convolution too: the filter is its own rotation, as is said beside equation 9


def low_pass(op, backend, dtype, **options):
    """Return the filtered image on the host."""
    x, w = backend.asarray(IMAGE[None, None], dtype), backend.asarray(FILTER[None, None], dtype)
    y, _ = op(x, w, **options)
    return backend.to_numpy(y)[0, 0]


@every_way
def test_the_first_pixel_is_the_mean_of_the_upper_left_corner(op, backend, dtype):
    assert_close(low_pass(op, backend, dtype)[0, 0], 5.0, dtype)  # equations 10 and 11


@every_way
def test_the_filtered_image_is_that_of_equation_12(op, backend, dtype):
    y = low_pass(op, backend, dtype)
    np.testing.assert_array_equal(np.round(y, 2), FILTERED.astype(dtype))
    assert_close(y, SUMS[1:-1, 1:-1] / 9, dtype)


@every_way
def test_zeros_around_the_image_keep_its_shape(op, backend, dtype):
    assert_close(low_pass(op, backend, dtype, padding=SIDES), SUMS / 9, dtype)


def test_padding_first_is_padding_in_the_convolution(backend, dtype):
    surrounded, _ = ops.zero_pad2d(backend.asarray(IMAGE[None, None], dtype), padding=SIDES)
    assert backend.to_numpy(surrounded).shape == (1, 1, 8, 8)  # equation 14
    y, _ = ops.conv2d(surrounded, backend.asarray(FILTER[None, None], dtype))
    assert_close(backend.to_numpy(y)[0, 0], SUMS / 9, dtype)


@every_way
@pytest.mark.parametrize(("padding", "want"), [("valid", SUMS[1:-1, 1:-1] / 9), ("same", SUMS / 9)])
def test_the_layer_filters_as_the_operation_does(op, backend, dtype, padding, want):
    layer = Conv2D(1, 3, padding=padding, bias=False, op=op)
    model = xcnn.Model([layer], input_shape=(1, 6, 6), backend=backend.name, dtype=dtype)
    layer.w.value = backend.asarray(FILTER[None, None], dtype)
    assert model.output_shape == (1, *want.shape)
    assert_close(model.predict(IMAGE[None, None].astype(dtype))[0, 0], want, dtype)
