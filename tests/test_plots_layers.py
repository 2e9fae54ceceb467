"""Figures of a model's inside: kernels, feature maps, histograms; and misclassified images."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

import xcnn
from xcnn import plots
from xcnn.errors import DataError, OptionError, ShapeError
from xcnn.layers import (
    BatchNorm2D,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    Identity,
    MaxPool2D,
    Sequential,
    Sum,
)

RNG = np.random.default_rng(0)


def texts(figure):
    """Everything that is written in a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def pictures(figure):
    """The arrays of all images but scales of colours."""
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


@pytest.fixture(scope="module")
def model():
    return xcnn.Model(
        [
            Conv2D(5, 3, activation="relu", name="first"),
            MaxPool2D(2),
            Sequential(Sum(Identity(), Conv2D(5, 3, padding="same"))),
            Flatten(),
            Dense(10, activation="softmax"),
        ],
        (1, 8, 8),
        backend="numpy",
    )


# Kernels.


@pytest.mark.parametrize("which", ["layers[2].layers[0].layers[1]", "the layer itself"])
def test_kernels_of_any_convolution_are_drawn(model, which):
    layer = model.layers[2][0][1]
    figure = plots.kernels(model, layer if which == "the layer itself" else which, channel=3)
    for found, kernel in zip(pictures(figure), layer.w.value[:, 3], strict=False):
        np.testing.assert_array_equal(found, kernel)
    assert "5 kernels of 3 x 3, channel 3 of 5: Conv2D (layers[2].layers[0].layers[1])" in texts(figure)


def test_kernels_are_chosen_by_the_index_in_the_summary(model):
    assert pictures(plots.kernels(model, 0))[0].tolist() == pictures(plots.kernels(model))[0].tolist()
    for layer in (1, 4, 9):
        with pytest.raises(OptionError, match=f"kernels: the model has no convolution {layer}"):
            plots.kernels(model, layer)
    with pytest.raises(OptionError, match="channel is 7; needed one of 5, from 0"):
        plots.kernels(model, model.layers[2][0][1], channel=7)


def test_kernels_of_a_transposed_convolution_belong_to_its_filters():
    model = xcnn.Model([ConvTranspose2D(6, 3, groups=2)], (4, 5, 5), backend="numpy")
    figure = plots.kernels(model, channel=1)
    w = model.layers[0].w.value  # (C, F / groups, KH, KW)
    found = pictures(figure)
    np.testing.assert_array_equal(found[0], w[1, 0])  # filter 0, of the first group, sees channels 0 and 1
    np.testing.assert_array_equal(found[4], w[3, 1])  # filter 4, of the second group, sees 2 and 3
    assert any(text.startswith("6 kernels of 3 x 3, channel 1 of 2") for text in texts(figure))


# Feature maps.


def test_feature_maps_are_the_outputs_of_each_layer(model):
    x = RNG.random((1, 8, 8), np.float32)
    figure = plots.feature_maps(model, x)
    shown = pictures(figure)
    np.testing.assert_allclose(shown[0], x[0])
    first, _ = model.layers[0].forward(model.accept(x[None]))
    pooled, _ = model.layers[1].forward(first)
    for j in range(5):
        np.testing.assert_allclose(shown[1 + j], first[0, j], atol=1e-6)
        np.testing.assert_allclose(shown[6 + j], pooled[0, j], atol=1e-6)
    bars = [patch.get_height() for patch in figure.axes[-1].patches]
    np.testing.assert_allclose(bars, model.predict(x[None])[0], atol=1e-6)
    labels = [text for text in texts(figure) if "layers[" in text]
    assert [label.split("\n")[:2] for label in labels] == [
        ["first + ReLU", "layers[0]"],
        ["MaxPool2D", "layers[1]"],
        ["Conv2D", "layers[2].layers[0].layers[1]"],
        ["Sum", "layers[2].layers[0]"],
        ["Dense + Softmax", "layers[4]"],
    ]


def test_feature_maps_of_chosen_layers(model):
    x = RNG.random((1, 1, 8, 8), np.float32)
    chosen = plots.feature_maps(model, x, layers=[0, "layers[2].layers[0]", "first"], most=3)
    labels = [text for text in texts(chosen) if "layers[" in text]
    assert [label.split("\n")[1] for label in labels] == ["layers[0]", "layers[2].layers[0]"]
    assert len(pictures(chosen)) == 1 + 3 + 3
    assert "5 x 6 x 6, 3 shown" in labels[0]
    with pytest.raises(OptionError, match=r"feature_maps: the model has no layer 'layers\[9\]' to draw"):
        plots.feature_maps(model, x, layers=["layers[9]"])


def test_a_channel_of_zeros_is_told(model):
    quiet = model.copy()
    b = np.array(quiet.layers[0].b.value)
    b[2] = -100
    quiet.layers[0].b.value = b
    assert texts(plots.feature_maps(quiet, np.ones((1, 8, 8), np.float32), layers=[0])).count("0") >= 1


@pytest.mark.parametrize("kind", ["bytes", "signed", "features"])
def test_feature_maps_of_every_kind_of_input(kind):
    shape = (5,) if kind == "features" else (3, 8, 8)
    layers = [Dense(30, activation="tanh"), Dense(3)]
    if kind != "features":
        layers = [
            Conv2D(12, 3),
            Gate(Sequential(GlobalAvgPool2D(), Dense(12, activation="sigmoid"))),
            Flatten(),
            *layers,
        ]
    model = xcnn.Model(layers, shape, backend="numpy")
    x = RNG.normal(size=shape).astype(np.float32)
    x = RNG.integers(0, 256, shape).astype(np.uint8) if kind == "bytes" else x
    figure = plots.feature_maps(model, x)
    if kind == "bytes":
        np.testing.assert_allclose(figure.axes[0].images[0].get_array(), np.moveaxis(x, 0, -1) / 255)


