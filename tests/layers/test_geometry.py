"""Padding, pairs and integers, as the constructors of layers accept them."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from xcnn import layers
from xcnn.build import at_most
from xcnn.errors import OptionError, ShapeError
from xcnn.layers import (
    AvgPool2D,
    Conv2D,
    ConvTranspose2D,
    Dense,
    GroupNorm,
    MaxPool2D,
    Reshape,
    UpSample2D,
    ZeroPad2D,
)


def shape_after(layer, *shape):
    """Return the shape that `layer` gives, and check that forward gives it too."""
    model = xcnn.Model([layer], shape)
    assert model.predict(np.zeros((1, *shape))).shape[1:] == model.output_shape
    return model.output_shape


@pytest.mark.parametrize("height", range(1, 12))
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_gives_height_over_stride_rounded_up(height, kernel, stride):
    want = -(-height // stride)
    assert shape_after(Conv2D(1, kernel, stride=stride, padding="same"), 1, height, 7)[1] == want
    assert shape_after(MaxPool2D(kernel, stride=stride, padding="same"), 1, height, 7)[1] == want


def test_same_puts_the_odd_pixel_at_bottom_and_right():
    layer = Conv2D(1, (2, 4), padding="same")
    xcnn.Model([layer], (1, 5, 5))
    assert layer.window["padding"] == ((0, 1), (1, 2))
    pool = MaxPool2D(2, stride=2, padding="same")
    xcnn.Model([pool], (1, 5, 4))
    assert pool.window["padding"] == ((0, 1), (0, 0))


def test_same_counts_the_dilated_kernel():
    assert shape_after(Conv2D(1, 3, dilation=3, padding="same"), 1, 4, 5) == (1, 4, 5)


@pytest.mark.parametrize(
    ("padding", "want"),
    [
        ("valid", (1, 4, 5)),
        (0, (1, 4, 5)),
        (1, (1, 6, 7)),
        ((1, 2), (1, 6, 9)),
        ([1, 2], (1, 6, 9)),
        (((1, 2), (0, 3)), (1, 7, 8)),
        ("same", (1, 6, 7)),
        ("full", (1, 8, 9)),
    ],
)
def test_padding_of_a_convolution(padding, want):
    assert shape_after(Conv2D(1, 3, padding=padding), 1, 6, 7) == want


def test_full_counts_the_dilation():
    assert shape_after(Conv2D(1, 3, padding="full", dilation=2), 1, 6, 7) == (1, 10, 11)


def test_padding_per_side_is_top_bottom_left_right():
    layer = Conv2D(1, 1, padding=((1, 2), (3, 4)), init="ones")
    y = xcnn.Model([layer], (1, 1, 1)).predict(np.ones((1, 1, 1, 1)))
    assert y.shape == (1, 1, 4, 8)
    assert np.argwhere(y[0, 0]).tolist() == [[1, 3]]


def test_zero_padding_per_side_is_top_bottom_left_right():
    y = xcnn.Model([ZeroPad2D(((1, 2), (3, 4)))], (1, 1, 1)).predict(np.ones((1, 1, 1, 1)))
    assert np.argwhere(y[0, 0]).tolist() == [[1, 3]]
    assert shape_after(ZeroPad2D(2), 3, 4, 5) == (3, 8, 9)
    assert shape_after(ZeroPad2D((0, 1)), 3, 4, 5) == (3, 4, 7)


def test_pairs_are_rows_and_columns():
    assert shape_after(Conv2D(1, (2, 3)), 1, 6, 6) == (1, 5, 4)
    assert shape_after(Conv2D(1, 1, stride=(1, 2)), 1, 6, 6) == (1, 6, 3)
    assert shape_after(Conv2D(1, 2, dilation=(1, 3)), 1, 6, 6) == (1, 5, 3)
    assert shape_after(MaxPool2D((2, 3)), 1, 6, 6) == (1, 3, 2)
    assert shape_after(UpSample2D((2, 3)), 1, 1, 1) == (1, 2, 3)


def test_integers_of_numpy_are_integers():
    one, three = np.int64(1), np.uint8(3)
    layer = Conv2D(three, (three, one), stride=one, padding=one, dilation=one, groups=one)
    assert shape_after(layer, 1, 6, 6) == (3, 6, 8)
    assert shape_after(MaxPool2D(three, stride=one), 1, 6, 6) == (1, 4, 4)


KINDS = {
    "Conv2D: filters": lambda value: Conv2D(value, 3),
    "Conv2D: kernel_size": lambda value: Conv2D(3, value),
    "Conv2D: stride": lambda value: Conv2D(3, 3, stride=value),
    "Conv2D: dilation": lambda value: Conv2D(3, 3, dilation=value),
    "Conv2D: groups": lambda value: Conv2D(3, 3, groups=value),
    "ConvTranspose2D: filters": lambda value: ConvTranspose2D(value, 3),
    "ConvTranspose2D: stride": lambda value: ConvTranspose2D(3, 3, stride=value),
    "MaxPool2D: size": MaxPool2D,
    "MaxPool2D: stride": lambda value: MaxPool2D(3, stride=value),
    "AvgPool2D: size": AvgPool2D,
    "Dense: units": Dense,
    "GroupNorm: groups": GroupNorm,
    "UpSample2D: factor": UpSample2D,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None])
def test_what_is_no_positive_integer_is_refused(name, value):
    if value is None and name == "MaxPool2D: stride":
        return  # the size
    with pytest.raises(OptionError, match=says(f"{name} is {value!r}; needed an integer")):
        KINDS[name](value)


@pytest.mark.parametrize(
    "name", ["Conv2D: kernel_size", "Conv2D: stride", "MaxPool2D: size", "UpSample2D: factor"]
)
@pytest.mark.parametrize("value", [(), (1,), (1, 2, 3), (0, 1), (1, -1), (1, (2, 3))])
def test_what_is_no_pair_is_refused(name, value):
    with pytest.raises(OptionError, match=says(f"{name} is ", "needed")):
        KINDS[name](value)


@pytest.mark.parametrize(
    "make", [lambda p: Conv2D(1, 3, padding=p), lambda p: MaxPool2D(3, padding=p), ZeroPad2D]
)
@pytest.mark.parametrize("padding", [-1, 1.5, (1, 2, 3), ((1, 2), (3,)), ((1, 2), (3, -4)), None, (1, None)])
def test_an_impossible_padding_is_refused(make, padding):
    with pytest.raises(OptionError, match=says("padding is", "needed")):
        make(padding)


def test_an_unknown_padding_is_refused_with_a_suggestion():
    with pytest.raises(OptionError, match=says("padding is 'SAME'; did you mean 'same'?")):
        Conv2D(1, 3, padding="SAME")
    with pytest.raises(OptionError, match=says("padding is 'reflect'; known: full, same, valid")):
        MaxPool2D(3, padding="reflect")


def test_a_pool_padded_by_more_than_its_window_is_refused():
    with pytest.raises(ShapeError, match=says("MaxPool2D (layers[0])", "((2, 2), (2, 2))", "(2, 2)")):
        xcnn.Model([MaxPool2D(2, padding=2)], (1, 6, 6))


@pytest.mark.parametrize("shape", [0, (0, 3), (-2, 3), (1.5,), ("a",), None])
def test_an_impossible_reshape_is_refused(shape):
    with pytest.raises(OptionError, match=says("Reshape: shape is", "needed")):
        Reshape(shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: Conv2D(1, 1, bias=a),
        lambda a: Conv2D(1, 1, padding=a),
        lambda a: Conv2D(1, 1, stride=(1, a)),
        lambda a: MaxPool2D(2, ceil=a),
        lambda a: AvgPool2D(2, count_include_pad=a),
        lambda a: layers.Dense(2, bias=a),
        lambda a: layers.Reshape((a, 2)),
        lambda a: layers.GELU(a),
        lambda a: layers.ELU(a),
        lambda a: layers.LeakyReLU(a),
        lambda a: layers.Dropout(a),
        lambda a: layers.BatchNorm2D(eps=a),
        lambda a: layers.BatchNorm2D(momentum=a),
        lambda a: layers.Softmax(a),
    ],
)
@pytest.mark.parametrize("value", [np.asarray([1, 2]), "nonsense", (1, 2, 3), {}], ids=repr)
def test_options_that_are_anything_are_refused(make, value):
    with pytest.raises(xcnn.Error, match=r"needed|did you mean|known"):
        xcnn.Model([make(value)], (2, 4, 4))


def test_pads_and_strides_have_an_end():
    for layer in (layers.ZeroPad2D, layers.UpSample2D):
        with pytest.raises(OptionError, match="2147483647 pixels at most"):
            layer(2**31)
    with pytest.raises(ShapeError, match=r"ZeroPad2D \(layers\[0\]\): its outputs have shape"):
        xcnn.Model([layers.ZeroPad2D(2**31 - 1)], (1, 4, 4))
    with pytest.raises(ShapeError, match=says("the result would have shape")):
        xcnn.ops.zero_pad2d(np.ones((1, 1, 2, 2)), padding=((2**30, 2**30), (2**30, 2**30)))


@pytest.mark.parametrize("std", [1e308, 1e-310, -1.0, float("nan")])
def test_statistics_that_float32_does_not_hold_are_refused(std):
    with pytest.raises(OptionError, match="Normalize: std is"):
        layers.Normalize(0.0, std)
    with pytest.raises(OptionError, match="Normalize: mean is"):
        layers.Normalize(1e308, 1.0)


def test_shapes_without_channels_are_refused():
    with pytest.raises(ShapeError, match=says("Normalize", "needed (N, C, ...)")):
        xcnn.Model([layers.Normalize(0.0, 1.0)], ())
    with pytest.raises(ShapeError, match=says("Concat", "no channels")):
        xcnn.Model([layers.Concat(layers.Identity())], ())


def test_statistics_of_more_channels_than_there_are_values_are_not_made():
    with at_most(100), pytest.raises(ShapeError, match=says("Normalize", "buffer", "100 values")):
        xcnn.Model([layers.Normalize(0.0, 1.0)], (2**40, 1, 1))


def test_a_model_that_no_memory_holds_is_refused_and_its_layers_are_free():
    layer = layers.Dense(2**30)
    with pytest.raises(xcnn.Error, match=r"Dense|Model"):
        xcnn.Model([layer], (2**30,))
    assert layer.maker is None


def test_images_of_another_shape_are_refused_by_reshaping():
    model = xcnn.Model([layers.Flatten()], (1, 2, 2))
    with pytest.raises(ShapeError, match=says("Flatten", "needed (N, 1, 2, 2)")):
        model.layers[0].forward(np.ones((3, 1, 2, 3)))


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.asarray])
def test_integers_of_numpys_count_as_pythons_do(kind):
    layer = layers.Softmax(kind(1))
    assert type(layer.axis) is int
    assert layers.Reshape((np.int64(-1), kind(2))).shape == (-1, 2)
    x = np.ones((9, 2, 8, 8))
    n = kind(2)
    assert xcnn.ops.zero_pad2d(x, padding=((n, n), (n, n)))[0].shape == (9, 2, 12, 12)
    assert xcnn.ops.upsample2d(x, factor=(n, n))[0].shape == (9, 2, 16, 16)
