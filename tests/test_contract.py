"""Promises that cross the rooms of the house, each once broken and found by a reader."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
import xcnn_numpy
from xcnn.backend import get_backend
from xcnn.layers import BatchNorm2D, Dense, Dropout, Identity, Layer, LeakyReLU, Sequential, Sum
from xcnn.plan import compile_plan, flatten

RNG = np.random.default_rng(0)
X, Y = RNG.random((8, 4)).astype("float32"), np.arange(8) % 3


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch):
    """Forget the backends that a test makes."""
    for name in ("_opened", "_plugins"):
        monkeypatch.setattr(f"xcnn.backend.{name}", dict(getattr(xcnn.backend, name)))


class Chain(Layer):
    """Two layers, built as the contract says, with no word on where they are kept."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def build(self, input_shape, make):
        return make.build(self.second, make.build(self.first, input_shape))

    def forward(self, x, /, *, train=False, hold=None):
        x, one = self.first.forward(x, train=train, hold=hold)
        y, two = self.second.forward(x, train=train, hold=hold)
        return y, (one, two)

    def backward(self, dy, saved, /, *, need_dx=True):
        return self.first.backward(self.second.backward(dy, saved[1]), saved[0], need_dx=need_dx)


def values(model):
    return model.backend.to_numpy(model.state.arrays.values)


def test_a_step_forgets_gradients_of_passes_made_by_hand():
    model = xcnn.Model([Dense(3)], (4,))
    twin, loss = model.copy(), xcnn.losses.CrossEntropy()
    z, saved = model.forward(X, train=True)
    model.backward(loss(z, Y)[1].backward(1.0)[0], saved)
    for m in (model, twin):
        xcnn.Trainer(m, optimizer=xcnn.optim.SGD(1.0)).step(X, Y)
    np.testing.assert_array_equal(values(model), values(twin))


def test_metrics_of_numbers_see_the_outputs():
    model, target = xcnn.Model([Dense(1)], (4,)), Y[:, None].astype("float32")
    found = model.evaluate(X, target, loss="mae", metrics=["mean_absolute_error"])
    assert found["mean_absolute_error"] == pytest.approx(found["loss"])


def test_layers_inside_a_layer_are_named_saved_copied_and_checked(tmp_path):
    model = xcnn.Model([Chain(Dense(4), Dense(3))], (4,))
    model.fit(X, Y, epochs=2)
    assert list(model.parameters()) == [f"layers[0].{part}.{p}" for part in ("first", "second") for p in "wb"]
    model.save(tmp_path / "m.xcnn")
    for again in (xcnn.load(tmp_path / "m.xcnn", custom=[Chain]), model.copy()):
        np.testing.assert_array_equal(again.predict(X), model.predict(X))

    class Wrong(Chain):
        def backward(self, dy, saved, /, *, need_dx=True):
            dx = super().backward(dy, saved, need_dx=need_dx)
            self.second.w.add_gradient(100 * self.second.w.value)
            return dx

    assert xcnn.gradcheck(Chain(Dense(4), Dense(3)), X) < 1e-5
    with pytest.raises(xcnn.GradientError, match="second"):
        xcnn.gradcheck(Wrong(Dense(4), Dense(3)), X)


def test_numbers_of_numpy_do_not_widen_the_arrays():
    half = np.float64(0.5)
    layers = [Dropout(half), LeakyReLU(half), BatchNorm2D(momentum=half, eps=half), Dense(3)]
    loss = xcnn.losses.CrossEntropy(label_smoothing=half)
    model = xcnn.Model(layers, (4,))
    model.fit(X, Y, loss=loss, schedule=lambda epoch, epochs: np.cos(epoch))
    assert values(model).dtype == "float32"


def test_a_layer_with_a_forward_of_its_own_is_not_taken_apart():
    class Twice(Dense):
        def forward(self, x, /, *, train=False, hold=None):
            y, saved = super().forward(x, train=train, hold=hold)
            return 2 * y, saved

    model = xcnn.Model([Twice(3, activation="sigmoid")], (4,))
    np.testing.assert_array_equal(model.predict(X), model.layers.forward(X)[0])


