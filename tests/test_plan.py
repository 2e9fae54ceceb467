"""What runs: leaves in order, compiled runs, endings, and what a loss is computed on."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import SHAPE, full, plain, stripes
from tests.ops.checks import says
from xcnn.errors import OptionError
from xcnn.layers import (
    Conv2D,
    Dense,
    Flatten,
    Identity,
    Layer,
    LogSoftmax,
    MaxPool2D,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Sum,
)
from xcnn.plan import compile_plan, ending_of, flatten

X, Y = stripes()


def kinds(layers):
    return [type(layer).__name__ for layer in layers]


def test_sequentials_are_opened_and_activations_split_off():
    tree = Sequential(
        Sequential(Conv2D(2, 3, activation="relu"), Identity()), Sum(ReLU(), Identity()), Sequential()
    )
    model = xcnn.Model(tree, SHAPE)
    assert kinds(model.flat) == ["Conv2D", "ReLU", "Sum"]
    assert kinds(flatten(model.layers)) == kinds(model.flat)
    assert kinds(model.layers) == ["Sequential", "Sum", "Sequential"]


def test_leaves_have_the_parameters_of_the_tree():
    model = plain()
    assert model.flat[0].w is model.layers[0].w
    assert model.flat[0].label == "Conv2D (layers[0])"
    assert model.flat[1].label == "ReLU (layers[0].activation)"


def test_leaves_compute_what_the_tree_computes(backend):
    model = full(backend=backend)
    x = model.accept(X)
    passed = xcnn.Pass(1, 2)
    np.testing.assert_array_equal(
        backend.to_numpy(model.flat.forward(x, train=xcnn.Pass(1, 2))[0]),
        backend.to_numpy(model.layers.forward(x, train=passed)[0]),
    )


# Compiled runs, of a backend that only pretends


class Run(Layer):
    """The composition of some leaves."""

    def __init__(self, leaves):
        super().__init__()
        self.leaves_ = leaves

    @property
    def label(self):
        return "Run of " + ", ".join(kinds(self.leaves_))

    def forward(self, x, /, *, train=False, hold=None):
        return Sequential(*self.leaves_).forward(x, train=train, hold=hold)

    def backward(self, dy, saved, /, *, need_dx=True):
        return Sequential(*self.leaves_).backward(dy, saved, need_dx=need_dx)


@pytest.fixture
def compiler(monkeypatch):
    """Make the numpy backend compile runs by a rule; return the calls it got and a way to set the rule."""
    calls = []

    class Compiler:
        rule = staticmethod(lambda leaves: 0)

        def __call__(self, leaves, *, dtype, need_dx):
            calls.append((kinds(leaves), dtype, need_dx))
            taken = self.rule(leaves)
            return (Run(leaves[:taken]), taken) if taken else None

    one = Compiler()
    monkeypatch.setattr(type(xcnn.get_backend("numpy")), "compile_run", one)
    one.calls = calls
    return one


def test_a_backend_is_offered_what_follows_again_and_again(compiler):
    compiler.rule = lambda leaves: 2 if type(leaves[0]) is Conv2D else 0
    model = plain()
    assert compiler.calls == [
        (["Conv2D", "ReLU", "MaxPool2D", "Flatten", "Dense"], "float32", False),
        (["MaxPool2D", "Flatten", "Dense"], "float32", True),
        (["Flatten", "Dense"], "float32", True),
        (["Dense"], "float32", True),
    ]
    assert kinds(model.plan) == ["Run", "MaxPool2D", "Flatten", "Dense"]
    assert kinds(model.layers) == ["Conv2D", "MaxPool2D", "Flatten", "Dense"]


def test_offers_end_before_the_first_layer_that_is_used_twice(compiler):
    compiler.rule = len
    twice = Dense(3)
    model = xcnn.Model([Flatten(), Dense(3), twice, ReLU(), twice, Dense(3)], SHAPE)
    assert [call[0] for call in compiler.calls] == [["Flatten", "Dense"], ["ReLU"], ["Dense"]]
    assert kinds(model.plan) == ["Run", "Dense", "Run", "Dense", "Run"]


@pytest.mark.parametrize("ending", [Softmax, LogSoftmax, Sigmoid])
def test_a_final_probability_activation_is_not_offered(ending, compiler):
    compiler.rule = len
    model = xcnn.Model([Flatten(), Dense(3), ending()], SHAPE)
    assert kinds(model.plan) == ["Run", ending.__name__]
    compiler.calls.clear()
    assert kinds(xcnn.Model([Flatten(), ending(), Dense(3)], SHAPE).plan) == ["Run"]


def test_compile_false_and_readable_run_the_layers(compiler):
    compiler.rule = len
    assert kinds(plain(compile=False).plan) == ["Conv2D", "ReLU", "MaxPool2D", "Flatten", "Dense"]
    model = plain()
    assert kinds(model.plan) == ["Run"]
    with xcnn.readable():
        assert kinds(model.plan) == ["Conv2D", "ReLU", "MaxPool2D", "Flatten", "Dense"]
    assert kinds(model.plan) == ["Run"]


def test_a_model_that_moves_is_compiled_anew(compiler):
    compiler.rule = len
    model = plain()
    compiler.calls.clear()
    model.to(dtype="float64")
    assert compiler.calls[0][1] == "float64"


def test_a_compiled_model_trains_as_the_layers_do(compiler):
    compiler.rule = lambda leaves: 3 if len(leaves) > 3 else 0
    compiled, written = full(), full(compile=False)
    assert kinds(compiled.plan) != kinds(written.plan)
    for _ in range(3):
        a = xcnn.Trainer(compiled).step(X, Y)
        b = xcnn.Trainer(written).step(X, Y)
        assert float(a) == float(b)
    np.testing.assert_array_equal(compiled.predict(X), written.predict(X))


def test_the_summary_names_the_runs(compiler, capsys):
    compiler.rule = lambda leaves: 2 if type(leaves[0]) is Conv2D else 0
    assert "runs: Run of Conv2D, ReLU, MaxPool2D (layers[1]), " in str(plain().summary())


def test_the_summary_names_a_run_of_a_single_layer_too(compiler, capsys):
    compiler.rule = lambda leaves: 1 if type(leaves[0]) is Dense else 0
    assert "Run of Dense" in str(plain().summary())


def test_a_backend_without_compiled_runs_runs_the_leaves(backend):
    if type(backend).compile_run is None:
        model = plain(backend=backend)
        assert compile_plan(model.flat, backend, "float32") is model.flat


# Endings


def test_endings_are_known_by_type():
    assert [ending_of(kind()) for kind in (Softmax, LogSoftmax, Sigmoid, ReLU)] == [
        "softmax",
        "log_softmax",
        "sigmoid",
        None,
    ]


@pytest.mark.parametrize(
    ("ending", "loss", "logits", "probabilities"),
    [
        ([], "cross_entropy", True, False),
        ([], "binary_cross_entropy", True, False),
        ([Softmax], "cross_entropy", True, False),
        ([LogSoftmax], "cross_entropy", True, False),
        ([Sigmoid], "binary_cross_entropy", True, False),
        ([Softmax], "binary_cross_entropy", False, True),
        ([Sigmoid], "cross_entropy", False, True),
        ([Softmax], "mse", False, False),
        ([Sigmoid], "mae", False, False),
        ([LogSoftmax], "huber", False, False),
    ],
)
@pytest.mark.parametrize("inside", ["layer", "activation", "sequential"])
def test_what_a_loss_is_computed_on(ending, loss, logits, probabilities, inside):
    last = [Dense(3), *[kind() for kind in ending]]
    if inside == "activation" and ending:
        last = [Dense(3, activation=ending[0]())]
    elif inside == "sequential":
        last = [Sequential(Sequential(*last), Identity())]
    model = xcnn.Model([Flatten(), *last], SHAPE, compile=False)
    layers, found = model.head(xcnn.losses.get(loss))
    assert found is probabilities
    assert kinds(layers) == ["Flatten", "Dense"] + ([] if logits else [ending[0].__name__])


@pytest.mark.parametrize(("ending", "loss"), [(Softmax, "cross_entropy"), (Sigmoid, "binary_cross_entropy")])
def test_a_loss_is_computed_on_what_the_compiled_plan_gives_before_its_link(ending, loss, compiler):
    compiler.rule = len
    model = xcnn.Model([Flatten(), Dense(3), ending()], SHAPE)
    assert kinds(model.plan) == ["Run", ending.__name__]
    layers, found = model.head(xcnn.losses.get(loss))
    assert (kinds(layers), found) == (["Run"], False)
    assert layers[0] is model.plan[0]
    layers, found = model.head(xcnn.losses.MeanSquaredError())
    assert (layers, found) == (model.plan, False)


def test_a_loss_on_probabilities_is_computed_on_the_whole_compiled_plan(compiler):
    compiler.rule = len
    model = xcnn.Model([Flatten(), Dense(3), Softmax()], SHAPE)
    layers, found = model.head(xcnn.losses.BinaryCrossEntropy())
    assert (layers, found) == (model.plan, True)


@pytest.mark.parametrize("layer", [LogSoftmax(), Dense(3, activation="log_softmax")])
def test_log_softmax_with_a_sigmoids_loss_is_refused(layer):
    model = xcnn.Model([Flatten(), Dense(3), layer], SHAPE)
    message = says(
        "Model: the model ends in LogSoftmax; binary_cross_entropy needs logits, Sigmoid or Softmax"
    )
    for attempt in (
        lambda: xcnn.Trainer(model, loss="binary_cross_entropy"),
        lambda: model.fit(X, Y, loss="binary_cross_entropy"),
        lambda: model.evaluate(X, Y, loss="binary_cross_entropy"),
    ):
        with pytest.raises(OptionError, match=message):
            attempt()


def test_a_pool_at_the_end_is_no_ending():
    model = xcnn.Model([MaxPool2D(8), Flatten()], SHAPE)
    assert model.head(xcnn.losses.CrossEntropy())[0] is model.plan
