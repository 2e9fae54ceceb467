"""The flat list of layers: the same with and without a picture; kernels and dead channels in it."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.draw.nets import SHAPE, picture, residual, sent
from tests.nets import full, plain
from xcnn.draw.activity import activity
from xcnn.draw.layers import describe, describe_layer
from xcnn.draw.placed import placed
from xcnn.errors import OptionError
from xcnn.layers import Conv2D, Dense, Flatten, LayerNorm, ReLU, Sequential

FLAT = [
    (0, "Conv2D + ReLU", (4, 5, 5)),
    (0, "Sum", (4, 5, 5)),
    (1, "Identity", (4, 5, 5)),
    (1, "Sequential", (4, 5, 5)),
    (2, "Conv2D", (4, 5, 5)),
    (2, "BatchNorm2D", (4, 5, 5)),
    (2, "ReLU", (4, 5, 5)),
    (2, "Twice", (4, 5, 5)),
    (3, "Conv2D + ReLU", (4, 5, 5)),
    (3, "Conv2D + ReLU", (4, 5, 5)),
    (0, "Concat", (8, 5, 5)),
    (1, "Conv2D", (4, 5, 5)),
    (1, "Sequential", (4, 5, 5)),
    (2, "Conv2D", (4, 5, 5)),
    (2, "MaxPool2D", (4, 5, 5)),
    (0, "Sequential", (4, 3, 3)),
    (1, "Sequential", (4, 3, 3)),
    (2, "Conv2D", (4, 3, 3)),
    (1, "Gate", (4, 3, 3)),
    (2, "Sequential", (4,)),
    (3, "GlobalAvgPool2D", (4,)),
    (3, "Dense + ReLU", (2,)),
    (3, "Dense + Sigmoid", (4,)),
    (0, "Flatten", (36,)),
    (0, "Dense + Softmax", (3,)),
]


def images(n, shape=SHAPE):
    return np.stack([picture(shape, seed) for seed in range(n)])


def test_layers_stand_in_running_order_those_that_run_twice_twice(backend):
    told = describe(residual(backend=backend))["layers"]
    assert [(layer["depth"], layer["title"], layer["output_shape"]) for layer in told] == FLAT
    assert [layer["id"] for layer in told] == [*range(len(FLAT))]
    assert told[8]["path"] == told[9]["path"] == "layers[1].layers[1].layers[3].body"
    assert told[11]["path"] == told[13]["path"] == "layers[2].layers[0]"


@pytest.mark.parametrize("make", [residual, plain, full])
def test_a_picture_gives_the_list_that_the_model_has_without_one(make):
    model = make()
    told = describe(model)["layers"]
    found = model.explain(picture(model.input_shape))
    traced = [(p.id, p.depth, p.title, p.step.x.shape, p.step.y.shape) for p in placed(found.step)]
    fields = ("id", "depth", "title", "input_shape", "output_shape")
    assert [tuple(layer[field] for field in fields) for layer in told] == traced
    active = {id(layer.act) for layer in model.walk() if hasattr(layer, "act")}
    walked = [e.step for e in found.walk() if id(e.step.layer) not in active]
    assert {*map(id, walked)} <= {id(p.step) for p in placed(found.step)}


def test_a_model_is_described_by_its_shapes_and_numbers():
    told = sent(describe(plain(precision="bfloat16", backend="numpy")))
    assert {key: told[key] for key in told if key != "layers"} == {
        "input_shape": [1, 8, 8],
        "output_shape": [3],
        "parameters": 40 + 4 * 3 * 3 * 3 + 3,
        "dtype": "float32",
        "precision": "bfloat16",
        "backend": "numpy",
    }
    assert told["layers"][0] == {
        "id": 0,
        "path": "layers[0]",
        "type": "Conv2D",
        "name": None,
        "title": "Conv2D + ReLU",
        "input_shape": [1, 8, 8],
        "output_shape": [4, 6, 6],
        "parameters": 40,
        "kernels": True,
        "depth": 0,
    }


@pytest.mark.parametrize("precision", ["float16", "tf32"])
def test_a_model_of_features_has_layers_too(precision):
    model = xcnn.Model([Dense(4, activation="relu"), LayerNorm(), Dense(1)], (6,), precision=precision)
    told = describe(model)["layers"]
    assert [(layer["title"], layer["kernels"]) for layer in told] == [
        ("Dense + ReLU", True),
        ("LayerNorm", False),
        ("Dense", True),
    ]
    assert sent(describe_layer(model, 0, images(5, (6,))))["sample"] == 5


def test_a_layer_shows_its_kernels_and_biases(backend):
    model = residual(backend=backend)
    conv, dense = sent(describe_layer(model, 0)), sent(describe_layer(model, 24))
    w = backend.to_numpy(model.layers[0].w.value)
    assert conv["kernels"]["shape"] == [4, 1, 3, 3]
    np.testing.assert_allclose(conv["kernels"]["values"], w, rtol=5e-6)
    assert conv["kernels"]["min"] == pytest.approx(w.min(), rel=5e-6)
    assert conv["kernels"]["max"] == pytest.approx(w.max(), rel=5e-6)
    assert conv["bias"] == [0.0] * 4
    assert dense["kernels"]["shape"] == [3, 36]
    assert (conv["dead"], conv["active"], conv["sample"]) == (None, None, 0)
    norm = describe_layer(model, 5)
    assert norm["kernels"] is None
    assert "kernels_left_out" not in norm


def test_kernels_of_nan_are_null():
    model = plain(backend="numpy")
    model.layers[0].w.value = np.full_like(model.layers[0].w.value, np.nan)
    told = sent(describe_layer(model, 0))["kernels"]
    assert told["values"][0] == [[[None] * 3] * 3]
    assert (told["min"], told["max"]) == (None, None)


def test_many_kernels_are_left_out_and_it_says_why():
    told = sent(describe_layer(xcnn.Model([Dense(300)], (300,)), 0))
    assert told["kernels"] is None
    assert told["kernels_left_out"] == "90,000 numbers are more than the 65,536 that are sent"
    assert len(told["bias"]) == 300


@pytest.mark.parametrize("id", [-1, 25])
def test_a_layer_that_is_not_there_is_refused(id):
    with pytest.raises(OptionError, match=rf"layers: there is no layer {id}; the model has 25, from 0"):
        describe_layer(residual(), id)


def test_a_channel_that_answers_no_image_is_dead_after_its_activation(backend):
    model = plain(backend=backend)
    b = np.array([0.0, -100.0, 0.0, -100.0], np.float32)
    model.layers[0].b.value = backend.asarray(b, "float32")
    sample = images(150, (1, 8, 8))
    conv, pool = (sent(describe_layer(model, id, sample)) for id in (0, 1))
    assert conv["dead"] == pool["dead"] == [1, 3]
    assert conv["sample"] == 150
    y = backend.to_numpy(model.layers[0].forward(model.accept(sample))[0])
    np.testing.assert_allclose(conv["active"], (y > 0).mean(axis=(0, 2, 3)), rtol=5e-6)


def test_layers_that_run_twice_are_tallied_twice():
    conv = Conv2D(2, 1, activation="relu")
    model = xcnn.Model([Conv2D(2, 1), conv, Sequential(ReLU(), conv), Flatten(), Dense(2)], SHAPE)
    conv.w.value = np.array([[-1, 0], [0, 1]], np.float32).reshape(2, 2, 1, 1)
    model.layers[0].w.value = np.full_like(model.layers[0].w.value, 1.0)
    first, again = (describe_layer(model, id, images(3)) for id in (1, 4))
    assert first["title"] == again["title"] == "Conv2D + ReLU"
    assert first["dead"].tolist() == again["dead"].tolist() == [0]
    conv.b.value = np.array([1.5, 0.0], np.float32)  # the first time -x + 1.5, the second time x - 1.5 + 1.5
    assert [describe_layer(model, id, images(3))["dead"].tolist() for id in (1, 4)] == [[], []]


def test_nan_is_no_dead_channel():
    model = plain()
    model.layers[0].b.value = np.array([np.nan, 100, 100, -100], np.float32)
    told = describe_layer(model, 0, images(4, (1, 8, 8)))
    assert told["dead"].tolist() == [3]
    assert told["active"][0] == 1.0


def test_images_are_tallied_once_until_the_weights_change():
    model, sample = plain(backend="numpy"), images(3, (1, 8, 8))
    found = activity(model, sample)
    assert activity(model, sample) is found
    model.layers[0].b.value = np.full(4, -100, np.float32)
    assert activity(model, sample)[0].active.tolist() == [0.0] * 4
    assert activity(model, sample[:1])[0].images == 1
