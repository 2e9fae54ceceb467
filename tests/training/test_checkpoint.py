"""Checkpoints: a training that goes on from one ends as if it had never stopped."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

import xcnn
from tests.nets import assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn import callbacks as c
from xcnn.errors import FileError, OptionError
from xcnn.io.checkpoint_file import read_checkpoint, write_checkpoint
from xcnn.training import Checkpoint
from xcnn.training.meter import Meter

X, Y = stripes()  # 48 images
BATCH = 10  # five steps an epoch, the last smaller


def every(folder, **options):
    """A checkpoint after every step; all are kept, in a folder beside."""
    kept = folder.with_name(f"{folder.name}-all")
    kept.mkdir(parents=True, exist_ok=True)

    class Keeping(Checkpoint):
        def _save(self, loop):
            super()._save(loop)
            newest = max(folder.glob("checkpoint-*.xcnn"))
            shutil.copy(newest, kept / f"{len(list(kept.iterdir())):03d}-{newest.name}")

    return Keeping(folder, every=0, **options), kept


def options(tmp_path, name="", **more):
    """What `fit` is given: a schedule, callbacks and an optimizer that all have a state."""
    own = {
        "epochs": 4,
        "batch_size": BATCH,
        "optimizer": xcnn.optim.Adam(0.01),
        "schedule": xcnn.schedules.ReduceOnPlateau(0.5, patience=0, monitor="loss"),
        "validation": (X[:8], Y[:8]),
        "callbacks": [
            c.EarlyStopping("val_loss", patience=2),
            c.ModelCheckpoint(tmp_path / f"best{name}.xcnn", monitor="val_loss"),
            c.BlockLoss(15),
        ],
        "augment": xcnn.data.augment.RandomShift(2),
        "seed": 5,
    }
    return own | more


def resumed(tmp_path, path, model, **more):
    """Fit from one checkpoint alone, as a process does that was killed there."""
    folder = tmp_path / f"from-{path.name}"
    folder.mkdir()
    shutil.copy(path, folder / path.name[4:])
    history = model.fit(X, Y, **options(tmp_path, "2", **more), checkpoint=folder, resume=True)
    return history, host(model)


def test_from_every_step_a_training_ends_as_if_it_had_never_stopped(tmp_path, backend):
    model = full(backend=backend)
    checkpoint, kept = every(tmp_path / "run")
    want = model.fit(X, Y, **options(tmp_path), checkpoint=checkpoint)
    undisturbed = full(backend=backend)
    assert undisturbed.fit(X, Y, **options(tmp_path)) == want
    assert_same(host(undisturbed), host(model))
    files = sorted(kept.iterdir())
    assert len(files) == 1 + 4 * 6 + 1  # the start, each step and each end of an epoch, the end
    for path in files[:: 1 if backend.name == "numpy" else 5]:
        history, arrays = resumed(tmp_path, path, full(backend=backend))
        assert history == want, path.name
        assert_same(arrays, host(model))


def save_some(folder, epochs=2, **more):
    """Train with a checkpoint after every step; returns the model."""
    model = plain()
    own = {"epochs": epochs, "batch_size": BATCH, "checkpoint": Checkpoint(folder, every=0)}
    model.fit(X, Y, **own | more)
    return model


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_are_kept(tmp_path):
    save_some(tmp_path)
    assert files(tmp_path) == ["checkpoint-000000009.xcnn", "checkpoint-000000010.xcnn", "lock"]


def test_a_checkpoint_is_a_model_too(tmp_path):
    model = save_some(tmp_path)
    again = xcnn.load(tmp_path / "checkpoint-000000010.xcnn")
    assert_same(host(again), host(model))
    assert (again.predict(X) == model.predict(X)).all()


def test_between_two_checkpoints_pass_the_seconds_asked_for(tmp_path):
    plain().fit(X, Y, epochs=3, batch_size=BATCH, checkpoint=Checkpoint(tmp_path, every=3600))
    assert files(tmp_path) == ["checkpoint-000000000.xcnn", "checkpoint-000000015.xcnn", "lock"]


def test_resuming_where_nothing_began_begins(tmp_path):
    want = plain().fit(X, Y, epochs=2)
    assert plain().fit(X, Y, epochs=2, checkpoint=tmp_path / "new", resume=True) == want


def test_more_epochs_go_on_from_the_end(tmp_path):
    first = save_some(tmp_path, 2)
    want = plain().fit(X, Y, epochs=5, batch_size=BATCH)
    history = first.fit(X, Y, epochs=5, batch_size=BATCH, checkpoint=tmp_path, resume=True)
    assert history == want


def test_a_finished_training_has_nothing_left_to_do(tmp_path):
    model = save_some(tmp_path)
    other = plain(seed=9)
    history = other.fit(X, Y, epochs=2, batch_size=BATCH, checkpoint=tmp_path, resume=True)
    assert history.epochs == 2
    assert_same(host(other), host(model))


def test_after_ctrl_c_it_goes_on(tmp_path, monkeypatch):
    want = plain().fit(X, Y, epochs=3, batch_size=BATCH)
    original = xcnn.Trainer.pure_step
    steps = iter(range(7))

    def press(self, *args):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return original(self, *args)

    options = {"epochs": 3, "batch_size": BATCH, "checkpoint": Checkpoint(tmp_path, every=3600)}
    with monkeypatch.context() as patch:
        patch.setattr(xcnn.Trainer, "pure_step", press)
        assert plain().fit(X, Y, **options).interrupted
    assert "checkpoint-000000007.xcnn" in files(tmp_path)
    assert plain().fit(X, Y, **options, resume=True) == want


def test_ctrl_c_while_an_epoch_is_counted_saves_no_half_of_it(tmp_path, monkeypatch):
    want = plain().fit(X, Y, epochs=3, batch_size=BATCH)
    original, once = Meter._join, iter([10])

    def press(self):
        original(self)
        if self.trainer.t == 10 and next(once, None):
            self._unread = []  # as if it had come before they were handed over
            raise KeyboardInterrupt

    options = {"epochs": 3, "batch_size": BATCH, "checkpoint": Checkpoint(tmp_path, every=3600)}
    with monkeypatch.context() as patch:
        patch.setattr(Meter, "_join", press)
        plain().fit(X, Y, **options)
    assert files(tmp_path) == ["checkpoint-000000000.xcnn", "lock"]
    assert plain().fit(X, Y, **options, resume=True) == want


def test_ctrl_c_before_the_first_step_of_an_epoch_tells_no_callback_twice(tmp_path):
    class Begun(c.Callback):
        def __init__(self, stop=None):
            self.stop, self.seen = stop, []

        def on_epoch_begin(self, trainer, epoch):
            self.seen.append(epoch)
            if epoch == self.stop:
                raise KeyboardInterrupt

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    last = Begun()
    save_some(tmp_path, 4, callbacks=[Begun(stop=2)])
    save_some(tmp_path, 4, callbacks=[last], resume=True)
    assert last.seen == [0, 1, 2, 3]


def test_ctrl_c_while_the_first_batch_of_an_epoch_is_made_loses_nothing(tmp_path):
    class Pressing(xcnn.data.Loader):
        def epoch(self, epoch, /):
            if epoch == 1 and not list(tmp_path.glob("*-000000005.xcnn")):
                raise KeyboardInterrupt
            return super().epoch(epoch)

    class Begun(c.Callback):
        seen = 0

        def on_epoch_begin(self, trainer, epoch):
            self.seen += 1

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    want = plain().fit(X, Y, epochs=3, batch_size=BATCH)
    hooks, loader = [Begun()], Pressing(X, Y, batch_size=BATCH)
    options = {"epochs": 3, "callbacks": hooks, "checkpoint": Checkpoint(tmp_path, every=3600)}
    assert plain().fit(loader, **options).epochs == 1
    assert files(tmp_path) == ["checkpoint-000000000.xcnn", "checkpoint-000000005.xcnn", "lock"]
    assert plain().fit(loader, **options, resume=True) == want
    assert hooks[0].seen == 3


def test_a_line_of_a_log_is_on_the_disk_before_a_checkpoint_counts_on_it(tmp_path, monkeypatch):
    done, fsync = [], os.fsync

    def flushed(handle):
        done.append(os.readlink(f"/proc/self/fd/{handle}").rpartition("/")[2].partition("-")[0])
        fsync(handle)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("asks /proc which file is flushed")
    monkeypatch.setattr(os, "fsync", flushed)
    save_some(tmp_path / "run", 1, callbacks=[c.JSONLogger(tmp_path / "log.jsonl")])
    assert done.index("log.jsonl") < len(done) - 1 - done[::-1].index(".checkpoint")


def test_an_earlier_training_is_not_overwritten(tmp_path):
    save_some(tmp_path)
    with pytest.raises(FileError, match=says(str(tmp_path), "checkpoint-000000010", "resume=True")):
        plain().fit(X, Y, checkpoint=tmp_path)


def test_resume_without_a_folder_is_refused():
    with pytest.raises(OptionError, match="resume needs checkpoint="):
        plain().fit(X, Y, resume=True)


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({"batch_size": 8}, ["batch_size = 10", "batch_size = 8"]),
        ({"optimizer": "sgd"}, ["optimizer = Adam", "optimizer = SGD"]),
        ({"seed": 1}, ["seeds"]),
        ({"shuffle": False}, ["shuffle = True", "shuffle = False"]),
        ({"callbacks": [c.BlockLoss()]}, ["callbacks", "BlockLoss"]),
        ({"schedule": "cosine"}, ["schedule", "Cosine"]),
    ],
)
def test_a_training_with_other_options_is_refused(tmp_path, more, parts):
    save_some(tmp_path)
    with pytest.raises(OptionError, match=says("checkpoint-000000010.xcnn", *parts)):
        plain().fit(X, Y, **{"batch_size": BATCH, "checkpoint": tmp_path, "resume": True} | more)


def test_a_training_with_another_schedule_in_a_callback_is_refused(tmp_path):
    save_some(tmp_path, callbacks=[c.LearningRateSchedule("cosine")])
    other = [c.LearningRateSchedule("one_cycle")]
    with pytest.raises(OptionError, match=says("schedule = Cosine", "schedule = OneCycle")):
        plain().fit(X, Y, batch_size=BATCH, callbacks=other, checkpoint=tmp_path, resume=True)


def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(tmp_path):
    save_some(tmp_path)
    model = full()
    before = host(model)
    with pytest.raises(FileError, match=says("checkpoint-000000010.xcnn", "of another model", "layers")):
        model.fit(X, Y, batch_size=BATCH, checkpoint=tmp_path, resume=True)
    assert_same(host(model), before)


def test_a_damaged_one_is_told_and_the_one_before_taken(tmp_path):
    want = save_some(tmp_path)
    last = tmp_path / "checkpoint-000000010.xcnn"
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    model = plain()
    with pytest.warns(RuntimeWarning, match="000000010.xcnn: .*SHA-256.*going on from checkpoint-000000009"):
        model.fit(X, Y, epochs=2, batch_size=BATCH, checkpoint=tmp_path, resume=True)
    assert_same(host(model), host(want))
    assert_same(host(xcnn.load(last)), host(want))


def test_where_all_are_damaged_each_is_named(tmp_path):
    save_some(tmp_path)
    for path in tmp_path.glob("*.xcnn"):
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileError, match=says("can be read", "000000010.xcnn: ", "000000009.xcnn: ")):
        plain().fit(X, Y, epochs=2, batch_size=BATCH, checkpoint=tmp_path, resume=True)


def test_a_model_file_is_no_checkpoint(tmp_path):
    plain().save(tmp_path / "checkpoint-000000003.xcnn")
    with pytest.raises(FileError, match="no checkpoint: how its training stood is not in it"):
        plain().fit(X, Y, checkpoint=tmp_path, resume=True)


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".checkpoint-000000003.xcnn.0123456789abcdef").write_bytes(b"half")
    save_some(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_state_that_no_file_can_hold_is_refused_before_the_first_step(tmp_path):
    class Odd(c.Callback):
        def state_dict(self):
            return {"seen": {1, 2}}

    with pytest.raises(FileError, match=says("state.callbacks[0].seen is {1, 2}")):
        save_some(tmp_path, callbacks=[Odd()])


def test_the_state_of_a_callback_of_ones_own_comes_back(tmp_path):
    class Mine(c.Callback):
        def on_train_begin(self, trainer, history):
            self.kept = {"steps": 0, "last": None, "array": np.zeros(2)}

        def on_step_end(self, trainer, loss, images):
            self.kept = {"steps": self.kept["steps"] + 1, "last": loss, "array": self.kept["array"] + 1}

        def state_dict(self):
            return self.kept

        def load_state_dict(self, state):
            self.kept = state

    first, second = Mine(), Mine()
    save_some(tmp_path, 1, callbacks=[first])
    save_some(tmp_path, 2, callbacks=[second], resume=True)
    assert second.kept["steps"] == 2 * first.kept["steps"] == 10
    np.testing.assert_array_equal(second.kept["array"], [10, 10])


@pytest.mark.parametrize(
    "schedule",
    [
        xcnn.schedules.ReduceOnPlateau(0.5, patience=0, monitor="loss"),
        xcnn.schedules.Warmup(1, xcnn.schedules.ReduceOnPlateau(0.5, patience=0, monitor="loss")),
    ],
)
def test_a_schedule_knows_again_what_it_observed(schedule):
    other = copy.deepcopy(schedule)
    for loss in (1.0, 2.0, 0.5, 3.0):
        schedule.observe({"loss": loss})
    other.load_state_dict(schedule.state_dict())
    assert other == schedule
    assert other(2, 9) == schedule(2, 9) == 0.25


@dataclasses.dataclass
class Observing(xcnn.schedules.Schedule):
    """A schedule of one's own that remembers what is no number at first."""

    last: float | None = dataclasses.field(default=None, init=False)
    mean: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2), init=False)

    def __call__(self, epoch, epochs, /):
        return 1.0 if self.last is None else self.last + self.mean.sum()

    def observe(self, logs, /):
        self.last, self.mean = logs["loss"], self.mean + logs["loss"]


