"""What a run leaves behind: results are copies, forwards know nothing of each other, a repeat is a repeat."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import xcnn
from tests.kernels.nets import NETS, block, body
from tests.kernels.truth import draw, fill, results
from xcnn.layers import (
    Conv2D,
    Dense,
    Flatten,
    Identity,
    MaxPool2D,
    Normalize,
    ReLU,
    Sum,
)

every_net = pytest.mark.parametrize("name", NETS)


def net(**options):
    """Return a model with everything that a run keeps: statistics, indices, a residual."""
    layers = [
        *(Normalize((0.1, 0.2), (0.9, 1.1)), block(6), MaxPool2D(2), Sum(Identity(), body(6)), ReLU()),
        *(Conv2D(4, 3, activation="relu"), Flatten(), Dense(3)),
    ]
    return xcnn.Model(layers, (2, 10, 10), **options)


def prepared(n=17, **options):
    """Return the model, its numbers and a draw."""
    model = net(**options)
    given = draw(model, n)
    return fill(model, given), given


def images(n, seed, shape=(2, 10, 10)):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype("float32")


def gradients(model):
    return np.array(model.state.take_gradient())


# Repeats


@every_net
def test_the_same_again_is_bit_identical(name):
    shape, make = NETS[name]
    one, two = xcnn.Model(make(), shape), xcnn.Model(make(), shape)
    given = draw(one, 19)
    want = results(one, given)
    for found in (results(one, given), results(two, given)):
        for key, a in want.items():
            np.testing.assert_array_equal(found[key], a, err_msg=key)


def test_two_trainings_are_bit_identical():
    x, y = images(70, 0), np.arange(70) % 3
    models = [net(), net()]
    losses = [model.fit(x, y, epochs=2, batch_size=16, seed=1)["loss"] for model in models]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(models[0].state.arrays.values, models[1].state.arrays.values)


# Leases and copies


def test_outputs_do_not_change_when_another_forward_runs():
    model, given = prepared()
    first, saved = model.forward(given.x, train=True)
    predicted = model.predict(given.x)
    kept = first.copy(), predicted.copy()
    dx = model.backward(given.dy, saved)
    g = model.state.take_gradient()
    more = dx.copy(), g.copy()
    del saved
    gc.collect()
    for seed in range(3):
        _, saved = model.forward(images(17, seed), train=True)
        model.backward(given.dy * 2, saved)
        model.predict(images(17, seed))
        del saved
    for a, b in zip((first, predicted, dx, g), (*kept, *more), strict=True):
        np.testing.assert_array_equal(a, b)


def test_large_outputs_do_not_share_the_memory_of_those_still_held():
    model = xcnn.Model([Conv2D(8, 3, padding=1)], (1, 16, 16))
    held = [model.predict(np.full((32, 1, 16, 16), k, "float32")) for k in range(6)]
    want = [a.copy() for a in held]
    views = [a[3:5] for a in held]
    del held
    gc.collect()
    for k in range(6, 12):
        model.predict(np.full((32, 1, 16, 16), k, "float32"))
    for view, a in zip(views, want, strict=True):
        np.testing.assert_array_equal(view, a[3:5])


def test_inputs_and_dy_are_not_written():
    model, given = prepared()
    x, dy = given.x.copy(), given.dy.copy()
    x.flags.writeable = dy.flags.writeable = False
    _, saved = model.forward(x, train=True)
    model.backward(dy, saved)
    np.testing.assert_array_equal(x, given.x)
    np.testing.assert_array_equal(dy, given.dy)


def test_inputs_of_any_memory_order_give_the_same():
    model, given = prepared()
    want = model.predict(given.x)
    last = np.ascontiguousarray(given.x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    twice = np.repeat(given.x, 2, axis=3)[..., ::2]
    for x in (last, twice, given.x[::-1][::-1], np.asfortranarray(given.x)):
        np.testing.assert_array_equal(model.predict(x), want)
    _, saved = model.forward(last, train=True)
    fortran = model.backward(np.asfortranarray(given.dy), saved)
    fill(model, given)
    _, saved = model.forward(given.x, train=True)
    np.testing.assert_array_equal(model.backward(given.dy, saved), fortran)


def test_two_forwards_before_two_backwards_give_what_one_after_the_other_gives():
    model, given = prepared()
    inputs = [given.x, images(17, 5), images(9, 6)]
    dys = [given.dy, given.dy[::-1].copy(), given.dy[:9]]
    want = []
    for x, dy in zip(inputs, dys, strict=True):
        _, saved = model.forward(x, train=True)
        want.append((model.backward(dy, saved), gradients(model)))
    for order in ((0, 1, 2), (2, 1, 0)):
        held = [model.forward(x, train=True)[1] for x in inputs]
        for k in order:
            np.testing.assert_array_equal(model.backward(dys[k], held[k]), want[k][0])
            np.testing.assert_array_equal(gradients(model), want[k][1])


def test_backward_twice_gives_the_same():
    model, given = prepared()
    _, saved = model.forward(given.x, train=True)
    first = model.backward(given.dy, saved), gradients(model)
    model.backward(-given.dy, saved, need_dx=False)
    model.state.drop_gradient()
    again = model.backward(given.dy, saved), gradients(model)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_two_backwards_add_up():
    model, given = prepared()
    _, saved = model.forward(given.x, train=True)
    model.backward(given.dy, saved)
    one = gradients(model)
    model.backward(given.dy, saved)
    model.backward(given.dy, saved)
    np.testing.assert_array_equal(gradients(model), one + one)


def test_gradients_of_a_held_evaluation_and_of_a_training_pass_add_up():
    """The first runs the layers, the second the run: they hand over different ranges."""
    found = []
    for compile in (True, False):
        model, given = prepared(compile=compile)
        _, held = model.forward(given.x, hold=True)
        _, saved = model.forward(given.x, train=True)
        model.backward(given.dy, held)
        model.backward(given.dy, saved)
        both = {name: p.gradient for name, p in model.parameters().items()}
        assert all(g is not None for g in both.values())
        found.append((both, gradients(model)))
    scale = np.max(np.abs(found[1][1]))
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-5 * scale)
    for name, g in found[1][0].items():
        np.testing.assert_allclose(found[0][0][name], g, rtol=1e-4, atol=1e-5 * scale, err_msg=name)


def test_backward_uses_the_parameters_that_forward_used():
    model, given = prepared()
    _, saved = model.forward(given.x, train=True)
    want = model.backward(given.dy, saved), gradients(model)
    fill(model, given)
    _, saved = model.forward(given.x, train=True)
    for p in model.parameters().values():
        p.value = p.value * 3.0 + 1.0
    model.predict(given.x)
    np.testing.assert_array_equal(model.backward(given.dy, saved), want[0])
    np.testing.assert_array_equal(gradients(model), want[1])


# What changes between two predicts


def test_every_parameter_and_statistic_that_changes_changes_the_next_predict():
    model, given = prepared()
    plain, _ = prepared(compile=False)
    first = model.predict(given.x)
    rng = np.random.default_rng(1)
    holders = {**model.parameters(), **model.buffers()}
    for name, holder in {**plain.parameters(), **plain.buffers()}.items():
        old = holder.value
        new = old * rng.uniform(0.5, 1.5, old.shape).astype("float32") + np.float32(0.2)
        holder.value = holders[name].value = new
        changed = model.predict(given.x)
        assert (changed != first).any(), name
        want = plain.predict(given.x)
        np.testing.assert_allclose(changed, want, rtol=1e-4, atol=1e-5 * np.max(np.abs(want)), err_msg=name)
        holder.value = holders[name].value = old
        np.testing.assert_array_equal(model.predict(given.x), first, err_msg=name)


def test_predict_after_a_training_step_uses_the_new_values_and_statistics():
    model, given = prepared()
    labels = np.arange(17) % 3
    model.predict(given.x)
    trainer = xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.1))
    for _ in range(3):
        trainer.step(given.x, labels)
        with xcnn.readable():
            want = model.predict(given.x)
        np.testing.assert_allclose(model.predict(given.x), want, rtol=1e-4, atol=1e-5 * np.max(np.abs(want)))


def test_a_forward_in_training_alone_moves_the_statistics_that_predict_uses():
    model, given = prepared()
    first = model.predict(given.x)
    model.forward(given.x, train=True)
    with xcnn.readable():
        want = model.predict(given.x)
    assert (model.predict(given.x) != first).any()
    np.testing.assert_allclose(model.predict(given.x), want, rtol=1e-4, atol=1e-5 * np.max(np.abs(want)))


# Batches


def test_the_size_of_the_batch_may_change_every_time():
    model, given = prepared(64)
    want = model.predict(given.x)
    plain, _ = prepared(64, compile=False)
    for n in (64, 1, 17, 63, 2, 33, 16, 15, 64, 5, 48, 1):
        got = fill(model, given).predict(given.x[:n])
        np.testing.assert_allclose(got, want[:n], rtol=1e-4, atol=1e-5 * np.max(np.abs(want)))
        grads = []
        for m in (model, fill(plain, given)):
            _, saved = m.forward(given.x[:n], train=True)
            m.backward(given.dy[:n], saved)
            grads.append(gradients(m))
        np.testing.assert_allclose(*grads, rtol=1e-3, atol=1e-4 * np.max(np.abs(grads[1])))


def test_a_ragged_last_batch_trains_as_the_layers_do():
    x, y = images(43, 0), np.arange(43) % 3
    histories, models = [], []
    for compile in (True, False):
        model = net(dtype="float64", compile=compile)
        histories.append(model.fit(x, y, epochs=2, batch_size=16, seed=1, validation=(x[:21], y[:21])))
        models.append(model)
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(histories[0][key], histories[1][key], rtol=1e-9)
    np.testing.assert_allclose(*[m.state.arrays.values for m in models], rtol=1e-6, atol=1e-9)


def test_what_is_held_in_evaluation_goes_backward_through_the_running_statistics():
    shape, make = NETS["vgg-like"]
    found = []
    for options in ({"compile": False}, {}):
        model = xcnn.Model(make(), shape, **options)
        given = draw(model, 3)
        fill(model, given)
        y, saved = model.forward(given.x, hold=True)
        found.append((model.backward(given.dy, saved), gradients(model), y))
        assert model.forward(given.x)[1] is None
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
