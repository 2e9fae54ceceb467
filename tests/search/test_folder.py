"""The folder of a search: taken up again, written by one at a time, and never silently wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xcnn
from tests.interpreter import environment
from tests.search.grids import CONFIG, GRID, comparable
from xcnn import backend
from xcnn.errors import FileError
from xcnn.io import load_config
from xcnn.io.data_spec import DataSpec
from xcnn.lock import only_writer
from xcnn.model import Model
from xcnn.search import loop, record, search

SHORT = CONFIG | {"epochs": 1}
SEEDS = {"seed": [0, 1, 2]}
IMAGE = np.linspace(0, 1, 64, dtype="float32").reshape(1, 1, 8, 8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    return search(CONFIG, GRID, folder=folder, workers=1)


@pytest.fixture
def copied(finished, tmp_path):
    """Return a copy of the folder of a finished search."""
    return Path(shutil.copytree(finished.folder, tmp_path / "run"))


@pytest.fixture
def ran(monkeypatch):
    """Return the points that are run, as they are run."""
    seen, run_all = [], loop.run_all
    monkeypatch.setattr(
        loop, "run_all", lambda indices, *a, **o: seen.extend(indices) or run_all(indices, *a, **o)
    )
    return seen


def lines(folder):
    return (folder / "trials.jsonl").read_text().splitlines()


def full(self, path):
    raise FileError("cannot be written: No space left on device", where=str(path))


def test_a_model_that_cannot_be_saved_ends_the_search_and_is_no_trials_error(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Model, "save", full)
        with pytest.raises(FileError, match=r"trial-1\.xcnn: cannot be written: No space left"):
            search(SHORT, SEEDS, folder=tmp_path / "run", workers=1)
    assert lines(tmp_path / "run") == []
    assert comparable(search(SHORT, SEEDS, folder=tmp_path / "run", workers=1)) == comparable(
        search(SHORT, SEEDS, workers=1)
    )


FULL = """
from xcnn.errors import FileError
from xcnn.model import Model
from xcnn_numpy import Backend as NumPy

def full(self, path):
    raise FileError("cannot be written: No space left on device", where=str(path))

Model.save = full

class Backend(NumPy):
    root, owns = "full", ()

    def __init__(self, device=""):
        super().__init__(device)
        self.name = "full"
"""


def test_a_process_that_cannot_save_a_model_ends_the_search_too(tmp_path, monkeypatch):
    (tmp_path / "xcnn_full").mkdir()
    (tmp_path / "xcnn_full" / "__init__.py").write_text(FULL)
    monkeypatch.syspath_prepend(tmp_path)
    for known in ("_plugins", "_opened"):  # no other test is to meet this backend
        monkeypatch.setattr(backend, known, dict(getattr(backend, known)))
    monkeypatch.setattr(Model, "save", Model.save)  # undo what the import does here
    with pytest.raises(FileError, match=r"trial-\d\.xcnn: cannot be written: No space left"):
        search(SHORT | {"backend": "full"}, SEEDS, folder=tmp_path / "run", workers=2)
    assert lines(tmp_path / "run") == []


def test_a_file_of_a_callback_that_cannot_be_written_ends_the_search(tmp_path):
    logger = {"name": "json_logger", "path": "log.jsonl"}
    (tmp_path / "run").mkdir()
    search(SHORT | {"callbacks": [logger]}, SEEDS, folder=tmp_path / "run", workers=1)
    (tmp_path / "run" / "trials.jsonl").write_text("")
    shutil.rmtree(tmp_path / "run" / "trial-1")
    (tmp_path / "run" / "trial-1").write_text("no folder")
    with pytest.raises(FileError, match="cannot be written"):
        search(SHORT | {"callbacks": [logger]}, SEEDS, folder=tmp_path / "run", workers=1)
    assert lines(tmp_path / "run") == []


def test_trials_that_failed_are_tried_again_and_their_last_line_is_believed(tmp_path, monkeypatch, ran):
    load = DataSpec.load

    def missing(self, seed):
        if seed == 1:
            raise FileError("is missing", where="digits.npz")
        return load(self, seed)

    with monkeypatch.context() as patch:
        patch.setattr(DataSpec, "load", missing)
        found = search(SHORT, SEEDS, folder=tmp_path, workers=1)
    assert [trial.error is None for trial in found.trials] == [True, False, True]
    again = search(SHORT, SEEDS, folder=tmp_path, workers=1)
    assert ran == [0, 1, 2, 1]
    assert [json.loads(line)["index"] for line in lines(tmp_path)] == [0, 1, 2, 1]
    assert comparable(again) == comparable(search(SHORT, SEEDS, workers=1))
    ran.clear()
    assert comparable(search(SHORT, SEEDS, folder=tmp_path, workers=1)) == comparable(again)
    assert ran == []


HOLDER = """
import sys
from pathlib import Path
from xcnn.lock import only_writer

