"""What explanations say of single outputs, of NaN, of odd shapes, and what they refuse."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

import xcnn
from tests.nets import plain, stripes
from xcnn import explain
from xcnn.errors import OptionError
from xcnn.explain.text import WIDTH, picture
from xcnn.layers import (
    AvgPool2D,
    BatchNorm2D,
    Conv2D,
    Dense,
    Flatten,
    Identity,
    MaxPool2D,
    ReLU,
    Sequential,
    Sum,
)

RNG = np.random.default_rng(0)


def words(figure):
    """Everything that is written in a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def unit(logit, activation=None, loss=None, outputs=1):
    """A model whose outputs are `logit`, or what the activation makes of it."""
    model = xcnn.Model([Flatten(), Dense(outputs, activation=activation)], (1, 2, 2), backend="numpy")
    model.layers[1].w.value = 0 * model.layers[1].w.value
    model.layers[1].b.value = np.full(outputs, logit, np.float32) - np.arange(outputs, dtype=np.float32)
    model.loss = None if loss is None else xcnn.losses.get(loss)
    return model


IMAGE = np.ones((1, 2, 2), "float32")


@pytest.mark.parametrize(("activation", "loss"), [("sigmoid", None), (None, "binary_cross_entropy")])
@pytest.mark.parametrize(
    ("logit", "answer"),
    [(-2.0, "benign (88.1 %), then sick (11.9 %)"), (2.0, "sick (88.1 %), then benign (11.9 %)")],
)
def test_a_single_probability_is_that_of_the_second_class(activation, loss, logit, answer):
    model = unit(logit, activation, loss)
    model.classes = ("benign", "sick")
    e = model.explain(IMAGE)
    assert e.answer == f"the model says {answer}"
    assert e.target == "the logit of sick"
    np.testing.assert_allclose(e.probabilities, [1 - e.probabilities[1], 1 / (1 + np.exp(-logit))], rtol=1e-6)
    assert {"benign", "sick", "probability"} <= set(words(e.plot()))
    model.classes = None
    assert model.explain(IMAGE).target == "the logit of 1"
    assert model.explain(IMAGE, label=0).target == "the binary cross entropy of label 0"


@pytest.mark.parametrize("loss", [None, "mse"])
def test_a_single_output_without_a_sigmoid_is_a_number(loss):
    e = unit(-2.0, None, loss).explain(IMAGE)
    assert (e.answer, e.target) == ("the model gives -2", "the output at feature 0")
    assert e.probabilities is None


def test_independent_sigmoids_are_not_told_in_turn():
    answer = unit(1.0, "sigmoid", outputs=3).explain(IMAGE).answer
    assert answer == "the model says 0 (73.1 %), 1 (50.0 %), 2 (26.9 %)"


def test_classes_without_a_chance_are_left_out():
    assert (
        unit(0.0, "softmax", outputs=2).explain(IMAGE).answer == "the model says 0 (73.1 %), then 1 (26.9 %)"
    )
    sure = unit(0.0, "softmax", outputs=2)
    sure.layers[1].b.value = np.array([0.0, 30.0], np.float32)
    assert sure.explain(IMAGE).answer == "the model says 1 (100.0 %)"


@pytest.mark.parametrize("shape", [(1, 1, 200), (1, 4, 300), (2, 1, 45), (1, 50, 1)])
def test_images_of_every_shape_are_pictures_of_characters(shape):
    model = xcnn.Model([Flatten(), Dense(2)], shape, backend="numpy")
    text = str(model.explain(RNG.random(shape)))
    drawn = [line for line in text.splitlines() if line.startswith(("│", "┌"))]
    assert drawn
    assert max(map(len, drawn)) <= WIDTH
    np.testing.assert_array_equal(len(picture(np.ones((1, 200)))), 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_an_image_with_nan_is_explained_drawn_and_animated(bad, tmp_path):
    block = Sum(Identity(), Conv2D(4, 3, padding="same"))
    layers = [
        Conv2D(4, 3, padding="same", activation="relu"),
        BatchNorm2D(),
        MaxPool2D(2),
        block,
        AvgPool2D(2),
    ]
    model = xcnn.Model([*layers, Flatten(), Dense(5, activation="softmax")], (1, 8, 8), backend="numpy")
    x = RNG.random((1, 8, 8), np.float32)
    x[0, 3, 3] = bad
    e = model.explain(x)
    assert e.answer == "the model gives NaN; 1 of the 64 numbers of the input are NaN or infinite"
    assert not [found for found in e.walk() if type(found) is explain.Explanation]
    assert "nan" in str(e)
    assert any(text.startswith("The model gives NaN") for text in words(e.plot()))
    assert e.animate(tmp_path / "nan.gif", most=4) == 4
    for found in (*e.layers, *model.explain(x, pixel=(3, 3)).layers):
        found.plot().canvas.draw()


@pytest.mark.parametrize("pixel", [3, (1.5, 0), (1, 2, 3), "ab"])
def test_what_is_no_pixel_is_refused(pixel):
    images, _ = stripes(1)
    with pytest.raises(OptionError, match=r"explain: pixel is .* needed whole numbers, \(row, column\)"):
        plain(backend="numpy").explain(images[0], pixel=pixel)
    with pytest.raises(OptionError, match=r"channel 0\.5"):
        plain(backend="numpy").explain(images[0], pixel=(1, 1), channel=0.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_source_of_a_sum_is_what_pushed_it_to_its_side(sign):
    products = np.array([3.0, -4.0, 0.5, -0.25]) * sign  # their sum has the sign of -sign
    dense = xcnn.Model([Dense(1, bias=False)], (4,), backend="numpy", dtype="float64")
    dense.layers[0].w.value = products[None]
    found = dense.layers[0].explain(np.ones(4))
    assert np.sign(found.z) == -sign
    assert found.source == (1,)
    conv = xcnn.Model([Conv2D(1, 2, bias=False)], (1, 2, 2), backend="numpy", dtype="float64")
    conv.layers[0].w.value = products.reshape(1, 1, 2, 2)
    assert conv.layers[0].explain(np.ones((1, 2, 2))).source == (0, 0, 1)


def test_a_picture_of_many_layers_shows_both_ends_and_whole_titles():
    blocks = [Sequential(Conv2D(2, 1), ReLU()) for _ in range(9)]
    model = xcnn.Model([*blocks, Flatten(), Dense(3)], (1, 3, 3), backend="numpy")
    model.classes = tuple(f"a handbag of the {i}th of the long names" for i in range(3))
    e = model.explain(RNG.random((1, 3, 3)), label=1)
    told = words(e.plot())
    titles = [text for text in told if text.startswith("layers[")]
    assert len(titles) == 16
    assert titles[-1].startswith("layers[10]  Dense")
    head = next(text for text in told if text.startswith("The model says"))
    assert "(the first 8 and the last 8 of 20 layers)" in head.replace("\n", " ")
    assert max(map(len, head.split("\n"))) <= 96
    gradient = next(text for text in told if text.startswith("|gradient| of"))
    assert max(map(len, gradient.split("\n"))) <= 42
