"""Figures of measures: grids, runs, blocks, intervals, reliability, classes."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from xcnn import plots
from xcnn.calibration import expected_calibration_error
from xcnn.errors import DataError, FileError
from xcnn.metrics import wilson_interval
from xcnn.training import History

RNG = np.random.default_rng(0)


def texts(figure):
    """Everything that is written in a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


# Heat maps.


def cells(axes):
    """What is written in each cell."""
    return {text.get_position()[::-1]: text for text in axes.texts if text.get_ha() == "center"}


GRID = {"row_name": "rate", "column_name": "penalty"}


def test_heat_map_writes_each_value_into_its_cell():
    values = np.array([[0.5, 0.9123, 0.7], [0.25, np.nan, 0.6]])
    figure = plots.heat_map(values, [0.1, 1e-5], ["a", "b", 3], **GRID, title="Grid")
    axes = figure.axes[0]
    found = {place: text.get_text() for place, text in cells(axes).items()}
    assert found == {(0, 0): "0.500", (0, 1): "0.912", (0, 2): "0.700", (1, 0): "0.250", (1, 2): "0.600"}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "3"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.1", "1e-05"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("penalty", "rate", "Grid")


def test_heat_map_marks_the_best_cell_and_hatches_missing_ones():
    values = np.array([[0.5, 0.9], [np.nan, -np.inf]])
    axes = plots.heat_map(values, "ab", "cd", **GRID).axes[0]
    hatched = [p.get_xy() for p in axes.patches if p.get_hatch()]
    framed = [p.get_xy() for p in axes.patches if not p.get_fill()]
    assert hatched == [(-0.5, 0.5), (0.5, 0.5)]
    assert framed == [(0.5, -0.5)]
    assert cells(axes)[0, 1].get_fontweight() == "bold"
    assert "best: 0.900 at rate a, penalty d" in texts(axes.figure)


@pytest.mark.parametrize(
    ("measure", "told"),
    [
        ("val_accuracy", "best: 90.0 % at rate a, penalty d"),
        ("loss", "best: 0.500 at rate a, penalty c"),
        ("mean_absolute_error", "best: 0.500 at rate a, penalty c"),
        ("f1", "best: 0.900 at rate a, penalty d"),
    ],
)
def test_measure_says_what_is_best(measure, told):
    assert told in texts(plots.heat_map([[0.5, 0.9]], "a", "cd", **GRID, measure=measure))


def test_darker_is_better():
    for measure, best in (("accuracy", 1), ("loss", 0)):
        shown = plots.heat_map([[0.2, 0.9]], "a", "cd", **GRID, measure=measure).axes[0].images[0]
        brightness = [sum(shown.to_rgba(value)[:3]) for value in shown.get_array()[0]]
        assert int(np.argmin(brightness)) == best


def test_losses_over_decades_are_coloured_by_their_logarithm():
    figure = plots.heat_map([[0.01, 0.1, 100.0]], "a", "bcd", **GRID, measure="loss")
    assert isinstance(figure.axes[0].images[0].norm, matplotlib.colors.LogNorm)
    assert {"0.01", "0.1", "100"} <= set(texts(figure))


def test_one_cell_many_cells_and_equal_cells_are_drawn(tmp_path):
    assert len(plots.heat_map([[1.0]], [1], [1], **GRID).axes) == 1  # no scale of colours for one value
    equal = plots.heat_map(np.zeros((3, 3)), range(3), range(3), **GRID, path=tmp_path / "equal.png")
    assert len(cells(equal.axes[0])) == 9
    many = plots.heat_map(RNG.random((40, 30)), range(40), range(30), **GRID)
    assert not cells(many.axes[0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 3)), r"heat_map: values have shape \(2, 3\), 6 of them finite; needed \(2, 2\)"),
        (np.full((2, 2), np.nan), "0 of them finite; .* a finite one among them"),
    ],
)
def test_values_that_do_not_fit_the_grid_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        plots.heat_map(values, "ab", "cd", **GRID)


# Runs.


