"""One step at a time."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED, USABLE
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn import optim
from xcnn.backend import backend_of
from xcnn.errors import OptionError, ShapeError
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Flatten, Sequential

X, Y = stripes()


def losses(trainer, steps, batch=16):
    """Return the losses of `steps` steps over the batches in turn."""
    starts = [(i * batch) % len(X) for i in range(steps)]
    return [float(trainer.step(X[s : s + batch], Y[s : s + batch])) for s in starts]


def test_a_step_returns_the_loss_before_it_as_an_array_of_the_backend(backend):
    model = plain(backend=backend)
    want = model.evaluate(X, Y)["loss"]
    loss = xcnn.Trainer(model).step(X, Y)
    assert loss.shape == ()
    assert backend_of(loss) is backend
    assert float(loss) == pytest.approx(want, rel=1e-5)


def test_steps_make_the_loss_small(backend):
    found = losses(xcnn.Trainer(full(backend=backend), optimizer=optim.Adam(0.01)), 30)
    assert np.mean(found[-5:]) < 0.3 * np.mean(found[:5])


@pytest.mark.parametrize("kind", TESTED)
def test_a_step_takes_arrays_of_any_backend_and_lists(kind, backend):
    there = xcnn.get_backend(kind)
    want = float(xcnn.Trainer(plain(backend=backend)).step(X, Y))
    assert float(xcnn.Trainer(plain(backend=backend)).step(there.asarray(X), there.asarray(Y))) == want
    assert float(xcnn.Trainer(plain(backend=backend)).step(X.tolist(), Y.tolist())) == want


def test_a_step_is_gradient_descent(backend, torch):
    """One step of SGD on a net of every sort of parameter, against autograd."""
    layers = [Conv2D(4, 3, padding=1, activation="tanh"), BatchNorm2D(), Flatten(), Dense(3)]
    model = xcnn.Model(layers, SHAPE, backend=backend, dtype="float64")
    before = host(model)
    loss = float(xcnn.Trainer(model, optimizer=optim.SGD(0.5)).step(X, Y))
    t = {
        name: torch.tensor(a, requires_grad=True) for name, a in before.items() if name in model.parameters()
    }
    f = torch.nn.functional
    z = torch.tanh(
        f.conv2d(torch.tensor(X, dtype=torch.float64), t["layers[0].w"], t["layers[0].b"], padding=1)
    )
    z = f.batch_norm(z, None, None, t["layers[1].w"], t["layers[1].b"], training=True)
    want = f.cross_entropy(f.linear(z.flatten(1), t["layers[3].w"], t["layers[3].b"]), torch.tensor(Y))
    want.backward()
    assert loss == pytest.approx(want.item(), rel=1e-10)
    after = host(model)
    for name, a in t.items():
        assert_close(after[name], before[name] - 0.5 * a.grad.numpy(), "float64", name)


def test_many_steps_are_pytorchs(backend, torch):
    """Twenty steps of AdamW with clipping, through convolution, pooling and dense."""
    model = plain(backend=backend, dtype="float64")
    conv, linear = torch.nn.Conv2d(1, 4, 3, dtype=torch.float64), torch.nn.Linear(36, 3, dtype=torch.float64)
    with torch.no_grad():
        for twin, layer in ((conv, model.layers[0]), (linear, model.layers[3])):
            twin.weight[:] = torch.tensor(backend.to_numpy(layer.w.value))
            twin.bias[:] = torch.tensor(backend.to_numpy(layer.b.value))
    weights, biases = [conv.weight, linear.weight], [conv.bias, linear.bias]
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    trainer = xcnn.Trainer(model, optimizer=optim.AdamW(0.01, weight_decay=0.1, clip_norm=0.5))
    for i in range(20):
        rows = slice(16 * i % 48, 16 * i % 48 + 16)
        x, y = torch.tensor(X[rows], dtype=torch.float64), torch.tensor(Y[rows])
        theirs.zero_grad()
        z = linear(torch.nn.functional.max_pool2d(torch.relu(conv(x)), 2).flatten(1))
        loss = torch.nn.functional.cross_entropy(z, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*weights, *biases], 0.5)
        theirs.step()
        assert float(trainer.step(X[rows], Y[rows])) == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(host(model)["layers[0].w"], conv.weight.detach().numpy(), rtol=1e-4, atol=1e-6)


# Moving in the middle


@pytest.mark.parametrize("target", [*TESTED, *(["strict:device1"] if "strict" in USABLE else [])])
@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
def test_training_goes_on_after_a_move(target, optimizer, backend):
    moved = full(backend=backend, dtype="float64")
    trainer = xcnn.Trainer(moved, optimizer=optimizer)
    found = losses(trainer, 3)
    moved.to(target)
    found += losses(trainer, 3)
    moved.to(backend)
    found += losses(trainer, 3)
    stayed = losses(xcnn.Trainer(full(backend=backend, dtype="float64"), optimizer=optimizer), 9)
    np.testing.assert_allclose(found, stayed, rtol=1e-9)


def test_training_goes_on_in_another_dtype(backend):
    model = full(backend=backend)
    trainer = xcnn.Trainer(model)
    found = losses(trainer, 3)
    model.to(dtype="float64")
    assert str(trainer.step(X, Y).dtype).endswith("float64")
    assert found[0] == pytest.approx(losses(xcnn.Trainer(full(backend=backend)), 1)[0])


# Optimizers of layers, frozen layers


def deltas(model, **options):
    """Return how much each parameter changes in one step."""
    before = host(model)
    xcnn.Trainer(model, **options).step(X, Y)
    return {name: a - before[name] for name, a in host(model).items() if name in model.parameters()}


def net(**options):
    """Return a model of three layers, each given the options of its number."""
    given = [options.get(f"_{i}", {}) for i in range(3)]
    layers = [Flatten(), Dense(6, **given[0]), Sequential(Dense(5, **given[1])), Dense(3, **given[2])]
    return xcnn.Model(layers, SHAPE, dtype="float64")


def test_a_layer_may_have_its_own_optimizer():
    want, got = (
        deltas(net(), optimizer=optim.SGD(1.0)),
        deltas(net(_1={"optimizer": optim.SGD(0.1)}), optimizer=optim.SGD(1.0)),
    )
    for name, change in want.items():
        factor = 0.1 if name.startswith("layers[2]") else 1.0
        np.testing.assert_allclose(got[name], factor * change, rtol=1e-9, atol=1e-15)


def test_optimizers_with_unlike_slots_live_side_by_side(backend):
    """Each layer's trajectory is the one that its optimizer alone gives, for the same gradients."""
    own = {"_0": {"optimizer": optim.Adam(0.01)}, "_2": {"optimizer": optim.SGD(0.1, momentum=0.9)}}
    model = net(**own).to(backend)
    trainer = xcnn.Trainer(model, optimizer=optim.SGD(0.05))
    losses(trainer, 5)
    assert [type(s.optimizer).__name__ for s in trainer.segments] == ["Adam", "SGD", "SGD"] * 2
    again = net(**own)
    losses(xcnn.Trainer(again, optimizer=optim.SGD(0.05)), 5)
    for name, a in host(again).items():
        np.testing.assert_allclose(host(model)[name], a, rtol=1e-9, atol=1e-12)


