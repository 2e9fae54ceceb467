"""Corrected answers as a folder that `xcnn train` reads; nothing is written outside of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason='needs the server: pip install "xcnn[draw]"')
pytest.importorskip("PIL", reason='needs Pillow: pip install "xcnn[draw]"')

from xcnn.data import load
from xcnn.draw.examples import Examples
from xcnn.draw.refusals import Refused
from xcnn.errors import DataError, FileError

RNG = np.random.default_rng(0)


def picture(channels: int = 1, size: int = 28) -> np.ndarray:
    return RNG.integers(0, 256, (channels, size, size), np.uint8)


def everything(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_is_what_load_reads(tmp_path, channels):
    examples = Examples(tmp_path / "drawings")
    kept = {name: [picture(channels) for _ in range(4)] for name in ("7", "a digit", "ß")}
    for name, pictures in kept.items():
        for pixels in pictures:
            file = examples.save(pixels, name)
            assert (tmp_path / "drawings" / file).is_file()
            assert file.startswith(f"{name}/")
    data = load(tmp_path / "drawings")
    assert data.classes == ("7", "a digit", "ß")
    x, y = (np.concatenate(pair) for pair in zip(data.train, data.test, strict=True))
    for label, name in enumerate(data.classes):
        assert {a.tobytes() for a in x[y == label]} == {a.tobytes() for a in kept[name]}
    assert examples.counts() == {"7": 4, "a digit": 4, "ß": 4}


def test_what_a_network_saw_is_saved_to_the_nearest_byte(tmp_path):
    examples, pixels = Examples(tmp_path), picture()
    file = examples.save(pixels / np.float32(255), "7")
    assert examples.save(pixels, "7") == file


def test_the_same_picture_of_a_class_is_kept_once(tmp_path):
    examples, pixels = Examples(tmp_path), picture()
    file = examples.save(pixels, "7")
    assert examples.save(pixels, "7") == file
    assert Examples(tmp_path).save(pixels, "7") == file
    assert examples.save(pixels, "1") != file
    assert examples.counts() == {"1": 1, "7": 1}


def test_many_at_once_are_all_kept(tmp_path):
    examples = Examples(tmp_path)
    pictures = [picture() for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        files = set(pool.map(lambda pixels: examples.save(pixels, "7"), pictures * 2))
    assert len(files) == 40
    assert everything(tmp_path) == {"7", *files}


def test_classes_without_images_have_no_folder(tmp_path):
    examples = Examples(tmp_path)
    assert everything(tmp_path) == set()
    with pytest.raises(DataError):
        examples.save(np.zeros((2, 4, 4), np.uint8), "7")
    assert everything(tmp_path) == set()
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "notes.txt").touch()
    assert examples.counts() == {}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            " 7",
            "7 ",
            "7.",
            ".",
            "..",
            ".git",
            "__pycache__",
            "a/b",
            "../7",
            "/etc",
            "a\\b",
            "C:",
            "a:b",
        ),
        *(
            "a\0b",
            "a\nb",
            "a?",
            "CON",
            "nul.png",
            "com1",
            "train",
            "Test",
            "x" * 101,
            "ß" * 60,
            "\ud800",
            "\u202e7",
        ),
    ],
)
def test_names_that_are_no_folders_are_refused(tmp_path, name):
    examples = Examples(tmp_path / "drawings")
    with pytest.raises(
        Refused, match=r"^the class: .*; needed a class whose name can be a folder's$"
    ) as caught:
        examples.save(picture(), name)
    assert caught.value.status == 400
    assert everything(tmp_path) == {"drawings"}


def test_names_that_differ_in_capitals_alone_are_refused(tmp_path):
    examples = Examples(tmp_path)
    examples.save(picture(), "a")
    with pytest.raises(Refused, match="A: differs from 'a', which is there, in capitals alone"):
        examples.save(picture(), "A")


@pytest.mark.skipif(os.name != "posix", reason="makes symbolic links")
def test_links_that_lead_out_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    examples = Examples(tmp_path / "drawings")
    (tmp_path / "drawings" / "7").symlink_to(outside)
    (tmp_path / "drawings" / "8").symlink_to(tmp_path / "nowhere")
    (tmp_path / "drawings" / "9").touch()
    for name in "789":
        with pytest.raises(Refused, match=f"{name}: is there and no plain folder") as caught:
            examples.save(picture(), name)
        assert caught.value.status == 400
    assert not list(outside.iterdir())
    assert examples.counts() == {}


def test_the_number_of_images_has_a_limit(tmp_path):
    examples = Examples(tmp_path, most=2)
    kept = [picture(), picture()]
    for pixels in kept:
        examples.save(pixels, "7")
    with pytest.raises(Refused, match="holds 2 images, as many as are allowed") as caught:
        examples.save(picture(), "8")
    assert caught.value.status == 507
    examples.save(kept[0], "7")  # is there
    assert everything(tmp_path).isdisjoint({"8"})


def test_their_bytes_have_a_limit(tmp_path):
    examples = Examples(tmp_path, most_bytes=2000)
    examples.save(picture(), "7")
    examples.save(picture(), "7")
    with pytest.raises(Refused, match=r"bytes of images, of 2,000 allowed; needed another folder") as caught:
        examples.save(picture(), "7")
    assert caught.value.status == 507


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path, monkeypatch):
    examples = Examples(tmp_path)
    examples.save(picture(), "7")
    before = everything(tmp_path)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=r"^7/.*\.png: cannot be written: No space left on device") as caught:
        examples.save(picture(), "7")
    assert caught.value.status == 507
    assert str(tmp_path) not in str(caught.value)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((28, 28), np.uint8),
        np.zeros((2, 28, 28), np.uint8),
        np.zeros((1, 0, 28), np.uint8),
        np.full((1, 28, 28), 1.5),
        np.full((1, 28, 28), -0.5),
        np.full((1, 28, 28), np.nan),
        np.zeros((1, 28, 28), np.int64),
    ],
)
def test_what_no_image_can_hold_is_refused(tmp_path, pixels):
    with pytest.raises(DataError, match=r"^the picture: .* kept as an image"):
        Examples(tmp_path).save(pixels, "7")


def test_folders_that_cannot_be_used_are_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file: cannot be made: .*; needed a folder for examples"):
        Examples(tmp_path / "file")
    with pytest.raises(FileError, match="cannot be made"):
        Examples(tmp_path / "file" / "deeper")
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "test").mkdir()
    with pytest.raises(FileError, match=r"set: holds train and test apart; needed a folder of classes"):
        Examples(tmp_path / "set")
    Examples(tmp_path / "set" / "train")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FileError, match="cannot be written to; needed a folder for examples"):
        Examples(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="changes the home folder by a variable")
def test_a_folder_that_is_deleted_meanwhile_is_made_again(tmp_path):
    kept = Examples(tmp_path / "drawings")
    kept.save(np.zeros((1, 8, 8)), "7")
    shutil.rmtree(tmp_path / "drawings")
    kept.save(np.zeros((1, 8, 8)), "7")
    assert kept.counts() == {"7": 1}


def test_what_happens_to_the_folder_is_told(tmp_path):
    kept = Examples(tmp_path / "drawings")
    (tmp_path / "drawings").rmdir()
    (tmp_path / "drawings").write_text("a file now")
    with pytest.raises(Refused, match="cannot be written to") as refused:
        kept.save(np.zeros((1, 8, 8)), "7")
    assert refused.value.status == 507


def test_a_tilde_is_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Examples("~/drawings").folder == (tmp_path / "drawings").resolve()


def test_thirty_corrected_answers_can_be_learned(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from xcnn.cli.app import app

    monkeypatch.chdir(tmp_path)
    examples = Examples("drawings")
    for n in range(30):
        sheet = np.zeros((1, 28, 28), np.uint8)
        sheet[0, 4:24, 5 + n % 12 : 8 + n % 12] = 255 - n
        examples.save(sheet if n % 3 else sheet.transpose(0, 2, 1), ("1", "7", "4")[n % 3])
    result = CliRunner().invoke(app, ["train", "--data", "drawings", "--epochs", "1", "--out", "run"])
    assert result.exit_code == 0, result.output
    assert "3 classes: 1, 4, 7" in result.output
    assert json.loads(Path("run/config.json").read_text())["data"]["path"] == str(tmp_path / "drawings")
    model = load(tmp_path / "drawings")
    assert model.classes == ("1", "4", "7")