def test_runs_are_compared_in_one_panel_told_apart_without_colour():
    runs = {f"run {i}": {"loss": RNG.random(5)} for i in range(9)}
    (axes,) = plots.compare(runs).axes
    for line, (name, run) in zip(axes.lines, runs.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_ydata(), run["loss"])
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    looks = {(line.get_color(), str(line._dash_pattern)) for line in axes.lines}
    assert len(looks) == 9
    assert len({str(line._dash_pattern) for line in axes.lines[:7]}) == 7
    assert axes.get_title(loc="left") == "Loss"


def test_runs_stand_beside_one_another_on_one_scale():
    runs = {"sigmoid": {"val_accuracy": [0.5, 0.9]}, "softmax": {"val_accuracy": [0.7, 0.8, 0.95]}}
    figure = plots.compare(runs, "val_accuracy", beside=True)
    left, right = figure.axes
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("sigmoid", "softmax")
    assert left.get_ylim() == right.get_ylim()
    assert left.get_xlim() == right.get_xlim()
    assert figure.get_suptitle() == "Accuracy in validation"
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [0.7, 0.8, 0.95])


def test_a_run_that_came_to_nan_is_marked_where():
    (axes,) = plots.compare({"good": {"loss": [1.0, 0.5]}, "bad": {"loss": [0.9, np.nan, np.nan]}}).axes
    assert [line.get_label() for line in axes.lines[:2]] == ["good", "bad (to NaN)"]
    cross = axes.lines[2]
    assert (cross.get_marker(), cross.get_xdata()[0], cross.get_ydata()[0]) == ("X", 1, 0.9)


@pytest.mark.parametrize("runs", [{}, {"a": {"loss": [1.0]}, "b": {}}])
def test_runs_without_the_measure_are_refused(runs):
    with pytest.raises(DataError, match=r"compare: (there are no runs|the run 'b' has no 'loss'); needed"):
        plots.compare(runs)


def test_blocks_are_drawn_over_the_samples_seen():
    history = History()
    history.blocks += [2.0, 1.0, 0.5]
    figure = plots.blocks({"A": history, "B": [3.0, 2.5]}, 100)
    a, b = figure.axes
    np.testing.assert_array_equal(a.lines[0].get_xdata(), [100, 200, 300])
    np.testing.assert_array_equal(a.lines[0].get_ydata(), [2.0, 1.0, 0.5])
    assert (a.get_title(loc="left"), b.get_title(loc="left")) == ("A", "B")
    assert a.get_ylim() == b.get_ylim()
    assert figure.get_suptitle() == "Training loss per block of 100 samples"


def test_many_blocks_have_a_moving_mean():
    losses = RNG.random(60) + 1
    (axes,) = plots.blocks({"A": losses}).axes
    mean = axes.lines[1]
    assert mean.get_ydata()[7] == pytest.approx(losses[7:17].mean())
    assert mean.get_xdata()[7] == pytest.approx(np.mean(250 * np.arange(8, 18)))


@pytest.mark.parametrize("count", [1, 4, 5, 7])
def test_every_run_has_a_panel_and_no_other_is_seen(count):
    figure = plots.blocks({f"run {i}": [1.0, 0.5] for i in range(count)})
    assert sum(axes.get_visible() for axes in figure.axes) == count
    beside = plots.compare({f"run {i}": {"loss": [1.0]} for i in range(count)}, beside=True)
    assert sum(axes.get_visible() for axes in beside.axes) == count


def test_a_run_without_blocks_is_refused():
    with pytest.raises(DataError, match=r"blocks: the run 'A' has no blocks; .*BlockLoss\(250\)"):
        plots.blocks({"A": History()})


# Intervals.


def test_intervals_are_drawn_and_written_beside_what_was_reported():
    ours = {"net": (0.984, 0.977, 0.989), "forest": (0.97, 0.96, 0.978)}
    figure = plots.intervals(ours, reported={"net": (0.96, 0.949, 0.969), "svm": 0.985})
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["net", "forest", "svm"]
    here, reported = axes.lines[0], next(line for line in axes.lines if line.get_label() == "reported")
    np.testing.assert_allclose(here.get_xdata(), [98.4, 97.0])
    np.testing.assert_allclose(reported.get_xdata(), [96.0, 98.5])
    assert (here.get_marker(), reported.get_marker()) == ("o", "D")
    bars = axes.collections[0].get_segments()
    np.testing.assert_allclose(bars[0][:, 0], [97.7, 98.9])
    written = texts(figure)
    for text in ("98.40 %  (97.70 to 98.90)", "96.00 %  (94.90 to 96.90)", "98.50 %"):
        assert text in written
    assert written.count("-") == 2  # no forest reported, no svm here


