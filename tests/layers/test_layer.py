"""The contract of a layer: what the frame around forward and backward does, and sharing."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest

import xcnn
from tests.nets import assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn.errors import Error
from xcnn.layer import watch
from xcnn.layers import Conv2D, Dense, Flatten, Layer, ReLU, Sequential, Sum

X, Y = stripes()


@dataclass(eq=False)
class Seen(Layer):
    """Pass x on, and remember what the frame made of the arguments."""

    def forward(self, x, /, *, train=False, hold=None):
        self.given = train, hold
        return x, None

    def backward(self, dy, saved, /, *, need_dx=True):
        self.got = saved, need_dx
        return dy


def seen(**options):
    layer = Seen()
    result = layer.forward(X, **options)
    return layer, result


def test_true_arrives_as_a_pass():
    layer, _ = seen(train=True)
    train, hold = layer.given
    assert (train.seed, train.step, hold) == (0, 0, True)


def test_a_pass_arrives_as_it_is():
    given = xcnn.Pass(4, 5)
    layer, _ = seen(train=given)
    assert layer.given == (given, True)


def test_evaluation_arrives_as_false_and_holds_nothing_unless_asked():
    layer, (_, saved) = seen()
    assert layer.given == (False, False)
    assert saved is None
    layer, (_, saved) = seen(hold=True)
    assert layer.given == (False, True)
    assert saved is not None


@pytest.mark.parametrize("train", [None, 1, "yes", np.bool_(True)])
def test_what_is_neither_a_bool_nor_a_pass_is_refused(train):
    with pytest.raises(Error, match=says("Seen", "train is", "needed False, True or a Pass")):
        seen(train=train)


def test_backward_of_nothing_is_refused():
    layer, (y, saved) = seen()
    with pytest.raises(Error, match=says("Seen: backward got None", "train=True", "hold=True")):
        layer.backward(y, saved)


def test_a_layer_that_saves_nothing_can_still_go_backward():
    layer, (y, saved) = seen(train=True)
    assert layer.backward(y, saved, need_dx=False) is y
    assert layer.got == ((), False)


def test_a_layer_of_ones_own_inherits_the_options():
    layer = Seen(name="mine", trainable=False, optimizer=None)
    assert layer.label == "Seen 'mine'"
    assert repr(layer) == "Seen(name='mine', trainable=False, optimizer=None)"


def test_layers_are_compared_by_identity():
    assert ReLU() != ReLU()
    assert len({ReLU(), ReLU()}) == 2


def test_a_layer_that_is_not_built_says_so():
    for layer in (Conv2D(2, 3), Dense(2)):
        with pytest.raises(Error, match=says(type(layer).__name__, "not built", "Model")):
            layer.forward(X)


def test_every_layer_is_watched_inner_ones_first():
    model = xcnn.Model([Sum(ReLU(), Sequential(ReLU(name="in"))), Flatten()], X.shape[1:])
    told = []
    with watch(lambda layer, half, a: told.append((type(layer).__name__, half))):
        y, saved = model.layers.forward(X, train=True)
        model.layers.backward(y, saved)
    names = ["ReLU", "ReLU", "Sequential", "Sum", "Flatten", "Sequential"]
    assert told[:6] == [(name, "forward") for name in names]
    assert told[6:] == [
        (name, "backward") for name in ("Flatten", "ReLU", "ReLU", "Sequential", "Sum", "Sequential")
    ]


# Forward is a function of its arguments and the State alone


def test_a_parameter_changed_between_two_predicts_is_seen(backend):
    model = plain(backend=backend)
    first = model.predict(X)
    for p in model.parameters().values():
        old = p.value
        p.value = old + 1.0
        changed = model.predict(X)
        assert (changed != first).any()
        p.value = old
        np.testing.assert_array_equal(model.predict(X), first)


def test_a_parameter_changed_between_forward_and_backward_does_not_change_the_gradient(backend):
    model = plain(backend=backend)
    x = model.accept(X)

    def gradients(change):
        y, saved = model.forward(x, train=True)
        if change:
            for p in model.parameters().values():
                p.value = p.value * 3.0
        model.backward(y, saved)
        return backend.to_numpy(model.state.take_gradient())

    want = gradients(False)
    np.testing.assert_array_equal(gradients(True), want)


def test_a_statistic_changed_between_two_predicts_is_seen(backend):
    model = full(backend=backend)
    first = model.predict(X)
    model.layers[1].mean.value = np.ones(4)
    assert (model.predict(X) != first).any()


def test_four_threads_that_predict_give_what_one_gives(backend):
    model = full(backend=backend)
    inputs = [stripes(seed=i)[0] for i in range(4)]
    want = [model.predict(x) for x in inputs]
    found = [[] for _ in inputs]

    def work(i):
        for _ in range(8):
            found[i].append(model.predict(inputs[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ys, y in zip(found, want, strict=True):
        assert len(ys) == 8
        for got in ys:
            np.testing.assert_array_equal(got, y)


# Sharing


def shared(backend="numpy", **options):
    """Return a model in which one layer stands twice, and the layer."""
    layer = Conv2D(2, 3, padding="same", activation="tanh")
    layers = [Conv2D(2, 1), layer, ReLU(), layer, Flatten(), Dense(3)]
    return xcnn.Model(layers, (1, 8, 8), backend=backend, dtype="float64", **options), layer


def apart(backend="numpy", **options):
    """Return the same model with two layers of equal values instead, and both."""
    two = [Conv2D(2, 3, padding="same", activation="tanh") for _ in range(2)]
    layers = [Conv2D(2, 1), two[0], ReLU(), two[1], Flatten(), Dense(3)]
    model = xcnn.Model(layers, (1, 8, 8), backend=backend, dtype="float64", **options)
    values = host(shared()[0])
    for name, p in model.parameters().items():
        p.value = values[name.replace("layers[3]", "layers[1]")]
    return model, two


def test_a_shared_layer_sums_its_gradients(backend):
    (one, layer), (two, (a, b)) = shared(backend), apart(backend)
    y, saved = one.forward(one.accept(X), train=True)
    z, saved_too = two.forward(two.accept(X), train=True)
    y, z = backend.to_numpy(y), backend.to_numpy(z)
    # a compiled run ends before the first layer that stands twice: the two add up in different orders
    np.testing.assert_allclose(y, z, rtol=0, atol=16 * np.finfo("float64").eps * np.max(np.abs(z)))
    dy = backend.asarray(z)
    one.backward(dy, saved)
    two.backward(dy, saved_too)
    for key in ("w", "b"):
        want = backend.to_numpy(getattr(b, key).gradient) + backend.to_numpy(getattr(a, key).gradient)
        np.testing.assert_allclose(backend.to_numpy(getattr(layer, key).gradient), want, rtol=1e-12)


def test_a_shared_layer_sums_its_gradients_to_the_last_bit_where_no_run_is_compiled(backend):
    (one, layer), (two, (a, b)) = shared(backend, compile=False), apart(backend, compile=False)
    y, saved = one.forward(one.accept(X), train=True)
    z, saved_too = two.forward(two.accept(X), train=True)
    np.testing.assert_array_equal(backend.to_numpy(y), backend.to_numpy(z))
    one.backward(y, saved)
    two.backward(z, saved_too)
    for key in ("w", "b"):
        want = backend.to_numpy(getattr(b, key).gradient) + backend.to_numpy(getattr(a, key).gradient)
        np.testing.assert_array_equal(backend.to_numpy(getattr(layer, key).gradient), want)


def test_a_shared_layer_is_counted_once():
    model, _ = shared()
    assert list(model.parameters()) == [f"layers[{i}].{k}" for i in (0, 1, 5) for k in "wb"]
    assert model.state.size == sum(p.size for p in model.parameters().values())
    assert [type(one).__name__ for one in model.walk()].count("Conv2D") == 2


def test_a_shared_layer_is_stepped_once():
    model, layer = shared()
    x = model.accept(X)
    labels = np.zeros(len(X), "int64")
    before = layer.w.value.copy()
    z, saved = model.forward(x, train=True)
    _, of_loss = xcnn.losses.CrossEntropy()(z, labels)
    model.backward(of_loss.backward(1.0)[0], saved)
    dw = layer.w.gradient
    model.state.take_gradient()
    xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.5)).step(X, labels)
    np.testing.assert_allclose(layer.w.value, before - 0.5 * dw, rtol=1e-12)


def test_a_shared_layer_is_saved_once(tmp_path, backend):
    model, _ = shared(backend)
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn", backend=backend)
    assert again.layers[1] is again.layers[3]
    assert_same(host(again), host(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_shared_activation_and_a_shared_block_work():
    act, block = ReLU(), Sequential(Dense(4), ReLU())
    model = xcnn.Model([Dense(4, activation=act), block, Sum(block, act)], (4,), dtype="float64")
    assert len(model.parameters()) == 4
    assert xcnn.gradcheck(model, np.random.default_rng(0).normal(size=(3, 4))) < 1e-6


def test_a_model_with_a_shared_layer_passes_gradcheck(backend):
    model, _ = shared(backend)
    assert xcnn.gradcheck(model, backend.asarray(X[:2].astype("float64"))) < 1e-6
