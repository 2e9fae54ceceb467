"""History: numbers by name, and their file."""

from __future__ import annotations

import json

import pytest

import xcnn
from tests.ops.checks import says


def test_numbers_are_appended_by_name():
    history = xcnn.History()
    history.record({"loss": 1.0})
    history.record({"loss": 0.5, "val_loss": 2.0})
    assert history == {"loss": [1.0, 0.5], "val_loss": [2.0]}
    assert history.epochs == 2
    assert (history.interrupted, history.blocks) == (False, [])


def test_an_empty_history_has_no_epochs():
    assert xcnn.History().epochs == 0


def test_it_is_written_as_json(tmp_path):
    history = xcnn.History()
    history.record({"loss": 1.0})
    history.blocks, history.interrupted = [3.0], True
    history.save(tmp_path / "a" / "history.json")
    assert json.loads((tmp_path / "a" / "history.json").read_text()) == {
        "interrupted": True,
        "epochs": {"loss": [1.0]},
        "blocks": [3.0],
    }


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(xcnn.FileError, match=says(str(tmp_path / "file" / "h.json"), "cannot be written")):
        xcnn.History().save(tmp_path / "file" / "h.json")
