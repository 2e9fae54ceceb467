"""Diagnosis: every fault made on purpose is found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from xcnn.diagnosis.observe import observe
from xcnn.layers import (
    BatchNorm2D,
    Conv2D,
    Dense,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    Identity,
    MaxPool2D,
    ReLU,
    Sequential,
    Sum,
)
from xcnn.losses import CrossEntropy
from xcnn.ops.precision import PRECISIONS


@pytest.fixture(scope="module")
def digits():
    return xcnn.data.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    model = xcnn.Model(
        [
            Conv2D(8, 3, activation="relu"),
            MaxPool2D(2),
            Flatten(),
            Dense(24, activation="sigmoid"),
            Dense(10),
        ],
        (1, 8, 8),
        seed=1,  # with 0, a kernel is dead from the beginning
        backend="numpy",
    )
    model.fit(digits.train.x, digits.train.y, epochs=12, optimizer=xcnn.optim.Adam(5e-3))
    return model


@pytest.fixture
def model(trained):
    return trained.copy()


def kinds(diagnosis):
    return [finding.kind for finding in diagnosis.findings]


def change(parameter, f):
    parameter.value = f(np.array(parameter.value))


def test_a_healthy_model_has_no_findings_and_says_what_was_checked(model, digits):
    assert model.evaluate(digits.test.x, digits.test.y)["accuracy"] > 0.95
    diagnosis = xcnn.diagnose(model, digits.test.x, digits.test.y)
    assert diagnosis.findings == ()
    text = str(diagnosis)
    assert text.startswith("nothing found with 449 inputs")
    for word in ("parameters", "inputs", "dead kernels", "saturated", "activations", "logits", "gradients"):
        assert word in text


def test_diagnosis_changes_nothing(model, digits):
    before = {name: np.array(p.value) for name, p in model.parameters().items()}
    xcnn.diagnose(model, digits.test.x, digits.test.y)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p.value, before[name])
        assert p.gradient is None


def test_dead_kernels_are_counted_and_named(model, digits):
    def kill(b):
        b[[1, 4]] = -100
        return b

    change(model.layers[0].b, kill)
    (finding,) = xcnn.diagnose(model, digits.test.x).findings
    assert (finding.kind, finding.layer, finding.severity) == (
        "dead kernels",
        "Conv2D (layers[0])",
        "warning",
    )
    assert finding.measured.startswith("2 of 8 (1, 4) kernels give 0 for all inputs and positions")
    assert "he_normal" in finding.change
    assert "LeakyReLU" in finding.change


def test_a_dead_layer_makes_all_outputs_the_same(model, digits):
    change(model.layers[0].b, lambda b: b - 100)
    dead, same = xcnn.diagnose(model, digits.test.x).findings
    assert (dead.kind, dead.severity) == ("dead kernels", "error")
    assert "all 8 kernels" in dead.measured
    assert (same.kind, same.severity) == ("identical outputs", "error")
    assert len(np.unique(model.predict(digits.test.x), axis=0)) == 1


def test_a_single_dead_kernel_is_a_note(digits):
    model = xcnn.Model([Conv2D(8, 3, activation="relu"), Flatten(), Dense(10)], (1, 8, 8), backend="numpy")
    change(model.layers[0].w, lambda w: np.abs(w) * np.where(np.arange(8) == 5, -1, 1)[:, None, None, None])
    (finding,) = xcnn.diagnose(model, digits.test.x).findings
    assert (finding.severity, finding.measured[:10]) == ("note", "1 of 8 (5)")
    assert "so few are harmless" in finding.change


def test_a_kernel_that_answers_one_image_is_not_dead(model, digits):
    x = np.zeros((300, 1, 8, 8), np.float32)
    x[:, :, 0, 0] = 0.5
    alive = xcnn.Model([Conv2D(1, 8, activation="relu"), Flatten(), Dense(2)], (1, 8, 8), backend="numpy")
    change(alive.layers[0].w, lambda w: np.where(np.arange(64).reshape(1, 1, 8, 8) == 63, 1.0, -1.0))
    assert "dead kernels" in kinds(xcnn.diagnose(alive, x))
    x[299, 0, 7, 7] = 9.0  # in the second batch
    assert "dead kernels" not in kinds(xcnn.diagnose(alive, x))


def test_saturated_units_are_counted(model, digits):
    change(model.layers[3].w, lambda w: 100 * w)
    (finding,) = xcnn.diagnose(model, digits.test.x, digits.test.y).findings
    assert (finding.kind, finding.layer) == ("saturated units", "Dense (layers[3])")
    assert "24 units" in finding.measured or "of 24" in finding.measured
    assert "of all units and inputs, " in finding.measured
    assert "glorot_normal" in finding.change


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
def test_a_unit_is_saturated_where_its_slope_is_below_two_per_cent(kind):
    edge = 5.28 if kind == "sigmoid" else 2.64  # 4 s (1 - s), and 1 - tanh^2, are 0.02 there
    model = xcnn.Model([Dense(2, activation=kind, bias=False), Dense(2)], (1,), backend="numpy")
    change(model.layers[0].w, lambda w: np.array([[edge * 1.02], [edge * 0.98]], np.float32))
    (finding,) = xcnn.diagnose(model, np.ones((40, 1), np.float32)).findings
    assert finding.measured.startswith("1 of 2 (0) units")


def test_exploding_logits_are_found_and_compared_with_the_accuracy(model, digits):
    change(model.layers[4].w, lambda w: 40 * w)
    (finding,) = xcnn.diagnose(model, digits.test.x).findings
    assert (finding.kind, finding.layer) == ("exploding logits", "the outputs")
    assert "accuracy" not in finding.measured
    (finding,) = xcnn.diagnose(model, digits.test.x, digits.test.y).findings
    assert "the mean confidence is 9" in finding.measured or "100.0 %, the accuracy 9" in finding.measured
    assert "label_smoothing" in finding.change
    assert "calibrate" in finding.change


def test_overconfidence_is_found_with_labels_and_calibration_ends_it(digits):
    model = xcnn.Model([Conv2D(8, 3, activation="relu"), Flatten(), Dense(10)], (1, 8, 8), backend="numpy")
    model.fit(digits.train.x[:150], digits.train.y[:150], epochs=12, optimizer=xcnn.optim.Adam(1e-2))
    x, y = digits.test.x, digits.test.y
    (finding,) = xcnn.diagnose(model, x, y).findings
    assert finding.kind == "overconfidence"
    assert "expected calibration error" in finding.measured
    held_out = digits.train.x[150:600], digits.train.y[150:600]
    assert xcnn.diagnose(xcnn.calibration.calibrate(model, *held_out), x, y).findings == ()
    assert xcnn.diagnose(model, x).findings == ()  # without labels nothing can be said


def test_an_untrained_model_is_not_called_overconfident(digits):
    model = xcnn.Model([Flatten(), Dense(10)], (1, 8, 8), backend="numpy")
    assert xcnn.diagnose(model, digits.test.x, digits.test.y).findings == ()


def deep(activation, std=None, layers=9):
    init = "glorot_normal" if std is None else (lambda rng, shape, fans: rng.normal(0, std, shape))
    body = [Dense(24, activation=activation, init=init) for _ in range(layers)]
    return xcnn.Model([Flatten(), *body, Dense(10)], (1, 8, 8), backend="numpy")


def test_vanishing_gradients_are_found_with_labels(digits):
    model = deep("sigmoid")
    (finding,) = xcnn.diagnose(model, digits.train.x, digits.train.y).findings
    assert (finding.kind, finding.layer) == ("vanishing gradients", "layers[1].w")
    assert "of that of layers[10].w" in finding.measured
    assert xcnn.diagnose(model, digits.train.x).findings == ()


def test_gradients_that_float16_would_lose_are_measured(digits):
    """Training scales them; here nothing does."""
    models = [xcnn.Model([Flatten(), Dense(9), Dense(10)], (1, 8, 8), precision=p) for p in PRECISIONS]
    for model in models:
        change(model.layers[2].w, lambda w: 1e-5 * w)
    exact, *others = (observe(model, digits.train.x, digits.train.y) for model in models)
    assert [seen.gradients for seen in others] == [exact.gradients] * 3


def test_exploding_gradients_are_found(digits):
    model = xcnn.Model([Flatten(), Dense(10)], (1, 8, 8), backend="numpy")
    change(model.layers[1].w, lambda w: 1e-3 * w)
    (finding,) = xcnn.diagnose(model, digits.train.x, digits.train.y).findings
    assert (finding.kind, finding.layer) == ("exploding gradients", "layers[1].w")


@pytest.mark.parametrize(("std", "kind"), [(0.01, "vanishing activations"), (3.0, "exploding activations")])
def test_activations_that_vanish_or_explode_are_found_once_where_they_begin(digits, std, kind):
    (finding,) = xcnn.diagnose(deep("leaky_relu", std), digits.train.x, digits.train.y).findings
    assert finding.kind == kind
    assert finding.layer.startswith("Dense (layers[")


@pytest.mark.parametrize("factor", [255.0, 1 / 255])
def test_inputs_that_are_not_scaled_are_found(model, digits, factor):
    (finding,) = xcnn.diagnose(model, factor * digits.test.x.astype(np.float32), digits.test.y).findings
    assert (finding.kind, finding.layer) == ("inputs not scaled", "the input")
    assert "255" in finding.change


def test_bytes_are_scaled_by_the_model(model, digits):
    x = (255 * digits.test.x.astype(np.float64)).round().astype(np.uint8)
    assert xcnn.diagnose(model, x, digits.test.y).findings == ()


def test_a_constant_channel_is_found(digits):
    x = np.concatenate([digits.test.x, np.full_like(digits.test.x, 0.5)], axis=1)
    model = xcnn.Model([Conv2D(4, 3), Flatten(), Dense(10)], (2, 8, 8), backend="numpy")
    (finding,) = xcnn.diagnose(model, x).findings
    assert finding.kind == "constant input channel"
    assert finding.measured.startswith("channel 1 of 2")


def test_parameters_and_inputs_that_are_not_finite_are_found_alone(model, digits):
    x = np.array(digits.test.x)
    x[7, 0, 3, 3] = np.nan
    assert kinds(xcnn.diagnose(model, x, digits.test.y)) == ["non-finite inputs"]

    def spoil(w):
        w[0, 0], w[1, 1] = np.nan, np.inf
        return w

    change(model.layers[4].w, spoil)
    (finding,) = xcnn.diagnose(model, digits.test.x, digits.test.y).findings
    assert (finding.kind, finding.layer) == ("non-finite parameters", "layers[4].w")
    assert finding.measured == "2 of 240 values are NaN or infinite"


def test_layers_inside_composites_are_watched_on_every_backend(backend):
    block = Sequential(
        Sum(Identity(), Sequential(Conv2D(4, 3, padding="same", activation="relu"), BatchNorm2D()))
    )
    gate = Gate(Sequential(GlobalAvgPool2D(), Dense(2, activation="relu"), Dense(4, activation="sigmoid")))
    model = xcnn.Model(
        [Conv2D(4, 3), BatchNorm2D(), ReLU(), block, gate, Flatten(), Dense(3, activation="softmax")],
        (1, 6, 6),
        backend=backend,
    )
    x = np.random.default_rng(0).random((60, 1, 6, 6), np.float32)
    for place in ("layers[3].layers[0].layers[1].layers[0]", "layers[4].body.layers[2]"):
        b = model.parameters()[f"{place}.b"]
        b.value = backend.asarray(np.full(b.shape, -200.0), "float32")
    found = {(f.kind, f.layer) for f in xcnn.diagnose(model, x, np.arange(60) % 3, batch_size=25).findings}
    assert ("dead kernels", "Conv2D (layers[3].layers[0].layers[1].layers[0])") in found
    assert ("saturated units", "Dense (layers[4].body.layers[2])") in found


def test_single_outputs_and_numbers_are_diagnosed(digits):
    two = digits.train.y < 2
    x, y = digits.train.x[two], digits.train.y[two]
    model = xcnn.Model([Flatten(), Dense(1)], (1, 8, 8), backend="numpy")
    model.fit(x, y, epochs=3, loss="binary_cross_entropy")
    assert xcnn.diagnose(model, x, y).findings == ()
    change(model.layers[1].w, lambda w: 100 * w)
    assert kinds(xcnn.diagnose(model, x, y)) == ["exploding logits"]
    model.loss = xcnn.losses.MeanSquaredError()
    assert "exploding logits" not in kinds(xcnn.diagnose(model, x, y.astype(np.float32)[:, None]))


def test_label_smoothing_keeps_logits_small(digits):
    """What the finding advises works."""
    gaps = []
    for loss in (CrossEntropy(), CrossEntropy(label_smoothing=0.1)):
        model = xcnn.Model(
            [Conv2D(8, 3, activation="relu"), Flatten(), Dense(10)], (1, 8, 8), backend="numpy"
        )
        model.fit(digits.train.x, digits.train.y, epochs=15, loss=loss, optimizer=xcnn.optim.Adam(1e-2))
        z = np.sort(model.predict(digits.test.x), axis=1)
        gaps.append(np.median(z[:, -1] - z[:, -2]))
    assert gaps[1] < 0.6 * gaps[0]


def test_report_is_aligned_and_at_most_a_hundred_wide(model, digits):
    change(model.layers[0].b, lambda b: b - 100)
    diagnosis = xcnn.diagnose(model, digits.test.x)
    lines = str(diagnosis).splitlines()
    assert lines[0] == "2 findings with 449 inputs"
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("       change: ") for line in lines) == 2
    assert repr(diagnosis) == str(diagnosis)
    assert xcnn.diagnose(model, digits.test.x[:1]).images == 1


def test_what_does_not_fit_is_refused():
    model = xcnn.Model([Flatten(), Dense(3)], (1, 2, 2))
    x = np.ones((4, 1, 2, 2), "float32")
    with pytest.raises(xcnn.OptionError, match="diagnose: batch_size is '2'"):
        xcnn.diagnose(model, x, batch_size="2")
    with pytest.raises(xcnn.DataError, match="x is empty"):
        xcnn.diagnose(model, x[:0])
    labels = xcnn.backend.get_backend("python").asarray([0, 1, 2, -3])
    with pytest.raises(xcnn.DataError, match="labels reach from -3 to 2"):
        xcnn.diagnose(model, x, labels)
