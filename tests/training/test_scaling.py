"""Loss scaling: a step that overflows in float16 is skipped whole, and the next one scales by half."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.nets import full, host, plain, stripes
from tests.ops.checks import says
from xcnn import optim
from xcnn.errors import NonFiniteError
from xcnn.layers import Conv2D, Dense, Flatten, Layer
from xcnn.training import scaling

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's about what is provoked here
X, Y = stripes(24)
SGD = optim.SGD(1e-3, momentum=0.9)


@pytest.fixture(params=[name for name in TESTED if name != "python"])  # which is too slow
def backend(request):
    return xcnn.get_backend(request.param)


class Amplify(Layer):
    """Pass x on and multiply gradients: `factor` times as much arrives before it."""

    factor = 1.0

    def forward(self, x, /, *, train=False, hold=None):
        return x, ()

    def backward(self, dy, saved, /, *, need_dx=True):
        return dy * self.factor


def amplified(backend):
    """Return a model whose gradients can be made large, and the layer that does it."""
    amplify = Amplify()
    layers = [Conv2D(4, 3, padding="same"), xcnn.layers.BatchNorm2D(), Flatten(), Dense(8), amplify, Dense(3)]
    return xcnn.Model(layers, (1, 8, 8), backend=backend, precision="float16"), amplify


def numbers(model):
    """Return all numbers that a step may change but the scale."""
    arrays, read = model.state.arrays, model.backend.to_numpy
    return [np.array(read(a)) for a in (arrays.values, *arrays.slots, *arrays.buffers)]


def scale(model):
    """Return the scale and the good steps with it."""
    return tuple(float(a) for a in model.state.arrays.scaling)


def set_scale(model, value, good=0):
    pair = model.backend.asarray(value, "float32"), model.backend.asarray(good, "int32")
    model.state.arrays = model.state.arrays._replace(scaling=pair)


def test_the_scale_begins_as_pytorchs_and_counts_good_steps(backend):
    model = plain(backend=backend, precision="float16")
    trainer = xcnn.Trainer(model, optimizer=SGD)
    for _ in range(3):
        assert np.isfinite(float(trainer.step(X, Y)))
    assert scale(model) == (65536.0, 3.0)
    names = [str(a.dtype).rpartition(".")[2] for a in model.state.arrays.scaling]
    assert names == ["float32", "int32"]
    assert all(a.shape == () for a in model.state.arrays.scaling)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_other_precisions_scale_nothing(precision, backend):
    model = plain(backend=backend, precision=precision)
    xcnn.Trainer(model).step(X, Y)
    assert model.state.arrays.scaling == ()


def test_the_loss_that_is_told_is_not_scaled(backend):
    losses = {}
    for precision in ("float32", "float16"):
        trainer = xcnn.Trainer(plain(backend=backend, precision=precision), optimizer=SGD)
        losses[precision] = [float(trainer.step(X, Y)) for _ in range(4)]
    np.testing.assert_allclose(losses["float16"], losses["float32"], rtol=5e-3)


def test_an_overflowing_step_is_skipped_whole(backend):
    """Values, slots and running statistics stay; the scale is halved, the step counted, training goes on."""
    model, _ = amplified(backend)
    trainer = xcnn.Trainer(model, optimizer=SGD)
    trainer.step(X, Y)
    before = numbers(model)
    set_scale(model, 2.0**40, 7)
    for k in (1, 2, 3):
        assert np.isfinite(float(trainer.step(X, Y)))
        assert scale(model) == (2.0 ** (40 - k), 0.0)
        assert trainer.t == 1 + k
        for a, b in zip(numbers(model), before, strict=True):
            np.testing.assert_array_equal(a, b)
    assert all(p.gradient is None for p in model.parameters().values())
    set_scale(model, 8192.0)
    trainer.step(X, Y)
    assert scale(model) == (8192.0, 1.0)
    assert not any(np.array_equal(a, b) for a, b in zip(numbers(model), before, strict=True))


def test_a_scale_that_is_too_large_finds_its_way_down(backend):
    model = plain(backend=backend, precision="float16")
    trainer = xcnn.Trainer(model, optimizer=SGD)
    trainer.step(X, Y)
    set_scale(model, 2.0**24)
    before, tried = host(model), 0
    while all(np.array_equal(a, before[name]) for name, a in host(model).items()):
        assert np.isfinite(float(trainer.step(X, Y)))
        tried += 1
    assert 1 < tried < 15
    assert scale(model) == (2.0 ** (25 - tried), 1.0)


def test_the_scale_doubles_after_the_interval(backend):
    model = plain(backend=backend, precision="float16")
    trainer = xcnn.Trainer(model, optimizer=optim.SGD(1e-4))
    trainer.step(X, Y)
    set_scale(model, 256.0, scaling.PATIENCE - 2)
    trainer.step(X, Y)
    assert scale(model) == (256.0, scaling.PATIENCE - 1)
    trainer.step(X, Y)
    assert scale(model) == (512.0, 0.0)


def test_the_scale_has_ends(backend):
    one, many = backend.asarray(1.0, "float32"), backend.asarray(scaling.PATIENCE, "int32")
    most = backend.asarray(scaling.MOST, "float32")
    yes, no = backend.asarray(True), backend.asarray(False)
    assert [float(a) for a in scaling.next_scaling((one, many), no)] == [1.0, 0.0]
    assert [float(a) for a in scaling.next_scaling((most, many), yes)] == [scaling.MOST, 0.0]


def test_at_scale_one_the_step_is_refused(backend):
    model, amplify = amplified(backend)
    amplify.factor = 1e9
    trainer = xcnn.Trainer(model, optimizer=SGD)
    trainer.step(X, Y)
    set_scale(model, 2.0, 5)
    assert np.isfinite(float(trainer.step(X, Y)))
    assert scale(model) == (1.0, 0.0)
    before = numbers(model)
    assert np.isnan(float(trainer.step(X, Y)))
    assert scale(model) == (1.0, 0.0)
    for a, b in zip(numbers(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_error_names_the_layer(backend):
    """At the end of the scale; of the layers that see the gradient, the first in which it overflows."""
    model, amplify = amplified(backend)
    amplify.factor = 1e9
    with pytest.raises(NonFiniteError, match=says("Dense (layers[3])", "step 17 was not applied")):
        model.fit(X, Y, epochs=20, batch_size=24, optimizer=SGD)
    assert scale(model) == (1.0, 0.0)


def test_a_loss_that_is_not_finite_is_refused_at_once(backend):
    """No scale would help; it stays, too."""
    model = plain(backend=backend, precision="float16")
    trainer = xcnn.Trainer(model, optimizer=SGD)
    trainer.step(X, Y)
    before = numbers(model)
    assert np.isnan(float(trainer.step(X * np.float32(1e8), Y)))
    assert scale(model) == (65536.0, 1.0)
    for a, b in zip(numbers(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_scaling_keeps_gradients_that_would_vanish(backend):
    """Gradients of 1e-9 are zero in float16; times 65536 they aren't."""
    moved = {}
    for value in (1.0, 65536.0):
        model, amplify = amplified(backend)
        amplify.factor = 1e-7
        trainer = xcnn.Trainer(model, optimizer=optim.SGD(1.0))
        trainer.step(X, Y)
        set_scale(model, value)
        before = host(model)["layers[3].w"]
        trainer.step(X, Y)
        moved[value] = np.count_nonzero(host(model)["layers[3].b"])
        assert host(model)["layers[3].w"].shape == before.shape
    assert moved[65536.0] == 8
    model, amplify = amplified(backend)
    amplify.factor = 1e-7
    head, _ = model.head(xcnn.losses.CrossEntropy())
    y, saved = head.forward(model.accept(X), train=True)
    head.backward(y * 1e-2, saved)
    assert not np.any(model.backend.to_numpy(model.parameters()["layers[3].w"].gradient))


