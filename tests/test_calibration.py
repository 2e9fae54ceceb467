"""Calibration: the error against a loop, the temperature against a search, and models that keep it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import xcnn
from xcnn.calibration import calibrate, expected_calibration_error, fit_temperature, reliability_table
from xcnn.errors import DataError, DTypeError, OptionError
from xcnn.layers import (
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    LogSoftmax,
    MaxPool2D,
    Sequential,
    Softmax,
    Sum,
    Tanh,
)

RNG = np.random.default_rng(0)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def likelihood_loss(z, y, temperature):
    z = z / temperature
    top = z.max(axis=1)
    return float(np.mean(top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[np.arange(len(y)), y]))


def drawn(n=2000, k=5, scale=2.0):
    """Logits, and classes drawn by their probabilities: calibrated."""
    z = scale * RNG.normal(size=(n, k))
    return z, np.array([RNG.choice(k, p=p) for p in softmax(z)])


# The error.


def test_error_is_that_of_a_loop_over_bins():
    z, y = drawn(500)
    p, bins = softmax(2 * z), 15
    sure, right = p.max(axis=1), p.argmax(axis=1) == y
    expected = 0.0
    for b in range(bins):
        here = (sure > b / bins) & (sure <= (b + 1) / bins)
        if here.any():
            expected += here.mean() * abs(right[here].mean() - sure[here].mean())
    assert expected_calibration_error(y, p) == pytest.approx(expected, abs=1e-12)


def test_error_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    # 0.9 twice with one right: 0.4; 0.6 and 0.8, in bins of their own, right: 0.4 and 0.2
    assert expected_calibration_error([0, 1, 1, 1], p, bins=5) == pytest.approx((0.4 + 0.4 + 0.4 + 0.2) / 4)


def test_a_sure_and_right_model_has_no_error_and_a_sure_and_wrong_one_has_all():
    p = np.eye(3)[[0, 1, 2]]
    assert expected_calibration_error([0, 1, 2], p) == 0.0
    assert expected_calibration_error([1, 2, 0], p) == 1.0


def test_a_single_column_is_the_probability_of_class_1():
    p = RNG.random(50)
    y = RNG.integers(0, 2, 50)
    both = np.stack([1 - p, p], axis=1)
    assert expected_calibration_error(y, p[:, None]) == expected_calibration_error(y, both)
    assert expected_calibration_error(y, p) == expected_calibration_error(np.eye(2)[y], both)


def test_table_counts_every_image_and_leaves_empty_bins_empty():
    table = reliability_table([0, 1, 0], np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]), bins=4)
    np.testing.assert_array_equal(table.count, [0, 2, 0, 1])  # 0.5 is the upper edge of the second bin
    np.testing.assert_array_equal(table.accuracy, [np.nan, 0.5, np.nan, 1.0])
    np.testing.assert_array_equal(table.confidence, [np.nan, 0.5, np.nan, 1.0])
    np.testing.assert_array_equal(table.edges, [0, 0.25, 0.5, 0.75, 1])


def test_arrays_of_every_backend_are_taken(backend):
    z, y = drawn(50)
    there = backend.asarray(softmax(z)), backend.asarray(y)
    assert expected_calibration_error(there[1], there[0]) == pytest.approx(
        expected_calibration_error(y, softmax(z)), abs=1e-6
    )
    assert fit_temperature(backend.asarray(z, "float64"), there[1]) == pytest.approx(fit_temperature(z, y))


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], np.ones((3, 2)) / 2, "there are 3 rows of 2 proba and 2 labels from 0 to 1"),
        ([0, 2], np.ones((2, 2)) / 2, "2 labels from 0 to 2; needed a label for each, 0 to 1"),
        ([0, 1], np.array([[3.0, -1.0], [0.0, 1.0]]), "proba reach from -1 to 3; needed probabilities"),
        ([0], np.ones((1, 2, 2)), r"proba have shape \(1, 2, 2\)"),
        ([], np.ones((0, 2)), r"proba have shape \(0, 2\)"),
        ([0, 1], np.array([[0.5, 0.5], [np.nan, 0.2]]), "a probability is NaN or infinite"),
        ([0, 1], np.array([[0.5, 0.5], [0.2, 0.3]]), "row 1 of proba has the sum 0.5; needed 1"),
    ],
)
def test_what_is_no_probability_is_refused(y, p, message):
    with pytest.raises(DataError, match=message):
        expected_calibration_error(np.array(y, int), p)


@pytest.mark.parametrize("y", [[0.7, 1.2], [np.nan, 1.0], ["a", "b"]])
def test_what_is_no_class_is_refused(y):
    with pytest.raises(DataError, match="not all integers; needed classes, from 0 up"):
        expected_calibration_error(y, np.full((2, 2), 0.5))


def test_probabilities_that_are_rounded_are_taken():
    p = RNG.dirichlet(np.ones(10), 50).astype(np.float16)
    assert 0 < expected_calibration_error(RNG.integers(0, 10, 50), p) < 1


# The temperature.


def test_temperature_is_the_minimum_of_the_loss():
    z, y = drawn()
    found = fit_temperature(3 * z, y)
    tried = np.exp(np.linspace(math.log(found) - 0.5, math.log(found) + 0.5, 2001))
    best = tried[np.argmin([likelihood_loss(3 * z, y, t) for t in tried])]
    assert found == pytest.approx(best, rel=1e-3)
    assert found == pytest.approx(3.0, rel=0.1)  # the logits were calibrated before they were tripled


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e3, 1e12])
def test_temperature_grows_with_the_logits(scale):
    z, y = drawn()
    assert fit_temperature(scale * z, y) == pytest.approx(scale * fit_temperature(z, y), rel=1e-9)


def test_temperature_ignores_what_is_added_to_all_logits_of_an_image():
    z, y = drawn()
    assert fit_temperature(z + 50 * RNG.normal(size=(len(z), 1)), y) == pytest.approx(fit_temperature(z, y))


def test_single_logit_is_that_of_class_1():
    z, y = RNG.normal(size=200), RNG.integers(0, 2, 200)
    both = np.stack([np.zeros(200), z], axis=1)
    assert fit_temperature(z, y) == fit_temperature(z[:, None], y) == fit_temperature(both, y)


@pytest.mark.parametrize("n", [1, 10, 400])
def test_where_every_image_is_right_the_confidence_is_that_of_the_rule_of_succession(n):
    z = np.random.default_rng(n).normal(size=(n, 6))
    y = z.argmax(axis=1)
    assert softmax(z / fit_temperature(z, y)).max(axis=1).mean() == pytest.approx((n + 1) / (n + 2), rel=1e-9)
    far = np.concatenate([z, z.min() - 1000.0 - RNG.random((n, 1))], axis=1)  # no class of anybody
    assert fit_temperature(far, y) == pytest.approx(fit_temperature(z, y), rel=1e-6)
    tied = np.concatenate([z, np.zeros((1, 6))])  # its first class is right, too
    assert fit_temperature(tied, [*y, 0]) > 1e-4


def test_temperature_stays_finite_where_every_image_is_right():
    z = RNG.normal(size=(100, 10))
    found = fit_temperature(z, z.argmax(axis=1))
    assert 0 < found < 1
    assert softmax(z / found).max(axis=1).mean() > softmax(z).max(axis=1).mean() + 0.3  # surer, as is due,
    assert softmax(z / found).max(axis=1).mean() < 1  # but not so sure as never to have been wrong


@pytest.mark.parametrize("case", ["all wrong", "one class", "no difference", "two equal logits"])
def test_temperature_stays_finite(case):
    z = RNG.normal(size=(60, 4))
    y = z.argmin(axis=1)
    if case == "one class":
        y = np.zeros(60, int)
    elif case == "no difference":
        z = np.ones((60, 4))
        assert fit_temperature(z, y) == 1.0
    elif case == "two equal logits":
        z[:, 1] = z[:, 0] = z.max(axis=1) + 1
        y = np.arange(60) % 2
    found = fit_temperature(z, y)
    assert math.isfinite(found)
    assert found > 0


def test_a_logit_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="fit_temperature: a logit is NaN or infinite"):
        fit_temperature(np.array([[0.0, np.inf], [1.0, 2.0]]), [0, 1])


# Models.


@pytest.fixture(scope="module")
def digits():
    return xcnn.data.load("digits")


@pytest.fixture(scope="module")
def overconfident(digits):
    """A model that learned few images by heart, and is surer of others than it is right."""
    model = xcnn.Model([Conv2D(8, 3, activation="relu"), Flatten(), Dense(10)], (1, 8, 8), backend="numpy")
    model.fit(
        digits.train.x[:200], digits.train.y[:200], epochs=30, batch_size=32, optimizer=xcnn.optim.Adam(1e-2)
    )
    return model


def test_calibration_improves_probabilities_and_leaves_classes(digits, overconfident):
    x, y = digits.train.x[200:700], digits.train.y[200:700]
    calibrated = calibrate(overconfident, x, y)
    test = digits.test.x, digits.test.y
    before, after = overconfident.evaluate(*test), calibrated.evaluate(*test)
    assert after["accuracy"] == before["accuracy"]
    np.testing.assert_array_equal(calibrated.predict_classes(test[0]), overconfident.predict_classes(test[0]))
    assert after["loss"] < 0.9 * before["loss"]
    errors = [
        expected_calibration_error(test[1], m.predict_proba(test[0])) for m in (overconfident, calibrated)
    ]
    assert errors[1] < 0.6 * errors[0]


def test_calibrated_model_has_the_logits_over_the_temperature(digits, overconfident):
    x, y = digits.test.x[:100], digits.test.y[:100]
    z = overconfident.predict(x)
    temperature = fit_temperature(z, y)
    np.testing.assert_allclose(
        calibrate(overconfident, x, y).predict(x), z / temperature, rtol=1e-4, atol=1e-4
    )


def test_model_itself_is_not_changed_and_the_copy_is_saved(digits, overconfident, tmp_path):
    x, y = digits.test.x[:100], digits.test.y[:100]
    before = overconfident.predict(x)
    calibrated = calibrate(overconfident, x, y)
    np.testing.assert_array_equal(overconfident.predict(x), before)
    calibrated.save(tmp_path / "calibrated.xcnn")
    loaded = xcnn.load(tmp_path / "calibrated.xcnn", backend="numpy")
    np.testing.assert_array_equal(loaded.predict_proba(x), calibrated.predict_proba(x))


ENDINGS = {
    "logits": lambda: [Flatten(), Dense(4)],
    "softmax": lambda: [Flatten(), Dense(4, activation="softmax")],
    "log softmax": lambda: [Flatten(), Dense(4), LogSoftmax()],
    "pooled convolution": lambda: [Conv2D(4, 3), GlobalAvgPool2D(), Softmax()],
    "inside": lambda: [Flatten(), Sequential(Dense(6, activation="tanh"), Dense(4, bias=False))],
    "single logit": lambda: [Flatten(), Dense(1)],
    "single sigmoid": lambda: [Flatten(), Dense(1, activation="sigmoid")],
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_calibrated(ending, backend):
    model = xcnn.Model(ENDINGS[ending](), (1, 6, 6), backend=backend)
    x = RNG.random((40, 1, 6, 6), np.float32)
    y = RNG.integers(0, max(model.output_shape[0], 2), 40)
    calibrated = calibrate(model, x, y, batch_size=16)
    p, q = (np.asarray(m.predict_proba(x), np.float64) for m in (model, calibrated))
    if p.shape[1] == 1:
        p, q = (np.concatenate([1 - a, a], axis=1) for a in (p, q))
    temperature = fit_temperature(np.log(p), y)  # logits but for what is common to an image
    np.testing.assert_allclose(q, softmax(np.log(p) / temperature), atol=1e-4)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [Flatten(), Dense(3), Tanh()],
            r"parameters of Dense \(layers\[1\]\) divided by T do not give logits",
        ),
        ([Flatten(), Sum(Dense(3), Dense(3))], r"needed a Dense at the end, not Sum \(layers\[1\]\)"),
        ([MaxPool2D(2), Flatten()], "none of its layers divided by T"),
        ([Flatten(), Dense(3, activation="sigmoid")], "are not the logits of classes"),
        ([Conv2D(2, 3)], "are not the logits of classes"),
    ],
)
def test_a_model_whose_logits_do_not_scale_is_refused(layers, message):
    model = xcnn.Model(layers, (1, 6, 6), backend="numpy")
    with pytest.raises(OptionError, match=message):
        calibrate(model, RNG.random((20, 1, 6, 6), np.float32), RNG.integers(0, 3, 20))


def test_a_model_of_numbers_and_a_batch_of_none_are_refused():
    model = xcnn.Model([Flatten(), Dense(3)], (1, 6, 6), backend="numpy")
    x, y = RNG.random((20, 1, 6, 6), np.float32), RNG.integers(0, 3, 20)
    with pytest.raises(OptionError, match="calibrate: batch_size is 0"):
        calibrate(model, x, y, batch_size=0)
    model.loss = xcnn.losses.MeanSquaredError()
    with pytest.raises(OptionError, match="are not the logits of classes"):
        calibrate(model, x, y)
    ending = xcnn.Model([Flatten(), Dense(3, activation="softmax")], (1, 6, 6), backend="numpy")
    ending.loss = model.loss
    assert calibrate(ending, x, y)


def test_bins_and_dtypes_have_limits():
    with pytest.raises(OptionError, match="bins is 2147483648"):
        reliability_table([0, 1], [[0.5, 0.5]] * 2, bins=2**31)
    with pytest.raises(DTypeError, match="calibration: proba have dtype complex"):
        reliability_table([0, 1], np.full((2, 2), 0.5 + 0j))
