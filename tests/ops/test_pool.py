"""Pooling: which pixel wins, how many windows there are, what is counted, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.checks import backward, forward, says
from tests.ops.draws import Case, pairs
from xcnn import ops
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError

WINDOWED = [ops.max_pool2d, ops.avg_pool2d]
GLOBAL = [ops.global_avg_pool2d, ops.global_max_pool2d]
by_name = {"ids": lambda op: op.name}


def pool(backend, name, x, /, **options):
    """Return y and the gradient of the sum of y."""
    (y,), saved = forward(backend, name, Case((np.asarray(x),), options))
    return y, backward(backend, saved, np.ones_like(y))[0]


def test_of_equal_pixels_the_first_in_row_major_order_wins(backend, dtype):
    x = np.zeros((1, 1, 4, 6), dtype=dtype)
    _, dx = pool(backend, "max_pool2d", x, size=(2, 3), stride=(2, 3))
    want = np.zeros_like(x)
    want[0, 0, ::2, ::3] = 1
    np.testing.assert_array_equal(dx, want)


def test_ties_away_from_the_corner_go_to_the_upper_row_then_the_left_column(backend, dtype):
    x = np.array([[[[0, 0, 2], [0, 2, 0], [2, 0, 2]]]], dtype=dtype)
    _, dx = pool(backend, "max_pool2d", x, size=(3, 3), stride=(1, 1))
    np.testing.assert_array_equal(dx[0, 0], [[0, 0, 1], [0, 0, 0], [0, 0, 0]])


def test_random_ties_are_broken_as_in_pytorch(backend, torch):
    rng = np.random.default_rng(0)
    for stride in ((1, 1), (2, 1), (2, 3)):
        x = rng.integers(0, 3, size=(3, 2, 7, 8)).astype("float64")
        _, dx = pool(backend, "max_pool2d", x, size=(3, 2), stride=stride, padding=((1, 1), (1, 1)))
        t = torch.tensor(x, requires_grad=True)
        torch.nn.functional.max_pool2d(t, (3, 2), stride, (1, 1)).sum().backward()
        np.testing.assert_array_equal(dx, t.grad.numpy())


def test_the_first_of_equal_pixels_wins_globally(backend, dtype):
    x = np.array([[[[1, 3], [3, 3]], [[2, 2], [2, 2]]]], dtype=dtype)
    y, dx = pool(backend, "global_max_pool2d", x)
    np.testing.assert_array_equal(y, [[3, 2]])
    np.testing.assert_array_equal(dx, [[[[0, 1], [0, 0]], [[1, 0], [0, 0]]]])


def test_padding_never_wins(backend, dtype):
    x = np.full((2, 1, 3, 3), np.finfo(dtype).min, dtype=dtype)
    y, dx = pool(backend, "max_pool2d", x, size=(2, 2), stride=(2, 2), padding=((1, 0), (1, 0)))
    np.testing.assert_array_equal(y, np.finfo(dtype).min)
    assert dx.sum() == y.size, "the gradient of every window reaches a pixel of the image"


def test_a_window_without_a_pixel_of_the_image_is_refused(backend):
    x = backend.asarray(np.ones((1, 1, 1, 1)))  # taps at -1 and 1, the pixel at 0
    with pytest.raises(ShapeError, match=says("max_pool2d: ", "1 x 1", "dilation")):
        ops.max_pool2d(x, size=(2, 2), stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(2, 2))


def test_max_pooling_keeps_nan_in_its_window_alone(backend, dtype):
    x = np.arange(16, dtype=dtype).reshape(1, 1, 4, 4)
    x[0, 0, 1, 0] = np.nan
    y, dx = pool(backend, "max_pool2d", x)
    np.testing.assert_array_equal(y[0, 0], [[np.nan, 7], [13, 15]])
    assert np.isfinite(dx).all()
    assert (dx[0, 0, 1, 3], dx[0, 0, 3, 1], dx[0, 0, 3, 3]) == (1, 1, 1)


def test_global_max_pooling_keeps_nan_in_its_channel_alone(backend, dtype):
    x = np.arange(8, dtype=dtype).reshape(1, 2, 2, 2)
    x[0, 0, 1, 0] = np.nan
    y, dx = pool(backend, "global_max_pool2d", x)
    np.testing.assert_array_equal(y, [[np.nan, 7]])
    assert np.isfinite(dx).all()
    assert dx[0, 1, 1, 1] == 1


def test_overlapping_windows_add_their_gradients(backend, dtype):
    x = np.array([[[[0, 0, 0], [0, 5, 0], [0, 0, 0]]]], dtype=dtype)
    _, dx = pool(backend, "max_pool2d", x, size=(2, 2), stride=(1, 1))
    assert dx[0, 0, 1, 1] == 4


@pytest.mark.parametrize("op", WINDOWED, **by_name)
def test_the_ragged_edge_is_dropped_without_ceil_and_kept_with_it(op, backend):
    x = np.arange(25.0).reshape(1, 1, 5, 5)
    assert pool(backend, op.name, x)[0].shape == (1, 1, 2, 2)
    assert pool(backend, op.name, x, ceil=True)[0].shape == (1, 1, 3, 3)


@pytest.mark.parametrize("op", WINDOWED, **by_name)
@pytest.mark.parametrize("ceil", [False, True])
def test_the_number_of_windows_is_that_of_pytorch(op, backend, torch, ceil):
    @settings(max_examples=60)
    @given(st.tuples(st.integers(3, 9), st.integers(3, 9)), pairs(1, 3), pairs(1, 4), st.data())
    def check(image, size, stride, data):
        padding = tuple(data.draw(st.integers(0, k // 2)) for k in size)
        x = np.zeros((1, 1, *image))
        sides = tuple((p, p) for p in padding)
        y, _ = pool(backend, op.name, x, size=size, stride=stride, padding=sides, ceil=ceil)
        twin = getattr(torch.nn.functional, op.name)
        assert y.shape == twin(torch.tensor(x), size, stride, padding, ceil_mode=ceil).shape

    check()


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("ceil", [False, True])
def test_means_count_the_pixels_that_pytorch_counts(backend, torch, ceil, counted):
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 6))
    options = {"size": (3, 2), "stride": (2, 3), "ceil": ceil, "count_include_pad": counted}
    y, dx = pool(backend, "avg_pool2d", x, padding=((1, 1), (1, 1)), **options)
    t = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.avg_pool2d(t, (3, 2), (2, 3), (1, 1), ceil, counted)
    want.sum().backward()
    np.testing.assert_allclose(y, want.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-12)


def test_the_mean_of_ones_is_one_unless_padding_counts(backend, dtype):
    x = np.ones((1, 1, 3, 3), dtype=dtype)
    sides = {"size": (2, 2), "padding": ((1, 0), (1, 0))}
    np.testing.assert_array_equal(pool(backend, "avg_pool2d", x, count_include_pad=False, **sides)[0], 1)
    np.testing.assert_array_equal(pool(backend, "avg_pool2d", x, **sides)[0][0, 0], [[0.25, 0.5], [0.5, 1]])


@pytest.mark.parametrize("op", WINDOWED + GLOBAL, **by_name)
class TestRefusals:
    @pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (1, 1, 1, 4, 4)])
    def test_images_need_four_axes(self, op, backend, shape):
        with pytest.raises(ShapeError, match=says(f"{op.name}: x", str(shape), "(N, C, H, W)")):
            op(backend.asarray(np.ones(shape)))

    @pytest.mark.parametrize("shape", [(0, 1, 4, 4), (1, 1, 0, 4), (1, 1, 4, 0)])
    def test_empty_images_are_refused(self, op, backend, shape):
        with pytest.raises((DataError, ShapeError), match=says(f"{op.name}: x is empty", str(shape))):
            op(backend.asarray(np.ones(shape)))

    def test_bytes_are_refused(self, op, backend):
        with pytest.raises(DTypeError, match=says(f"{op.name}: x", "uint8", "floating")):
            op(backend.asarray(np.ones((1, 1, 4, 4), dtype="uint8")))


@pytest.mark.parametrize("op", WINDOWED, **by_name)
class TestWindowRefusals:
    @pytest.mark.parametrize("option", ["size", "stride"])
    @pytest.mark.parametrize("value", [(0, 2), (2, -1), (1.5, 2), (2,), 2, None])
    def test_sizes_and_strides_are_pairs_of_positive_integers(self, op, backend, option, value):
        with pytest.raises(OptionError, match=says(f"{op.name}: {option}", repr(value), "at least 1")):
            op(backend.asarray(np.ones((1, 1, 4, 4))), **{option: value})

    @pytest.mark.parametrize("value", [((-1, 0), (0, 0)), ((0, 0), (0.5, 0)), ((0, 0),), 1])
    def test_paddings_are_pairs_of_sides_from_zero_up(self, op, backend, value):
        with pytest.raises(OptionError, match=says(f"{op.name}: padding", "at least 0")):
            op(backend.asarray(np.ones((1, 1, 4, 4))), padding=value)

    def test_windows_larger_than_the_padded_image_are_refused(self, op, backend):
        with pytest.raises(ShapeError, match=says(f"{op.name}: ", "7 x 2", "6 x 4")):
            op(backend.asarray(np.ones((1, 1, 4, 4))), size=(7, 2), padding=((1, 1), (0, 0)))

    def test_padding_must_be_less_than_a_window(self, op, backend):
        with pytest.raises(ShapeError, match=says(f"{op.name}: padding", "(2, 0)", "2 pixels")):
            op(backend.asarray(np.ones((1, 1, 4, 4))), padding=((2, 0), (0, 0)))


def test_dilations_of_max_pooling_are_pairs_of_positive_integers(backend):
    with pytest.raises(OptionError, match=says("max_pool2d: dilation", "(0, 1)", "at least 1")):
        ops.max_pool2d(backend.asarray(np.ones((1, 1, 4, 4))), dilation=(0, 1))
