"""Explanations: their numbers are the layers' own, forward and backward."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings

import xcnn
from tests.layers.cases import LAYERS, conv, for_random_layers
from tests.nets import full, plain, stripes
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn import explain, ops
from xcnn.errors import Error, OptionError, ShapeError
from xcnn.layers import (
    AvgPool2D,
    BatchNorm2D,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    Identity,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    Softmax,
    Sum,
)

FAMILIES = {
    "AvgPool2D": explain.Pooling,
    "BatchNorm2D": explain.Standardised,
    "Conv2D": explain.Convolution,
    "ConvTranspose2D": explain.Convolution,
    "Dense": explain.DenseUnit,
    "GlobalAvgPool2D": explain.Pooling,
    "GlobalMaxPool2D": explain.Pooling,
    "GroupNorm": explain.Standardised,
    "LayerNorm": explain.Standardised,
    "LogSoftmax": explain.Probability,
    "MaxPool2D": explain.Pooling,
    "Normalize": explain.Standardised,
    "Softmax": explain.Probability,
    **dict.fromkeys(("Concat", "Flatten", "Gate", "Reshape", "Sequential", "Sum"), explain.Said),
    **dict.fromkeys(("UntiedBias", "UpSample2D", "ZeroPad2D"), explain.Said),
    **dict.fromkeys(("Dropout", "ELU", "GELU", "Identity", "LeakyReLU", "ReLU"), explain.Pointwise),
    **dict.fromkeys(("SiLU", "Sigmoid", "Tanh"), explain.Pointwise),
}


def random_position(shape, seed=0):
    return tuple(int(i) for i in np.random.default_rng(seed).integers(0, shape))


def assert_exact(e, dtype="float64"):
    """The numbers that are shown give the layer's own, and so do those of the layers inside."""
    if not math.isnan(e.computed):
        size = float(np.max(np.abs(e.step.y))) + abs(e.measured)
        if isinstance(e, explain.Affine):
            size += float(np.abs(e.products).sum())
        assert_close(np.asarray(e.computed), np.asarray(e.measured), dtype, source=size)
    for part in e.parts:
        assert_exact(part, dtype)


def test_every_layer_has_a_family():
    assert set(FAMILIES) == set(LAYERS)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_layer_is_explained_exactly(name, backend):
    def check(drawn):
        model = xcnn.Model([drawn.layer], drawn.x.shape[1:], backend=backend, dtype="float64", seed=1)
        x = backend.asarray(drawn.x)[0, ...]
        e = drawn.layer.explain(x)
        assert type(e) is FAMILIES[name]
        for found in (e, e.at(*random_position(model.output_shape))):
            assert_exact(found)
            assert name in str(found)
            y = backend.to_numpy(model.forward(model.accept(drawn.x))[0])[0]
            assert found.value == pytest.approx(y[found.position], rel=1e-9, abs=1e-12)
        assert_exact(model.explain(x).layers[0])

    for_random_layers(name, check, examples=2)


@settings(max_examples=25)
@given(conv())
def test_patch_times_kernel_plus_bias_is_the_output_of_any_convolution(drawn):
    model = xcnn.Model([drawn.layer], drawn.x.shape[1:], dtype="float64", seed=2)
    p = drawn.layer.parameters()
    if "b" in p:
        p["b"].value = np.random.default_rng(0).normal(size=p["b"].shape)
    bare, _ = drawn.layer.apply(drawn.x)
    e = drawn.layer.explain(drawn.x[0])
    for seed in range(3):
        position = random_position(model.output_shape, seed)
        found = e.at(*position)
        assert (found.patch * found.kernel).sum() + found.bias == pytest.approx(bare[0][position], abs=1e-10)
        assert not np.any(found.patch[:, ~found.inside])
        np.testing.assert_allclose(found.products, found.patch * found.kernel)


