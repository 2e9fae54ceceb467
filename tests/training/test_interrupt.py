"""Ctrl-C: training ends cleanly, with the history so far and a model that can be used."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys

import numpy as np
import pytest

import xcnn
from tests.nets import assert_same, full, host, plain, stripes
from xcnn import callbacks as c

X, Y = stripes()


class Interrupt(c.Callback):
    """Press Ctrl-C at one call of one kind."""

    def __init__(self, where, at):
        self.where, self.at = where, at

    def _count(self, where):
        if where == self.where:
            self.at -= 1
            if self.at < 0:
                raise KeyboardInterrupt

    def on_epoch_begin(self, trainer, epoch, /):
        self._count("epoch begin")

    def on_step_end(self, trainer, loss, images, /):
        self._count("step end")

    def on_epoch_end(self, trainer, epoch, logs, /):
        self._count("epoch end")


def fit(model, where, at, *hooks, **options):
    return model.fit(
        X, Y, callbacks=[*hooks, Interrupt(where, at)], **{"epochs": 4, "batch_size": 8, **options}
    )


def untouched(**options):
    """Return the history without an interrupt."""
    return plain().fit(X, Y, batch_size=8, **{"epochs": 4, **options})


def test_after_some_steps_the_last_entry_is_of_the_part_that_was_done():
    want = untouched()
    history = fit(plain(), "step end", 2 * 6 + 3)
    assert history.interrupted
    assert history["loss"][:2] == want["loss"][:2]
    assert len(history["loss"]) == 3
    assert history["loss"][2] != want["loss"][2]
    assert len(history["learning_rate"]) <= 3


def test_before_the_first_step_there_is_nothing(backend):
    model = full(backend=backend)
    before = host(model)
    history = fit(model, "epoch begin", 0)
    assert history.interrupted
    assert history.epochs == 0
    assert_same(host(model), before)


def test_at_the_start_of_an_epoch_the_one_before_is_recorded_once(backend):
    history = fit(plain(backend=backend), "epoch begin", 2)
    assert history.interrupted
    assert {name: len(numbers) for name, numbers in history.items()} == {
        "loss": 2,
        "accuracy": 2,
        "learning_rate": 2,
    }


def test_at_the_end_of_an_epoch_it_is_recorded_once(backend):
    history = fit(plain(backend=backend), "epoch end", 1)
    assert history.interrupted
    assert len(history["loss"]) == 2


def test_the_model_is_that_of_the_steps_that_were_done():
    model, want = full(), full()
    history = fit(model, "step end", 7)  # eight steps
    trainer = xcnn.Trainer(want)
    loader = xcnn.data.Loader(X, Y, batch_size=8)
    batches = [*loader.epoch(0), *loader.epoch(1)][:8]
    for x, y in batches:
        trainer.step(x, y)
    assert history.interrupted
    assert_same(host(model), host(want))


def press(*args, **options):
    raise KeyboardInterrupt


def assert_no_half_step(model, layer, half, monkeypatch, instead=press):
    """Press Ctrl-C when `layer` of the plan is at work, and look at what stays."""
    trainer = xcnn.Trainer(model)
    trainer.step(X, Y)
    before = model.state.arrays
    with monkeypatch.context() as patch:
        patch.setattr(layer, half, instead)
        with pytest.raises(KeyboardInterrupt):
            trainer.step(X, Y)
    assert model.state.arrays is before
    assert all(p.gradient is None for p in model.parameters().values())
    assert np.isfinite(float(trainer.step(X, Y)))


@pytest.mark.parametrize("half", ["forward", "backward"])
@pytest.mark.parametrize("number", [0, 2, -1])
def test_in_the_middle_of_a_step_no_half_of_it_stays(number, half, backend, monkeypatch):
    """Running statistics are written in forward, gradients in backward."""
    model = full(backend=backend, compile=False)
    assert_no_half_step(model, model.plan[number], half, monkeypatch)


@pytest.mark.parametrize("half", ["forward", "backward"])
@pytest.mark.parametrize("number", [0, -1])
def test_in_the_middle_of_a_step_of_the_plan_no_half_of_it_stays(number, half, backend, monkeypatch):
    """With compiled runs in it where the backend has them."""
    model = full(backend=backend)
    assert_no_half_step(model, model.plan[number], half, monkeypatch)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("half", [0, 1], ids=["forward", "backward"])
def test_around_a_program_of_kernels_no_half_of_a_step_stays(half, after, monkeypatch):
    """Ctrl-C does not reach Python while compiled code runs."""
    pytest.importorskip("numba", reason="compiles runs with Numba, which is not installed")
    program = importlib.import_module("xcnn_numpy.program")
    original, calls = program.Program.run, []

    def run(self, **arrays):
        calls.append(self)
        if len(calls) == half + 1 and not after:
            press()
        original(self, **arrays)
        if len(calls) == half + 1:
            press()

    model = full()
    assert_no_half_step(model, program.Program, "run", monkeypatch, run)


def test_the_interrupted_epoch_counts_every_step_that_was_done(backend, monkeypatch):
    """Also on a device, whose losses are read in bunches."""
    model = plain(backend=backend)
    done = []
    original = xcnn.Trainer.advance

    def advance(self, x, y, /):
        if len(done) == 5:
            raise KeyboardInterrupt
        loss, z = original(self, x, y)
        done.append(float(loss))
        return loss, z

    monkeypatch.setattr(xcnn.Trainer, "advance", advance)
    history = model.fit(X, Y, batch_size=8)
    assert history["loss"] == [pytest.approx(np.mean(done))]


def test_the_end_is_told_and_the_best_values_are_given_back():
    model, kept = full(), []
    stopping = c.EarlyStopping("loss", patience=9)
    fit(model, "step end", 2 * 6 + 3, lambda e, logs: kept.append(host(model)), stopping)
    assert_same(host(model), kept[stopping.best_epoch])


def test_training_can_go_on_after_it():
    model = plain()
    first = fit(model, "step end", 3)
    assert model.fit(X, Y, epochs=2, optimizer=xcnn.optim.Adam(0.01))["loss"][-1] < first["loss"][0]


SCRIPT = """
import sys, threading
import numpy as np, xcnn
from tests.nets import full, host, stripes

def told(epoch, logs):
    print("epoch", epoch, flush=True)

if __name__ == "__main__":
    x, y = stripes(512)
    model = full(backend=sys.argv[1])
    options = {"augment": lambda x, **o: x} if sys.argv[2] == "thread" else {}
    history = model.fit(x, y, epochs=100000, batch_size=16, callbacks=[told], **options)
    assert history.interrupted
    assert threading.active_count() == 1, threading.enumerate()
    assert all(np.isfinite(a).all() for a in host(model).values())
    model.save(sys.argv[3])
    assert (xcnn.load(sys.argv[3]).predict(x) == model.predict(x)).all() or sys.argv[1] != "numpy"
    history.save(sys.argv[3] + ".json")
    print("done", history.epochs, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of POSIX")
@pytest.mark.parametrize("loading", ["inline", "thread"])
def test_a_real_signal_ends_a_real_training(loading, tmp_path, backend):
    from tests.interpreter import environment

    arguments = [sys.executable, "-c", SCRIPT, backend.name, loading, str(tmp_path / "m.xcnn")]
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().startswith("epoch 0"), process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("done ")
    assert "Traceback" not in err
