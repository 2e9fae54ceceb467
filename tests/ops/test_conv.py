"""Convolution and its transpose: what they refuse, and how they belong together."""

from __future__ import annotations

import numpy as np
import pytest

from tests import reference
from tests.ops.cases import for_random_cases
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError

CONVOLUTIONS = (ops.conv2d, ops.conv2d_loops, ops.conv2d_indices, ops.true_conv2d)
convolutions = pytest.mark.parametrize("op", CONVOLUTIONS, ids=lambda op: op.name)


def ones(backend, *shape, dtype="float32"):
    return backend.asarray(np.ones(shape), dtype)


def test_a_kernel_of_one_pixel_mixes_channels(backend, dtype):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 4, 5)).astype(dtype), rng.normal(size=(6, 3)).astype(dtype)
    y, _ = ops.conv2d(backend.asarray(x), backend.asarray(w[:, :, None, None]))
    assert_close(backend.to_numpy(y), np.einsum("fc,nchw->nfhw", w, x), dtype)


def test_depthwise_convolution_filters_each_channel_alone(backend, dtype):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 6, 5)).astype(dtype), rng.normal(size=(8, 1, 3, 2)).astype(dtype)
    y, _ = ops.conv2d(backend.asarray(x), backend.asarray(w), groups=4)
    for f in range(8):
        alone = reference.conv2d(x[:, f // 2 : f // 2 + 1].astype("float64"), w[f : f + 1].astype("float64"))
        assert_close(backend.to_numpy(y)[:, f : f + 1], alone, dtype)


def test_transposed_convolution_is_the_adjoint_of_convolution(backend):
    def check(case):
        x, w = (backend.asarray(a) for a in case.arrays[:2])
        y, saved = ops.conv2d(x, w, **case.options)
        dy = backend.asarray(np.random.default_rng(0).normal(size=y.shape))
        dx, _, _ = saved.backward(dy)
        stride, padding, dilation = (case.options[name] for name in ("stride", "padding", "dilation"))
        extra = [  # rows and columns that no window reached
            (h + sum(p) - d * (k - 1) - 1) % s
            for h, p, d, k, s in zip(x.shape[2:], padding, dilation, w.shape[2:], stride, strict=True)
        ]
        back, _ = ops.conv_transpose2d(dy, w, **case.options, output_padding=tuple(extra))
        assert_close(backend.to_numpy(back), backend.to_numpy(dx), "float64")

    for_random_cases("conv2d", check)


@pytest.mark.parametrize("op", [*CONVOLUTIONS, ops.conv_transpose2d], ids=lambda op: op.name)
class TestRefusals:
    @pytest.mark.parametrize("shape", [(), (8, 8), (3, 8, 8), (1, 2, 3, 8, 8)])
    def test_images_need_four_axes(self, op, backend, shape):
        with pytest.raises(ShapeError, match=says(f"{op.name}: x", str(shape), "4 axes", "(N, C, H, W)")):
            op(ones(backend, *shape), ones(backend, 3, 3, 3, 3))

    @pytest.mark.parametrize("shape", [(), (3,), (3, 3)])
    def test_kernels_need_four_axes(self, op, backend, shape):
        with pytest.raises(ShapeError, match=says(f"{op.name}: w", str(shape), "4 axes")):
            op(ones(backend, 1, 3, 8, 8), ones(backend, *shape))

    def test_channels_must_match(self, op, backend):
        with pytest.raises(ShapeError, match=says(f"{op.name}: ", "4 channels", "(2, 4, 8, 8)", "expects 3")):
            op(ones(backend, 2, 4, 8, 8), ones(backend, 3, 3, 3, 3))

    def test_channels_must_match_in_groups(self, op, backend):
        with pytest.raises(ShapeError, match=says(f"{op.name}: ", "4 channels", "expects 6")):
            op(ones(backend, 2, 4, 8, 8), ones(backend, 6, 3, 3, 3), groups=2)

    @pytest.mark.parametrize("groups", [0, -1, 4, 1.5, "all", True])
    def test_groups_must_divide(self, op, backend, groups):
        with pytest.raises((ShapeError, OptionError), match=says(f"{op.name}: groups", repr(groups), "6")):
            op(ones(backend, 2, 6, 8, 8), ones(backend, 6, 6, 3, 3), groups=groups)

    @pytest.mark.parametrize("shape", [(4,), (3, 1), ()])
    def test_there_is_one_bias_for_each_filter(self, op, backend, shape):
        with pytest.raises(ShapeError, match=says(f"{op.name}: b", str(shape), "(3,)")):
            op(ones(backend, 2, 3, 8, 8), ones(backend, 3, 3, 3, 3), ones(backend, *shape))

    @pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8), (2, 3, 0, 8), (2, 3, 8, 0)])
    def test_empty_images_are_refused(self, op, backend, shape):
        with pytest.raises((DataError, ShapeError), match=says(f"{op.name}: x is empty", str(shape))):
            op(ones(backend, *shape), ones(backend, 3, 3, 3, 3))

    @pytest.mark.parametrize("shape", [(3, 3, 0, 3), (3, 3, 3, 0)])
    def test_kernels_have_pixels(self, op, backend, shape):
        with pytest.raises((DataError, ShapeError), match=says(f"{op.name}: w", str(shape))):
            op(ones(backend, 2, 3, 8, 8), ones(backend, *shape))

    @pytest.mark.parametrize("option", ["stride", "dilation"])
    @pytest.mark.parametrize("value", [(0, 1), (1, -2), (1.5, 1), (1, 2, 3), (1,), 2, None])
    def test_strides_and_dilations_are_pairs_of_positive_integers(self, op, backend, option, value):
        with pytest.raises(OptionError, match=says(f"{op.name}: {option}", repr(value), "at least 1")):
            op(ones(backend, 2, 3, 8, 8), ones(backend, 3, 3, 3, 3), **{option: value})

    @pytest.mark.parametrize(
        "value", [((-1, 0), (0, 0)), ((0, 0), (0, -2)), ((0.5, 0), (0, 0)), ((0, 0),), (1, 1), 1, "same"]
    )
    def test_paddings_are_pairs_of_sides_from_zero_up(self, op, backend, value):
        with pytest.raises(OptionError, match=says(f"{op.name}: padding", "at least 0")):
            op(ones(backend, 2, 3, 8, 8), ones(backend, 3, 3, 3, 3), padding=value)

    def test_mixed_dtypes_are_named(self, op, backend):
        x, w = ones(backend, 2, 3, 8, 8, dtype="float64"), ones(backend, 3, 3, 3, 3)
        with pytest.raises(DTypeError, match=says(f"{op.name}: x", "float64", "w", "float32", "same")):
            op(x, w)

    @pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
    def test_only_real_floating_images_are_accepted(self, op, backend, dtype):
        x = backend.asarray(np.ones((1, 3, 8, 8), dtype=dtype))
        with pytest.raises(DTypeError, match=says(f"{op.name}: x", dtype, "real floating")):
            op(x, ones(backend, 3, 3, 3, 3))

    def test_complex_images_are_refused(self, op, backend):
        """By the op, or by a backend that has none."""
        with pytest.raises(
            DTypeError, match=f"({op.name}: x has|backend 'python': got) dtype .*complex64; needed"
        ):
            op(backend.asarray(np.ones((1, 3, 8, 8), "complex64")), ones(backend, 3, 3, 3, 3))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, ("9 x 3", "4 x 6")),
        ({"padding": ((2, 2), (0, 0))}, ("9 x 3", "8 x 6")),
        ({"dilation": (1, 3), "padding": ((3, 2), (0, 0))}, ("9 x 3", "9 x 7", "9 x 6")),
    ],
)
@convolutions
def test_kernels_larger_than_the_padded_image_are_refused(op, backend, options, parts):
    with pytest.raises(ShapeError, match=says(f"{op.name}: ", *parts)):
        op(ones(backend, 2, 3, 4, 6), ones(backend, 5, 3, 9, 3), **options)