@pytest.mark.parametrize("there", ["numpy", "strict", "torch"])
def test_a_trainer_goes_on_with_its_scale_when_the_model_moves(there, backend):
    if there not in xcnn.available_backends():
        pytest.skip(f"{there} is not usable here")
    model, amplify = amplified(backend)
    trainer = xcnn.Trainer(model, optimizer=SGD)
    amplify.factor = 65536.0
    trainer.step(X, Y)
    amplify.factor = 1.0
    trainer.step(X, Y)
    assert scale(model) == (32768.0, 1.0)
    model.to(there)
    assert scale(model) == (32768.0, 1.0)
    trainer.step(X, Y)
    assert scale(model) == (32768.0, 2.0)
    model.to(precision="bfloat16")
    trainer.step(X, Y)
    assert model.state.arrays.scaling == ()
    model.to(precision="float16")
    trainer.step(X, Y)
    assert scale(model) == (65536.0, 1.0)


def test_a_new_trainer_begins_anew(backend):
    model = plain(backend=backend, precision="float16")
    xcnn.Trainer(model).step(X, Y)
    xcnn.Trainer(model).step(X, Y)
    assert scale(model) == (65536.0, 1.0)


def test_clipping_sees_gradients_that_are_not_scaled(backend):
    found = {}
    for precision in ("float32", "float16"):
        model = plain(backend=backend, precision=precision, seed=4)
        before = host(model)
        xcnn.Trainer(model, optimizer=optim.SGD(1.0, clip_norm=0.01)).step(X, Y)
        found[precision] = np.sqrt(sum(np.sum((a - before[name]) ** 2) for name, a in host(model).items()))
    assert found["float16"] == pytest.approx(found["float32"], rel=1e-3)
    assert found["float32"] == pytest.approx(0.01, rel=1e-3)


def test_everything_trains_in_float16(backend):
    model = full(backend=backend, precision="float16")
    history = model.fit(X, Y, epochs=6, batch_size=8, optimizer=optim.Adam(0.01, clip_norm=1.0))
    assert history["loss"][-1] < history["loss"][0]
    assert scale(model)[1] > 0
