"""gradcheck: right gradients pass, wrong ones are named, and nothing given to it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import xcnn
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn import losses, ops
from xcnn.backend import backend_of
from xcnn.errors import DataError, DeviceMismatchError, DTypeError, GradientError, OptionError, ShapeError
from xcnn.layers import (
    BatchNorm2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    Softmax,
    Sum,
)

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(3, 4)), RNG.normal(size=(5, 4)), RNG.normal(size=5)
IMAGES = RNG.normal(size=(2, 3, 6, 6))


def on(backend, *arrays):
    return [backend.asarray(a) for a in arrays]


# What is right


def test_an_op_passes_and_the_error_is_returned(backend):
    error = xcnn.gradcheck(ops.linear, *on(backend, X, W, B))
    assert isinstance(error, float)
    assert 0 <= error < 1e-6


def test_options_reach_the_op(backend):
    w = RNG.normal(size=(4, 3, 3, 3))
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 2))}
    assert xcnn.gradcheck(ops.conv2d, *on(backend, IMAGES, w), **options) < 1e-6


def test_absent_arrays_labels_and_statistics_are_passed_over(backend):
    z, labels = on(backend, RNG.normal(size=(4, 3)), np.array([0, 2, 1, 1]))
    assert xcnn.gradcheck(ops.cross_entropy, z, labels) < 1e-6
    assert xcnn.gradcheck(ops.linear, *on(backend, X, W), None) < 1e-6
    w, b, mean, var = on(backend, *RNG.uniform(0.5, 1, size=(4, 3)))
    assert xcnn.gradcheck(ops.batch_norm, *on(backend, IMAGES), w, b, mean, var) < 1e-5
    assert xcnn.gradcheck(ops.batch_norm, *on(backend, IMAGES), w, b) < 1e-5


def test_a_layer_that_is_not_built_passes(backend):
    for layer in (
        Conv2D(2, 3, activation="tanh"),
        MaxPool2D(2),
        BatchNorm2D(),
        Sum(ReLU(), Conv2D(3, 3, padding="same")),
        Gate(Sequential(GlobalAvgPool2D(), Dense(3, activation="sigmoid"))),
        Dropout(0.5),
    ):
        assert xcnn.gradcheck(layer, *on(backend, IMAGES)) < 1e-5
        assert layer.maker is None


def test_a_layer_of_a_model_passes_with_its_values(backend):
    model = full(backend=backend)
    assert xcnn.gradcheck(model.layers[0], *on(backend, RNG.normal(size=(2, 1, 8, 8)))) < 1e-5
    assert model.layers[0].maker is not None
    model.layers[7].w.value = np.full((3, 8), np.nan)
    with pytest.raises(GradientError):
        xcnn.gradcheck(model.layers[7], *on(backend, RNG.normal(size=(2, 8))))


def test_a_model_passes_on_its_outputs_and_through_its_loss(backend):
    x, y = stripes(6)
    model = full(backend=backend)
    assert xcnn.gradcheck(model, *on(backend, x)) < 1e-5
    xcnn.Trainer(model)
    assert xcnn.gradcheck(model, *on(backend, x, y)) < 1e-5


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse"])
def test_a_model_that_ends_in_probabilities_passes_through_its_loss(loss):
    model = xcnn.Model([Flatten(), Dense(3), Softmax()], SHAPE)
    xcnn.Trainer(model, loss=loss)
    x, y = stripes(6)
    assert xcnn.gradcheck(model, x, np.eye(3)[y]) < 1e-5


@pytest.mark.parametrize("loss", [kind() for kind in losses.NAMES.values()], ids=lambda loss: loss.name)
def test_every_loss_passes(loss, backend):
    z, target = RNG.normal(size=(4, 3)), np.eye(3)[[0, 2, 1, 1]]
    assert xcnn.gradcheck(loss, *on(backend, z, target)) < 1e-6


def test_a_function_that_returns_y_and_saved_passes(backend):
    def twice(x):
        y, saved = ops.tanh(x)
        z, later = ops.tanh(y)

        class Both:
            def backward(self, dz):
                return saved.backward(later.backward(dz)[0])

        return z, Both()

    assert xcnn.gradcheck(twice, *on(backend, X)) < 1e-6


@dataclass(eq=False)
class Swish(Layer):
    """y = x sigmoid(beta x) with a trained beta per feature, and a bias."""

    start: float = 1.0
    scale: float = 1.0  # of the gradients; 1 is right
    forget: str = ""

    def build(self, input_shape: Any, make: Any) -> Any:
        self.beta = make.parameter(input_shape, lambda rng, shape, fans: np.full(shape, self.start))
        self.bias = make.parameter(input_shape, "zeros")
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        s, saved = ops.sigmoid(x * self.beta.value)
        return x * s + self.bias.value, (x, s, saved)

    def backward(self, dy, saved, /, *, need_dx=True):
        x, s, saved = saved
        (inner,) = saved.backward(dy * x)
        xp = backend_of(dy).xp
        if self.forget != "beta":
            self.beta.add_gradient(self.scale * xp.sum(inner * x, axis=0))
        if self.forget != "bias":
            self.bias.add_gradient(xp.sum(dy, axis=0))
        return None if self.forget == "input" else dy * s + inner * self.beta.value


def test_a_users_own_layer_passes(backend):
    assert xcnn.gradcheck(Swish(), *on(backend, X)) < 1e-6
    model = xcnn.Model([Dense(4), Swish(), Dense(2)], (4,), backend=backend)
    assert xcnn.gradcheck(model, *on(backend, X)) < 1e-6


def test_single_precision_is_checked_in_double(backend):
    x, w = (backend.asarray(a, "float32") for a in (X, W))
    assert xcnn.gradcheck(ops.linear, x, w) < 1e-6
    assert xcnn.gradcheck(plain(backend=backend), backend.asarray(stripes(4)[0], "float32")) < 1e-5


def test_lists_are_arrays():
    assert xcnn.gradcheck(ops.tanh, np.asarray(X.tolist())) < 1e-6


@pytest.mark.parametrize("size", [1e-6, 1.0, 255.0])
def test_inputs_of_any_size_pass(size):
    assert xcnn.gradcheck(ops.linear, size * X, W, B) < 1e-5
    assert xcnn.gradcheck(ops.relu, size * (X + np.sign(X))) < 1e-5


# Kinks


def test_relu_at_exactly_0_passes(backend):
    assert xcnn.gradcheck(ops.relu, *on(backend, np.zeros((3, 4)))) < 1e-6
    x = X.copy()
    x[1, 2] = 0.0
    assert xcnn.gradcheck(ops.relu, *on(backend, x)) < 1e-6


def test_ties_of_maxima_pass(backend):
    assert xcnn.gradcheck(ops.max_pool2d, *on(backend, np.ones((1, 2, 4, 4)))) < 1e-6
    assert xcnn.gradcheck(MaxPool2D(2), *on(backend, np.round(IMAGES))) < 1e-6


def test_images_of_zeros_and_ones_pass_through_a_net(backend):
    x = (np.random.default_rng(0).random((4, 1, 8, 8)) > 0.5).astype("float64")
    assert xcnn.gradcheck(plain(backend=backend), *on(backend, x)) < 1e-5


def test_a_step_everywhere_is_refused():
    def steps(x):
        class Saved:
            def backward(self, dy):
                return (0 * dy,)

        return np.floor(1e9 * x), Saved()

    with pytest.raises(GradientError, match=says("gradient")):
        xcnn.gradcheck(steps, X)


# What is wrong


def wrong(change, k=0):
    """Return linear with gradient k changed."""

    def linear(x, w, b=None):
        y, saved = ops.linear(x, w, b)

        class Changed:
            def backward(self, dy):
                found = list(saved.backward(dy))
                found[k] = change(found[k])
                return found

        return y, Changed()

    return linear


CHANGES = {
    "scaled": lambda g: 1.01 * g,
    "slightly scaled": lambda g: 1.0001 * g,
    "wrong sign": lambda g: -g,
    "zero": lambda g: 0 * g,
    "one element": lambda g: g + 1e-2 * (np.arange(g.size).reshape(g.shape) == 0),
    "shifted": lambda g: np.roll(g, 1, axis=-1),
    "nan": lambda g: g * np.nan,
}


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_gradient_of_a_function_is_named(change, k):
    with pytest.raises(
        GradientError, match=says(f"linear: the gradient with respect to array {k + 1} is off by")
    ):
        xcnn.gradcheck(wrong(CHANGES[change], k), X, W, B)


def test_a_gradient_of_the_wrong_shape_is_refused():
    with pytest.raises(xcnn.Error, match=says("linear", "array 2", "(4, 5)", "(5, 4)")):
        xcnn.gradcheck(wrong(lambda g: g.T, 1), X, W, B)


def test_too_few_gradients_are_refused():
    def short(x, w):
        y, saved = ops.linear(x, w)

        class Short:
            def backward(self, dy):
                return saved.backward(dy)[:1]

        return y, Short()

    with pytest.raises(xcnn.Error, match=says("short", "gradient")):
        xcnn.gradcheck(short, X, W)


@pytest.mark.parametrize("scale", [1.01, -1.0, 0.0])
def test_a_wrong_gradient_of_a_layers_parameter_is_named(scale, backend):
    with pytest.raises(
        GradientError, match=says("Swish: the gradient with respect to layers[0].beta is off by")
    ):
        xcnn.gradcheck(Swish(scale=scale), *on(backend, X))


def test_a_wrong_gradient_in_a_model_is_named_by_its_place():
    model = xcnn.Model([Dense(4), Sequential(Swish(scale=1.01)), Dense(2)], (4,))
    with pytest.raises(GradientError, match=says("layers[1].layers[0].beta")):
        xcnn.gradcheck(model, X)


@pytest.mark.parametrize(
    ("forget", "named"), [("bias", "layers[0].bias"), ("beta", "layers[0].beta"), ("input", "the input")]
)
def test_a_gradient_that_a_layer_forgets_is_named(forget, named, backend):
    with pytest.raises(GradientError, match=says(f"with respect to {named}")):
        xcnn.gradcheck(Swish(forget=forget), *on(backend, X))


def test_a_gradient_that_counts_a_shared_layer_once_is_caught():
    class Once(Sequential):
        def backward(self, dy, saved, /, *, need_dx=True):
            dy = super().backward(dy, saved, need_dx=need_dx)
            state = self.layers[0].w.state
            state.take_gradient()
            return dy

    layer = Dense(4)
    with pytest.raises(GradientError):
        xcnn.gradcheck(Once(layer, layer), X)


def test_a_wrong_sign_of_a_loss_is_caught():
    class Wrong(losses.MeanSquaredError):
        def __call__(self, z, labels, /, *, probabilities=False):
            y, saved = super().__call__(z, labels)

            class Minus:
                def backward(self, dy):
                    return [None if g is None else -g for g in saved.backward(dy)]

            return y, Minus()

    with pytest.raises(GradientError, match=says("mse")):
        xcnn.gradcheck(Wrong(), X, X[::-1].copy())


def test_the_tolerance_is_an_option():
    slightly = wrong(lambda g: 1.001 * g)
    assert 1e-5 < xcnn.gradcheck(slightly, X, W, B, tolerance=0.1) < 0.1
    with pytest.raises(GradientError, match=says("needed 1e-04 at most")):
        xcnn.gradcheck(slightly, X, W, B, tolerance=1e-4)


# What it leaves alone


def test_nothing_that_is_given_changes(backend):
    model = full(backend=backend)
    xcnn.Trainer(model)
    x, y = on(backend, *stripes(5))
    copies, before, arrays = [backend.to_numpy(a).copy() for a in (x, y)], host(model), model.state.arrays
    xcnn.gradcheck(model, x, y)
    xcnn.gradcheck(model.layers[0], x)
    for a, copy in zip((x, y), copies, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(a), copy)
    assert_same(host(model), before)
    assert model.state.arrays is arrays
    assert all(p.gradient is None for p in model.parameters().values())


@pytest.mark.parametrize("failing", [False, True])
def test_a_double_precision_model_is_left_alone_too(failing):
    """Also where it fails, and where the model need not be converted."""
    model = xcnn.Model(
        [Dense(4), Swish(scale=1.01 if failing else 1.0), BatchNorm2D()], (4,), dtype="float64"
    )
    before, arrays = host(model), model.state.arrays
    if failing:
        with pytest.raises(GradientError):
            xcnn.gradcheck(model, X)
    else:
        xcnn.gradcheck(model, X)
    assert_same(host(model), before)
    assert model.state.arrays is arrays
    assert all(p.gradient is None for p in model.parameters().values())


def test_the_same_seed_gives_the_same_error():
    assert xcnn.gradcheck(ops.tanh, X, seed=3) == xcnn.gradcheck(ops.tanh, X, seed=3)
    assert xcnn.gradcheck(ops.tanh, X, seed=3) != xcnn.gradcheck(ops.tanh, X, seed=4)


# Bad input


def test_no_arrays_are_refused():
    with pytest.raises(DTypeError, match=says("gradcheck: there are no arrays; needed what f takes")):
        xcnn.gradcheck(ops.relu)


def test_what_has_no_floating_array_is_refused():
    with pytest.raises(xcnn.Error, match=says("floating")):
        xcnn.gradcheck(ops.zero_pad2d, np.ones((1, 1, 2, 2), "int64"), padding=((0, 0), (0, 0)))


def test_a_model_without_a_loss_cannot_take_labels():
    with pytest.raises(xcnn.Error, match=says("labels came, but the model has no loss")):
        xcnn.gradcheck(plain(), *stripes(4))


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError):
        xcnn.gradcheck(plain(), X)
    with pytest.raises(ShapeError):
        xcnn.gradcheck(ops.linear, X, W.T)


@pytest.mark.parametrize("options", [{"directions": "3"}, {"directions": 0}, {"seed": -1}, {"tolerance": ()}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="gradcheck"):
        xcnn.gradcheck(ops.relu, np.ones(3), **options)


def test_arrays_that_are_empty_or_of_two_kinds_are_refused():
    with pytest.raises(DataError, match=says("gradcheck", "array 1 is empty", "(0, 2)")):
        xcnn.gradcheck(ops.relu, np.ones((0, 2)))
    with pytest.raises(DTypeError, match=says("gradcheck", "got a")):
        xcnn.gradcheck(ops.relu, object())
    other = xcnn.backend.get_backend("python").asarray([[1.0]])
    with pytest.raises(DeviceMismatchError, match=says("gradcheck", "needed one kind")):
        xcnn.gradcheck(ops.linear, np.ones((1, 1)), other)
