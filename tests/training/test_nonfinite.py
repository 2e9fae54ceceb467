"""NaN and infinity: the step is not applied, and the place where they came from is named."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn import optim
from xcnn.errors import NonFiniteError
from xcnn.layers import Conv2D, Dense, Flatten, Layer, ReLU, Sequential

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's about what is provoked here
X, Y = stripes()
SGD = optim.SGD(0.1, momentum=0.9)


def poisoned(value=np.nan):
    x = X.copy()
    x[20, 0, 3, 3] = value
    return x


def refuses(model, x=X, y=Y, **options):
    """Fit, and return the error."""
    with pytest.raises(NonFiniteError) as caught:
        model.fit(x, y, **{"optimizer": SGD, "batch_size": 48, "shuffle": False, **options})
    return caught.value


def everything(model):
    """Return all numbers of the State."""
    arrays = model.state.arrays
    return [model.backend.to_numpy(a).copy() for a in (arrays.values, *arrays.slots, *arrays.buffers)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_step_on_a_bad_image_changes_nothing_and_its_loss_is_nan(value, backend):
    model = full(backend=backend)
    trainer = xcnn.Trainer(model, optimizer=SGD)
    trainer.step(X, Y)
    before = everything(model)
    assert np.isnan(float(trainer.step(poisoned(value), Y)))
    for a, b in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(p.gradient is None for p in model.parameters().values())
    assert np.isfinite(float(trainer.step(X, Y)))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"])
def test_every_optimizer_refuses_the_step(optimizer, backend):
    model = plain(backend=backend)
    trainer = xcnn.Trainer(model, optimizer=optimizer)
    before = everything(model)
    trainer.step(poisoned(), Y)
    for a, b in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_in_an_image_is_named(backend):
    error = refuses(full(backend=backend), poisoned())
    assert str(error) == (
        "the input: step 1 was not applied: NaN or infinity first appeared here: "
        "image 20 of the batch already holds NaN or infinity"
    )


def test_training_stops_and_the_error_holds_the_history(backend):
    model = full(backend=backend)
    seen = []

    def spoil(epoch, logs):
        seen.append(epoch)
        if epoch == 1:
            model.layers[3].b.value = [0, np.nan, 0, 0]

    error = refuses(model, epochs=5, callbacks=[spoil])
    assert seen == [0, 1]
    assert len(error.history["loss"]) == 2
    assert error.history["loss"][1] < error.history["loss"][0]
    assert isinstance(error, ArithmeticError)


def test_a_parameter_that_is_nan_is_traced_to_its_layer(backend):
    model = full(backend=backend)
    w = host(model)["layers[3].w"]
    w[1, 2, 0, 0] = np.nan
    model.layers[3].w.value = w
    before = everything(model)
    error = refuses(model)
    assert str(error).startswith("Conv2D (layers[3]): step 1 was not applied: ")
    assert "its output is not finite for finite inputs" in str(error)
    for a, b in zip(everything(model)[0:1], before[0:1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("number", "label"), [(0, "Conv2D (layers[0])"), (6, "Dense (layers[6])"), (7, "Dense (layers[7])")]
)
def test_a_layer_is_named_with_and_without_an_activation(number, label, backend):
    model = full(backend=backend)
    w = host(model)[f"layers[{number}].w"]
    w[0] = np.inf
    model.layers[number].w.value = w
    assert refuses(model).where == label


def test_a_layer_inside_others_is_named_by_its_place(backend):
    layers = [Flatten(), Sequential(Dense(4), Dense(5, name="bad", activation="relu")), Dense(3)]
    model = xcnn.Model(layers, SHAPE, backend=backend)
    layers[1][1].b.value = [0, 0, np.inf, 0, 0]
    assert str(refuses(model)).startswith("Dense 'bad' (layers[1].layers[1]): ")


def test_an_infinite_loss_is_named(backend):
    model = xcnn.Model([Flatten(), Dense(1)], SHAPE, backend=backend)
    before = everything(model)
    error = refuses(model, y=np.full((48, 1), 3e38), loss="mse")
    assert str(error).startswith("loss mse: ")
    assert "not finite" in str(error)
    np.testing.assert_array_equal(everything(model)[0], before[0])


def test_labels_that_are_nan_are_named(backend):
    y = np.eye(3)[Y]
    y[5, 1] = np.nan
    model = plain(backend=backend)
    with pytest.raises(xcnn.Error, match=says("label")):
        model.fit(X, y, batch_size=48)


def test_an_infinite_gradient_of_a_finite_loss_is_named(backend):
    model = xcnn.Model([Dense(1, bias=False)], (1,), backend=backend)
    model.layers[0].w.value = [[1e-20]]
    error = refuses(model, np.full((4, 1), 1e30), np.zeros((4, 1)), loss="mse")
    assert str(error).startswith("Dense (layers[0]): ")
    assert "the gradient of layers[0].w is not finite" in str(error)


class Breaks(Layer):
    """Pass x on; hand a gradient back that is infinite."""

    def forward(self, x, /, *, train=False, hold=None):
        return x, ()

    def backward(self, dy, saved, /, *, need_dx=True):
        return dy + float("inf")


def test_a_layer_that_hands_back_an_infinite_gradient_is_named(backend):
    model = xcnn.Model([Conv2D(2, 3), Breaks(), ReLU(), Flatten(), Dense(3)], SHAPE, backend=backend)
    error = refuses(model)
    assert str(error).startswith("Breaks (layers[1]): ")
    assert "the gradient that it hands back is not finite" in str(error)


def test_a_learning_rate_that_is_far_too_large_is_noticed(backend):
    model = plain(backend=backend)
    error = refuses(model, loss="mse", y=np.eye(3)[Y], optimizer=optim.SGD(1e9), epochs=50, batch_size=8)
    assert np.isfinite(np.concatenate([a.ravel() for a in host(model).values()])).all()
    assert error.where


def test_the_search_changes_nothing(backend):
    model = full(backend=backend)
    trainer = xcnn.Trainer(model, optimizer=SGD)
    from xcnn.training.nonfinite import find_nonfinite

    x = backend.asarray(poisoned())
    before = model.state.arrays
    find_nonfinite(trainer, x, trainer.loss.accept(Y, 48, (3,), backend, "float32"), 1)
    assert model.state.arrays is before
    assert all(p.gradient is None for p in model.parameters().values())


def test_a_refused_step_that_is_found_at_ctrl_c_holds_the_history_too(backend, monkeypatch):
    done = []
    original = xcnn.Trainer.advance

    def advance(self, x, y, /):
        if len(done) == 20:
            raise KeyboardInterrupt
        done.append(original(self, x, y))
        return done[-1]

    monkeypatch.setattr(xcnn.Trainer, "advance", advance)
    x = X.copy()
    x[35, 0, 3, 3] = np.nan  # step 18: a device has not told by step 20
    error = refuses(plain(backend=backend), x, batch_size=2)
    assert "step 18 was not applied" in str(error)
    assert error.history is not None


def test_labels_of_a_device_that_are_out_of_range_are_named(backend):
    loader = xcnn.data.Loader(backend.asarray(X), backend.asarray(Y + 5), batch_size=48)
    with pytest.raises(xcnn.Error, match=says("labels reach from 5 to 7")):
        plain(backend=backend).fit(loader)


def test_early_stopping_gives_back_the_best_values_after_the_error():
    model, kept = full(), []

    def spoil(epoch, logs):
        kept.append(host(model))
        if epoch == 1:
            model.layers[3].b.value = [0, np.nan, 0, 0]

    stopping = xcnn.callbacks.EarlyStopping("loss")
    refuses(model, epochs=5, callbacks=[stopping, spoil])
    assert_same(host(model), kept[stopping.best_epoch])


def test_a_bad_batch_among_good_ones_is_found_on_every_backend(backend):
    """On a device losses are read in bunches: the batch is found all the same."""
    model = plain(backend=backend)
    error = refuses(model, poisoned(), batch_size=1, optimizer=optim.SGD(0.01))
    assert "step 21 was not applied" in str(error)
    assert error.where == "the input"


def test_no_step_after_a_refused_one_is_applied_on_a_host(backend):
    """A device works ahead of the host, which sees a refused step up to 15 steps later."""
    if not backend.host:
        return
    model, want = plain(backend=backend), plain(backend=backend)
    refuses(model, poisoned(), batch_size=1, optimizer=optim.SGD(0.01))
    trainer = xcnn.Trainer(want, optimizer=optim.SGD(0.01))
    for i in range(20):
        trainer.step(X[i : i + 1], Y[i : i + 1])
    assert_same(host(model), host(want))
