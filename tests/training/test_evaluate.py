"""Loss and metrics over data."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import SHAPE, full, plain, stripes
from tests.ops.checks import says
from xcnn.errors import DataError, OptionError, ShapeError
from xcnn.layers import Dense, Dropout, Flatten, Softmax

X, Y = stripes()


def expected(model):
    z = model.predict(X).astype("float64")
    return np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(X)), Y]), np.mean(z.argmax(1) == Y)


def test_loss_and_accuracy_are_means_over_the_images(backend):
    model = full(backend=backend)
    loss, accuracy = expected(model)
    found = model.evaluate(X, Y)
    assert found == {"loss": pytest.approx(loss, rel=1e-5), "accuracy": pytest.approx(accuracy)}
    assert {type(v) for v in found.values()} == {float}


@pytest.mark.parametrize("size", [1, 7, 47, 48, 100])
def test_the_size_of_batches_does_not_matter(size, backend):
    model = plain(backend=backend)
    found, want = model.evaluate(X, Y, batch_size=size), model.evaluate(X, Y)
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in want.items()}


def test_evaluation_changes_nothing(backend):
    model = full(backend=backend)
    before = model.state.arrays
    model.evaluate(X, Y)
    assert model.state.arrays is before
    assert model.loss is None


def test_dropout_is_off():
    model = xcnn.Model([Flatten(), Dropout(0.9), Dense(3)], SHAPE)
    assert model.evaluate(X, Y) == model.evaluate(X, Y)


def test_the_loss_is_what_it_was_trained_with_unless_given():
    model = xcnn.Model([Flatten(), Dense(3)], SHAPE)
    xcnn.Trainer(model, loss="mse")
    hot = np.eye(3)[Y]
    assert model.evaluate(X, hot)["loss"] == pytest.approx(np.mean((model.predict(X) - hot) ** 2), rel=1e-5)
    assert set(model.evaluate(X, Y, loss="cross_entropy")) == {"loss", "accuracy"}


def test_a_softmax_at_the_end_changes_no_number():
    one, two = (xcnn.Model([Flatten(), Dense(3), *kinds], SHAPE) for kinds in ([], [Softmax()]))
    assert one.evaluate(X, Y) == two.evaluate(X, Y)


def test_one_hot_labels_are_labels(backend):
    model = plain(backend=backend)
    want = model.evaluate(X, Y)
    assert model.evaluate(X, np.eye(3)[Y]) == {k: pytest.approx(v, rel=1e-5) for k, v in want.items()}


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X, Y[:-1], ShapeError, "labels have shape (47,) for 48 images"),
        (X, Y + 1, DataError, "labels reach from 1 to 3"),
        (X[:0], Y[:0], DataError, "x is empty"),
        (X[:, :, 1:], Y, ShapeError, "x has shape (48, 1, 7, 8); needed (N, 1, 8, 8)"),
    ],
)
def test_data_that_do_not_fit_are_refused(x, y, error, message, backend):
    with pytest.raises(error, match=says(message)):
        plain(backend=backend).evaluate(x, y)


def test_outputs_that_are_not_finite_are_refused():
    model = plain()
    for bad in (np.nan, np.inf):
        model.layers[3].b.value = [bad, 0, 0]
        with (
            pytest.raises(DataError, match=says("evaluate: the loss is not finite")),
            np.errstate(all="ignore"),
        ):
            model.evaluate(X, Y)


def test_unknown_losses_and_metrics_are_refused():
    with pytest.raises(OptionError, match=says("unknown loss 'ce'")):
        plain().evaluate(X, Y, loss="ce")
    with pytest.raises(OptionError, match=says("unknown metric 'ce'")):
        plain().evaluate(X, Y, metrics=["ce"])