with only_writer(Path(sys.argv[1]), "search"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_search_in_the_folder_is_refused_until_the_first_has_ended(copied):
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(copied / "trials.jsonl")],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline().strip() == b"locked"
    with pytest.raises(FileError, match="another search is writing here"):
        search(CONFIG, GRID, folder=copied)
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before
    holder.kill()
    holder.communicate()
    assert search(CONFIG, GRID, folder=copied).best is not None


def test_a_search_that_has_only_just_begun_is_no_folder_of_something_else(tmp_path):
    with (
        only_writer(tmp_path / "trials.jsonl", "search"),
        pytest.raises(FileError, match="another search is writing"),
    ):
        search(SHORT, SEEDS, folder=tmp_path)
    assert len(search(SHORT, SEEDS, folder=tmp_path, workers=1).trials) == 3


@pytest.mark.parametrize("lost", ["model.xcnn", "config.json", None])
def test_the_best_trial_is_run_again_if_its_model_is_lost(lost, copied, finished, ran):
    if lost is None:
        shutil.rmtree(copied / "best")
    else:
        (copied / "best" / lost).unlink()
    found = search(CONFIG, GRID, folder=copied, workers=1)
    assert ran == [finished.best.index]
    assert comparable(found) == comparable(finished)
    assert (found.model.predict(IMAGE) == finished.model.predict(IMAGE)).all()


def test_the_model_of_another_trial_is_not_taken_for_the_best(copied, finished, ran):
    content = json.loads((copied / "best" / "config.json").read_text())
    content["optimizer"]["lr"] = 0.123
    (copied / "best" / "config.json").write_text(json.dumps(content))
    search(CONFIG, GRID, folder=copied, workers=1)
    assert ran == [finished.best.index]
    assert (
        load_config(copied / "best" / "config.json").optimizer.root.lr == finished.best.point["optimizer.lr"]
    )


def rising():
    """Let the later seeds be the better ones, so that the best is replaced."""
    found = search(SHORT, SEEDS, workers=1)
    order = sorted(found.trials, key=lambda trial: trial.score)
    assert order[0].score < order[-1].score
    return [order[0].point, order[-1].point]


def test_model_run_and_history_of_the_best_are_replaced_together(tmp_path, monkeypatch):
    points, replace = rising(), os.replace

    def killed(source, target):
        if Path(source).name == ".best-new" and (tmp_path / ".best-old").exists():
            raise KeyboardInterrupt  # between the old one's way out and the new one's way in
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(record.os, "replace", killed)
        patch.setattr(record.Record, "_tidy", lambda self: None)
        assert search(SHORT, points, folder=tmp_path, workers=1).interrupted
    assert not (tmp_path / "best").exists()
    seen, tidy = [], record.Record._tidy

    def look(self):
        tidy(self)
        seen.append(load_config(tmp_path / "best" / "config.json").seed)

    monkeypatch.setattr(record.Record, "_tidy", look)
    found = search(SHORT, points, folder=tmp_path, workers=1)
    assert seen == [points[0]["seed"], points[1]["seed"]]
    assert found.model is not None
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".best")]


def test_what_the_system_refuses_is_an_error_with_the_path(tmp_path, monkeypatch):
    replace = os.replace

    def refused(source, target):
        if Path(source).name == "trial-1.xcnn":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(record.os, "replace", refused)
    with pytest.raises(FileError, match=r"best: cannot be written: Permission denied"):
        search(SHORT, SEEDS, folder=tmp_path, workers=1)


def test_a_finished_search_on_a_disk_that_is_only_read_is_shown(copied, finished, monkeypatch):
    opened = Path.open

    def refuse(self, mode="r", *arguments, **options):
        if set(mode) & set("aw+"):
            raise OSError(30, "Read-only file system")
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(record, "write_atomically", None)
    assert comparable(search(CONFIG, GRID, folder=copied)) == comparable(finished)


def test_a_relative_folder_of_images_is_found_from_anywhere(tmp_path, monkeypatch):
    from PIL import Image

    for part in ("train", "test"):
        for name, grey in (("dark", 20), ("light", 220)):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for i in range(8):
                Image.new("L", (8, 8), grey + i).save(tmp_path / "images" / part / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    layers = ["Flatten", {"type": "Dense", "units": 2}]
    config = SHORT | {"layers": layers, "data": {"path": "./images", "validation": 0.25}}
    assert search(config, {"seed": [0]}, folder="run", workers=1).model is not None
    monkeypatch.chdir("/")
    for config in ("config.json", "best/config.json"):
        assert load_config(tmp_path / "run" / config).load_data().train.x.shape[0] == 16
    assert xcnn.load(tmp_path / "run" / "best" / "model.xcnn").output_shape == (2,)