def test_transposed_convolution_refuses_to_cut_everything_off(backend):
    x, w = ones(backend, 1, 1, 4, 4), ones(backend, 1, 1, 3, 3)
    with pytest.raises(ShapeError, match=says("conv_transpose2d: padding", "(3, 3)", "0 x 6", "6 x 6")):
        ops.conv_transpose2d(x, w, padding=((3, 3), (0, 0)))


@pytest.mark.parametrize("value", [(2, 0), (0, 3)])
def test_output_padding_is_less_than_stride_or_dilation(backend, value):
    x, w = ones(backend, 1, 1, 4, 4), ones(backend, 1, 1, 3, 3)
    message = says("conv_transpose2d: output_padding", str(value), "(2, 2)")
    with pytest.raises((OptionError, ShapeError), match=message):
        ops.conv_transpose2d(x, w, stride=(2, 2), output_padding=value)


@pytest.mark.parametrize("value", [(-1, 0), (0, 0.5), 1])
def test_output_padding_is_a_pair_of_integers_from_zero_up(backend, value):
    x, w = ones(backend, 1, 1, 4, 4), ones(backend, 1, 1, 3, 3)
    with pytest.raises(OptionError, match=says("conv_transpose2d: output_padding", repr(value), "at least")):
        ops.conv_transpose2d(x, w, output_padding=value)


@convolutions
def test_nan_pixels_spread_to_their_windows_alone(op, backend, dtype):
    x = np.zeros((2, 1, 5, 5), dtype=dtype)
    x[0, 0, 2, 2] = np.nan
    y, _ = op(backend.asarray(x), ones(backend, 1, 1, 1, 3, dtype=dtype), padding=((0, 0), (1, 1)))
    where = np.zeros((2, 1, 5, 5), dtype=bool)
    where[0, 0, 2, 1:4] = True
    np.testing.assert_array_equal(np.isnan(backend.to_numpy(y)), where)