def test_a_frozen_layer_stays_and_the_others_learn():
    found = deltas(net(_1={"trainable": False}), optimizer=optim.SGD(1.0))
    assert {name for name, change in found.items() if not change.any()} == {
        "layers[2].layers[0].w",
        "layers[2].layers[0].b",
    }


def test_freezing_an_outer_layer_freezes_those_inside():
    inner = Dense(5)
    model = xcnn.Model([Flatten(), Sequential(inner, trainable=False), Dense(3)], SHAPE)
    assert not deltas(model)["layers[1].layers[0].w"].any()


def test_an_outer_layers_optimizer_is_that_of_those_inside():
    layers = [
        Flatten(),
        Sequential(Dense(5), Dense(4, optimizer=optim.SGD(0.5)), optimizer=optim.SGD(0.25)),
        Dense(3),
    ]
    model = xcnn.Model(layers, SHAPE)
    trainer = xcnn.Trainer(model, optimizer=optim.SGD(1.0))
    assert [s.optimizer.lr for s in trainer.segments] == [0.25, 0.5, 1.0] * 2


def test_neighbours_that_are_updated_alike_are_one_segment():
    assert len(xcnn.Trainer(full()).segments) == 1
    assert [s.weights for s in xcnn.Trainer(full(), optimizer="adamw").segments] == [True, False]
    assert len(xcnn.Trainer(full(), optimizer=optim.Adam(l2=0.0)).segments) == 1
    same = net(_0={"optimizer": optim.Adam()}, _1={"optimizer": optim.Adam()})
    assert len(xcnn.Trainer(same, optimizer=optim.Adam()).segments) == 1


def test_freezing_and_thawing_takes_effect_with_the_next_trainer():
    model = net()
    model.layers[1].trainable = False
    assert not deltas(model)["layers[1].w"].any()
    model.layers[1].trainable = True
    assert deltas(model)["layers[1].w"].any()


def test_a_layers_optimizer_may_be_a_name():
    trainer = xcnn.Trainer(net(_1={"optimizer": "sgd"}))
    assert trainer.segments[1].optimizer == optim.SGD()


