"""One output pixel in numbers: they are the layer's own, and those that `explain` prints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import xcnn
from tests.draw.nets import picture, residual, sent
from tests.layers.cases import conv
from tests.nets import plain
from xcnn.draw import explained as module
from xcnn.draw.explained import explained
from xcnn.draw.placed import placed
from xcnn.errors import OptionError
from xcnn.layers import AvgPool2D, Conv2D, ConvTranspose2D, Dense, Flatten, GlobalMaxPool2D, MaxPool2D


@pytest.fixture(scope="module")
def found():
    return residual(backend="numpy", dtype="float64", seed=3).explain(picture())


def corners(shape):
    return [(0,) * len(shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)]


def test_every_layer_is_explained_at_any_position(found):
    for layer in placed(found.step):
        for at in corners(layer.step.y.shape):
            told = sent(explained(found, layer.id, at))
            assert told["id"] == layer.id
            assert told["position"] == [*at]
            assert told["value"] == pytest.approx(layer.step.y[at], rel=5e-6, abs=1e-12)
            assert told["title"] == told["text"][0]
            assert len(told["source"]) in (0, layer.step.x.ndim)


def test_without_a_position_it_is_what_explain_prints(found):
    printed = str(found)
    for layer in placed(found.step):
        if layer.depth == 0:
            assert "\n".join(explained(found, layer.id)["text"]) in printed
    told = explained(found, 0)
    assert told["position"] == found.layers[0].position


def test_a_convolution_is_its_patch_times_its_kernel_summed(backend):
    model = residual(backend=backend, seed=4)
    conv = model.layers[0]
    conv.b.value = backend.asarray(np.array([0.1, -0.2, 0.3, 0.4]), "float32")
    x = picture()
    found = model.explain(x)
    y = backend.to_numpy(conv.forward(model.accept(x[None]))[0])[0]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    w = backend.to_numpy(conv.w.value)
    for at in np.ndindex(4, 5, 5):
        f, i, j = at
        told = sent(explained(found, 0, at))
        patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        np.testing.assert_allclose(told["patch"], patch, rtol=5e-6)
        np.testing.assert_allclose(told["kernel"], w[f], rtol=5e-6)
        np.testing.assert_allclose(told["products"], patch * w[f], rtol=1e-5, atol=1e-9)
        assert told["window"] == {"rows": [2 * i - 1, 2 * i + 1], "columns": [2 * j - 1, 2 * j + 1]}
        assert np.array(told["inside"])[0, 1] == (i > 0)
        assert told["sum"] == pytest.approx((patch * w[f]).sum(), rel=1e-4, abs=1e-5)
        assert told["z"] == pytest.approx(told["sum"] + told["bias"], rel=1e-4, abs=1e-5)
        assert told["y"] == pytest.approx(max(told["z"], 0), rel=1e-4, abs=1e-5)
        assert told["y"] == pytest.approx(y[at], rel=1e-4, abs=1e-6)
        assert told["activation"] == "ReLU"
        assert (told["channels"], told["kind"]) == ([0], "convolution")


@settings(max_examples=20)
@given(conv())
def test_channels_of_any_convolution_add_up(drawn):
    model = xcnn.Model([drawn.layer], drawn.x.shape[1:], dtype="float64", backend="numpy", seed=2)
    found = model.explain(drawn.x[0])
    for at in corners(model.output_shape):
        told = sent(explained(found, 0, at))
        assert told["sum"] == pytest.approx(sum(told["sums"]) + told["others"], rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(np.sum(told["products"], axis=(1, 2)), told["sums"], rtol=1e-4, atol=1e-4)
        assert told["value"] == pytest.approx(model.predict(drawn.x)[0][at], rel=1e-4, abs=1e-5)


def test_of_many_channels_those_that_do_most_are_told(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 30)
    model = xcnn.Model([Conv2D(2, 3)], (8, 5, 5), dtype="float64", backend="numpy")
    x = picture((8, 5, 5))
    told = sent(explained(model.explain(x), 0, (1, 2, 2)))
    products = x[:, 2:5, 2:5] * model.layers[0].w.value[1]
    weight = np.abs(products).sum(axis=(1, 2))
    assert told["channels"] == sorted(np.argsort(-weight)[:3].tolist())
    assert np.shape(told["patch"]) == np.shape(told["kernel"]) == (3, 3, 3)
    assert told["others_count"] == 5
    assert told["sum"] == pytest.approx(products.sum(), rel=1e-5)
    assert told["others"] == pytest.approx(np.delete(products, told["channels"], 0).sum(), rel=1e-5)


def test_a_transposed_convolution_that_no_pixel_reaches_has_no_window():
    model = xcnn.Model([ConvTranspose2D(1, 1, stride=2, padding=0)], (1, 3, 3))
    told = sent(explained(model.explain(picture((1, 3, 3))), 0, (0, 1, 1)))
    assert told["window"] is None
    assert (told["channels"], told["sum"]) == ([0], 0)


def test_a_pooling_shows_its_window_and_its_winner():
    model = xcnn.Model([MaxPool2D(2), AvgPool2D(2)], (2, 4, 4))
    x = picture((2, 4, 4))
    found = model.explain(x)
    largest = sent(explained(found, 0, (1, 0, 1)))
    window = x[1, 0:2, 2:4]
    np.testing.assert_allclose(largest["patch"], window, rtol=5e-6)
    assert largest["winner"] == [*map(int, np.unravel_index(window.argmax(), (2, 2)))]
    assert largest["y"] == pytest.approx(window.max(), rel=5e-6)
    assert largest["window"] == {"rows": [0, 1], "columns": [2, 3]}
    mean = sent(explained(found, 1, (0, 0, 0)))
    assert (mean["kind"], mean["winner"], mean["mean"], mean["count"]) == ("pooling", None, True, 4)
    assert mean["y"] == pytest.approx(np.sum(mean["patch"]) / 4, rel=1e-5)


def test_a_huge_window_is_left_out_and_it_says_why(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 30)
    told = sent(explained(xcnn.Model([GlobalMaxPool2D()], (2, 6, 6)).explain(picture((2, 6, 6))), 0))
    assert (told["patch"], told["winner"]) == (None, None)
    assert told["left_out"] == "the 36 pixels of the window are more than the 30 that are sent"


def test_a_dense_unit_is_its_largest_products_and_the_others():
    model = xcnn.Model([Flatten(), Dense(3, activation="tanh")], (2, 5, 5), dtype="float64", backend="numpy")
    model.layers[1].b.value = np.array([0.5, -0.5, 0.25])
    x = picture((2, 5, 5))
    told = sent(explained(model.explain(x), 1, (2,)))
    products = x.ravel() * model.layers[1].w.value[2]
    order = np.argsort(-np.abs(products))
    assert [term["feature"] for term in told["terms"]] == order[:12].tolist()
    for term in told["terms"]:
        assert term["product"] == pytest.approx(products[term["feature"]], rel=5e-6)
        assert term["product"] == pytest.approx(term["x"] * term["w"], rel=2e-5)
    assert told["others"] == pytest.approx(products[order[12:]].sum(), rel=5e-6)
    assert told["others_count"] == 38
    assert told["sum"] == pytest.approx(products.sum(), rel=5e-6)
    assert told["z"] == pytest.approx(products.sum() + 0.25, rel=5e-6)
    assert told["y"] == pytest.approx(np.tanh(products.sum() + 0.25), rel=5e-6)
    assert told["activation"] == "Tanh"


def test_a_layer_that_runs_twice_is_explained_each_time(found):
    first, again = (sent(explained(found, id, (0, 2, 2))) for id in (8, 9))
    steps = placed(found.step)
    assert first["kernel"] == again["kernel"]
    for told, id in ((first, 8), (again, 9)):
        np.testing.assert_allclose(told["patch"], steps[id].step.x[:, 1:4, 1:4], rtol=5e-6)


@pytest.mark.parametrize("at", [(0, 0), (4, 0, 0), (0, -1, 0), ()])
def test_a_position_outside_of_the_output_is_refused(found, at):
    with pytest.raises(OptionError, match="is no element of the output; needed 3 numbers, less than"):
        explained(found, 0, at)
    with pytest.raises(OptionError, match="there is no layer 99"):
        explained(found, 99)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_numbers_that_are_not_finite_are_null(bad):
    x = picture((1, 8, 8))
    x[0, 2, 2] = bad
    found = plain(backend="numpy").explain(x)
    assert all(sent(explained(found, id))["text"] for id in range(4))
    told = sent(explained(found, 0, (0, 1, 1)))
    assert told["patch"][0][1][1] is None
    assert told["z"] is None