@settings(max_examples=25)
@given(conv(ConvTranspose2D))
def test_taps_that_meet_in_a_pixel_give_any_transposed_convolution(drawn):
    model = xcnn.Model([drawn.layer], drawn.x.shape[1:], dtype="float64", seed=2)
    bare, _ = drawn.layer.apply(drawn.x)
    position = random_position(model.output_shape)
    e = drawn.layer.explain(drawn.x[0]).at(*position)
    assert e.sum + e.bias == pytest.approx(bare[0][position], abs=1e-10)


def test_a_true_convolution_shows_its_kernel_rotated():
    model = xcnn.Model([Conv2D(2, 3, op="true_conv2d")], (1, 5, 5), dtype="float64")
    e = model.layers[0].explain(np.random.default_rng(0).random((1, 5, 5))).at(1, 2, 0)
    np.testing.assert_array_equal(e.kernel[0], model.layers[0].w.value[1, 0, ::-1, ::-1])
    assert e.computed == pytest.approx(e.z)
    assert "kernel, rotated" in str(e)


def test_a_convolution_that_does_something_else_is_not_said_to_multiply():
    @ops.Op
    def doubled_conv2d(x, w, b=None, /, **window):
        y, saved = ops.conv2d(x, w, b, **window)
        return 2 * y, saved

    @doubled_conv2d.gradient
    def gradient(dy, saved, needs):
        return tuple(None if g is None else 2 * g for g in saved.backward(dy, needs))

    class Doubled(Conv2D):
        def apply(self, x, /):
            return doubled_conv2d(x, self.w.value, None, **self.window, groups=1)

    model = xcnn.Model([Doubled(2, 3)], (1, 5, 5))
    ops.Op.registry.pop("doubled_conv2d")
    e = model.layers[0].explain(np.ones((1, 5, 5), "float32"))
    assert type(e) is explain.Explanation


def test_the_winner_of_a_pooling_is_the_pixel_that_the_gradient_reaches():
    model = xcnn.Model([MaxPool2D(3, stride=2, padding=1)], (2, 7, 7), dtype="float64")
    e = model.layers[0].explain(np.random.default_rng(0).normal(size=(2, 7, 7))).at(1, 0, 3)
    assert e.step.x[e.winner] == e.value
    assert np.argwhere(e.reached).tolist() == [list(e.winner)]


def test_padding_is_shown_as_such_and_never_wins():
    model = xcnn.Model([MaxPool2D(2, padding=1)], (1, 4, 4), dtype="float64")
    e = model.layers[0].explain(-np.ones((1, 4, 4))).at(0, 0, 0)
    assert e.inside.tolist() == [[False, False], [False, True]]
    assert e.winner == (0, 0, 0)
    assert "3 of these pixels are padding" in str(e)


def test_a_mean_is_divided_by_the_pixels_that_count():
    model = xcnn.Model([AvgPool2D(2, padding=1, count_include_pad=False)], (1, 4, 4), dtype="float64")
    e = model.layers[0].explain(np.full((1, 4, 4), 3.0)).at(0, 0, 0)
    assert (e.count, e.value) == (1, 3.0)


def slope(layer, x, position, pixel, h=1e-6):
    """The difference quotient of one output by one input."""
    ends = []
    for step in (h, -h):
        moved = x.copy()
        moved[pixel] += step
        ends.append(layer.forward(moved[None])[0][0][position])
    return (ends[0] - ends[1]) / (2 * h)


def test_gradients_of_a_layer_are_differences_and_zero_outside_the_window():
    x = np.random.default_rng(3).normal(size=(2, 7, 6))
    model = xcnn.Model(
        [Conv2D(3, 3, stride=2, dilation=2, padding=1, activation="tanh")], x.shape, dtype="float64"
    )
    e = model.layers[0].explain(x).at(2, 1, 1)
    seen = np.zeros(x.shape, bool)
    rows = [r for r in e.rows if 0 <= r < 7]
    columns = [c for c in e.columns if 0 <= c < 6]
    seen[np.ix_(e.channels, rows, columns)] = True
    np.testing.assert_array_equal(e.reached, seen)
    assert np.all(e.step.dx[~seen] == 0)
    for pixel in np.ndindex(x.shape):
        assert e.step.dx[pixel] == pytest.approx(slope(model.layers[0], x, (2, 1, 1), pixel), abs=1e-8)
    inner = e.step.dx[np.ix_(e.channels, rows, columns)]
    np.testing.assert_allclose(e.to_patch[:, e.inside], inner.reshape(len(e.channels), -1))


