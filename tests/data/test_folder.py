"""Folders of images: read, and refused with the name of the file that does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xcnn.data import load, read_images
from xcnn.errors import DataError, Error, FileError, OptionError

Image = pytest.importorskip("PIL.Image", reason='needs Pillow: pip install "xcnn[app]"')
RNG = np.random.default_rng(0)


def picture(path: Path, shape: tuple[int, ...] = (6, 5), mode: str | None = None) -> np.ndarray:
    pixels = RNG.integers(0, 256, shape, np.uint8)
    image = Image.fromarray(pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if mode is None else image.convert(mode)).save(path)
    return pixels


def folder(root: Path, shape: tuple[int, ...] = (6, 5), per_class: int = 8) -> dict[str, list[np.ndarray]]:
    names = ("bee", "ant")
    return {c: [picture(root / c / f"{i:02}.png", shape) for i in range(per_class)] for c in names}


def test_classes_and_files_are_sorted_by_name(tmp_path):
    pixels = folder(tmp_path)
    data = load(tmp_path)
    assert data.classes == ("ant", "bee")
    assert data.name == str(tmp_path)
    x, y = (np.concatenate([a, b]) for a, b in zip(data.train, data.test, strict=True))
    assert x.shape == (16, 1, 6, 5)
    assert x.dtype == np.uint8
    assert y.dtype == np.int64
    for label, name in enumerate(data.classes):
        assert {a.tobytes() for a in x[y == label, 0]} == {a.tobytes() for a in pixels[name]}


def test_a_quarter_of_each_class_is_held_out_whatever_the_seed(tmp_path):
    folder(tmp_path)
    data = load(tmp_path)
    assert np.bincount(data.train.y).tolist() == [6, 6]
    assert np.bincount(data.test.y).tolist() == [2, 2]
    np.testing.assert_array_equal(load(tmp_path, seed=5).test.x, data.test.x)


def test_train_and_test_folders_are_kept_apart(tmp_path):
    train, test = folder(tmp_path / "train"), folder(tmp_path / "test", per_class=3)
    data = load(str(tmp_path))
    np.testing.assert_array_equal(data.train.x[:, 0], np.concatenate([train["ant"], train["bee"]]))
    np.testing.assert_array_equal(data.test.x[:, 0], np.concatenate([test["ant"], test["bee"]]))
    assert data.test.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_coloured_images_have_three_channels(tmp_path):
    pixels = folder(tmp_path / "train", (4, 7, 3)), folder(tmp_path / "test", (4, 7, 3))
    data = load(tmp_path)
    np.testing.assert_array_equal(data.train.x[0].transpose(1, 2, 0), pixels[0]["ant"][0])
    grey = load(tmp_path, grey=True)
    assert grey.train.x.shape == (16, 1, 4, 7)


def test_subsets_work_on_folders(tmp_path):
    folder(tmp_path)
    data = load(tmp_path, classes=["bee"], train_size=4, test_size=1)
    assert data.train.x.shape == (4, 1, 6, 5)
    assert data.test.y.tolist() == [0]


def test_other_files_are_left_alone(tmp_path):
    folder(tmp_path)
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "readme.md").write_text("nor a class")
    (tmp_path / ".cache").mkdir()
    assert len(load(tmp_path).train.y) == 12


def test_sizes_that_differ_name_the_file_and_the_way_out(tmp_path):
    folder(tmp_path)
    picture(tmp_path / "bee" / "03.png", (9, 5))
    with pytest.raises(
        DataError,
        match=r"bee.03\.png: is 9 x 5 pixels, grey; needed 6 x 5 pixels, grey as in .*size=\(6, 5\)",
    ):
        load(tmp_path)
    assert load(tmp_path, size=(6, 5)).train.x.shape == (12, 1, 6, 5)


def test_mixed_colours_name_the_file_and_the_way_out(tmp_path):
    folder(tmp_path)
    picture(tmp_path / "bee" / "03.png", (6, 5, 3))
    with pytest.raises(
        DataError, match=r"bee.03\.png: is 6 x 5 pixels, coloured; .*, or grey=True or grey=False$"
    ):
        load(tmp_path)
    assert load(tmp_path, grey=True).train.x.shape == (12, 1, 6, 5)
    assert load(tmp_path, grey=False).train.x.shape == (12, 3, 6, 5)


def test_test_images_must_have_the_size_of_training_images(tmp_path):
    folder(tmp_path / "train")
    folder(tmp_path / "test", (5, 6))
    with pytest.raises(DataError, match=r"test.ant.00\.png: is 5 x 6"):
        load(tmp_path)


def test_broken_images_are_named(tmp_path):
    folder(tmp_path)
    good = (tmp_path / "bee" / "03.png").read_bytes()
    for bad in (b"", b"no image", good[:60], good[:40] + b"\0\0\0\0" + good[44:]):
        (tmp_path / "bee" / "03.png").write_bytes(bad)
        with pytest.raises(FileError, match=r"bee.03\.png: cannot be read as an image"):
            load(tmp_path)


def test_an_image_that_is_too_large_to_be_true_is_refused(tmp_path, monkeypatch):
    folder(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(FileError, match="decompression bomb"):
        load(tmp_path)


def test_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(
        DataError, match=r"x\.png: has pixels of Pillow's mode 'I;16'; needed 8 bits a channel"
    ):
        read_images([tmp_path / "x.png"])


def test_transparent_images_lie_on_white(tmp_path):
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0, 3] = 255  # black, then nothing
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert read_images([tmp_path / "x.png"], grey=True).tolist() == [[[[0, 255]]]]


def test_cameras_say_which_way_is_up(tmp_path):
    image = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    image.save(tmp_path / "x.png", exif=exif)
    assert read_images([tmp_path / "x.png"]).tolist() == [[[[0], [255]]]]


def test_shrinking_averages(tmp_path):
    Image.fromarray(np.tile(np.array([[0, 255], [255, 0]], np.uint8), (8, 8))).save(tmp_path / "x.png")
    small = read_images([tmp_path / "x.png"], size=(2, 2))
    assert np.all(abs(small.astype(int) - 127) < 10)


def test_palettes_and_bitmaps_are_read(tmp_path):
    picture(tmp_path / "p.png", (4, 4, 3), "P")
    picture(tmp_path / "b.png", (4, 4), "1")
    assert read_images([tmp_path / "p.png"]).shape == (1, 3, 4, 4)
    assert set(np.unique(read_images([tmp_path / "b.png"]))) <= {0, 255}


@pytest.mark.parametrize("size", [(0, 4), (4,), (4.5, 4)])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(
        OptionError, match=r"read_images: size is .*; needed the height and the width, in pixels"
    ):
        read_images(["x.png"], size=size)


def test_no_images_are_refused():
    with pytest.raises(DataError, match="got no images; needed at least one"):
        read_images([])


def test_folders_of_another_form_are_refused(tmp_path):
    with pytest.raises(FileError, match="no such folder; needed one with a sub-folder for each class"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no sub-folders; needed one for each class"):
        load(tmp_path)
    folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"cat: has no images"):
        load(tmp_path)


def test_one_image_alone_is_refused(tmp_path):
    picture(tmp_path / "ant" / "0.png")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}: has one image; needed at least 2, one to hold out"


def test_the_home_of_nobody_is_refused():
    with pytest.raises(FileError, match=r"^~nobody-of-this-name/a: no such folder: .*; needed one with"):
        load("~nobody-of-this-name/a")


def test_train_and_test_must_have_the_same_classes(tmp_path):
    folder(tmp_path / "train")
    folder(tmp_path / "test")
    picture(tmp_path / "test" / "cat" / "0.png")
    with pytest.raises(DataError, match=r"test: has the class 'cat', which .*train has not"):
        load(tmp_path)
    picture(tmp_path / "train" / "cat" / "0.png")
    picture(tmp_path / "train" / "dog" / "0.png")
    with pytest.raises(DataError, match=r"test: has no class 'dog'; needed a sub-folder for it"):
        load(tmp_path)


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    folder(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(Error, match=r'Pillow, which is not installed; needed: pip install "xcnn\[app\]"'):
        load(tmp_path)
