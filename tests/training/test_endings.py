"""Every loss with every ending of a model."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import SHAPE, assert_same, host, stripes
from xcnn.layers import Dense, Flatten, LogSoftmax, Sigmoid, Softmax

X, Y = stripes()
HOT = np.eye(3)[Y]
ADAM = xcnn.optim.Adam(0.01)


@pytest.mark.parametrize(
    ("ending", "loss", "labels"),
    [
        (None, "cross_entropy", Y),
        (None, "cross_entropy", HOT),
        (Softmax, "cross_entropy", Y),
        (LogSoftmax, "cross_entropy", Y),
        (Sigmoid, "cross_entropy", Y),
        (None, "binary_cross_entropy", Y),
        (Sigmoid, "binary_cross_entropy", HOT),
        (Softmax, "binary_cross_entropy", Y),  # a report that we follow trains so
        (Softmax, "mse", HOT),
        (None, "mse", Y),
        (Sigmoid, "mae", HOT),
        (None, xcnn.losses.Huber(0.5), HOT),
        (None, xcnn.losses.CrossEntropy(0.1, [1, 2, 3]), Y),
    ],
)
def test_every_loss_with_every_ending_goes_down(ending, loss, labels, backend):
    layers = [Flatten(), Dense(3), *([ending()] if ending else [])]
    model = xcnn.Model(layers, SHAPE, backend=backend)
    history = model.fit(X, labels, epochs=6, batch_size=16, loss=loss, optimizer=xcnn.optim.Adam(0.02))
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert model.evaluate(X, labels)["loss"] == pytest.approx(history["loss"][-1], rel=0.5)


@pytest.mark.parametrize(
    ("ending", "loss"),
    [(Softmax, "cross_entropy"), (LogSoftmax, "cross_entropy"), (Sigmoid, "binary_cross_entropy")],
)
def test_a_model_that_ends_in_its_losss_pair_trains_as_on_logits(ending, loss, backend):
    with_, without = (
        xcnn.Model([Flatten(), Dense(3), *kinds], SHAPE, backend=backend) for kinds in ([ending()], [])
    )
    options = {"epochs": 2, "loss": loss, "optimizer": ADAM}
    assert with_.fit(X, Y, **options) == without.fit(X, Y, **options)
    assert_same(host(with_), host(without))


def test_a_pair_stays_finite_where_probabilities_are_0(backend):
    model = xcnn.Model([Flatten(), Dense(3, activation="softmax")], SHAPE, backend=backend)
    model.layers[1].b.value = [1e4, 0.0, -1e4]
    history = model.fit(X, np.full(48, 2), optimizer=xcnn.optim.SGD(0.1))
    assert history["loss"][0] > 1e4


def test_regressions_report_no_accuracy():
    model = xcnn.Model([Flatten(), Dense(2)], SHAPE)
    targets = np.stack([X.mean((1, 2, 3)), X.std((1, 2, 3))], 1)
    history = model.fit(X, targets, loss="mse", epochs=2, metrics=["mean_absolute_error"], validation=0.25)
    assert list(history) == [
        "loss",
        "mean_absolute_error",
        "learning_rate",
        "val_loss",
        "val_mean_absolute_error",
    ]


def test_images_may_be_targets():
    from xcnn.layers import Conv2D

    model = xcnn.Model([Conv2D(1, 3, padding="same")], SHAPE)
    history = model.fit(X, X, loss="mse", epochs=5, optimizer=ADAM)
    assert history["loss"][-1] < history["loss"][0]