def test_the_state_of_a_schedule_of_ones_own_comes_back(tmp_path):
    want = plain().fit(X, Y, epochs=3, batch_size=BATCH, schedule=Observing())
    save_some(tmp_path, 2, schedule=Observing())
    own = {"epochs": 3, "batch_size": BATCH, "schedule": Observing(), "checkpoint": tmp_path}
    assert plain().fit(X, Y, **own, resume=True) == want


def test_lines_of_a_log_are_not_written_twice(tmp_path):
    logs = [json.loads(line) for line in lines(tmp_path / "a")]
    with pytest.raises(RuntimeError):
        lines(tmp_path / "b", fail=True)
    again = [json.loads(line) for line in lines(tmp_path / "b")]
    assert [entry["epoch"] for entry in again] == [1, 2, 3]
    assert [entry["loss"] for entry in again] == [entry["loss"] for entry in logs]


def lines(folder, *, fail=False):
    """Train with a log and few checkpoints, perhaps until an error after the second epoch's line."""

    def told(epoch, logs):
        if fail and epoch == 1:
            raise RuntimeError

    hooks = [c.JSONLogger(folder / "log.jsonl"), told]
    checkpoint = Checkpoint(folder / "checkpoints", every=3600)
    plain().fit(X, Y, epochs=3, checkpoint=checkpoint, resume=True, callbacks=hooks)
    return (folder / "log.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    ("change", "says_what"),
    [
        (lambda s: s["callbacks"][0].update(arrays=[np.zeros(3, "float32")]), "best values have shapes"),
        (lambda s: s["callbacks"][1].update(count=[1]), "TypeError"),
        (lambda s: s.update(batch=99), "batch 99 is no place"),
        (lambda s: s.update(epoch=-1), "epoch -1"),
        (lambda s: s["trainer"].update(t=-1), "t is -1"),
        (lambda s: s["trainer"].update(slots=[]), "slots have shapes"),
        (lambda s: s.pop("meter"), "KeyError"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_the_name_of_the_file(tmp_path, change, says_what):
    hooks = [c.EarlyStopping("loss"), c.BlockLoss()]
    model = save_some(tmp_path, callbacks=hooks)
    last = tmp_path / "checkpoint-000000010.xcnn"
    contents = read_checkpoint(last)
    change(contents.state)
    write_checkpoint(last, model, contents.state)
    with pytest.raises(FileError, match=says(str(last), "does not fit", says_what)):
        plain().fit(X, Y, batch_size=BATCH, callbacks=hooks, checkpoint=tmp_path, resume=True)