def test_gradients_of_a_model_are_those_of_the_winning_logit(backend):
    images, _ = stripes(4)
    model = full(backend=backend, dtype="float64")
    x = images[0].astype("float64")
    e = model.explain(backend.asarray(x))
    logits = model.predict(x[None])[0]
    winner = int(np.argmax(logits))
    assert e.target == f"the logit of {winner}"
    direction = np.random.default_rng(0).normal(size=x.shape)
    up, down = (model.predict((x + h * direction)[None])[0][winner] for h in (1e-6, -1e-6))
    assert np.sum(e.dx * direction) == pytest.approx((up - down) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("ending", [[], [Softmax()]])
def test_with_a_label_gradients_are_those_of_its_loss(ending):
    images, _ = stripes(4)
    x = images[1].astype("float64")
    model = xcnn.Model([Conv2D(3, 3), ReLU(), Flatten(), Dense(3), *ending], x.shape, dtype="float64")
    e = model.explain(x, label=2)
    assert e.target == "the cross entropy of label 2"

    def loss(x):
        return -np.log(model.predict_proba(x[None])[0][2])

    direction = np.random.default_rng(0).normal(size=x.shape)
    difference = (loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)) / 2e-6
    assert np.sum(e.dx * direction) == pytest.approx(difference, rel=1e-5)


def test_gradient_of_a_logit_is_that_before_a_saturated_softmax():
    model = xcnn.Model([Flatten(), Dense(3, activation="softmax")], (1, 4, 4))
    model.layers[1].w.value = 100 * model.layers[1].w.value
    e = model.explain(np.ones((1, 4, 4), "float32"))
    assert e.layers[1].inner()[0].step.ends
    winner = int(np.argmax(e.layers[1].step.parts[0].x))
    np.testing.assert_allclose(e.dx.ravel(), model.layers[1].w.value[winner], rtol=1e-6)


def test_nothing_of_the_model_changes():
    images, labels = stripes(8)
    model = full(backend="numpy")
    y, saved = model.forward(model.accept(images), train=True)
    model.backward(y, saved)
    before = [p.gradient.copy() for p in model.parameters().values()]
    arrays = model.state.arrays
    model.explain(images[0], label=int(labels[0]))
    model.layers[0].explain(images[0])
    assert model.state.arrays is arrays
    for p, g in zip(model.parameters().values(), before, strict=True):
        np.testing.assert_array_equal(p.gradient, g)


def test_each_layer_shows_the_output_that_the_next_one_takes():
    images, _ = stripes(4)
    layers = plain(backend="numpy").explain(images[0]).layers
    for here, after in itertools.pairwise(layers):
        assert here.position == after.source
        assert here.value == after.step.x[after.source]


def test_a_pixel_is_followed_forward():
    x = np.zeros((1, 8, 8), "float32")
    x[0, 2, 5] = 1.0
    e = plain(backend="numpy").explain(x, pixel=(2, 5))
    first = e.layers[0]
    assert 2 in first.rows
    assert 5 in first.columns
    assert first.source == (0, 2, 5)


