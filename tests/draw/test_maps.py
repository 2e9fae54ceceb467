"""Feature maps as bytes."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import xcnn
from tests.draw.nets import picture, residual, sent
from tests.nets import plain
from xcnn.draw import maps
from xcnn.draw.maps import bytes_of, look
from xcnn.draw.placed import placed
from xcnn.layers import Conv2D, Dense, Flatten, GlobalAvgPool2D


def unpacked(told):
    """The numbers that a page makes of the bytes."""
    shares = (
        np.frombuffer(base64.b64decode(told["maps"], validate=True), np.uint8).reshape(told["shape"]) / 255
    )
    return told["min"] + (told["max"] - told["min"]) * shares


def test_maps_are_the_outputs_of_every_layer(backend):
    model = residual(backend=backend)
    found = model.explain(picture())
    told = sent(look(found))["layers"]
    assert [layer["id"] for layer in told] == [*range(25)]
    for layer, at in zip(told, placed(found.step), strict=True):
        y = at.step.y
        assert layer["shape"] == [*y.shape]
        if layer["maps"] is not None:
            np.testing.assert_allclose(unpacked(layer), y, atol=0.6 / 255 * np.ptp(y))
    y, _ = model.layers[0].forward(model.accept(picture()[None]))
    np.testing.assert_allclose(unpacked(told[0]), backend.to_numpy(y)[0], atol=0.6 / 255 * told[0]["max"])


def test_a_sequential_says_that_its_maps_are_those_of_its_last_layer():
    told = look(residual().explain(picture()))["layers"]
    for id in (3, 12, 15, 16, 19):
        assert told[id]["maps"] is None
        assert told[id]["left_out"] == "they are those of the last layer inside"
    assert sum("left_out" in layer for layer in told) == 5


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(max_dims=3, max_side=5),
        elements=st.floats(width=32),
    )
)
def test_bytes_rise_with_the_numbers(a):
    told, low, high = bytes_of(a)
    values = np.frombuffer(told, np.uint8).reshape(a.shape)
    finite = np.isfinite(a)
    if not finite.any():
        assert (low, high) == (None, None)
        assert not values.any()
        return
    assert (low, high) == (a[finite].min(), a[finite].max())
    order = np.argsort(a[finite], kind="stable")
    assert (np.diff(values[finite][order].astype(int)) >= 0).all()
    assert not values[finite & (a == low)].any()
    assert not values[np.isnan(a) | (a == -np.inf)].any()
    if low < high:
        assert (values[finite & (a == high)] == 255).all()
        assert (values[a == np.inf] == 255).all()


def test_channels_that_are_zero_for_this_picture_are_silent():
    model = plain()
    model.layers[0].b.value = np.array([0, -100, 0, np.nan], np.float32)
    told = sent(look(model.explain(picture((1, 8, 8)))))["layers"]
    assert told[0]["silent"] == told[1]["silent"] == [1]
    assert set(told[2]["silent"]) == {*range(9, 18)}


def test_a_model_that_gives_nan_is_told_without_numbers():
    model = plain(backend="numpy")
    model.layers[0].w.value = np.full_like(model.layers[0].w.value, np.nan)
    told = sent(look(model.explain(picture((1, 8, 8)))))["layers"]
    for layer in told:
        assert (layer["min"], layer["max"], layer["silent"]) == (None, None, [])
        assert not any(base64.b64decode(layer["maps"]))


def test_flat_outputs_and_maps_of_one_pixel_have_maps():
    model = xcnn.Model([Conv2D(5, 3), GlobalAvgPool2D(), Dense(1)], (2, 3, 3))
    told = sent(look(model.explain(picture((2, 3, 3)))))["layers"]
    assert [layer["shape"] for layer in told] == [[5, 1, 1], [5], [1]]
    assert [len(base64.b64decode(layer["maps"])) for layer in told] == [5, 5, 1]
    assert told[2]["min"] == told[2]["max"]


def test_a_model_of_features_has_maps():
    model = xcnn.Model([Dense(4, activation="relu"), Dense(2)], (6,))
    assert [layer["shape"] for layer in look(model.explain(picture((6,))))["layers"]] == [(4,), (2,)]


def test_huge_outputs_are_left_out_and_it_says_why(monkeypatch):
    monkeypatch.setattr(maps, "_MOST", 40)
    first, _, last = look(
        xcnn.Model([Conv2D(5, 1), Flatten(), Dense(3)], (1, 3, 3)).explain(picture((1, 3, 3)))
    )["layers"]
    assert first["maps"] is None
    assert first["left_out"] == "45 numbers are more than the 40 that are sent"
    assert last["maps"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_maps_are_those_of_the_models_precision(precision):
    model = plain(precision=precision, backend="numpy")
    x = picture((1, 8, 8))
    told = sent(look(model.explain(x)))["layers"][-1]
    np.testing.assert_allclose(unpacked(told), model.predict(x[None])[0], atol=0.01)
