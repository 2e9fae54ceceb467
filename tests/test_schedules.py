"""Schedules: their values, and what they need to know."""

from __future__ import annotations

import math

import numpy as np
import pytest

import xcnn
from tests.nets import plain, stripes
from tests.ops.checks import says
from xcnn import schedules as s
from xcnn.errors import OptionError


def values(schedule, epochs=10, steps=1):
    return [schedule(t / steps, epochs) for t in range(epochs * steps + 1)]


def test_constant_is_1():
    assert values(s.Constant()) == [1] * 11


def test_step_multiplies_every_so_many_epochs():
    assert values(s.Step(3, 0.5)) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]
    assert s.Step(2)(2.5, None) == pytest.approx(0.1)


def test_exponential_is_a_power():
    np.testing.assert_allclose(values(s.Exponential(0.9)), 0.9 ** np.arange(11))
    assert s.Exponential(0.25)(0.5, None) == 0.5


def test_cosine_falls_from_1_to_its_floor():
    got = values(s.Cosine())
    np.testing.assert_allclose(got, (1 + np.cos(np.pi * np.arange(11) / 10)) / 2, atol=1e-15)
    assert values(s.Cosine(0.2))[-1] == pytest.approx(0.2)
    assert s.Cosine(0.2)(25, 10) == pytest.approx(0.2)


def test_cosine_is_pytorchs(torch):
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.1)
    for want in values(s.Cosine(0.1)):
        assert theirs.get_last_lr()[0] == pytest.approx(want)
        optimizer.step()
        theirs.step()


def test_one_cycle_peaks_once_and_ends_low():
    got = values(s.OneCycle(warmup=0.3, start=0.04, end=1e-4), 10, 10)
    assert got[0] == pytest.approx(0.04)
    assert got[30] == pytest.approx(1.0)
    assert max(got) == got[30]
    assert got[-1] == pytest.approx(1e-4)
    assert got[:31] == sorted(set(got[:31]))
    assert got[30:] == sorted(set(got[30:]), reverse=True)
    assert got[15] == pytest.approx((1 + 0.04) / 2)


def test_one_cycle_without_warmup_starts_at_its_peak():
    assert values(s.OneCycle(warmup=0.0))[0] == 1.0


def test_warmup_rises_and_then_follows():
    np.testing.assert_allclose(values(s.Warmup(4))[:6], [0, 0.25, 0.5, 0.75, 1, 1])
    got = values(s.Warmup(2, s.Cosine()))
    np.testing.assert_allclose(got[2:], (1 + np.cos(np.pi * np.arange(9) / 8)) / 2, atol=1e-15)
    assert s.Warmup(2, lambda epoch, epochs: 10 * epoch + epochs)(3, 10) == 18


def test_warmup_longer_than_training_only_rises():
    assert s.Warmup(5, s.Cosine())(2, 3) == 0.4


def test_reduce_on_plateau_waits_for_its_patience():
    schedule = s.ReduceOnPlateau(0.5, patience=2, monitor="loss")
    seen = []
    for loss in (3, 2, 2, 2, 2, 1.9, 2, 2, 2, 2, 2, 2):
        schedule.observe({"loss": loss})
        seen.append(schedule(0, None))
    assert seen == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_reduce_on_plateau_wants_accuracies_to_grow():
    schedule = s.ReduceOnPlateau(0.5, patience=0, monitor="val_accuracy")
    for value, want in ((0.5, 1), (0.6, 1), (0.6, 0.5), (0.7, 0.5), (0.6, 0.25)):
        schedule.observe({"val_accuracy": value})
        assert schedule.scale == want


def test_reduce_on_plateau_behind_a_warmup_observes():
    schedule = s.Warmup(1, s.ReduceOnPlateau(0.5, patience=0, monitor="loss"))
    for _ in range(2):
        schedule.observe({"loss": 1.0})
    assert schedule(2, 10) == 0.5


def test_reduce_on_plateau_starts_anew_with_each_training():
    schedule = s.ReduceOnPlateau(0.5, patience=0, monitor="loss")
    options = {"epochs": 3, "optimizer": xcnn.optim.SGD(0.0), "schedule": schedule}
    first = plain().fit(*stripes(), **options)["learning_rate"]
    assert plain().fit(*stripes(), **options)["learning_rate"] == first


def test_a_measure_that_nobody_took_is_refused():
    schedule = s.ReduceOnPlateau()
    with pytest.raises(OptionError, match=says("ReduceOnPlateau: no measure 'val_loss' after the epoch")):
        plain().fit(*stripes(), schedule=schedule)


