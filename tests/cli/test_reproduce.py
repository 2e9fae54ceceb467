"""`xcnn reproduce` as a user meets it."""

from __future__ import annotations

import json

import pytest

from xcnn.reproduce import catalogue, experiments


@pytest.fixture
def tiny(monkeypatch, tmp_path, config):
    """A catalogue of one experiment on scikit-learn's digits."""
    content = {
        "kind": "runs",
        "report": "000",
        "section": "4.1",
        "title": "A tiny network",
        "shows": "Something.",
        "seconds": 2,
        "runs": {"A": {"config": str(config()), "reported": {"test_accuracy": 0.11}}},
        "pictures": ["accuracy"],
    }
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "000-tiny.json").write_text(json.dumps(content))
    monkeypatch.setattr(catalogue, "experiments_folder", lambda: tmp_path / "experiments")
    experiments.cache_clear()
    yield
    experiments.cache_clear()


def test_without_names_the_experiments_are_listed_with_their_figures(xcnn_command):
    output = xcnn_command("reproduce").output
    assert all(name in output for name in experiments())
    assert "96.8 to 98.16 %" in " ".join(output.split())
    assert "about" in output


def test_experiment_leaves_a_page_and_says_what_came_of_it(tiny, xcnn_command, tmp_path):
    output = xcnn_command("reproduce", "000-tiny", "--out", tmp_path / "page").output
    assert "11.00 %" in output
    assert "beaten" in output
    assert {path.name for path in (tmp_path / "page").iterdir()} == {
        "figures",
        "report.html",
        "report.md",
        "results.json",
    }


def test_experiment_whose_images_are_missing_is_named_and_the_exit_code_says_so(
    tiny, xcnn_command, monkeypatch, tmp_path
):
    monkeypatch.setattr("xcnn.io.data_spec.data.load", _no_images)
    output = xcnn_command("reproduce", "all", "--out", tmp_path / "page", code=1).output
    assert "000-tiny could not be run: digits: there are no images" in output
    assert "**Could not be run**" in (tmp_path / "page" / "report.md").read_text()


def _no_images(*args, **options):
    from xcnn.errors import FileError

    raise FileError("there are no images", where="digits")


def test_name_that_is_none_is_refused_before_anything_is_written(xcnn_command, tmp_path):
    output = xcnn_command("reproduce", "004-model", "--out", tmp_path / "page", code=2).output
    assert "no experiment '004-model'; did you mean '004-models'" in output
    assert not (tmp_path / "page").exists()


def test_page_is_not_written_over_another(tiny, xcnn_command, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine.txt").write_text("mine")
    output = xcnn_command("reproduce", "000-tiny", "--out", tmp_path / "page", code=2).output
    assert "exists already" in output
