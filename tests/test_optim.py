"""Optimizers: trajectories against torch.optim, penalties, clipping, hyperparameters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.nets import SHAPE, host, plain, stripes
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn import optim
from xcnn.errors import OptionError
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Flatten

RNG = np.random.default_rng(0)
SIZE, STEPS = 30, 50
START = RNG.normal(size=SIZE)
GRADIENTS = RNG.normal(size=(STEPS, SIZE)) * np.logspace(-4, 1, SIZE)  # of very different sizes


def trajectory(optimizer, backend="numpy", dtype="float64", clip=False):
    """Return the values after each of the steps."""
    backend = xcnn.get_backend(backend)
    w = backend.asarray(START, dtype)
    slots = tuple(backend.xp.zeros_like(w) for _ in range(optimizer.slots))
    seen = []
    for t, g in enumerate(GRADIENTS, 1):
        dw = backend.asarray(g, dtype)
        dw = optimizer.clip(dw) if clip else dw
        w, slots = optimizer.apply(w, dw, slots, optimizer.scalars(t), True)
        seen.append(np.array(backend.to_numpy(w)))
    assert seen[-1].dtype == dtype
    return np.stack(seen)


def torchs(torch, kind, *, clip_value=None, clip_norm=None, **options):
    """Return the same from torch.optim."""
    p = torch.nn.Parameter(torch.tensor(START))
    optimizer = getattr(torch.optim, kind)([p], **options)
    seen = []
    for g in GRADIENTS:
        p.grad = torch.tensor(g)
        if clip_value is not None:
            torch.nn.utils.clip_grad_value_([p], clip_value)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([p], clip_norm)
        optimizer.step()
        seen.append(p.detach().numpy().copy())
    return np.stack(seen)


TWINS = [
    (optim.SGD(0.1), "SGD", {"lr": 0.1}),
    (optim.SGD(0.1, momentum=0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD(0.1, 0.8, True), "SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (optim.SGD(0.1, l2=0.3), "SGD", {"lr": 0.1, "weight_decay": 0.3}),
    (
        optim.SGD(0.1, momentum=0.9, nesterov=True, l2=0.3),
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
    ),
    (optim.Adagrad(0.1), "Adagrad", {"lr": 0.1}),
    (optim.Adagrad(0.1, eps=1e-3, l2=0.2), "Adagrad", {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.2}),
    (optim.RMSprop(0.01), "RMSprop", {"lr": 0.01}),
    (optim.RMSprop(0.01, alpha=0.9, eps=1e-4), "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4}),
    (optim.Adam(), "Adam", {}),
    (optim.Adam(0.1, 0.8, 0.95, 1e-5), "Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-5}),
    (optim.Adam(0.1, l2=0.3), "Adam", {"lr": 0.1, "weight_decay": 0.3}),
    (optim.Adam(0.1, beta1=0.0, beta2=0.0), "Adam", {"lr": 0.1, "betas": (0.0, 0.0)}),
    (optim.Adam(0.1, weight_decay=0.3), "AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    (optim.AdamW(0.1), "AdamW", {"lr": 0.1}),
    (optim.AdamW(0.1, weight_decay=0.3), "AdamW", {"lr": 0.1, "weight_decay": 0.3}),
]
twins = pytest.mark.parametrize(
    ("optimizer", "kind", "options"), TWINS, ids=[f"{t[1]}{i}" for i, t in enumerate(TWINS)]
)
each = pytest.mark.parametrize(
    "optimizer", [t[0] for t in TWINS], ids=[f"{t[1]}{i}" for i, t in enumerate(TWINS)]
)


@twins
def test_fifty_steps_equal_pytorchs(optimizer, kind, options, torch):
    want = torchs(torch, kind, **options)
    np.testing.assert_allclose(trajectory(optimizer), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("limit", [0.1, 3.0, 1e3])
@pytest.mark.parametrize("option", ["clip_value", "clip_norm"])
def test_clipped_steps_equal_pytorchs(option, limit, torch):
    ours = trajectory(optim.SGD(0.1, momentum=0.9, **{option: limit}), clip=True)
    want = torchs(torch, "SGD", lr=0.1, momentum=0.9, **{option: limit})
    np.testing.assert_allclose(ours, want, rtol=1e-4, atol=1e-7)  # torch adds 1e-6 to the norm


@each
@pytest.mark.parametrize("other", [name for name in TESTED if name != "numpy"])
def test_fifty_steps_are_the_same_on_every_backend(optimizer, other, dtype):
    want = trajectory(optimizer, dtype=dtype)
    assert_close(trajectory(optimizer, other, dtype), want, dtype, source=START)


def test_decay_is_decoupled():
    """After one step, w = w - lr decay w - lr g, whatever the optimizer makes of g."""
    plain_, decayed = trajectory(optim.Adam(0.1))[0], trajectory(optim.Adam(0.1, weight_decay=0.5))[0]
    np.testing.assert_allclose(decayed, plain_ - 0.1 * 0.5 * START, rtol=1e-12)


def test_l1_adds_the_sign(backend):
    optimizer = optim.SGD(1.0, l1=0.25)
    w = backend.asarray([2.0, -3.0, 0.0])
    new, _ = optimizer.apply(w, backend.xp.zeros_like(w), (), optimizer.scalars(1), True)
    np.testing.assert_array_equal(backend.to_numpy(new), [1.75, -2.75, 0.0])


def test_penalties_and_decay_leave_biases_and_norms_alone():
    optimizer = optim.SGD(1.0, l1=0.1, l2=0.2, weight_decay=0.3)
    layers = [Conv2D(2, 3), BatchNorm2D(), Flatten(), Dense(3)]
    model = xcnn.Model(layers, SHAPE, dtype="float64")
    trainer = xcnn.Trainer(model, optimizer=optimizer)
    state = model.state
    before = host(model)
    zero = np.zeros(state.size)
    scalars = [s.scalars(1, 1.0) for s in trainer.segments]
    from xcnn.training.segments import update_segments

    values, _ = update_segments(trainer.segments, state.arrays.values, zero, (), scalars)
    state.arrays = state.arrays._replace(values=values)
    after = host(model)
    for name, p in model.parameters().items():
        w = before[name]
        want = w * 0.7 - (0.1 * np.sign(w) + 0.2 * w) if p.is_weight else w
        np.testing.assert_allclose(after[name], want, rtol=1e-12)


def test_the_penalty_is_l1_and_half_l2_of_the_weights(backend):
    model = plain(backend=backend, dtype="float64")
    trainer = xcnn.Trainer(model, optimizer=optim.SGD(l1=0.1, l2=0.4))
    w = np.concatenate([host(model)[f"layers[{i}].w"].ravel() for i in (0, 3)])
    assert trainer.penalty() == pytest.approx(0.1 * np.abs(w).sum() + 0.2 * (w**2).sum())
    assert xcnn.Trainer(model).penalty() == 0


def test_the_gradient_of_the_penalty_is_what_is_added():
    optimizer = optim.SGD(1.0, l1=0.3, l2=0.7)
    w, h = START, 1e-6
    new, _ = optimizer.apply(w, np.zeros(SIZE), (), optimizer.scalars(1), True)
    for k in range(3):
        e = h * (np.arange(SIZE) == k)
        slope = (optimizer.penalty(w + e) - optimizer.penalty(w - e)) / (2 * h)
        assert (w - new)[k] == pytest.approx(slope, rel=1e-6)


def test_history_reports_penalties_apart_from_the_loss():
    x, y = stripes()
    with_penalty = plain().fit(x, y, optimizer=optim.SGD(0.0, l2=0.5))
    without = plain().fit(x, y, optimizer=optim.SGD(0.0))
    assert with_penalty["loss"] == without["loss"]
    model = plain()
    assert with_penalty["penalty"] == [
        pytest.approx(xcnn.Trainer(model, optimizer=optim.SGD(l2=0.5)).penalty())
    ]
    assert "penalty" not in without


def test_a_decay_is_no_penalty():
    x, y = stripes()
    assert "penalty" not in plain().fit(x, y, optimizer="adamw")


# Clipping


def test_clipping_by_norm_keeps_the_direction(backend):
    g = backend.asarray([3.0, 4.0])
    np.testing.assert_allclose(backend.to_numpy(optim.SGD(clip_norm=1.0).clip(g)), [0.6, 0.8])
    np.testing.assert_array_equal(backend.to_numpy(optim.SGD(clip_norm=6.0).clip(g)), [3, 4])
    np.testing.assert_array_equal(backend.to_numpy(optim.SGD(clip_value=3.5).clip(g)), [3, 3.5])
    assert optim.SGD().clip(g) is g


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("size", [1e-45, 1e-30, 1e-8, 1e8, 1e20, 3e38])
def test_gradients_of_any_size_are_clipped_to_the_norm(size, backend):
    g = backend.asarray(np.full(16, size), "float32")
    clipped = backend.to_numpy(optim.SGD(clip_norm=1.0).clip(g)).astype("float64")
    assert np.sqrt((clipped**2).sum()) == pytest.approx(min(1.0, 4 * float(np.float32(size))), rel=1e-5)


def test_a_gradient_of_zeros_stays(backend):
    g = backend.asarray(np.zeros(4), "float32")
    np.testing.assert_array_equal(backend.to_numpy(optim.SGD(clip_norm=1.0).clip(g)), 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "options", [{"clip_value": 1.0}, {"clip_norm": 1.0}, {"clip_value": 1.0, "clip_norm": 1.0}]
)
def test_a_gradient_that_is_not_finite_is_not_clipped_into_a_step(bad, options, backend, monkeypatch):
    model = plain(backend=backend)
    x, y = stripes()
    trainer = xcnn.Trainer(model, optimizer=optim.SGD(1.0, **options))
    take = model.state.take_gradient

    def poisoned():
        g = np.array(backend.to_numpy(take()))
        g[3] = bad
        return backend.asarray(g)

    monkeypatch.setattr(model.state, "take_gradient", poisoned)
    before = host(model)
    assert np.isnan(float(trainer.step(x, y)))
    after = host(model)
    assert all((after[name] == a).all() for name, a in before.items())


def test_clipping_looks_at_the_gradient_of_the_whole_model():
    x, y = stripes()
    free, clipped = plain(dtype="float64"), plain(dtype="float64")
    start = host(free)
    xcnn.Trainer(free, optimizer=optim.SGD(1.0)).step(x, y)
    xcnn.Trainer(clipped, optimizer=optim.SGD(1.0, clip_norm=0.01)).step(x, y)
    full = {name: start[name] - a for name, a in host(free).items()}
    norm = np.sqrt(sum((g**2).sum() for g in full.values()))
    assert norm > 0.01
    for name, a in host(clipped).items():
        np.testing.assert_allclose(start[name] - a, full[name] * 0.01 / norm, rtol=1e-9, atol=1e-15)


def test_frozen_layers_do_not_count_in_the_clipped_norm():
    """As with torch.nn.utils.clip_grad_norm_, which sees only what is trained."""
    x, y = stripes()
    models = []
    for clip in (None, 0.01):
        layers = [Conv2D(4, 3, trainable=False), Flatten(), Dense(3)]
        models.append(xcnn.Model(layers, SHAPE, dtype="float64"))
        start = host(models[-1])
        xcnn.Trainer(models[-1], optimizer=optim.SGD(1.0, clip_norm=clip)).step(x, y)
    moved = np.concatenate([(start[name] - a).ravel() for name, a in host(models[1]).items()])
    assert np.sqrt((moved**2).sum()) == pytest.approx(0.01)


# Hyperparameters


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(-0.1), "SGD: lr is -0.1; needed"),
        (lambda: optim.SGD(float("nan")), "SGD: lr is nan; needed"),
        (lambda: optim.SGD(float("inf")), "SGD: lr is inf; needed"),
        (lambda: optim.SGD("0.1"), "SGD: lr is '0.1'; needed"),
        (lambda: optim.SGD(momentum=1.0), "SGD: momentum is 1.0; needed 0 <= value < 1"),
        (
            lambda: optim.SGD(nesterov=True),
            "SGD: nesterov is True and momentum 0; needed a positive momentum",
        ),
        (lambda: optim.Adam(beta1=1.0), "Adam: beta1 is 1.0; needed 0 <= value < 1"),
        (lambda: optim.Adam(beta2=-0.1), "Adam: beta2 is -0.1"),
        (lambda: optim.Adam(eps=0.0), "Adam: eps is 0.0; needed a positive number"),
        (lambda: optim.RMSprop(alpha=1.5), "RMSprop: alpha is 1.5"),
        (lambda: optim.AdamW(weight_decay=-1.0), "AdamW: weight_decay is -1.0; needed no negative number"),
        (lambda: optim.SGD(l1=-1.0), "SGD: l1 is -1.0"),
        (lambda: optim.Adagrad(l2=-1.0), "Adagrad: l2 is -1.0"),
        (lambda: optim.SGD(clip_value=0.0), "SGD: clip_value is 0.0; needed a positive number"),
        (lambda: optim.SGD(clip_norm=-1.0), "SGD: clip_norm is -1.0; needed a positive number"),
        (lambda: optim.SGD(clip_norm=float("nan")), "SGD: clip_norm is nan; needed a positive number"),
    ],
)
def test_an_impossible_hyperparameter_is_refused(make, message):
    with pytest.raises(OptionError, match=says(message)):
        make()


def test_numbers_of_numpy_are_numbers(backend):
    w = backend.asarray([1.0], "float32")
    for lr in (np.float32(0.5), np.float64(0.5), np.array(0.5)):
        new, _ = optim.SGD(lr).apply(w, w, (), optim.SGD(lr).scalars(1), True)
        assert backend.to_numpy(new).tolist() == [0.5]
        assert str(new.dtype).endswith("float32")


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adagrad, optim.RMSprop, optim.Adam, optim.AdamW])
def test_hyperparameters_are_fixed_and_compared(kind):
    optimizer = kind(0.5)
    assert optimizer == kind(0.5)
    assert optimizer != kind(0.25)
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.lr = 0.1


def test_names_give_optimizers_with_their_defaults():
    assert optim.get("sgd") == optim.SGD()
    assert optim.get("momentum") == optim.SGD(momentum=0.9)
    assert optim.get("nesterov") == optim.SGD(momentum=0.9, nesterov=True)
    assert optim.get("adagrad") == optim.Adagrad()
    assert optim.get("rmsprop") == optim.RMSprop()
    assert optim.get("adam") == optim.Adam()
    assert optim.get("adamw") == optim.AdamW(weight_decay=0.01)
    mine = optim.SGD(0.3)
    assert optim.get(mine) is mine


@pytest.mark.parametrize("name", ["adm", "SGDM", "lion", 5, None, ["sgd"], optim.Adam])
def test_an_unknown_optimizer_is_refused(name):
    with pytest.raises(OptionError, match=says(f"unknown optimizer {name!r}")):
        optim.get(name)


def test_a_near_miss_is_suggested():
    with pytest.raises(OptionError, match=says("unknown optimizer 'adm'; did you mean 'adam'?")):
        plain().fit(*stripes(), optimizer="adm")