def test_what_is_used_twice_is_not_offered_to_a_compiler():
    offered = []

    class Compiler(xcnn_numpy.Backend):
        @staticmethod
        def compile_run(leaves, *, dtype, need_dx):
            offered.append([type(leaf).__name__ for leaf in leaves])

    shared, mask = Dense(4), Dropout()
    layers = [shared, Sum(Identity(), shared), mask, LeakyReLU(), mask]
    model = xcnn.Model(layers, (4,))
    compile_plan(flatten(model.layers), Compiler(), "float32")
    assert offered == [["LeakyReLU"]]


def test_an_error_in_a_users_layer_stays_what_it_is():
    class Typo(Layer):
        def forward(self, x, /, *, train=False, hold=None):
            return x.reshapee(-1), ()

    with pytest.raises(AttributeError, match="reshapee"):
        xcnn.Model([Sequential(Typo()), Dense(3)], (4,)).predict(X)


def test_the_loss_of_weighted_classes_does_not_depend_on_the_batches():
    loss = xcnn.losses.CrossEntropy(class_weights=(1, 5, 20))
    model = xcnn.Model([Dense(3)], (4,))
    found = [model.evaluate(X, Y, loss=loss, batch_size=n)["loss"] for n in (8, 3, 1)]
    assert found == pytest.approx([found[0]] * 3)


def test_a_batch_of_classes_that_do_not_count_changes_nothing():
    model = xcnn.Model([Dense(3)], (4,))
    trainer = xcnn.Trainer(model, optimizer="sgd", loss=xcnn.losses.CrossEntropy(class_weights=(0, 1, 1)))
    before = values(model).copy()
    assert float(trainer.step(X[:1], [0])) == 0
    np.testing.assert_array_equal(values(model), before)


@pytest.mark.parametrize(
    ("outputs", "labels", "loss"),
    [(1, np.full(8, 7.0), "binary_cross_entropy"), (3, np.full((8, 3), -7.0), "cross_entropy")],
)
def test_probabilities_outside_0_to_1_are_refused_as_labels(outputs, labels, loss):
    with pytest.raises(xcnn.DataError, match="labels reach from"):
        xcnn.Model([Dense(outputs)], (4,)).fit(X, labels, loss=loss)


def test_binary_cross_entropy_takes_whole_numbers_for_each_class(backend):
    model = xcnn.Model([Dense(3)], (4,), backend=backend)
    labels = np.eye(3)[Y]
    found = [model.evaluate(X, a, loss="binary_cross_entropy")["loss"] for a in (labels, labels.astype(int))]
    assert found[0] == pytest.approx(found[1])


def test_a_captured_step_belongs_to_its_backend_and_is_not_the_readable_one():
    replays = []

    class Recorder(xcnn_numpy.Backend):
        root = "recorder"

        def __init__(self, device=""):
            self.name = "recorder"

        @staticmethod
        def capture(step):
            def replay(*arguments):
                replays.append(1)
                return step(*arguments)

            return replay

    trainer = xcnn.Trainer(xcnn.Model([Dense(3)], (4,), backend=Recorder()))
    trainer.step(X, Y)
    with xcnn.readable():
        trainer.step(X, Y)
    trainer.model.to("numpy")
    trainer.step(X, Y)
    assert len(replays) == 1


def test_a_backend_object_may_be_made_the_default():
    class Own(xcnn_numpy.Backend):
        root = "own"

        def __init__(self, device=""):
            self.name = "own"

    own = Own()
    with xcnn.use_backend(own):
        assert get_backend() is own


def test_logits_at_the_end_of_the_range_give_a_finite_loss(backend):
    z = backend.asarray([[3e38, -3e38]], "float32")
    with np.errstate(over="ignore"):
        loss, saved = xcnn.ops.cross_entropy(z, backend.asarray([0]))
    assert float(loss) == 0
    assert np.isfinite(backend.to_numpy(saved.backward(1.0)[0])).all()


def test_cross_entropy_of_one_output_is_refused():
    with pytest.raises(xcnn.OptionError, match="one output is always 0; needed 2 outputs"):
        xcnn.Model([Dense(1)], (4,)).fit(X, np.zeros(8, int))
