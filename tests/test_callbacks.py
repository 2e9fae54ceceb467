"""Callbacks: when they are called, and what each does."""

from __future__ import annotations

import json

import numpy as np
import pytest

import xcnn
from tests.nets import assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn import callbacks as c
from xcnn.errors import FileError, OptionError

X, Y = stripes()
SGD = xcnn.optim.SGD


class Told(c.Callback):
    """Write down what is called."""

    def __init__(self, calls, name=""):
        self.calls, self.name = calls, name

    def on_train_begin(self, trainer, history, /):
        self.calls.append((self.name, "train begin", dict(history)))

    def on_epoch_begin(self, trainer, epoch, /):
        self.calls.append((self.name, "epoch begin", epoch))

    def on_step_end(self, trainer, loss, images, /):
        self.calls.append((self.name, "step end", images))

    def on_epoch_end(self, trainer, epoch, logs, /):
        self.calls.append((self.name, "epoch end", epoch))

    def on_train_end(self, trainer, history, /):
        self.calls.append((self.name, "train end", history.epochs))


class Values(c.Callback):
    """Put made-up measures into the logs."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, trainer, epoch, logs, /):
        logs[self.name] = self.values[epoch]


def fit(*hooks, model=None, **options):
    return (model or plain()).fit(X, Y, callbacks=hooks, **{"batch_size": 24, **options})


def test_the_order_of_calls(backend):
    calls = []
    fit(Told(calls), model=plain(backend=backend), epochs=2, batch_size=20)
    steps = [("", "step end", n) for n in (20, 20, 8)]
    assert calls == [
        ("", "train begin", {}),
        *[call for e in (0, 1) for call in (("", "epoch begin", e), *steps, ("", "epoch end", e))],
        ("", "train end", 2),
    ]


def test_callbacks_are_called_in_the_order_given():
    calls = []
    fit(Told(calls, "a"), Told(calls, "b"))
    assert [name for name, what, _ in calls if what != "step end"] == ["a", "b"] * 4


def test_every_step_tells_its_loss_and_the_trainer(backend):
    told = []

    class Watch(c.Callback):
        def on_step_end(self, trainer, loss, images, /):
            told.append((trainer.loss.name, type(loss), loss))

    history = fit(Watch(), model=plain(backend=backend), batch_size=16)
    assert {t[:2] for t in told} == {("cross_entropy", float)}
    assert history["loss"] == [pytest.approx(np.mean([t[2] for t in told]))]


def test_a_function_is_called_after_each_epoch():
    seen = []
    history = fit(lambda epoch, logs: seen.append((epoch, logs["loss"])), epochs=2)
    assert seen == list(enumerate(history["loss"]))


def test_what_a_callback_adds_to_the_logs_is_recorded():
    assert fit(Values("mine", [3.0, 4.0]), epochs=2)["mine"] == [3, 4]


def test_a_callback_can_end_training():
    def stop(epoch, logs):
        trainers[0].stop = epoch == 1

    trainers = []

    class Keep(c.Callback):
        def on_train_begin(self, trainer, history, /):
            trainers.append(trainer)

    assert fit(Keep(), stop, epochs=5).epochs == 2


def test_the_end_is_told_after_an_error_too():
    calls = []

    def fail(epoch, logs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(Told(calls), fail)
    assert calls[-1] == ("", "train end", 0)


@pytest.mark.parametrize("wrong", ["early_stopping", 5, None, c.EarlyStopping])
def test_what_is_no_callback_is_refused_before_the_first_step(wrong):
    model = plain()
    before = host(model)
    with pytest.raises(xcnn.Error, match=says("callback", repr(wrong))):
        fit(wrong, model=model)
    assert_same(host(model), before)


# EarlyStopping


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([3, 2, 2, 2, 2, 2], 2, 5, 1),
        ([3, 2, 2, 1, 1, 1, 1], 2, 7, 3),
        ([1, 2], 0, 2, 0),
        ([3, 2, 1], 0, 3, 2),
    ],
)
def test_early_stopping_bears_its_patience(losses, patience, epochs, best):
    stopping = c.EarlyStopping("mine", patience=patience)
    history = fit(Values("mine", losses), stopping, epochs=len(losses))
    assert history.epochs == epochs
    assert stopping.best_epoch == best


def test_early_stopping_wants_accuracies_to_grow():
    stopping = c.EarlyStopping("my_accuracy", patience=0)
    assert fit(Values("my_accuracy", [0.1, 0.2, 0.2, 0.3]), stopping, epochs=4).epochs == 3
    stopping = c.EarlyStopping("my_accuracy", patience=0, mode="min")
    assert fit(Values("my_accuracy", [0.1, 0.2, 0.2, 0.3]), stopping, epochs=4).epochs == 2


def test_early_stopping_wants_more_than_min_delta():
    stopping = c.EarlyStopping("mine", patience=0, min_delta=0.5)
    assert fit(Values("mine", [3, 2, 1.6, 1]), stopping, epochs=4).epochs == 3


def test_early_stopping_gives_back_the_best_values_and_statistics(backend):
    model = full(backend=backend)
    kept = []
    options = {"epochs": 4, "model": model, "optimizer": SGD(0.1)}
    fit(
        Values("mine", [3, 1, 2, 2]),
        lambda e, logs: kept.append(host(model)),
        c.EarlyStopping("mine"),
        **options,
    )
    assert_same(host(model), kept[1])


def test_early_stopping_keeps_the_last_values_if_told():
    model, kept = full(), []
    stopping = c.EarlyStopping("mine", restore_best=False)
    fit(Values("mine", [1, 2]), lambda e, logs: kept.append(host(model)), stopping, epochs=2, model=model)
    assert_same(host(model), kept[1])


def test_early_stopping_can_be_used_again():
    stopping = c.EarlyStopping("mine", patience=0)
    for _ in range(2):
        assert fit(Values("mine", [2, 1, 1, 0]), stopping, epochs=4).epochs == 3


def test_early_stopping_watches_the_validation_loss_by_default():
    stopping = c.EarlyStopping(patience=0)
    history = fit(stopping, epochs=3, validation=0.25, optimizer=SGD(0.0))
    assert len(history["val_loss"]) == 2


@pytest.mark.parametrize("make", [lambda: c.EarlyStopping(), lambda: c.ModelCheckpoint("never.xcnn")])
def test_a_measure_that_nobody_took_is_refused(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        OptionError, match=says("no measure 'val_loss' after the epoch", "is there a validation set?")
    ):
        fit(make())
    assert not list(tmp_path.iterdir())


def test_a_near_miss_of_a_measure_is_suggested():
    with pytest.raises(
        OptionError, match=says("EarlyStopping: no measure 'acuracy'", "did you mean 'accuracy'?")
    ):
        fit(c.EarlyStopping("acuracy"))


@pytest.mark.parametrize("kind", [c.EarlyStopping, lambda **o: c.ModelCheckpoint("x", **o)])
def test_an_unknown_mode_is_refused(kind):
    with pytest.raises(OptionError, match=says("mode is 'maximum'; needed 'auto', 'min' or 'max'")):
        kind(mode="maximum")


# ModelCheckpoint


def test_a_checkpoint_keeps_the_best_model(tmp_path, backend):
    model, kept = full(backend=backend), []
    path = tmp_path / "deep" / "best.xcnn"
    hooks = [
        Values("mine", [3, 1, 2]),
        lambda e, logs: kept.append(host(model)),
        c.ModelCheckpoint(path, monitor="mine"),
    ]
    fit(*hooks, epochs=3, model=model, optimizer=SGD(0.1))
    assert_same(host(xcnn.load(path)), kept[1])


def test_checkpoints_of_every_epoch_have_its_number(tmp_path):
    fit(c.ModelCheckpoint(tmp_path / "m{epoch}.xcnn", every=True), epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m1.xcnn", "m2.xcnn"]


# JSONLogger, BlockLoss, LearningRateSchedule


def test_json_logger_appends_a_line_per_epoch(tmp_path):
    path = tmp_path / "logs" / "run.jsonl"
    for _ in range(2):
        history = fit(c.JSONLogger(path), epochs=2, validation=0.25)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 1, 2]
    assert all(line["seconds"] >= 0 for line in lines)
    for name in ("loss", "accuracy", "val_loss", "learning_rate"):
        assert [line[name] for line in lines[2:]] == history[name]


def test_json_logger_says_where_it_cannot_write(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=says(str(tmp_path / "file" / "log"), "cannot be written")):
        fit(c.JSONLogger(tmp_path / "file" / "log"))


def test_block_loss_is_the_mean_of_each_block():
    told = []

    class Watch(c.Callback):
        def on_step_end(self, trainer, loss, images, /):
            told.append(loss)

    history = fit(c.BlockLoss(16), Watch(), batch_size=8, epochs=2)
    assert history.blocks == [pytest.approx(np.mean(told[i : i + 2])) for i in range(0, 12, 2)]


def test_block_loss_counts_a_batch_where_it_starts_and_drops_a_part():
    history = fit(c.BlockLoss(30), batch_size=20)  # 20 + 20 | 8
    assert len(history.blocks) == 1


def test_block_loss_is_250_samples_by_default_and_refuses_none():
    assert c.BlockLoss().samples == 250
    with pytest.raises(OptionError, match=says("BlockLoss: samples is 0; needed a positive integer")):
        c.BlockLoss(0)


def test_learning_rate_schedule_is_the_same_as_the_option():
    options = {"epochs": 3, "optimizer": SGD(1.0)}
    one, two = plain(), plain()
    by_callback = fit(c.LearningRateSchedule("cosine"), model=one, **options)
    by_option = fit(model=two, schedule="cosine", **options)
    assert by_callback == by_option
    assert_same(host(one), host(two))
