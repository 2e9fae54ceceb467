"""Explanations as text, figures and animations."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from PIL import Image

import xcnn
from tests.layers.cases import LAYERS, for_random_layers
from tests.nets import plain, stripes
from xcnn.errors import FileError, OptionError
from xcnn.explain.text import WIDTH, grid, picture, shown
from xcnn.layers import BatchNorm2D, Conv2D, ConvTranspose2D, Dense, Flatten, GlobalAvgPool2D, MaxPool2D

# The worked example of the first report: its equations 8 and 9, whose first output (11) is 5.
EXAMPLE = [
    [4, 1, 2, 9, 8, 6],
    [9, 5, 9, 5, 8, 5],
    [1, 5, 9, 7, 6, 4],
    [2, 9, 8, 3, 7, 1],
    [8, 1, 6, 4, 2, 2],
    [1, 0, 5, 7, 8, 2],
]
TEXT = """\
layers[0]  Conv2D  1 × 6 × 6 → 1 × 4 × 4
   filter 0, row 0, column 0 of y sees rows 0 to 2, columns 0 to 2 of x
    x, channel 0    kernel                  products
   │ 4 1 2 │       │ 0.111 0.111 0.111 │   │ 0.444 0.111 0.222 │
   │ 9 5 9 │     × │ 0.111 0.111 0.111 │ = │ 1.000 0.556 1.000 │
   │ 1 5 9 │       │ 0.111 0.111 0.111 │   │ 0.111 0.556 1.000 │
     sum of 9 products   5
   + bias                0
   = z                   5
   backward: dy 1 here; dx reached 9 of 36 (25 %), at most 0.1111 at channel 0, row 0, column 0
   dz 1: from this output dx gets dz × kernel, dw gets dz × patch, db gets dz
    to dx                   to dw
   │ 0.111 0.111 0.111 │   │ 4 1 2 │
   │ 0.111 0.111 0.111 │   │ 9 5 9 │
   │ 0.111 0.111 0.111 │   │ 1 5 9 │"""


def low_pass():
    """The example's kernel, in a model, and its image."""
    model = xcnn.Model([Conv2D(1, 3)], (1, 6, 6), backend="numpy", dtype="float64")
    model.layers[0].w.value = np.full((1, 1, 3, 3), 1 / 9)
    return model, np.array([EXAMPLE], dtype="float64")


def words(figure):
    """Everything that is written in a figure."""
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()}


