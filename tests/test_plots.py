"""Figures: what they show, that they can be saved, and what they refuse."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import xcnn
from xcnn import plots
from xcnn.data import DataSet, Split
from xcnn.errors import DataError, FileError, OptionError
from xcnn.layers import Conv2D, Dense, Flatten, Sequential
from xcnn.training import History

RNG = np.random.default_rng(0)
HISTORY = {
    "loss": [2.0, 0.5, 0.1],
    "accuracy": [0.3, 0.8, 0.9],
    "learning_rate": [0.1, 0.1, 0.1],
    "val_loss": [1.5, 0.4, 0.5],
    "val_accuracy": [0.4, 0.9, 0.85],
}


def texts(figure):
    """Everything that is written in a figure."""
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()}


@pytest.fixture(scope="module")
def model():
    return xcnn.Model(
        [Conv2D(5, 3, name="first"), Conv2D(4, 3), Flatten(), Dense(10)], (1, 8, 8), backend="numpy"
    )


def draw_everything(model, folder):
    y, p = np.arange(30) % 10, RNG.dirichlet(np.ones(10), 30)
    x = RNG.random((30, 1, 8, 8))
    part = Split(x, y)
    return {
        "curves.png": plots.learning_curves(HISTORY, path=folder / "curves.png"),
        "matrix.png": plots.confusion_matrix(y, p, path=folder / "matrix.png"),
        "predictions.png": plots.predictions(x, y, p, path=folder / "predictions.png"),
        "kernels.png": plots.kernels(model, path=folder / "kernels.png"),
        "classes.png": plots.class_distribution(
            DataSet("noise", part, part, tuple("0123456789")), path=folder / "classes.png"
        ),
    }


def test_every_figure_is_returned_and_saved(model, tmp_path):
    figures = draw_everything(model, tmp_path / "new")
    for name, figure in figures.items():
        assert isinstance(figure, Figure)
        with Image.open(tmp_path / "new" / name) as image:
            assert min(image.size) > 250
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 4  # not blank


def test_no_window_and_no_setting_of_matplotlib_is_left(model, tmp_path):
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend()
    draw_everything(model, tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend() == backend
    assert "matplotlib.pyplot" not in xcnn.plots.__dict__


def test_figures_are_imported_at_first_use():
    assert "plots" in xcnn.__all__
    assert xcnn.plots is plots


# Learning curves.


def test_curves_have_a_panel_for_each_measure_that_moved():
    figure = plots.learning_curves(HISTORY)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Loss", "Accuracy"]
    moved = plots.learning_curves(HISTORY | {"learning_rate": [0.1, 0.2, 0.1]})
    assert [axes.get_title(loc="left") for axes in moved.axes] == ["Loss", "Accuracy", "Learning rate"]


def test_curves_show_every_epoch_and_point_out_the_best():
    history = History()
    for epoch in range(3):
        history.record({name: values[epoch] for name, values in HISTORY.items()})
    loss, accuracy = plots.learning_curves(history).axes
    training, validation = loss.lines[:2]
    np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(training.get_ydata(), HISTORY["loss"])
    np.testing.assert_array_equal(validation.get_ydata(), HISTORY["val_loss"])
    assert loss.get_title(loc="right") == "best in validation: 0.4, epoch 2"
    assert accuracy.get_title(loc="right") == "best in validation: 90.0 %, epoch 2"


def test_a_loss_over_more_than_a_decade_is_logarithmic_and_says_so():
    (axes,) = plots.learning_curves({"loss": [5.0, 0.5, 0.01]}).axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "logarithmic"


def test_one_epoch_is_a_point():
    (axes,) = plots.learning_curves({"loss": [0.5]}).axes
    assert axes.lines[0].get_marker() == "o"


def test_an_interrupted_epoch_has_no_validation():
    loss = plots.learning_curves({"loss": [2.0, 1.0], "val_loss": [1.9]}).axes[0]
    assert [len(line.get_xdata()) for line in loss.lines[:2]] == [2, 1]


def test_an_empty_history_is_refused():
    with pytest.raises(DataError, match="learning_curves: the history is empty; needed at least one epoch"):
        plots.learning_curves({"loss": []})


# Confusion matrix.


def test_matrix_counts_rows_of_true_and_columns_of_predicted_classes():
    figure = plots.confusion_matrix([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], ["cat", "dog"])
    (axes,) = figure.axes
    cells = {text.get_position(): text.get_text() for text in axes.texts if text.get_text().isdigit()}
    assert cells[0, 0] == "2"
    assert cells[1, 0] == "1"  # column 1, row 0: a cat taken for a dog
    assert cells[1, 1] == "2"
    assert (0, 1) not in cells  # nothing: left blank
    assert axes.get_title(loc="left") == "4 of 5 right (80.0 %)"
    assert {"cat", "dog", "true class", "predicted class", "66.7", "100"} <= texts(figure)


def test_matrix_takes_probabilities_and_one_hot_rows():
    figure = plots.confusion_matrix(np.eye(3)[[0, 1, 2]], np.eye(3)[[0, 1, 1]] * 0.9)
    assert figure.axes[0].get_title(loc="left") == "2 of 3 right (66.7 %)"


def test_matrix_of_many_classes_has_no_numbers():
    y = np.arange(200) % 100
    assert not plots.confusion_matrix(y, y).axes[0].texts


def test_a_class_that_never_comes_has_no_recall():
    assert "-" in texts(plots.confusion_matrix([0, 0], [0, 0], ["a", "b"]))


@pytest.mark.parametrize(
    ("true", "predicted", "classes", "message"),
    [
        ([0, 1], [0], None, "y_true has 2 labels and y_pred 1; needed as many"),
        ([0, 2], [0, 1], ["a", "b"], "there are 2 names of classes and labels up to 2"),
        ([], [], None, "y_true has shape"),
        ([0.5, 1.0], [0, 1], None, "y_true has shape .* and dtype float64; needed classes"),
        ([-1, 1], [0, 1], None, "y_true has shape .* needed classes .* from 0 up"),
    ],
)
def test_labels_that_do_not_fit_are_refused(true, predicted, classes, message):
    with pytest.raises(DataError, match=message):
        plots.confusion_matrix(true, predicted, classes)


# Images.


def test_misclassified_images_come_first_the_surest_first():
    y = np.zeros(4, int)
    p = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
    figure = plots.predictions(RNG.random((4, 1, 8, 8)), y, p, ["cat", "dog"])
    assert [axes.get_title() for axes in figure.axes] == ["dog  80 %", "dog  70 %", "cat  60 %", "cat  90 %"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["true: cat", "true: cat", "", ""]
    assert figure.get_suptitle() == "Misclassified: all 2; right, the least sure first: 2"


@pytest.mark.parametrize(("most", "title"), [(1, "Misclassified: 1 of 2"), (9, "Misclassified: all 2")])
def test_title_says_how_many_are_wrong(most, title):
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    assert plots.predictions(RNG.random((2, 1, 8, 8)), [1, 0], p, most=most).get_suptitle() == title
    right = plots.predictions(RNG.random((2, 1, 8, 8)), [0, 1], p)
    assert right.get_suptitle() == "Right, the least sure first: 2"


@pytest.mark.parametrize("kind", ["float", "uint8", "one output", "colour", "all right"])
def test_images_of_every_kind_are_drawn(kind):
    x = RNG.random((9, 3 if kind == "colour" else 1, 8, 8))
    x = (255 * x).astype(np.uint8) if kind == "uint8" else x
    p = RNG.random(9) if kind == "one output" else RNG.dirichlet(np.ones(2), 9)
    y = p.argmax(axis=1) if kind == "all right" else np.arange(9) % 2
    figure = plots.predictions(x, y, p, most=6)
    assert sum(bool(axes.images) for axes in figure.axes) == 6


def test_arrays_of_another_backend_are_drawn(backend):
    x, y, p = RNG.random((4, 1, 8, 8)), np.array([0, 1, 0, 1]), RNG.dirichlet(np.ones(2), 4)
    plots.predictions(*(backend.asarray(a) for a in (x, y, p)))


def test_arrays_that_do_not_go_together_are_refused():
    with pytest.raises(
        DataError, match=r"predictions: images have shape \(3, 8, 8\), .* needed \(N, C, H, W\)"
    ):
        plots.predictions(RNG.random((3, 8, 8)), [0, 1, 0], np.ones((3, 2)))


def test_kernels_are_those_of_the_layer(model):
    figure = plots.kernels(model)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(shown[2], model.layers[0].w.value[2, 0])
    second = plots.kernels(model, model.layers[1])
    assert any("channel 0 of 5" in text for text in texts(second))
    assert any("3 of 5 kernels" in text for text in texts(plots.kernels(model, "first", most=3)))


def test_kernels_of_three_channels_are_coloured_and_found_inside():
    model = xcnn.Model([Sequential(Conv2D(2, 3)), Flatten(), Dense(2)], (3, 8, 8), backend="numpy")
    figure = plots.kernels(model)
    assert figure.axes[0].images[0].get_array().shape == (3, 3, 3)


def test_a_model_without_a_convolution_is_refused(model):
    flat = xcnn.Model([Flatten(), Dense(2)], (1, 8, 8), backend="numpy")
    with pytest.raises(OptionError, match=r"kernels: the model has no convolution$"):
        plots.kernels(flat)
    with pytest.raises(OptionError, match="kernels: the model has no convolution 'last'"):
        plots.kernels(model, "last")


def test_classes_are_counted():
    train, test = (
        Split(np.zeros((5, 1, 2, 2)), np.array([0, 0, 1, 1, 1])),
        Split(np.zeros((1, 1, 2, 2)), np.array([1])),
    )
    figure = plots.class_distribution(DataSet("pets", train, test, ("cat", "dog")))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [2, 3, 0, 1]
    assert {"train (5 images)", "test (1 images)", "Classes of pets", "images"} <= texts(figure)


@pytest.mark.parametrize("name", ["curves.nonsense", "file/curves.png"])
def test_a_figure_that_cannot_be_written_is_told(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"curves\..*: .*cannot be written: "):
        plots.learning_curves(HISTORY, path=tmp_path / name)