def test_feature_maps_on_every_backend_and_of_a_compiled_model(backend):
    model = xcnn.Model(
        [Conv2D(4, 3, activation="relu"), BatchNorm2D(), Flatten(), Dense(2)], (1, 6, 6), backend=backend
    )
    figure = plots.feature_maps(model, RNG.random((1, 6, 6), np.float32))
    assert len(pictures(figure)) == 1 + 4 + 4


def test_more_than_one_image_is_refused(model):
    with pytest.raises(
        DataError, match=r"feature_maps: x has shape \(2, 1, 8, 8\); needed one image \(1, 8, 8\)"
    ):
        plots.feature_maps(model, np.zeros((2, 1, 8, 8), np.float32))
    with pytest.raises(ShapeError):
        plots.feature_maps(model, np.zeros((1, 9, 9), np.float32))


# Histograms.


def counted(axes):
    return axes.patches[0].get_data().values.sum()


def test_each_parameter_has_a_panel(model):
    figure = plots.histograms(model)
    panels = [axes for axes in figure.axes if axes.patches]
    assert [axes.get_title(loc="left") for axes in panels] == list(model.parameters())
    assert [counted(axes) for axes in panels] == [p.size for p in model.parameters().values()]
    w = model.layers[0].w.value
    assert f"{w.mean():.2g} ± {w.std():.2g}, 45 values" in texts(figure)


def test_each_layer_has_a_panel_with_inputs_and_zeros_are_counted(model):
    x = RNG.random((7, 1, 8, 8), np.float32)
    figure = plots.histograms(model, x)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.patches}
    y, _ = model.layers[0].forward(x)
    assert counted(panels["layers[0]: ReLU"]) == np.count_nonzero(y)
    zero = 100 * np.mean(y == 0)
    assert f"{y.mean():.2g} ± {y.std():.2g}, {zero:.0f} % zero" in texts(figure)
    assert list(panels)[-1] == "layers[4]: Softmax"


def test_values_that_are_not_finite_are_counted_apart():
    model = xcnn.Model([Flatten(), Dense(2)], (1, 2, 2), backend="numpy")
    model.layers[1].w.value = np.array([[np.nan, 1, 2, 3], [np.inf, 4, 5, 6]], np.float32)
    figure = plots.histograms(model)
    assert counted(figure.axes[0]) == 6
    assert "3.5 ± 1.7, 8 values, 2 NaN or infinite" in texts(figure)


def test_a_model_without_parameters_is_refused_without_inputs():
    model = xcnn.Model([MaxPool2D(2), Flatten()], (1, 4, 4), backend="numpy")
    with pytest.raises(DataError, match="histograms: the model has no parameters"):
        plots.histograms(model)
    assert plots.histograms(model, RNG.random((3, 1, 4, 4))).axes


# Misclassified images.


def test_misclassified_images_stand_beside_their_likeliest_classes():
    p = np.array([[0.5, 0.3, 0.15, 0.05], [0.1, 0.6, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1], [0.05, 0.0, 0.9, 0.05]])
    y = [3, 1, 1, 2]
    x = RNG.random((4, 1, 8, 8))
    figure = plots.misclassified(x, y, p, ["cat", "dog", "cow", "owl"])
    assert figure.get_suptitle() == "2 of 4 images misclassified (50.0 %)"
    shown = pictures(figure)
    np.testing.assert_array_equal(shown[0], x[2, 0])  # the surest mistake
    np.testing.assert_array_equal(shown[1], x[0, 0])
    first, second = [axes for axes in figure.axes if axes.patches]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["cat", "dog", "cow"]
    assert [bar.get_width() for bar in first.patches] == [0.7, 0.1, 0.1]
    assert [tick.get_text() for tick in second.get_yticklabels()] == [
        "cat",
        "dog",
        "cow",
        "owl",
    ]  # and the true one
    assert [text.get_text() for text in second.texts] == ["50 %", "30 %", "15 %", "5 %"]
    assert [tick.get_fontweight() for tick in second.get_yticklabels()] == ["normal"] * 3 + ["bold"]


def test_misclassified_says_how_many_are_shown_and_when_there_are_none():
    p = np.full((9, 2), [0.6, 0.4])
    x = RNG.random((9, 3, 8, 8))
    few = plots.misclassified(x, np.ones(9, int), p, most=4)
    assert few.get_suptitle() == "9 of 9 images misclassified (100.0 %); the 4 surest"
    assert len(pictures(few)) == 4
    none = plots.misclassified(x, np.zeros(9, int), p)
    assert "every image is right" in texts(none)
    assert none.get_suptitle() == "0 of 9 images misclassified (0.0 %)"


def test_small_probabilities_are_not_written_as_zero():
    p = np.array([[0.99995, 0.00005, 0.0], [0.998, 0.002, 0.0]])
    figure = plots.misclassified(RNG.random((2, 1, 4, 4)), [1, 1], p)
    assert {"99.9 %", "< 0.01 %", "0 %", "99.8 %", "0.2 %"} <= set(texts(figure))


def test_a_class_without_a_probability_can_be_true():
    figure = plots.misclassified(RNG.random((1, 1, 4, 4)), [5], [[0.9, 0.1]])
    assert [bar.get_width() for axes in figure.axes for bar in axes.patches] == [0.9, 0.1, 0.0]


def test_misclassified_refuses_what_does_not_go_together():
    with pytest.raises(DataError, match=r"misclassified: images have shape \(3, 8, 8\)"):
        plots.misclassified(RNG.random((3, 8, 8)), [0, 1, 0], np.ones((3, 2)))