@pytest.mark.parametrize("schedule", [s.Cosine(), s.OneCycle(), s.Warmup(1, s.Cosine())])
def test_a_schedule_that_needs_the_number_of_epochs_says_so(schedule):
    trainer = xcnn.Trainer(plain(), schedule=schedule)
    message = says("the number of epochs is unknown; needed Trainer(..., epochs=", "fit")
    with pytest.raises(OptionError, match=message):  # noqa: PT012
        for _ in range(3):  # a warm-up needs it only afterwards
            trainer.step(*stripes())


def test_a_trainer_counts_each_step_as_an_epoch_unless_told():
    trainer = xcnn.Trainer(plain(), optimizer=xcnn.optim.SGD(0.5), schedule=s.Step(1, 0.5))
    rates = []
    for _ in range(3):
        trainer.step(*stripes(6))
        rates.append(trainer.learning_rate)
    assert rates == [0.5, 0.25, 0.125]
    trainer = xcnn.Trainer(
        plain(), optimizer=xcnn.optim.SGD(1.0), schedule="cosine", epochs=2, steps_per_epoch=2
    )
    rates = []
    for _ in range(4):
        trainer.step(*stripes(6))
        rates.append(trainer.learning_rate)
    np.testing.assert_allclose(rates, [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)])


def test_fit_moves_the_rate_at_every_step():
    seen = []

    class Watch(xcnn.callbacks.Callback):
        def on_step_end(self, trainer, loss, images, /):
            seen.append(trainer.learning_rate)

    options = {"epochs": 2, "batch_size": 12, "optimizer": xcnn.optim.SGD(1.0), "callbacks": [Watch()]}
    plain().fit(*stripes(48), schedule="cosine", **options)
    np.testing.assert_allclose(seen, [(1 + math.cos(math.pi * t / 8)) / 2 for t in range(8)])


def test_the_schedule_scales_what_a_step_does():
    x, y = stripes()
    slow, fast = plain(dtype="float64"), plain(dtype="float64")
    start = slow.layers[0].w.value
    xcnn.Trainer(slow, optimizer=xcnn.optim.SGD(1.0), schedule=lambda epoch, epochs: 0.25).step(x, y)
    xcnn.Trainer(fast, optimizer=xcnn.optim.SGD(0.25)).step(x, y)
    np.testing.assert_allclose(slow.layers[0].w.value, fast.layers[0].w.value, rtol=1e-12)
    assert (slow.layers[0].w.value != start).any()


def test_a_schedule_scales_a_layers_own_optimizer_too():
    x, y = stripes()
    model = plain(dtype="float64")
    model.layers[0].optimizer = xcnn.optim.SGD(1.0)
    before = model.layers[0].w.value
    xcnn.Trainer(model, schedule=lambda epoch, epochs: 0.0).step(x, y)
    np.testing.assert_array_equal(model.layers[0].w.value, before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: s.Step(0), "Step: got Step(every=0, factor=0.1); needed positive numbers"),
        (lambda: s.Step(1, -1), "Step: got Step(every=1, factor=-1); needed"),
        (lambda: s.Exponential(0), "Exponential: got Exponential(rate=0); needed a positive rate"),
        (lambda: s.Cosine(1.5), "Cosine: got Cosine(floor=1.5); needed 0 <= floor <= 1"),
        (lambda: s.OneCycle(warmup=1), "OneCycle: got OneCycle(warmup=1, "),
        (lambda: s.OneCycle(start=-1), "needed no negative start or end"),
        (lambda: s.Warmup(0), "needed a positive number of epochs"),
        (lambda: s.ReduceOnPlateau(1.0), "needed 0 < factor < 1 and patience >= 0"),
        (lambda: s.ReduceOnPlateau(patience=-1), "needed 0 < factor < 1 and patience >= 0"),
    ],
)
def test_an_impossible_hyperparameter_is_refused(make, message):
    with pytest.raises(OptionError, match=says(message)):
        make()


def test_names_give_schedules():
    assert s.get("cosine") == s.Cosine()
    assert s.get("one_cycle") == s.OneCycle()
    assert s.get(None) == s.get("constant") == s.Constant()
    assert s.get(math.hypot) is math.hypot


def test_an_unknown_schedule_is_refused_with_a_suggestion():
    with pytest.raises(OptionError, match=says("unknown schedule 'cosin'; did you mean 'cosine'?")):
        plain().fit(*stripes(), schedule="cosin")
    with pytest.raises(OptionError, match=says("unknown schedule 5")):
        s.get(5)


@pytest.mark.parametrize("name", ["step", "exponential", "warmup"])
def test_a_name_that_needs_hyperparameters_says_which(name):
    with pytest.raises(
        OptionError, match=says(f"schedule '{name}' needs hyperparameters: missing 1 required", "'")
    ):
        s.get(name)
