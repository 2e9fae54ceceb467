"""What is not finite, and what is nearly nothing: images with NaN or infinity, denormal numbers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import xcnn
from tests.kernels.nets import NETS
from tests.kernels.truth import draw, fill, readable, results, runs
from xcnn.layers import AvgPool2D, BatchNorm2D, Conv2D, Dense, Flatten, MaxPool2D, ReLU

SPOILT = 1  # the image of the batch that is not finite
N = 5
every_net = pytest.mark.parametrize("name", [name for name, (shape, _) in NETS.items() if len(shape) == 3])
SPOILERS = np.nan, np.inf, -np.inf


def pair(name, n=N):
    """Return a compiled net and the same uncompiled, and a draw."""
    shape, make = NETS[name]
    compiled, plain = xcnn.Model(make(), shape), xcnn.Model(make(), shape, compile=False)
    given = draw(plain, n)
    return fill(compiled, given), fill(plain, given), given


def spoil(given, value):
    x = given.x.copy()
    x[SPOILT, 0, x.shape[2] // 2, x.shape[3] // 2] = value
    return given._replace(x=x)


def size(a):
    """Return the largest finite number."""
    return float(np.max(np.abs(a), where=np.isfinite(a), initial=0.0))


def assert_equally_nan(got, want, name, largest=0.0):
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=name)
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want), err_msg=name)
    scale = max(size(want), largest)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * scale, err_msg=name)


def differences(name, *keys):
    """Return where results of a spoilt batch are not what the layers give."""
    wrong = []
    for spoiler in SPOILERS:
        compiled, plain, given = pair(name)
        given = spoil(given, spoiler)
        got, want = results(compiled, given), readable(plain, given)
        largest = max(size(a) for key, a in want.items() if key.startswith(("dx", "gradient")))
        for key in want:
            if key.startswith(keys):
                try:
                    assert_equally_nan(got[key], want[key], key, largest if "gradient" in keys else 0.0)
                except AssertionError as error:
                    wrong.append(f"{spoiler} in x, {key}: {' '.join(str(error).split()[:14])}")
    return "\n".join(wrong)


@every_net
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_outputs_and_statistics_are_not_finite_where_those_of_the_layers_are_not(name):
    assert not differences(name, "evaluation", "training", "buffer")


@every_net
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_gradients_are_not_finite_where_those_of_the_layers_are_not(name):
    assert not differences(name, "dx", "gradient")


@every_net
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_in_evaluation_other_images_are_untouched_by_one_that_is_not_finite(name):
    compiled, _, given = pair(name)
    want, others = compiled.predict(given.x), np.arange(N) != SPOILT
    for spoiler in SPOILERS:
        got = compiled.predict(spoil(given, spoiler).x)
        np.testing.assert_array_equal(got[others], want[others])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("first", [Conv2D(4, 3, padding=1), BatchNorm2D(), MaxPool2D(3, stride=1, padding=1)])
def test_a_gradient_that_is_nan_passes_a_relu_that_is_zero_as_in_the_layers(first):
    """dx = dy (y > 0), and NaN times 0 is NaN."""
    found = []
    for compile in (True, False):
        layers = [copy.deepcopy(first), ReLU(), Conv2D(3, 1, activation="relu")]
        model = xcnn.Model(layers, (3, 5, 5), compile=compile)
        given = draw(model, 3)
        dy = given.dy.copy()
        dy[1, 0, 2, 2] = np.nan
        found.append((results if compile else readable)(model, given._replace(dy=dy)))
    for key, want in found[1].items():
        assert_equally_nan(found[0][key], want, key)


@every_net
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nothing_of_a_spoilt_batch_is_left_in_the_next(name):
    compiled, _, given = pair(name)
    want = results(compiled, given)
    results(compiled, spoil(given, np.nan))
    for key, a in results(compiled, given).items():
        np.testing.assert_array_equal(a, want[key], err_msg=key)


@every_net
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nothing_of_a_fuller_spoilt_batch_is_left_in_the_lanes(name):
    """Lanes that no image fills hold what was there before."""
    compiled, _, given = pair(name)
    want = results(compiled, given)
    more = draw(compiled, 16, 1)
    fill(compiled, more._replace(x=np.full_like(more.x, np.nan)))
    y, saved = compiled.forward(np.full_like(more.x, np.nan), train=True)
    compiled.backward(np.full_like(y, np.nan), saved)
    compiled.predict(np.full_like(more.x, np.nan))
    del saved
    compiled.state.drop_gradient()
    for key, a in results(compiled, given).items():
        np.testing.assert_array_equal(a, want[key], err_msg=key)


@pytest.mark.parametrize(
    "layer", [ReLU(), MaxPool2D(2), MaxPool2D(3, stride=1, padding=1), MaxPool2D(3, ceil=True)]
)
@pytest.mark.parametrize("rectified", [True, False])
def test_relu_and_max_pooling_keep_nan(layer, rectified):
    first = Conv2D(3, 1, activation="relu" if rectified else None)
    layer = type(layer)(
        **{k: v for k, v in vars(layer).items() if k in ("size", "stride", "padding", "ceil")}
    )
    model = xcnn.Model([first, layer], (2, 7, 7))
    assert runs(model)
    x = np.ones((3, 2, 7, 7), "float32")
    x[1, 0, 4, 4] = np.nan
    y = model.predict(x)
    assert np.isnan(y[1]).any(axis=(1, 2)).all()
    assert np.isfinite(y[[0, 2]]).all()


def test_the_gradient_of_a_window_with_several_nans_goes_where_the_layers_send_it():
    found = []
    for compile in (True, False):
        model = xcnn.Model([Conv2D(2, 3), MaxPool2D(2)], (1, 8, 8), compile=compile)
        given = draw(model, 3)
        x = given.x.copy()
        x[1, 0, 3, 3] = np.nan
        found.append((results if compile else readable)(model, given._replace(x=x))["dx"])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_that_overflow_become_infinite_as_in_the_layers():
    results_of = []
    for compile in (True, False):
        model = xcnn.Model([Conv2D(4, 3, activation="relu"), Flatten(), Dense(2)], (1, 5, 5), compile=compile)
        given = draw(model, 3)
        results_of.append(
            (results if compile else readable)(model, given._replace(x=given.x * np.float32(3e38)))
        )
    for name, want in results_of[1].items():
        np.testing.assert_array_equal(np.isfinite(results_of[0][name]), np.isfinite(want), err_msg=name)


@pytest.mark.parametrize("tiny", ["inputs", "weights", "dy", "all"])
def test_denormal_numbers_may_count_as_zero_and_nothing_else_changes(tiny):
    def layers():
        return [
            Conv2D(5, 3, activation="relu"),
            MaxPool2D(2),
            Conv2D(4, 2),
            AvgPool2D(2),
            Flatten(),
            Dense(3),
        ]

    found = []
    for compile in (True, False):
        model = xcnn.Model(layers(), (2, 10, 10), compile=compile)
        given = draw(model, 17)
        small = np.float32(1e-40)
        x = given.x * small if tiny in ("inputs", "all") else given.x
        values = given.values * small if tiny in ("weights", "all") else given.values
        dy = given.dy * small if tiny in ("dy", "all") else given.dy
        found.append((results if compile else readable)(model, given._replace(x=x, values=values, dy=dy)))
    for name, want in found[1].items():
        assert np.isfinite(found[0][name]).all()
        np.testing.assert_allclose(
            found[0][name], want, rtol=1e-4, atol=1e-4 * np.max(np.abs(want)) + 1e-37, err_msg=name
        )


def test_the_mode_of_the_processor_is_put_back():
    """Denormal numbers are zero inside of kernels only."""
    model = xcnn.Model([Conv2D(5, 3, activation="relu")], (2, 10, 10))
    model.predict(np.ones((64, 2, 10, 10), "float32"))
    tiny = np.full(64, 1e-40, "float32")
    assert (tiny + tiny > 0).all()
    assert (tiny * np.float32(2) != 0).all()