def test_intervals_of_other_measures_are_no_percentages():
    assert "0.250  (0.200 to 0.300)" in texts(plots.intervals({"net": (0.25, 0.2, 0.3)}, measure="loss"))


@pytest.mark.parametrize("value", [(0.5, 0.6, 0.7), (0.5, 0.4), (0.5, np.nan, 0.6)])
def test_an_estimate_outside_its_interval_is_refused(value):
    with pytest.raises(DataError, match=r"intervals: 'net' is .* needed .*low <= estimate <= high"):
        plots.intervals({"net": value})
    with pytest.raises(DataError, match="intervals: there are no estimates"):
        plots.intervals({})


# Reliability.


def test_reliability_draws_accuracy_against_confidence():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    figure = plots.reliability([0, 1, 1, 1], p, bins=5)
    above, below = figure.axes
    points = above.lines[1]
    np.testing.assert_allclose(points.get_xdata(), [0.6, 0.8, 0.9])
    np.testing.assert_allclose(points.get_ydata(), [1.0, 1.0, 0.5])
    assert [bar.get_height() for bar in below.patches] == [0, 0, 1, 1, 2]
    assert above.get_legend().get_texts()[0].get_text() == "ECE 35.00 %"
    assert above.get_title(loc="left") == "accuracy 75.00 %, mean confidence 80.00 %"


def test_reliability_shows_how_sure_an_accuracy_is():
    figure = plots.reliability(np.arange(40) % 2, np.full((40, 2), [0.7, 0.3]), bins=10)
    bar = figure.axes[0].collections[0].get_segments()[0]
    np.testing.assert_allclose(bar[:, 1], wilson_interval(20, 40))


def test_several_models_are_told_apart_with_their_errors():
    p = RNG.dirichlet(np.ones(4), 200)
    y = np.arange(200) % 4
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    legend = plots.reliability(y, {"before": sharp, "after": p}).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        f"{name}: ECE {100 * expected_calibration_error(y, a):.2f} %"
        for name, a in (("before", sharp), ("after", p))
    ]


# Classes.


def test_classes_of_labels_and_of_parts_are_counted():
    figure = plots.class_distribution([0, 2, 2], ["cat", "dog", "cow"])
    assert [bar.get_height() for bar in figure.axes[0].patches] == [1, 0, 2]
    parts = plots.class_distribution({"train": [0, 1, 1], "validation": [0], "test": np.eye(2)[[1, 1]]})
    assert [bar.get_height() for bar in parts.axes[0].patches] == [1, 2, 1, 0, 0, 2]
    legend = [text.get_text() for text in parts.axes[0].get_legend().get_texts()]
    assert legend == ["train (3 images)", "validation (1 images)", "test (2 images)"]


def test_a_hundred_classes_are_named_at_intervals():
    figure = plots.class_distribution(np.arange(100), [f"fish {i}" for i in range(100)])
    names = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert names == [f"fish {i}" for i in range(0, 100, 4)]


def test_no_labels_are_refused():
    with pytest.raises(DataError, match="class_distribution: there are no labels"):
        plots.class_distribution({})


DRAWN = {
    "heat_map": lambda path: plots.heat_map([[1.0, 2.0]], "a", "bc", **GRID, path=path),
    "compare": lambda path: plots.compare({"a": {"loss": [1.0, 0.5]}}, path=path),
    "blocks": lambda path: plots.blocks({"a": [1.0, 0.5]}, path=path),
    "intervals": lambda path: plots.intervals({"a": (0.5, 0.4, 0.6)}, path=path),
    "reliability": lambda path: plots.reliability([0, 1], [0.2, 0.7], path=path),
    "class_distribution": lambda path: plots.class_distribution([0, 1], path=path),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figure_is_saved_or_says_why_not(name, tmp_path):
    figure = DRAWN[name](tmp_path / "new" / "figure.png")
    assert isinstance(figure, matplotlib.figure.Figure)
    assert (tmp_path / "new" / "figure.png").stat().st_size > 5000
    with pytest.raises(FileError, match="the figure cannot be written"):
        DRAWN[name](tmp_path / "figure.nonsense")
