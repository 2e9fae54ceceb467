"""Figures of odd values: NaN, none, one, many, long names."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import xcnn
from xcnn import plots
from xcnn.errors import DataError, OptionError
from xcnn.layers import Conv2D, Dense, Flatten

RNG = np.random.default_rng(0)
LONG = ("a handbag with a very long name, 001", "a northern spotted owl, far away")


def texts(figure):
    """Everything that is written in a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def boxes(figure, wanted):
    """Where the texts that are `wanted` stand, in pixels."""
    renderer = figure.canvas.get_renderer()
    found = [text for text in figure.findobj(matplotlib.text.Text) if wanted(text)]
    return [text.get_window_extent(renderer) for text in found]


def drawn(figure):
    FigureCanvasAgg(figure).draw()
    return figure


def overlapping(found):
    return [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a.overlaps(b)]


@pytest.fixture
def model():
    return xcnn.Model([Conv2D(4, 3), Flatten(), Dense(30), Dense(3)], (1, 8, 8), backend="numpy")


@pytest.mark.parametrize("draw", [plots.predictions, plots.misclassified])
def test_images_are_not_drawn_with_probabilities_that_are_nan(draw):
    p = np.full((4, 2), 0.5)
    p[2] = np.nan
    with pytest.raises(DataError, match="of 4 rows of proba 1 hold NaN or infinity"):
        draw(RNG.random((4, 1, 8, 8)), [0, 1, 0, 1], p)
    with pytest.raises(OptionError, match="most is 0; needed an integer of at least 1"):
        draw(RNG.random((4, 1, 8, 8)), [0, 1, 0, 1], np.full((4, 2), 0.5), most=0)
    with pytest.raises(DataError, match=r"y_true has shape .* and dtype <U1; needed classes"):
        draw(RNG.random((2, 1, 8, 8)), ["a", "b"], np.full((2, 2), 0.5))


@pytest.mark.parametrize("value", ["x", (0.5, "low", 0.6), None])
def test_what_is_no_interval_is_refused(value):
    with pytest.raises(DataError, match=r"intervals: 'a' is .*; needed \(estimate, low, high\)"):
        plots.intervals({"a": value})


def test_no_kernel_and_no_map_is_refused(model):
    with pytest.raises(OptionError, match="kernels: most is 0"):
        plots.kernels(model, most=0)
    with pytest.raises(OptionError, match="feature_maps: most is 0"):
        plots.feature_maps(model, RNG.random((1, 8, 8)), most=0)


def test_weights_that_are_nan_are_told(model):
    w = np.array(model.layers[0].w.value)
    w[1] = np.nan
    model.layers[0].w.value = w
    figure = drawn(plots.kernels(model))
    assert figure.get_suptitle().endswith("9 of 36 weights NaN or infinite")
    assert all(image.norm.vmax > 0 for axes in figure.axes for image in axes.images)
    maps = drawn(plots.feature_maps(model, RNG.random((1, 8, 8), np.float32)))
    assert sum(text.endswith("NaN or infinite") for text in texts(maps)) == 3


def test_features_are_numbered_by_integers(model):
    figure = drawn(plots.feature_maps(model, RNG.random((1, 8, 8), np.float32)))
    ticks = [tick.get_text() for tick in figure.axes[-2].get_xticklabels()]
    assert len(ticks) > 4
    assert all(tick.lstrip("\u2212").isdigit() for tick in ticks)


def test_the_best_epoch_is_none_that_came_to_nan():
    history = {"loss": [1.0, 0.5, 0.4], "val_loss": [np.nan, 0.6, 0.7]}
    history |= {"accuracy": [0.1, 0.5, 0.6], "val_accuracy": [np.nan] * 3}
    loss, accuracy = plots.learning_curves(history).axes
    assert loss.get_title(loc="right") == "best in validation: 0.6, epoch 2"
    assert accuracy.get_title(loc="right") == ""


@pytest.mark.parametrize("n", [20, 25, 30, 47, 48])
@pytest.mark.parametrize("letters", [2, 5, 8, 12])
def test_settings_of_a_heat_map_do_not_overlap(n, letters):
    names = [f"{i:0{letters}d}" for i in range(n)]
    figure = drawn(plots.heat_map(RNG.random((n, n)), range(n), names, row_name="a", column_name="b"))
    renderer = figure.canvas.get_renderer()
    labels = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert len(labels) <= 24
    if labels[0].get_rotation() == 0:
        assert not overlapping([label.get_window_extent(renderer) for label in labels])
    assert not overlapping([label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()])


@pytest.mark.parametrize("count", [3, 20])
def test_titles_of_predictions_do_not_overlap(count):
    y, p = np.arange(count) % 2, np.tile([[0.98, 0.02]], (count, 1))
    figure = drawn(plots.predictions(RNG.random((count, 1, 8, 8)), y, p, LONG))
    assert any("…" in text for text in texts(figure))
    assert not overlapping(boxes(figure, lambda text: "%" in text.get_text() or "true" in text.get_text()))


@pytest.mark.parametrize("names", [LONG[:1], LONG])
def test_a_matrix_with_long_names_keeps_its_cells(names):
    y = np.arange(30) % len(names)
    figure = drawn(plots.confusion_matrix(y, y, names))
    cells = figure.axes[0].get_window_extent()
    assert cells.width / figure.dpi > 0.8 * len(names)  # inches
    assert set(names) <= set(texts(figure))


def test_a_column_of_probabilities_is_decided_at_one_half():
    figure = plots.confusion_matrix([0, 1, 1, 0], np.array([[0.2], [0.7], [0.4], [0.1]]))
    assert figure.axes[0].get_title(loc="left") == "3 of 4 right (75.0 %)"


def test_names_of_classes_may_be_an_array():
    data = xcnn.data.DataSet(
        "pets", *[xcnn.data.Split(np.zeros((2, 1, 2, 2)), np.array([0, 1]))] * 2, ("a", "b")
    )
    figure = plots.class_distribution(data, np.array(["cat", "dog"]))
    assert {"cat", "dog"} <= set(texts(figure))


def test_a_hundred_runs_are_all_named_inside_the_figure():
    figure = drawn(plots.compare({f"run {i}": {"loss": RNG.random(3)} for i in range(100)}))
    box = figure.axes[0].get_legend().get_window_extent()
    assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert box.x1 <= figure.bbox.x1