def test_the_worked_example_is_told_as_in_the_report():
    model, x = low_pass()
    e = model.layers[0].explain(x).at(0, 0, 0)
    assert e.sum == pytest.approx(5)
    assert str(e) == TEXT
    rows = [[5, 5.78, 7, 6.44], [6.33, 6.67, 6.89, 5.11], [5.44, 5.78, 5.78, 4], [4.44, 4.78, 5.56, 4]]
    found = [[e.at(0, i, j).sum for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(found, rows, atol=0.005)  # the report's equation 12, two decimals


@pytest.mark.parametrize(("kernel", "channels"), [(3, 3), (5, 1), (5, 3), (7, 2), (11, 1)])
def test_text_fits_into_a_hundred_columns(kernel, channels):
    layers = [Conv2D(4, kernel, padding="same", activation="gelu"), BatchNorm2D(), MaxPool2D(2), Flatten()]
    model = xcnn.Model([*layers, Dense(10, activation="softmax")], (channels, 16, 16), backend="numpy")
    text = str(model.explain(np.random.default_rng(0).random((channels, 16, 16))))
    assert max(map(len, text.splitlines())) <= 110
    grids = [line for line in text.splitlines() if "│" in line]
    assert max(map(len, grids)) <= WIDTH + 3


def test_of_many_channels_the_strongest_are_shown_and_the_others_counted():
    model = xcnn.Model([Conv2D(2, 3)], (16, 5, 5), backend="numpy")
    e = model.layers[0].explain(np.random.default_rng(0).random((16, 5, 5)))
    assert str(e).count("kernel") == 4  # three, and what the backward line says
    assert "13 other channels" in str(e)


@pytest.mark.parametrize(
    ("values", "cells", "power"),
    [
        ([4.0, 1.0], ["4", "1"], 0),
        ([0.5, -0.25], [" 0.500", "-0.250"], 0),
        ([12.5, 0.0], ["12.5", " 0.0"], 0),
        ([2e-5, -1e-5], [" 2", "-1"], -5),
        ([0.0, 0.0], ["0", "0"], 0),
        ([np.nan, 0.999], ["nan", "0.999"], 0),
    ],
)
def test_numbers_of_a_grid_have_one_width_and_legible_digits(values, cells, power):
    found = shown(np.array(values))
    assert ([cell.strip() for cell in found[0]], found[1]) == ([cell.strip() for cell in cells], power)
    assert len({*map(len, found[0])}) == 1


def test_padding_is_a_dot_and_the_winner_stands_in_brackets():
    inside = np.array([[False, True], [False, True]])
    assert grid(np.array([[0.0, 2.0], [0.0, 7.0]]), inside=inside, mark=(1, 1)) == ["│ · 2 │", "│ ·[7]│"]


def test_a_picture_of_characters_keeps_its_proportions():
    small, large = picture(np.ones((8, 8))), picture(np.ones((28, 28)))
    assert (len(small), len(small[0])) == (10, 18)  # with the frame: 8 lines of 16 characters
    assert (len(large), len(large[0])) == (16, 30)
    assert len(picture(np.ones((224, 224)))[0]) <= 48


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_is_drawn(name):
    def check(drawn):
        model = xcnn.Model([drawn.layer], drawn.x.shape[1:], backend="numpy", seed=1)
        figure = model.layers[0].explain(drawn.x[0]).plot()
        assert any(name in text for text in words(figure)) or name == "Sequential"

    for_random_layers(name, check, examples=1)


def test_a_figure_shows_the_numbers_and_is_saved(tmp_path):
    model, x = low_pass()
    e = model.layers[0].explain(x).at(0, 0, 0)
    figure = e.plot(tmp_path / "new" / "layer.png")
    assert {"patch", "kernel", "products", "sum 5\n+ bias 0\n= z 5", "9", ".11"} <= words(figure)
    with Image.open(tmp_path / "new" / "layer.png") as image:
        assert image.size[0] > 1000


def test_a_notebook_shows_a_model_as_a_picture():
    images, _ = stripes(3)
    model = plain(backend="numpy")
    e = model.explain(images[0])
    assert e._repr_png_().startswith(b"\x89PNG")
    assert repr(e) == str(e)
    titles = words(e.plot())
    assert any(text.startswith("The model says") for text in titles)
    assert all(any(layer.label.split()[0] in text for text in titles) for layer in model.layers)


@pytest.mark.parametrize(("most", "frames"), [(16, 16), (15, 4), (1, 1)])
def test_an_animation_has_a_frame_for_each_pixel_that_is_shown(most, frames, tmp_path):
    model, x = low_pass()
    path = tmp_path / "new" / "slide.gif"
    assert model.explain(x).animate(path, most=most) == frames
    with Image.open(path) as film:
        assert film.format == "GIF"
        assert getattr(film, "n_frames", 1) == frames


@pytest.mark.parametrize(
    "layer", [MaxPool2D(2, padding=1), GlobalAvgPool2D(), ConvTranspose2D(1, 1, stride=2)]
)
def test_whatever_has_windows_slides(layer, tmp_path):
    model = xcnn.Model([layer], (2, 3, 3), backend="numpy")
    e = layer.explain(np.random.default_rng(0).random((2, 3, 3)))
    frames = e.animate(tmp_path / "slide.gif", most=4)
    with Image.open(tmp_path / "slide.gif") as film:
        assert getattr(film, "n_frames", 1) == frames
    assert frames <= 4
    assert model.layers[0] is layer


def test_what_cannot_be_animated_is_refused(tmp_path):
    model, x = low_pass()
    with pytest.raises(OptionError, match="most is 0"):
        model.explain(x).animate(tmp_path / "slide.gif", most=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        model.explain(x).animate(tmp_path / "file" / "slide.gif", most=1)
    dense = xcnn.Model([Flatten(), Dense(2)], (1, 3, 3), backend="numpy")
    with pytest.raises(OptionError, match="no layer slides"):
        dense.explain(np.ones((1, 3, 3), "float32")).animate(tmp_path / "slide.gif")
