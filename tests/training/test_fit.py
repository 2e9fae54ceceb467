"""The loop: data, validation, history, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn.data import Loader, RandomShift, Split
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError
from xcnn.layers import Conv2D

X, Y = stripes()
HOT = np.eye(3)[Y]
ADAM = xcnn.optim.Adam(0.01)


def test_a_small_net_learns_the_stripes(backend):
    model = full(backend=backend)
    history = model.fit(X, Y, epochs=8, batch_size=8, optimizer=ADAM)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    x, y = stripes(90, seed=1)
    assert model.evaluate(x, y)["accuracy"] > 0.9


def test_the_history_has_a_number_per_epoch_and_name():
    history = plain().fit(X, Y, epochs=3, validation=stripes(9, 1))
    assert list(history) == ["loss", "accuracy", "learning_rate", "val_loss", "val_accuracy"]
    assert {len(numbers) for numbers in history.values()} == {3}
    assert {type(v) for numbers in history.values() for v in numbers} == {float}
    assert history["learning_rate"] == [0.001] * 3
    assert (history.epochs, history.interrupted) == (3, False)


def test_the_loss_of_an_epoch_is_the_mean_over_its_images():
    """A ragged last batch counts with its size."""
    model = plain()
    z = model.predict(X)
    each = np.log(np.exp(z).sum(1)) - z[np.arange(48), Y]
    history = model.fit(X, Y, batch_size=20, shuffle=False, optimizer=xcnn.optim.SGD(0.0))
    assert history["loss"] == [pytest.approx(each.mean(), rel=1e-5)]
    assert history["accuracy"] == [pytest.approx((z.argmax(1) == Y).mean())]


def test_every_image_is_seen_once_in_an_epoch_in_the_published_order():
    from xcnn.random import permutation

    seen = []

    def write_down(x, *, seed, epoch, index):
        seen.append((epoch, index.tolist()))
        return x

    plain().fit(X, Y, epochs=2, batch_size=20, augment=write_down, seed=5)
    for epoch in (0, 1):
        order = [i for e, index in seen if e == epoch for i in index]
        assert order == permutation(48, seed=5, step=epoch).tolist()


def test_fit_is_a_loop_over_the_trainers_step(backend):
    fitted, stepped = full(backend=backend), full(backend=backend)
    history = fitted.fit(X, Y, epochs=2, batch_size=20, optimizer=ADAM, seed=3)
    trainer = xcnn.Trainer(stepped, optimizer=ADAM, seed=3)
    loader = Loader(X, Y, batch_size=20, seed=3)
    for epoch in range(2):
        total = sum(float(trainer.step(x, y)) * len(x) for x, y in loader.epoch(epoch))
        assert history["loss"][epoch] == pytest.approx(total / 48)
    assert_same(host(fitted), host(stepped))


def test_two_runs_are_bit_identical(backend):
    options = {"epochs": 2, "batch_size": 20, "optimizer": "adam", "seed": 7, "validation": 0.25}
    a, b = full(backend=backend), full(backend=backend)
    assert a.fit(X, Y, **options) == b.fit(X, Y, **options)
    assert_same(host(a), host(b))


def test_another_seed_gives_another_run():
    assert plain().fit(X, Y, batch_size=8, seed=1) != plain().fit(X, Y, batch_size=8, seed=2)


def test_no_epochs_change_nothing():
    model = full()
    before = host(model)
    history = model.fit(X, Y, epochs=0)
    assert history == {}
    assert_same(host(model), before)


def test_a_batch_larger_than_the_data_is_the_data():
    assert plain().fit(X, Y, batch_size=1000) == plain().fit(X, Y, batch_size=48)


def test_one_image_can_be_learned(backend):
    history = plain(backend=backend).fit(X[:1], Y[:1], epochs=3, optimizer=ADAM)
    assert history["loss"][2] < history["loss"][0]


def test_a_loader_brings_labels_batches_and_order():
    loader = Loader(X, Y, batch_size=20, seed=3)
    assert plain().fit(loader, epochs=2) == plain().fit(X, Y, epochs=2, batch_size=20, seed=3)


def test_augmentation_is_applied_and_repeatable():
    options = {"epochs": 2, "augment": RandomShift(2), "seed": 1}
    a, b, c = plain(), plain(), plain()
    assert a.fit(X, Y, **options) == b.fit(X, Y, **options)
    assert a.fit(X, Y, **options) != c.fit(X, Y, epochs=2, seed=1)


def test_memory_maps_and_read_only_arrays_are_accepted(tmp_path):
    np.save(tmp_path / "x.npy", X)
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    frozen = X.copy()
    frozen.flags.writeable = False
    want = plain().fit(X, Y, validation=0.25)
    assert plain().fit(stored, Y, validation=0.25) == want
    assert plain().fit(frozen, Y, validation=0.25) == want


class Rows:
    """What has a length and rows, like an HDF5 data set."""

    def __init__(self, a):
        self._a, self.shape, self.dtype = a, a.shape, a.dtype

    def __len__(self):
        return len(self._a)

    def __getitem__(self, key):
        return self._a[key]


def test_anything_with_rows_can_be_trained_evaluated_and_predicted():
    model, twin = plain(), plain()
    assert model.fit(Rows(X), Y) == twin.fit(X, Y)
    assert model.evaluate(Rows(X), Y, batch_size=20) == twin.evaluate(X, Y, batch_size=20)
    np.testing.assert_array_equal(model.predict(Rows(X), batch_size=20), twin.predict(X, batch_size=20))


# Validation


def test_validation_data_are_measured_after_each_epoch(backend):
    model = full(backend=backend)
    x, y = stripes(30, seed=1)
    history = model.fit(X, Y, epochs=2, validation=(x, y))
    last = model.evaluate(x, y)
    assert history["val_loss"][-1] == pytest.approx(last["loss"])
    assert history["val_accuracy"][-1] == pytest.approx(last["accuracy"])


def test_a_validation_fraction_is_split_off_class_by_class():
    seen = []

    def write_down(x, *, seed, epoch, index):
        seen.extend(index)
        return x

    from xcnn.data import split

    train, held = split(X, Y, 0.25, seed=3)
    model = plain()
    history = model.fit(X, Y, validation=0.25, augment=write_down, seed=3)
    assert len(seen) == 36
    assert np.bincount(held.y).tolist() == [4, 4, 4]
    assert history["val_loss"] == [pytest.approx(model.evaluate(held.x, held.y)["loss"])]
    assert plain().fit(X, Y, validation=0.25, seed=3) == plain().fit(
        train.x, train.y, validation=held, seed=3
    )


def test_validation_may_be_a_split_or_lists():
    x, y = stripes(9, 1)
    want = plain().fit(X, Y, validation=(x, y))
    assert plain().fit(X, Y, validation=Split(x, y)) == want
    assert plain().fit(X, Y, validation=[x.tolist(), y.tolist()]) == want


@pytest.mark.parametrize("validation", [0.0, 1.0, -0.5, 1.5, 2, True, "0.2", (X,), (X, Y, Y), X])
def test_what_is_no_validation_is_refused_before_the_first_step(validation):
    model = plain()
    before = host(model)
    with pytest.raises(xcnn.Error, match=says("needed")):
        model.fit(X, Y, validation=validation)
    assert_same(host(model), before)


def test_validation_data_that_do_not_fit_are_refused_before_the_first_step():
    model = plain()
    before = host(model)
    for x, y, error in (
        (X[:, :, :7], Y, ShapeError),
        (X, Y[:-1], ShapeError),
        (X, Y + 1, DataError),
        (X[:0], Y[:0], DataError),
    ):
        with pytest.raises(error):
            model.fit(X, Y, validation=(x, y))
        assert_same(host(model), before)


# Bad input


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X, Y[:-1], (DataError, ShapeError), "47"),
        (X, None, DataError, "fit: there are no labels; needed fit(x, y) or fit(loader)"),
        (X, Y + 1, DataError, "labels reach from 1 to 3; the model's 3 outputs need 0 to 2"),
        (X, Y - 1, DataError, "labels reach from -1 to 1"),
        (X, Y + 0.0, ShapeError, "and dtype float64; needed integers (N,) or (N, 3)"),
        (X, Y.astype(str), DTypeError, "labels have dtype <U"),
        (X[:0], Y[:0], DataError, "x is empty, its shape (0, 1, 8, 8)"),
        (X[:, 0], Y, ShapeError, "Model: x has shape (1, 8, 8)"),
        (X.astype(int), Y, DTypeError, "x has dtype int64; needed a floating dtype, or uint8 images"),
        (3.0, Y, xcnn.Error, "needed"),
        (None, Y, xcnn.Error, "needed"),
        (X, 3, xcnn.Error, "needed"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_the_first_step(x, y, error, message):
    model = plain()
    before = host(model)
    with pytest.raises(error, match=says(message)):
        model.fit(x, y, batch_size=8)
    assert_same(host(model), before)


def test_a_wrong_label_in_the_last_batch_is_refused_before_the_first_step():
    model = plain()
    before = host(model)
    y = Y.copy()
    y[-1] = 3
    with pytest.raises(DataError, match=says("labels reach from", "to 3; the model's 3 outputs need 0 to 2")):
        model.fit(X, y, batch_size=8, shuffle=False)
    assert_same(host(model), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs is -1; needed an integer of at least 0"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": 0}, "batch_size is 0; needed an integer of at least 1"),
        ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean 'adam'?"),
        ({"loss": "entropy"}, "unknown loss 'entropy'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'"),
        ({"metrics": ["acc"]}, "unknown metric 'acc'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
    ],
)
def test_a_wrong_option_is_refused_before_the_first_step(options, message):
    model = full()
    before = host(model)
    with pytest.raises(OptionError, match=says(message)):
        model.fit(X, Y, **options)
    assert_same(host(model), before)


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match="epoch"):
        plain().fit(X, Y, epoch=3)


def test_an_augmentation_of_ones_own_needs_numpy_arrays(backend):
    if backend.name != "numpy":
        with pytest.raises(DTypeError, match=says("augmentation needs a NumPy array")):
            plain().fit(backend.asarray(X), backend.asarray(Y), augment=lambda x, **_: x)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_an_autoencoder_learns_its_input(activation, backend):
    """Pixels are the labels: accuracy counts those on the right side of 1/2."""
    layer = Conv2D(1, 3, padding="same", activation=activation)
    model = xcnn.Model([layer], X.shape[1:], seed=0, backend=backend)
    loss, adam = "binary_cross_entropy", xcnn.optim.Adam(0.1)
    history = model.fit(X, X, loss=loss, epochs=3, batch_size=8, optimizer=adam, validation=(X, X))
    right = (model.predict_proba(X) > 0.5) == (X > 0.5)
    assert history["val_accuracy"][-1] == pytest.approx(right.mean(), abs=1e-6)
    assert 0.5 < right.mean() < 1
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert model.evaluate(X, X)["accuracy"] == pytest.approx(right.mean(), abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"y": np.full(48, 9)},
        {"validation": (X, np.full(48, 9))},
        {"metrics": ["nonsense"]},
        {"callbacks": [3]},
        {"optimizer": "nonsense"},
        {"schedule": "nonsense"},
    ],
    ids=str,
)
def test_what_is_refused_leaves_the_model_as_it_was(options):
    model = plain()
    model.fit(X, Y)
    loss, before = model.loss, model.state.arrays
    labels = options.get("y", Y)
    more = {name: value for name, value in options.items() if name != "y"}
    with pytest.raises(xcnn.Error):
        model.fit(X, labels, loss=xcnn.losses.CrossEntropy(label_smoothing=0.1), **more)
    assert model.loss is loss
    assert model.state.arrays is before
