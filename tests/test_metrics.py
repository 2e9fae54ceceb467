"""Metrics, and the interval of a proportion."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import SHAPE, plain, stripes
from tests.ops.checks import says
from xcnn import metrics
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError
from xcnn.layers import Dense, Flatten, Sigmoid, Softmax

Z = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [1.0, 2.0, 0.0], [7.0, 8.0, 9.0]])
X, Y = stripes()


@pytest.mark.parametrize("labels", [[0, 1, 0, 2], np.eye(3)[[0, 1, 0, 2]]])
def test_accuracy_counts_the_largest_output(labels, backend):
    assert float(metrics.accuracy(backend.asarray(Z), backend.asarray(labels))) == 0.75


def test_accuracy_of_one_logit_is_its_sign(backend):
    z = backend.asarray([[2.0], [-1.0], [0.5], [-3.0]])
    for labels in ([1, 0, 0, 1], [[1], [0], [0], [1]], [1.0, 0.0, 0.0, 1.0]):
        assert float(metrics.accuracy(z, backend.asarray(labels))) == 0.5
    assert float(metrics.accuracy(backend.asarray([2.0, -1.0]), backend.asarray([1, 1]))) == 0.5


def test_accuracy_of_images_counts_their_pixels(backend):
    z = backend.asarray([[[[2.0, -1.0], [0.5, -3.0]]]])
    for labels in ([[[[1, 0], [0, 0]]]], [[[[0.9, 0.2], [0.5, 0.0]]]]):
        assert float(metrics.accuracy(z, backend.asarray(labels))) == 0.75


def test_top5_accuracy_counts_the_five_largest(backend):
    z = backend.asarray(np.tile(np.arange(10.0), (10, 1)))
    assert float(metrics.top5_accuracy(z, backend.asarray(np.arange(10)))) == 0.5
    assert float(metrics.top5_accuracy(z, backend.asarray(np.eye(10)))) == 0.5
    assert float(metrics.top5_accuracy(backend.asarray(Z), backend.asarray([0, 1, 0, 2]))) == 1


def test_mean_absolute_error_has_the_unit_of_the_target(backend):
    y = backend.asarray([[1.0], [2.0]])
    for target in ([[0.0], [4.0]], [0, 4]):
        assert float(metrics.mean_absolute_error(y, backend.asarray(target))) == 1.5


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # R: binom::binom.wilson
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_interval_is_the_published_one(successes, trials, low, high):
    """Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3."""
    got = metrics.wilson_interval(successes, trials)
    assert got == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert 0 <= got[0] <= successes / trials <= got[1] <= 1


def test_a_wider_interval_for_more_confidence():
    low, high = metrics.wilson_interval(50, 100, z=2.5758)
    assert low < metrics.wilson_interval(50, 100)[0]
    assert high > metrics.wilson_interval(50, 100)[1]


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_an_impossible_proportion_is_refused(successes, trials):
    with pytest.raises(OptionError, match=says("wilson_interval", f"{successes} successes of {trials}")):
        metrics.wilson_interval(successes, trials)


# Names


def test_accuracy_is_reported_for_classes_and_nothing_for_numbers():
    assert list(metrics.get(None)) == ["accuracy"]
    assert metrics.get(None, classifies=False) == {}
    assert set(plain().evaluate(X, Y)) == {"loss", "accuracy"}
    assert set(plain().evaluate(X, np.eye(3)[Y], loss="mse")) == {"loss"}


def test_metrics_come_as_names_functions_or_a_dict():
    def error_rate(z, labels):
        return 1 - metrics.accuracy(z, labels)

    for given in (["accuracy", error_rate], {"accuracy": metrics.accuracy, "error_rate": error_rate}):
        found = plain().evaluate(X, Y, metrics=given)
        assert found["error_rate"] == pytest.approx(1 - found["accuracy"])
    assert list(metrics.get("top5_accuracy")) == ["top5_accuracy"]
    assert list(metrics.get(error_rate)) == ["error_rate"]
    assert metrics.get([]) == {}


def test_the_metrics_here_are_means_over_images_and_a_function_must_say_so():
    def error_rate(z, labels):
        return 1 - metrics.accuracy(z, labels)

    found = metrics.get([*metrics.NAMES, error_rate], threshold=0.5)
    assert [getattr(metric, "per_image", False) for metric in found.values()] == [True] * 3 + [False]
    assert metrics.get(metrics.per_image(error_rate))["error_rate"].per_image


@pytest.mark.parametrize("name", list(metrics.NAMES))
def test_a_metric_of_two_batches_is_the_mean_over_their_images(name, backend):
    metric, labels = metrics.NAMES[name], np.eye(3)[[0, 1, 0, 2]]
    z, y = backend.asarray(Z), backend.asarray(labels)
    parts = float(metric(z[:1, :], y[:1, :])) + 3 * float(metric(z[1:, :], y[1:, :]))
    assert float(metric(z, y)) == pytest.approx(parts / 4)


def test_an_unknown_metric_is_refused_with_a_suggestion():
    with pytest.raises(OptionError, match=says("unknown metric 'acuracy'; did you mean 'accuracy'?")):
        plain().fit(X, Y, metrics=["acuracy"])
    with pytest.raises(OptionError, match=says("unknown metric 5")):
        metrics.get([5])


# What a model's ending means for a metric


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse"])
@pytest.mark.parametrize("ending", [(), (Softmax,), (Sigmoid,)], ids=["none", "softmax", "sigmoid"])
def test_accuracy_is_that_of_the_predicted_classes(ending, loss, backend):
    model = xcnn.Model([Flatten(), Dense(3), *[kind() for kind in ending]], SHAPE, backend=backend)
    labels = Y if loss == "cross_entropy" else np.eye(3)[Y]
    want = (model.predict_classes(X) == Y).mean()
    assert 0 < want < 1
    options = {"loss": loss, "metrics": ["accuracy"]}
    assert model.evaluate(X, labels, **options)["accuracy"] == pytest.approx(want)
    history = model.fit(X, labels, batch_size=48, optimizer=xcnn.optim.SGD(0.0), **options)
    assert history["accuracy"] == [pytest.approx(want)]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
@pytest.mark.parametrize("ending", [(), (Sigmoid,)], ids=["none", "sigmoid"])
def test_accuracy_of_one_output_is_that_of_the_predicted_classes(ending, loss, backend):
    model = xcnn.Model([Flatten(), Dense(1), *[kind() for kind in ending]], SHAPE, backend=backend)
    xcnn.Trainer(model, loss=loss)
    labels = (Y > 0).astype("int64")
    want = (model.predict_classes(X) == labels).mean()
    assert 0 < want < 1
    options = {"loss": loss, "metrics": ["accuracy"]}
    assert model.evaluate(X, labels, **options)["accuracy"] == pytest.approx(want)
    history = model.fit(X, labels, batch_size=48, optimizer=xcnn.optim.SGD(0.0), **options)
    assert history["accuracy"] == [pytest.approx(want)]


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.top5_accuracy, metrics.mean_absolute_error])
def test_outputs_and_labels_that_do_not_go_together_are_refused(metric):
    z = np.ones((3, 2))
    for labels, kind in (
        (np.zeros(4, int), ShapeError),
        (np.zeros((3, 2, 2)), ShapeError),
        (np.zeros(3, "complex64"), DTypeError),
        (np.zeros(3, object), DTypeError),
        ([0, 1, 0], DTypeError),
        (None, DTypeError),
    ):
        with pytest.raises(kind, match=metric.__name__):
            metric(z, labels)
    for outputs in (np.ones((0, 2)), np.ones((3, 2), int), [[1.0, 2.0]] * 3):
        with pytest.raises(xcnn.Error, match=metric.__name__):
            metric(outputs, np.zeros(3, int))


@pytest.mark.parametrize("label", [-1, 6])
def test_top5_accuracy_refuses_labels_out_of_range(label):
    with pytest.raises(DataError, match=says("top5_accuracy", "needed 0 to 5")):
        metrics.top5_accuracy(np.ones((2, 6)), np.asarray([0, label]))


def test_mean_absolute_error_takes_classes_as_the_loss_does():
    z, labels = np.asarray([[0.5, 1.0], [2.0, 0.0]]), np.asarray([1, 0])
    assert metrics.mean_absolute_error(z, labels) == xcnn.ops.mae(z, labels)[0] == 0.375


@pytest.mark.parametrize(
    ("outputs", "labels"), [((4, 1, 3, 3), (4, 3, 3)), ((4, 2, 3), (4, 6)), ((4, 1), (4,)), ((4,), (4, 1))]
)
def test_labels_as_many_as_the_outputs_may_be_of_another_shape(outputs, labels):
    y = np.arange(float(np.prod(outputs))) % 2
    z = y.reshape(outputs)
    assert metrics.accuracy(z, y.reshape(labels), threshold=0.5) == 1
    assert metrics.mean_absolute_error(z, y.reshape(labels).astype("float32")) == 0
