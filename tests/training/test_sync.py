"""A step does not wait for a device: no value of an array is read on the host."""

from __future__ import annotations

import pytest

import xcnn
from tests.conftest import USABLE
from tests.nets import full, plain, stripes
from xcnn import optim

pytestmark = pytest.mark.skipif(
    "strict" not in USABLE, reason="needs array-api-strict, whose reads can be forbidden"
)
X, Y = stripes()
READS = ("__float__", "__bool__", "__int__", "__index__", "__complex__", "__array__")


@pytest.fixture
def forbid(monkeypatch):
    """Return a function that makes every read of a value raise from then on."""
    kind = type(xcnn.get_backend("strict").asarray([0.0]))

    def now():
        def read(self, *args, **options):
            pytest.fail("the host read the value of an array")

        for name in READS:
            if hasattr(kind, name):
                monkeypatch.setattr(kind, name, read)

    return now


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.Adam(clip_norm=1.0),
        optim.AdamW(l1=0.1, l2=0.1, clip_value=0.5),
        optim.SGD(momentum=0.9, nesterov=True, clip_norm=1.0),
        optim.RMSprop(),
        optim.Adagrad(),
    ],
)
@pytest.mark.parametrize(
    "loss", ["cross_entropy", xcnn.losses.CrossEntropy(0.1, [1, 2, 3]), "binary_cross_entropy"]
)
def test_a_step_reads_nothing(optimizer, loss, forbid):
    model = full(backend="strict")
    model.layers[6].optimizer = optim.SGD(0.1)
    model.layers[0].trainable = False
    trainer = xcnn.Trainer(
        model, optimizer=optimizer, loss=loss, schedule="cosine", epochs=2, steps_per_epoch=2
    )
    x = model.accept(X)
    y = trainer.loss.accept(Y, len(X), model.output_shape, model.backend, model.dtype)
    trainer.advance(x, y)  # what is made once may be made by reading
    forbid()
    trainer.advance(x, y)
    trainer.advance(x, y)


def test_a_forward_in_evaluation_reads_nothing(forbid):
    model = full(backend="strict")
    x = model.accept(X)
    forbid()
    model.forward(x)


def test_fit_and_its_metrics_read_only_with_the_losses(monkeypatch):
    """Every 16 steps, and at the end of the epoch."""
    kind, steps, read = type(xcnn.get_backend("strict").asarray([0.0])), [0], set()

    def noted(original):
        def reading(self, *args, **options):
            read.add(steps[-1])
            return original(self, *args, **options)

        return reading

    for name in READS:
        if hasattr(kind, name):
            monkeypatch.setattr(kind, name, noted(getattr(kind, name)))

    def advance(self, x, y, original=xcnn.Trainer.advance):
        found = original(self, x, y)
        steps.append(self.t)
        return found

    def spread(z, y):  # a metric that looks at each batch by itself
        return (z - z[:1, ...])[0, 0] + 1.0

    monkeypatch.setattr(xcnn.Trainer, "advance", advance)
    x, y = stripes(40)
    metrics = ["accuracy", "top5_accuracy", spread]
    history = plain(backend="strict").fit(x, y, batch_size=1, metrics=metrics)
    assert history["spread"] == [1.0]
    assert read <= {0, 16, 32, 40}
    assert {16, 32, 40} <= read


def test_reads_are_noticed(forbid):
    a = xcnn.get_backend("strict").asarray(1.0)
    forbid()
    with pytest.raises(pytest.fail.Exception):
        float(a)


def test_a_device_is_read_once_in_a_while_and_a_host_at_every_step(monkeypatch):
    """Of 40 steps, `fit` reads losses in bunches: the device works ahead of the host."""
    told = []

    class Watch(xcnn.callbacks.Callback):
        def on_step_end(self, trainer, loss, images, /):
            told.append(trainer.t)

    x, y = stripes(40)
    full(backend="strict").fit(x, y, batch_size=1, callbacks=[Watch()])
    assert len(told) == 40
    assert len(set(told)) <= 4
    told.clear()
    full(backend="numpy").fit(x, y, batch_size=1, callbacks=[Watch()])
    assert told == list(range(1, 41))
