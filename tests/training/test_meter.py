"""What an epoch measures: the same numbers, however seldom they are looked at."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import full, plain, stripes
from tests.ops.checks import says
from xcnn import metrics
from xcnn.data import Loader
from xcnn.errors import DataError, DTypeError, ShapeError
from xcnn.layers import Conv2D
from xcnn.training.meter import Meter

X, Y = stripes()
HOT = np.eye(3)[Y]
ADAM = xcnn.optim.Adam(0.01)


class Steps(xcnn.callbacks.Callback):
    """Write down what each step tells, and call a function after one of them."""

    def __init__(self, at=None, call=None):
        self.told, self.at, self.call = [], at, call

    def on_step_end(self, trainer, loss, images, /):
        self.told.append((loss, images))
        if len(self.told) == self.at:
            self.call()


def right(sizes):
    """Return a metric that is accuracy and writes down how many images it is given."""

    def found(z, labels):
        sizes.append(z.shape[0])
        return metrics.accuracy(z, labels)

    return found


def test_a_metric_of_each_image_sees_many_steps_at_once_and_any_other_each_step(backend):
    model, joined, single = plain(backend=backend), [], []
    named = {"joined": metrics.per_image(right(joined)), "single": right(single)}
    x, y = stripes(1200)
    history = model.fit(x, y, batch_size=50, metrics=named)
    assert single == [50] * 24
    assert joined == [1050, 150]
    assert history["joined"] == [pytest.approx(history["single"][0], rel=1e-6)]


def test_few_outputs_are_kept_where_they_are_large():
    """Images as outputs: a million numbers at most, and the batch that goes beyond."""
    sizes = []

    @metrics.per_image
    def count(z, labels):
        sizes.append(z.shape[0])
        return 1.0

    model = xcnn.Model([Conv2D(3, 3, padding="same")], (1, 256, 256))
    x, y = np.zeros((11, 1, 256, 256), "float32"), np.zeros((11, 3, 256, 256), "float32")
    assert model.fit(x, y, batch_size=2, loss="mse", metrics=count)["count"] == [1.0]
    assert sizes == [6, 5]


def test_a_look_in_between_changes_no_number(backend):
    found = []
    for looks in (False, True):
        model = plain(backend=backend)
        trainer = xcnn.Trainer(model, optimizer=ADAM)
        meter = Meter(trainer, metrics.get(["accuracy", "mean_absolute_error"]), [], xcnn.History())
        for x, y in Loader(X, HOT.astype("float32"), batch_size=5).epoch(0):
            x, y = backend.asarray(x), backend.asarray(y)
            meter.add(*trainer.advance(x, y), x, y)
            if looks:
                meter.means()
        meter.close()
        found.append(meter.means())
    assert found[0] == found[1]
    assert 0 < found[0]["accuracy"] < 1


def test_a_look_in_between_is_the_mean_so_far_on_a_host():
    model = plain(backend="numpy")
    trainer = xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.0))
    meter = Meter(trainer, metrics.get(None), [], xcnn.History())
    assert meter.means() == {"loss": 0.0, "accuracy": 0.0}
    for stop in (10, 20):
        meter.add(*trainer.advance(X[:10], Y[:10]), X[:10], Y[:10])
        want = model.evaluate(X[:10], Y[:10])
        assert meter.count == stop
        assert meter.means() == {name: pytest.approx(value) for name, value in want.items()}


def test_each_step_tells_its_own_loss(backend):
    """Also on a device, whose losses are read in bunches."""
    steps, stepped = Steps(), full(backend=backend)
    full(backend=backend).fit(X, Y, batch_size=5, epochs=2, optimizer=ADAM, callbacks=steps)
    trainer, loader = xcnn.Trainer(stepped, optimizer=ADAM), Loader(X, Y, batch_size=5)
    want = [(float(trainer.step(x, y)), len(x)) for epoch in (0, 1) for x, y in loader.epoch(epoch)]
    assert steps.told == want
    assert {type(loss) for loss, _ in steps.told} == {float}


def test_a_callback_may_move_the_model_in_the_middle_of_an_epoch(backend):
    moved, stayed = plain(backend=backend), plain(backend=backend, dtype="float64")
    options = {"batch_size": 4, "optimizer": xcnn.optim.SGD(0.0)}
    got = moved.fit(X, Y, callbacks=Steps(2, lambda: moved.to("numpy", dtype="float64")), **options)
    want = stayed.fit(X, Y, **options)
    assert (moved.backend.name, moved.dtype) == ("numpy", "float64")
    for name in want:
        assert got[name] == [pytest.approx(want[name][0], rel=1e-5)]


# Labels


class Mixed(Loader):
    """Serve every other batch with one-hot labels."""

    def epoch(self, number, /):
        for i, (x, y) in enumerate(super().epoch(number)):
            yield x, np.eye(3)[y] if i % 2 else y


def test_a_loader_may_mix_classes_and_one_hot_rows(backend):
    options = {"optimizer": ADAM}
    got = plain(backend=backend).fit(Mixed(X, Y, batch_size=8), **options)
    want = plain(backend=backend).fit(Loader(X, Y, batch_size=8), **options)
    for name in want:
        assert got[name] == [pytest.approx(want[name][0], rel=1e-5)]


class Wrong(Loader):
    """Serve labels that are not the loader's own."""

    def epoch(self, number, /):
        for x, y in super().epoch(number):
            yield x, y + 1


def test_the_labels_of_a_loader_of_ones_own_are_looked_at_in_each_batch(backend):
    with pytest.raises(DataError, match=says("to 3; the model's 3 outputs need 0 to 2")):
        plain(backend=backend).fit(Wrong(X, Y))


def test_labels_in_memory_are_looked_at_once(monkeypatch):
    from xcnn import losses

    checks = []

    def check(labels, *args):
        checks.append(len(labels))

    monkeypatch.setattr(losses, "check_range", check)
    for data in ((X, Y), (X, HOT), (Loader(X, Y, batch_size=5),)):
        plain().fit(*data, batch_size=5, epochs=2)
    assert checks == [48] * 3


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_wrong_label_of_a_loader_is_refused_before_the_first_step(one_hot):
    steps, y = Steps(), HOT.copy() if one_hot else Y.copy()
    y[-1] = 3
    with pytest.raises(DataError, match=says("labels reach from 0 to 3")):
        plain().fit(Loader(X, y, batch_size=8, shuffle=False), callbacks=steps)
    assert steps.told == []


def test_a_loader_without_labels_is_refused():
    with pytest.raises(DTypeError, match=says("NoneType; needed an array")):
        plain().fit(Loader(X))


def test_augmentation_that_drops_images_is_refused():
    with pytest.raises(ShapeError, match=says("labels have shape (8,) for 7 images")):
        plain().fit(X, Y, batch_size=8, augment=lambda x, **_: x[1:])


@pytest.mark.parametrize("kind", ["uint8", ">i4", "bool"])
def test_labels_that_were_looked_at_once_still_become_int64(kind):
    y = (Y > 0).astype(kind)
    assert plain().fit(X, y) == plain().fit(X, y.astype("int64"))
