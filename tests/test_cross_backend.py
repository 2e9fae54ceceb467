"""One configuration on every backend: the same start, order and losses; and no mixing inside."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED, USABLE
from tests.nets import assert_same, full, host, plain, stripes
from tests.ops.checks import says
from tests.tolerances import LOSSES
from xcnn import optim
from xcnn.errors import DeviceMismatchError, DTypeError
from xcnn.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Gate,
    GroupNorm,
    LayerNorm,
    Normalize,
    ReLU,
    Sequential,
    Sum,
    UntiedBias,
)

X, Y = stripes()
others = pytest.mark.parametrize("other", [name for name in TESTED if name != "numpy"])


def first_losses(backend, dtype, optimizer, steps=20):
    """Return a model's first losses, on the shuffled batches of `fit`, and the labels of each batch."""
    model = full(backend=backend, dtype=dtype, seed=4)
    trainer = xcnn.Trainer(model, optimizer=optimizer, seed=4)
    loader = xcnn.data.Loader(model.backend.asarray(X), model.backend.asarray(Y), batch_size=16, seed=4)
    losses, order, epoch = [], [], 0
    while len(losses) < steps:
        for x, y in loader.epoch(epoch):
            order.append(model.backend.to_numpy(y).tolist())
            losses.append(float(trainer.step(x, y)))
        epoch += 1
    return losses[:steps], order[:steps]


@others
@pytest.mark.parametrize(
    "optimizer", [optim.SGD(0.1), optim.Adam(0.01, clip_norm=1.0), optim.AdamW(0.01, l1=1e-4)]
)
def test_the_first_twenty_losses_agree(other, optimizer, dtype):
    (want, order), (got, other_order) = (first_losses(name, dtype, optimizer) for name in ("numpy", other))
    assert order == other_order
    np.testing.assert_allclose(got, want, rtol=LOSSES[dtype])
    assert want[-1] < want[0]


@others
def test_fit_agrees(other, dtype):
    options = {"epochs": 3, "batch_size": 20, "seed": 2, "validation": 0.25, "schedule": "one_cycle"}
    want = full(dtype=dtype).fit(X, Y, **options)
    got = full(dtype=dtype, backend=other).fit(X, Y, **options)
    assert list(got) == list(want)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=LOSSES[dtype], err_msg=name)


@others
def test_every_backend_starts_from_the_same_values(other, dtype):
    assert_same(host(full(backend=other, dtype=dtype, seed=9)), host(full(dtype=dtype, seed=9)))


@others
def test_dropout_draws_the_same_masks_in_training(other):
    from xcnn.layers import Dropout

    outputs = []
    for name in ("numpy", other):
        model = xcnn.Model([Dropout(0.5), Dropout(0.3)], X.shape[1:], backend=name)
        for step in range(3):
            outputs.append(
                model.backend.to_numpy(model.forward(model.accept(X), train=xcnn.Pass(8, step))[0])
            )
    for a, b in zip(outputs[:3], outputs[3:], strict=True):
        np.testing.assert_array_equal(a, b)


# Mixing


PAIRS = [(a, b) for a in TESTED for b in TESTED if a != b]
if "strict" in USABLE:
    PAIRS += [
        ("strict", "strict:device1"),
        ("strict:device1", "strict"),
        ("strict:device1", "strict:device2"),
    ]


LAYERS = {
    "Conv2D": lambda: Conv2D(2, 1),
    "Dense": lambda: Dense(2),
    "UntiedBias": UntiedBias,
    "BatchNorm2D": BatchNorm2D,
    "GroupNorm": lambda: GroupNorm(1),
    "LayerNorm": LayerNorm,
    "Normalize": lambda: Normalize(0.5, 0.5),
    "Sum": lambda: Sum(ReLU(), BatchNorm2D()),
    "Concat": lambda: Concat(ReLU(), BatchNorm2D()),
    "Gate": lambda: Gate(BatchNorm2D()),
    "Sequential": lambda: Sequential(ReLU(), BatchNorm2D()),
}


@pytest.mark.parametrize(("home", "away"), PAIRS)
@pytest.mark.parametrize("name", LAYERS)
def test_an_array_of_another_device_is_refused_by_the_first_layer_that_meets_it(name, home, away):
    shape = (3,) if name == "Dense" else (3, 2, 2)
    layer = LAYERS[name]()
    model = xcnn.Model([layer], shape, backend=home)
    x = xcnn.get_backend(away).asarray(np.ones((2, *shape)), "float32")
    meets = "BatchNorm2D" if layer.children() else name
    message = says(
        f"{meets} (layers[0]", home, away, "needed one device", f'model.to("{xcnn.get_backend(away).name}")'
    )
    for options in ({}, {"train": True}):
        with pytest.raises(DeviceMismatchError, match=message):
            model.forward(x, **options)


@pytest.mark.parametrize(("home", "away"), PAIRS)
def test_a_gradient_of_another_device_is_refused(home, away):
    model = plain(backend=home)
    y, saved = model.forward(model.accept(X), train=True)
    dy = xcnn.get_backend(away).asarray(np.ones(y.shape), "float32")
    with pytest.raises(DeviceMismatchError, match=says("Dense (layers[3])", home, away)):
        model.backward(dy, saved)
    assert all(p.gradient is None for p in model.parameters().values())


@pytest.mark.parametrize(("home", "away"), PAIRS)
def test_labels_of_another_device_are_refused_by_a_loss(home, away):
    z = xcnn.get_backend(home).asarray(np.ones((3, 4)))
    labels = xcnn.get_backend(away).asarray([0, 1, 2])
    with pytest.raises(DeviceMismatchError, match=says("cross_entropy", home, away)):
        xcnn.losses.CrossEntropy()(z, labels)


def test_a_gradient_of_another_shape_is_refused(backend):
    model = plain(backend=backend)
    _, saved = model.forward(model.accept(X), train=True)
    dy = backend.asarray(np.ones((len(X), 4)), "float32")
    with pytest.raises(xcnn.ShapeError, match=says("Dense (layers[3])", "(48, 4)", "(48, 3)")):
        model.backward(dy, saved)


def test_another_dtype_inside_is_refused(backend):
    model = plain(backend=backend)
    with pytest.raises(DTypeError, match=says("Conv2D (layers[0])", "float64", "float32")):
        model.forward(backend.asarray(X, "float64"))
    y, saved = model.forward(model.accept(X), train=True)
    with pytest.raises(DTypeError, match=says("Dense (layers[3])", "float64", "float32")):
        model.backward(backend.asarray(np.ones(y.shape)), saved)


@pytest.mark.parametrize(("home", "away"), PAIRS)
def test_the_line_that_an_error_names_mends_it(home, away):
    model = plain(backend=home)
    x = xcnn.get_backend(away).asarray(X)
    with pytest.raises(DeviceMismatchError) as caught:
        model.forward(x)
    line = str(caught.value).rpartition("with ")[2]
    assert line == f'model.to("{xcnn.get_backend(away).name}")'
    eval(line, {"model": model})
    model.forward(x)