def test_an_unknown_optimizer_of_a_layer_is_refused():
    with pytest.raises(OptionError, match=says("unknown optimizer 'sdg'; did you mean 'sgd'?")):
        xcnn.Trainer(net(_1={"optimizer": "sdg"}))


# State


def test_a_new_trainer_starts_anew():
    model = plain()
    first = xcnn.Trainer(model, optimizer=optim.Adam(0.0))
    losses(first, 3)
    assert any(backend_of(a).xp.any(a != 0) for a in model.state.arrays.slots)
    second = xcnn.Trainer(model, optimizer=optim.SGD(momentum=0.9))
    assert (first.t, second.t) == (3, 0)
    assert len(model.state.arrays.slots) == 1
    assert not model.state.arrays.slots[0].any()


def test_a_trainer_whose_state_another_one_replaced_says_so():
    model = plain()
    first = xcnn.Trainer(model, optimizer="adam")
    first.step(X, Y)
    model.fit(X, Y, optimizer="sgd")
    with pytest.raises(xcnn.Error, match=says("Trainer")):
        first.step(X, Y)


def test_the_model_knows_what_it_was_trained_with():
    model = plain()
    assert model.loss is None
    xcnn.Trainer(model, loss="binary_cross_entropy")
    assert model.loss == xcnn.losses.BinaryCrossEntropy()


def test_a_step_writes_no_array_in_place(backend):
    model = full(backend=backend)
    trainer = xcnn.Trainer(model, optimizer=optim.Adam(clip_norm=1.0, l2=0.1))
    arrays = model.state.arrays
    flat = (arrays.values, *arrays.slots, *arrays.buffers)
    copies = [backend.to_numpy(a).copy() for a in flat]
    x, y = backend.asarray(X), backend.asarray(Y)
    trainer.step(x, y)
    for a, copy in zip((*flat, x, y), (*copies, X, Y), strict=True):
        np.testing.assert_array_equal(backend.to_numpy(a), copy)
    assert all(
        a is not b for a, b in zip(flat, (model.state.arrays.values, *model.state.arrays.slots), strict=False)
    )


def test_the_pure_step_is_a_function_of_its_arguments(backend):
    model = full(backend=backend)
    trainer = xcnn.Trainer(model, optimizer="adam")
    x, y = model.accept(X), trainer.loss.accept(Y, len(X), (3,), backend, "float32")
    scalars = 1, [s.optimizer.scalars(1) for s in trainer.segments]
    arrays = model.state.arrays
    first, loss, z = trainer.pure_step(arrays, x, y, scalars)
    losses(trainer, 2)
    second, again, z_too = trainer.pure_step(arrays, x, y, scalars)
    assert float(loss) == float(again)
    for a, b in zip(
        (first.values, *first.slots, *first.buffers, z),
        (second.values, *second.slots, *second.buffers, z_too),
        strict=True,
    ):
        np.testing.assert_array_equal(backend.to_numpy(a), backend.to_numpy(b))


def test_a_failed_step_leaves_everything(backend):
    model = full(backend=backend)
    trainer = xcnn.Trainer(model)
    trainer.step(X, Y)
    before = model.state.arrays
    with pytest.raises(ShapeError):
        trainer.step(X[:, :, :7], Y)
    with pytest.raises(xcnn.Error):
        trainer.step(X, Y[:-1])
    with pytest.raises(xcnn.Error):
        trainer.step(X, Y + 5)
    assert model.state.arrays is before
    assert all(p.gradient is None for p in model.parameters().values())


def test_the_first_layer_is_not_asked_for_dx(monkeypatch):
    """The first of the plan: a compiled run where there is one."""
    asked = []
    model = plain()
    kind = type(model.plan[0])
    original = kind.backward

    def backward(self, dy, saved, /, *, need_dx=True):
        asked.append(need_dx)
        return original(self, dy, saved, need_dx=need_dx)

    monkeypatch.setattr(kind, "backward", backward)
    xcnn.Trainer(model).step(X, Y)
    assert asked == [False]


def test_two_trainings_are_bit_identical(backend):
    models = [full(backend=backend) for _ in range(2)]
    found = [losses(xcnn.Trainer(m, optimizer="adam", seed=3), 6) for m in models]
    assert found[0] == found[1]
    assert_same(host(models[0]), host(models[1]))


def test_the_seed_decides_dropout():
    assert losses(xcnn.Trainer(full(), seed=1), 2) != losses(xcnn.Trainer(full(), seed=2), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adm"}, "unknown optimizer 'adm'"),
        ({"loss": "entropy"}, "unknown loss 'entropy'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"steps_per_epoch": 0}, "steps_per_epoch is 0"),
    ],
)
def test_a_wrong_option_is_refused_at_once(options, message):
    with pytest.raises(OptionError, match=says(message)):
        xcnn.Trainer(plain(), **options)
