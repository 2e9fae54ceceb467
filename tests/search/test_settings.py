"""`xcnn.plots.settings`: a measure over the points of a search."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from PIL import Image

from xcnn import plots
from xcnn.errors import DataError

RATES = [1e-3, 1e-2, 1e-1]


def texts(figure):
    """Everything that is written in a figure."""
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()}


def product(**axes):
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def maps(figure):
    return [axes for axes in figure.axes if axes.images and axes.get_visible()]


def test_one_setting_gives_a_curve_with_the_best_marked():
    figure = plots.settings(product(lr=RATES, seed=[7]), [0.5, 0.9, 0.8], measure="val_accuracy")
    (axes,) = figure.axes
    line, best = axes.lines
    np.testing.assert_allclose(line.get_ydata(), [50, 90, 80])
    assert (best.get_xdata().item(), best.get_ydata().item()) == (0.01, 90)
    assert axes.get_xscale() == "log"
    assert {"Accuracy", "lr", "best: 90.0 % at lr 0.01"} <= texts(figure)


@pytest.mark.parametrize(
    ("levels", "scale"),
    [([1, 2, 3, 4], "linear"), ([4, 8, 16, 32], "log"), ([0, 1, 10], "linear"), ([0.1, 0.9], "linear")],
)
def test_the_axis_is_that_on_which_the_settings_are_spread_evenly(levels, scale):
    figure = plots.settings(product(x=levels), np.arange(len(levels)), measure="val_loss")
    assert figure.axes[0].get_xscale() == scale
    assert any(text.startswith("best: 0.00 at x") for text in texts(figure))


def test_names_are_dots_without_a_line():
    levels = ["relu", None, {"type": "LeakyReLU", "slope": 0.1}]
    figure = plots.settings(product(activation=levels), [0.3, 0.2, 0.1], measure="val_accuracy")
    assert figure.axes[0].lines[0].get_linestyle() == "None"
    assert {"relu", "null", "LeakyReLU\nslope 0.1"} <= texts(figure)


def test_two_settings_give_a_heat_map_with_rising_numbers():
    points = product(lr=RATES[::-1], filters=[16, 4])
    figure = plots.settings(points[:-1], [0.1, 0.2, 0.3, 0.4, 0.5], measure="val_accuracy")
    (axes,) = maps(figure)
    table = axes.images[0].get_array()
    np.testing.assert_allclose(table.filled(-1), [[-1, 50], [40, 30], [20, 10]])
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("lr", "filters")


def test_more_settings_give_a_heat_map_for_each_combination_of_the_others_in_the_same_colours():
    points = product(lr=RATES, seed=[1, 0], units=[4, 8, 16], name=["a", "b"])
    values = np.random.default_rng(0).random(len(points))
    figure = plots.settings(points, values, measure="val_loss")
    found = maps(figure)
    assert [axes.get_title(loc="left") for axes in found] == [
        f"seed {seed}\nname {name}" for seed in (0, 1) for name in "ab"
    ]
    limits = {axes.images[0].get_clim() for axes in found}
    assert limits == {(values.min(), values.max())}
    tables = {axes.get_title(loc="left"): axes.images[0].get_array() for axes in found}
    for point, value in zip(points, values, strict=True):
        table = tables[f"seed {point['seed']}\nname {point['name']}"]
        assert table[RATES.index(point["lr"]), [4, 8, 16].index(point["units"])] == value
    best = points[int(values.argmin())]
    assert any(f"lr {best['lr']:g}" in text and "best" in text for text in texts(figure))


def test_of_many_combinations_those_with_the_best_values_are_drawn(tmp_path):
    points = product(lr=RATES, units=[4, 8, 16], a=[2, 1, 0], b=[0, 1, 2], c=[0, 1, 2])
    values = [p["a"] + p["b"] + p["c"] for p in points]
    figure = plots.settings(points, values, measure="val_loss", path=tmp_path / "m.png")
    titles = [axes.get_title(loc="left") for axes in maps(figure)]
    assert (len(titles), titles[0]) == (24, "a 0\nb 0\nc 0")
    assert "a 2\nb 2\nc 2" not in titles
    assert any("the 24 best of 27 maps" in " ".join(text.split()) for text in texts(figure))
    with Image.open(tmp_path / "m.png") as image:
        assert min(image.size) > 250


@pytest.mark.parametrize(
    ("points", "values"), [([], []), ([{"a": 1}], []), ([{"a": 1}], [float("nan")]), ([{}], [0.1, 0.2])]
)
def test_points_without_values_are_refused(points, values):
    with pytest.raises(DataError, match="needed a finite value for each point"):
        plots.settings(points, values, measure="val_loss")


def test_a_dollar_begins_no_formula(tmp_path):
    folders = ["$a/$b", "$x_{/$"]
    for more in ({}, {"lr": [1, 2]}, {"lr": [1, 2], "seed": [0, 1, 2]}):
        points = product(**{"data.path": folders}, **more)
        plots.settings(points, np.arange(len(points)), measure="val_accuracy", path=tmp_path / "m.png")
        assert (tmp_path / "m.png").exists()
        (tmp_path / "m.png").unlink()


def test_losses_that_diverged_leave_the_others_to_be_told_apart():
    figure = plots.settings(product(lr=RATES), [0.2, 2.1, 2.3e22], measure="val_loss")
    assert figure.axes[0].get_yscale() == "log"
    assert "best: 0.2 at lr 0.001" in texts(figure)
    points = product(lr=RATES, units=[4, 8, 16], seed=[0, 1])
    figure = plots.settings(points, np.geomspace(0.2, 2.3e22, len(points)), measure="val_loss")
    assert all(isinstance(axes.images[0].norm, LogNorm) for axes in maps(figure))
    assert {"0.2", "2.3e+22", "loss, logarithmic"} <= texts(figure)
    assert all(len(text) < 9 for axes in maps(figure) for text in [t.get_text() for t in axes.texts])


def test_a_list_stays_in_its_line():
    points = product(kernel=[[3, 3], [5, 5]], lr=RATES, units=[4, 8, 16])
    figure = plots.settings(points, np.arange(len(points)), measure="val_loss")
    assert [axes.get_title(loc="left") for axes in maps(figure)] == ["kernel [3, 3]", "kernel [5, 5]"]


def test_settings_that_are_nearly_the_same_are_told_apart():
    points = product(lr=[0.123456789, 0.1234567891], units=[1, 2, 3], seed=[0, 1, 2])
    figure = plots.settings(points, np.arange(len(points)), measure="val_loss")
    assert [axes.get_title(loc="left") for axes in maps(figure)] == ["lr 0.123456789", "lr 0.1234567891"]
