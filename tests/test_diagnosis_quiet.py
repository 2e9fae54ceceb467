"""Diagnosis: what looks like a fault and is none, and which fault it is that makes others."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from xcnn.layers import Conv2D, Dense, Flatten, Normalize, ReLU, Softmax

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def digits():
    return xcnn.data.load("digits")


def kinds(diagnosis):
    return [finding.kind for finding in diagnosis.findings]


def dense(*layers, shape=(1, 8, 8)):
    return xcnn.Model([Flatten(), *layers], shape, backend="numpy")


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_an_activation_at_the_end_may_be_at_its_limits(activation):
    model = xcnn.Model([Dense(1, activation=activation)], (2,), backend="numpy")
    model.layers[0].w.value = np.full((1, 2), 20.0, np.float32)
    model.loss = xcnn.losses.MeanSquaredError()
    x = RNG.choice([-1.0, 1.0], (100, 1)) * np.ones((1, 2))
    assert xcnn.diagnose(model, x, (x[:, :1] > 0).astype(np.float32)).findings == ()
    hidden = xcnn.Model([Dense(1, activation=activation), Dense(1)], (2,), backend="numpy")
    hidden.layers[0].w.value = np.full((1, 2), 20.0, np.float32)
    assert "saturated units" in kinds(xcnn.diagnose(hidden, x))


def test_large_numbers_to_learn_are_no_explosion():
    model = xcnn.Model([Dense(8, activation="relu"), Dense(1)], (4,), backend="numpy")
    model.layers[1].w.value = np.full((1, 8), 1e4, np.float32)
    x, y = RNG.random((80, 4), np.float32), np.full((80, 1), 1e5, np.float32)
    model.loss = xcnn.losses.MeanSquaredError()
    assert "exploding activations" not in kinds(xcnn.diagnose(model, x, y))
    model.loss = xcnn.losses.BinaryCrossEntropy()
    assert "exploding activations" in kinds(xcnn.diagnose(model, x, np.ones((80, 1), np.float32)))


def test_inputs_are_measured_after_normalize(digits):
    x = 255.0 * digits.test.x
    layers = [Normalize(x.mean(), x.std()), Flatten(), Dense(10)]
    scaled = xcnn.Model(layers, (1, 8, 8), backend="numpy")
    assert xcnn.diagnose(scaled, x, digits.test.y).findings == ()
    (finding,) = xcnn.diagnose(
        xcnn.Model([Normalize(0.0, 1.0), Flatten(), Dense(10)], (1, 8, 8), backend="numpy"), x
    ).findings
    assert (finding.kind, finding.layer) == ("inputs not scaled", "the input after Normalize")


def test_weights_that_begin_at_zero_have_no_exploding_gradient(digits):
    model = dense(Dense(10, init="zeros"))
    (finding,) = xcnn.diagnose(model, digits.test.x, digits.test.y).findings
    assert (finding.kind, finding.severity) == ("identical outputs", "warning")
    assert "all values of layers[1].w are 0" in finding.measured
    assert finding.change.startswith("train it")
    model.layers[1].b.value = np.linspace(-1, 1, 10, dtype=np.float32)
    half = dense(Dense(10, init="zeros"), Dense(10))
    half.layers[1].b.value = np.ones(10, np.float32)
    from xcnn.diagnosis import observe

    assert set(observe(half, digits.test.x, digits.test.y).gradients) == {"layers[2].w"}


def test_inputs_that_a_model_learned_from_unscaled_are_a_note_and_hide_nothing(digits):
    x, xt = 16 * digits.train.x, 16 * digits.test.x
    model = dense(Dense(10))
    model.fit(x, digits.train.y, epochs=15, optimizer=xcnn.optim.Adam(1e-3))
    finding = xcnn.diagnose(model, xt, digits.test.y).findings[0]
    assert (finding.kind, finding.severity) == ("inputs not scaled", "note")
    assert finding.change.startswith("divide inputs by 16,")
    assert "gradients" in xcnn.diagnose(model, xt, digits.test.y).checked
    untrained = xcnn.diagnose(dense(Dense(10)), xt, digits.test.y)
    assert [finding.severity for finding in untrained.findings] == ["warning"]
    assert "gradients" not in untrained.checked


def test_arrays_without_a_length_are_diagnosed(backend, digits):
    model = xcnn.Model([Flatten(), Dense(3)], (1, 8, 8), backend=backend)
    x = backend.asarray(digits.test.x[:20], "float32")
    y = backend.asarray(digits.test.y[:20] % 3, "int64")
    assert "gradients" in xcnn.diagnose(model, x, y).checked


def test_copies_of_one_image_may_have_the_same_outputs(digits):
    model = dense(Dense(10))
    x = np.repeat(digits.test.x[:1], 60, axis=0)
    assert "identical outputs" not in kinds(xcnn.diagnose(model, x))
    model.layers[1].w.value = np.where(np.arange(64) == 0, 1.0, 0.0).astype(np.float32) * np.ones(
        (10, 1), "f"
    )
    x[7, 0, 4, 4] += 0.5  # where no weight looks
    assert "identical outputs" in kinds(xcnn.diagnose(model, x))


@pytest.mark.parametrize(("images", "kind"), [(49, "too few inputs"), (50, "dead kernels")])
def test_of_few_inputs_no_kernel_is_called_dead(digits, images, kind):
    model = xcnn.Model([Conv2D(8, 3, activation="relu"), Flatten(), Dense(10)], (1, 8, 8), backend="numpy")
    sign = np.where(np.arange(8) % 2, -1, 1)[:, None, None, None]
    model.layers[0].w.value = np.abs(model.layers[0].w.value) * sign.astype(np.float32)
    finding = xcnn.diagnose(model, digits.test.x[:images]).findings[0]
    assert finding.kind == kind
    if images < 50:
        assert finding.severity == "note"
        assert finding.measured.startswith("inputs: 49; kernels and units that give 0 for all of them: 4; ")


@pytest.mark.parametrize(("confidence", "found"), [(0.912, []), (0.92, ["overconfidence"])])
def test_confidence_within_a_hundredth_and_a_half_of_the_accuracy_is_healthy(confidence, found):
    n = 20_000
    model = xcnn.Model([Dense(2, bias=False)], (1,), backend="numpy")
    half = 0.5 * np.log(confidence / (1 - confidence))
    model.layers[0].w.value = np.array([[-half], [half]], np.float32)
    x = np.where(np.arange(n) % 2, 1.0, -1.0)[:, None].astype(np.float32)
    y = np.arange(n) % 2
    wrong = np.arange(n) < n // 10  # an accuracy of 90 %, known to 0.4 %
    assert kinds(xcnn.diagnose(model, x, np.where(wrong, 1 - y, y))) == found


def test_a_softmax_inside_and_an_activation_on_the_logits_are_found(digits):
    x, y = digits.test.x, digits.test.y
    (finding,) = xcnn.diagnose(dense(Dense(20), Softmax(), Dense(10)), x, y).findings
    assert (finding.kind, finding.layer) == ("softmax inside", "Softmax (layers[2])")
    ended = dense(Dense(20), ReLU(), Dense(10, activation="softmax"))
    assert "softmax inside" not in kinds(xcnn.diagnose(ended, x, y))
    for activation in ("relu", "tanh"):
        model = dense(Dense(10, activation=activation))
        model.loss = xcnn.losses.CrossEntropy()
        finding = xcnn.diagnose(model, x, y).findings[0]
        assert (finding.kind, finding.layer) == ("activation on the logits", "Dense (layers[1])")
        model.loss = None
        assert "activation on the logits" not in kinds(xcnn.diagnose(model, x, y))