def test_layers_inside_branches_and_sequentials_are_explained():
    body = Sequential(Conv2D(2, 3, padding="same"), BatchNorm2D(), Sequential(ReLU(), Conv2D(2, 1)))
    model = xcnn.Model([Conv2D(2, 3), Sum(Identity(), body), Flatten(), Dense(2)], (1, 6, 6), dtype="float64")
    e = model.explain(np.random.default_rng(0).random((1, 6, 6)))
    paths = [found.step.layer.path for found in e.walk()]
    assert "layers[1].layers[1].layers[2].layers[1]" in paths
    assert all(path in str(e) for path in paths)
    for found in e.walk():
        assert_exact(found)


def test_a_layer_used_twice_is_explained_at_each_use():
    shared = Conv2D(1, 3, padding="same", activation="relu")
    model = xcnn.Model([shared, shared, Flatten(), Dense(2)], (1, 5, 5), dtype="float64")
    first, second, *_ = model.explain(np.random.default_rng(0).random((1, 5, 5))).layers
    np.testing.assert_array_equal(first.step.y, second.step.x)
    np.testing.assert_array_equal(first.step.dy, second.step.dx)


class Halved(Layer):
    """A layer of the user's, without an explanation of its own."""

    def forward(self, x, /, *, train=False, hold=None):
        return 0.5 * x, ()

    def backward(self, dy, saved, /, *, need_dx=True):
        return 0.5 * dy


def test_a_layer_of_the_users_is_explained_by_shapes_and_ranges_until_it_says_more():
    model = xcnn.Model([Halved(), Flatten(), Dense(2)], (1, 3, 3))
    x = np.linspace(0, 1, 9, dtype="float32").reshape(1, 3, 3)
    e = model.explain(x).layers[0]
    assert type(e) is explain.Explanation
    assert "x lies between 0 and 1, its mean is 0.5" in str(e)

    @explain.explanation.register
    def _(layer: Halved, step, position):
        return explain.Said(step, position, source=position, said=f"half of {step.x[position]}")

    assert "half of 1.0" in str(model.layers[0].explain(x))


def test_bytes_are_taken_as_predict_takes_them():
    x = np.random.default_rng(0).integers(0, 256, (1, 8, 8), dtype="uint8")
    model = plain(backend="numpy")
    np.testing.assert_allclose(model.explain(x).image, x / 255, rtol=1e-6)
    np.testing.assert_allclose(model.layers[0].explain(x).step.x, x / 255, rtol=1e-6)
    assert model.explain(x[None]).answer == model.explain(x).answer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_whole_model_is_explained_exactly(dtype, backend):
    images, _ = stripes(4)
    model = full(backend=backend, dtype=dtype)
    for found in model.explain(images[2]).walk():
        assert_exact(found, dtype)


@pytest.mark.parametrize("layer", [Conv2D(2, 3), ReLU()])
def test_an_unbuilt_layer_says_so(layer):
    with pytest.raises(Error, match=says(type(layer).__name__, "it is not built", "xcnn.Model")):
        layer.explain(np.ones((1, 4, 4)))


def test_what_cannot_be_explained_is_refused():
    model = plain(backend="numpy")
    images, _ = stripes(4)
    with pytest.raises(ShapeError, match=says("4 inputs", "needed one")):
        model.explain(images)
    with pytest.raises(ShapeError, match=says("Conv2D", "layers[0]", "(1, 2, 8, 8)")):
        model.layers[0].explain(np.ones((2, 8, 8), "float32"))
    with pytest.raises(OptionError, match=says("Conv2D", "at(9, 0, 0)")):
        model.explain(images[0]).layers[0].at(9, 0, 0)
    with pytest.raises(OptionError, match=says("pixel (8, 0)")):
        model.explain(images[0], pixel=(8, 0))
    with pytest.raises(OptionError, match=says("channel is 0", "pixel=")):
        model.explain(images[0], channel=0)
    with pytest.raises(xcnn.DataError, match="label"):
        model.explain(images[0], label=7)


def test_a_label_that_is_no_array_is_refused():
    with pytest.raises(xcnn.DataError, match=says("explain", "rows")):
        plain(backend="numpy").explain(stripes(1)[0][0], label=[[1], [1, 2]])
