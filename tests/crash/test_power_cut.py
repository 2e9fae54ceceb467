"""A power cut between any two calls to the system: a whole checkpoint is found, no older than the last save.

Every state of the disk that may be left is made, see `tests.crash.disk`.
"""

from __future__ import annotations

import itertools
import os
import warnings
from pathlib import Path

import pytest

import xcnn
from tests.crash.conftest import WHOLE
from tests.crash.disk import Recorder, outcomes
from tests.nets import assert_same, host, plain, stripes
from xcnn.errors import FileError
from xcnn.io import checkpoint_file
from xcnn.training import Checkpoint
from xcnn.training.checkpoint import newest_checkpoint

X, Y = stripes(20)
EPOCHS = 3  # of two steps


def fit(folder, **options):
    """Train with a checkpoint after every step; return the model and its history."""
    model = plain()
    own = {"epochs": EPOCHS, "batch_size": 10, "checkpoint": Checkpoint(folder, every=0), "resume": True}
    return model, model.fit(X, Y, **own | options)


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Train and return what was asked of the system, marked where a save had ended."""

    def recorded():
        with monkeypatch.context() as patch:
            recorder = Recorder(tmp_path / "disk", patch)
            (tmp_path / "disk").mkdir()
            recorder.calls.clear()
            save = Checkpoint._save

            def saved(self, loop):
                save(self, loop)
                recorder.mark()
                recorder.steps.append((loop.trainer.t, loop.epoch))

            recorder.steps = []
            patch.setattr(Checkpoint, "_save", saved)
            fit(tmp_path / "disk" / "run" / "checkpoints")
        return recorder

    return recorded


def put(files, root, folder):
    """Make the files in a folder; return where the checkpoints are."""
    for path, content in files.items():
        at = folder / Path(path).relative_to(root)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content)
    return folder / "run" / "checkpoints"


def looked_at(recorder, tmp_path):
    """Yield each state of the disk, as a folder, with what must be found in it and what is found."""
    for number, (cut, files) in enumerate(outcomes(recorder)):
        saves = sum(mark <= cut for mark in recorder.marks)
        needed = recorder.steps[saves - 1] if saves else None
        folder = put(files, recorder.folder, tmp_path / f"{number}")
        try:
            with warnings.catch_warnings(action="ignore"):  # of those that are damaged
                state = newest_checkpoint(folder).state
            found = state["trainer"]["t"], state["epoch"]
        except FileError:
            found = None
        yield folder, needed, found


def bad(needed, found):
    return needed is not None and (found is None or found < needed)


def test_whenever_the_power_is_cut_the_last_save_is_found(record, tmp_path):
    recorder = record()
    looks = list(looked_at(recorder, tmp_path))
    assert len(recorder.marks) == 1 + EPOCHS * 3 + 1
    assert len(looks) > 200
    assert [look for look in looks if bad(*look[1:])] == []


def test_training_resumes_from_what_a_power_cut_leaves(record, tmp_path):
    want, history = fit(tmp_path / "want")
    looks = [look for look in looked_at(record(), tmp_path) if look[2] is not None]
    kinds = {(found, tuple(sorted(names(folder)))): folder for folder, _, found in looks}
    for folder in itertools.islice(kinds.values(), 0, None, 1 if WHOLE else 6):
        with warnings.catch_warnings(action="ignore"):
            model, again = fit(folder)
        assert again == history
        assert_same(host(model), host(want))
        assert not [name for name in os.listdir(folder) if name.startswith(".")]


def names(folder):
    return ((path.name.partition(".xcnn")[0], path.stat().st_size) for path in folder.iterdir())


def without_a_flush(path, content):
    temporary = path.with_name(f".{path.name}")
    with xcnn.files.open(temporary, "xb") as file:
        file.write(content)
    os.replace(temporary, path)
    xcnn.files.sync_folder(path.parent)


def flushed_after_the_renaming(path, content):
    temporary = path.with_name(f".{path.name}")
    with xcnn.files.open(temporary, "xb") as file:
        file.write(content)
        file.flush()
        os.replace(temporary, path)
        xcnn.files.sync_folder(path.parent)
        os.fsync(file.fileno())


def without_the_folders_flush(path, content):
    temporary = path.with_name(f".{path.name}")
    with xcnn.files.open(temporary, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def removing_the_old_one_first(path, content):
    for old in path.parent.glob("*.xcnn"):
        os.unlink(old)
    xcnn.files.write_atomically(path, content)


def in_place(path, content):
    with xcnn.files.open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    xcnn.files.sync_folder(path.parent)


@pytest.mark.parametrize(
    "wrong",
    [
        without_a_flush,
        flushed_after_the_renaming,
        without_the_folders_flush,
        removing_the_old_one_first,
        in_place,
    ],
)
def test_a_save_in_another_order_is_found_out(record, tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(checkpoint_file, "write_atomically", wrong)
    assert any(bad(*look[1:]) for look in looked_at(record(), tmp_path))


def test_a_folder_that_is_not_flushed_is_found_out(record, tmp_path, monkeypatch):
    def make(folder):
        folder.mkdir(parents=True, exist_ok=True)

    for module in ("xcnn.lock", "xcnn.files"):
        monkeypatch.setattr(f"{module}.ensure_folder", make)
    assert any(bad(*look[1:]) for look in looked_at(record(), tmp_path))
