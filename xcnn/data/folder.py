"""Folders of images, one sub-folder for each class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from xcnn.data.dataset import DataSet, Split
from xcnn.data.digits import HELD_OUT
from xcnn.data.images import SUFFIXES, read_images
from xcnn.data.split import split
from xcnn.errors import DataError, FileError

__all__ = ["read_folder"]


def read_folder(
    path: str | os.PathLike[str], /, *, size: tuple[int, int] | None = None, grey: bool | None = None
) -> DataSet:
    """Read images from sub-folders that are named after their classes.

    With sub-folders ``train`` and ``test`` in `path`, the classes are in them; else a quarter of each class
    is held out, always the same one. Labels follow the sorted names of the classes, images the sorted names
    of the files.

    Parameters
    ----------
    path : path
        The folder.
    size : tuple of int, optional
        Height and width to which all are resized; see `read_images`.
    grey : bool, optional
        Whether all are made grey; see `read_images`.

    Returns
    -------
    DataSet
        With x (N, 1, H, W) or (N, 3, H, W), uint8.

    Raises
    ------
    DataError
        If there are no classes, a class has no images, or images differ in size or in colour.
    Error
        If Pillow is not installed.
    FileError
        If the folder is missing or an image cannot be read.
    OptionError
        If `size` is no pair of positive integers.
    """
    try:
        root = Path(path).expanduser()
    except RuntimeError as error:  # a home that nobody has
        msg = f"no such folder: {error}; needed one with a sub-folder for each class"
        raise FileError(msg, where=str(path)) from error
    if not root.is_dir():
        raise FileError("no such folder; needed one with a sub-folder for each class", where=str(root))
    train, test = root / "train", root / "test"
    if not (train.is_dir() and test.is_dir()):
        classes = _classes(root)
        paths, y = _list(root, classes)
        if len(paths) < 2:
            raise DataError("has one image; needed at least 2, one to hold out", where=str(root))
        return DataSet(str(path), *split(read_images(paths, size=size, grey=grey), y, HELD_OUT), classes)
    classes = _classes(train)
    strange = sorted(set(_classes(test)) - set(classes))
    if strange:
        msg = f"has the class {strange[0]!r}, which {train} has not; needed the same classes"
        raise DataError(msg, where=str(test))
    paths, y = _list(train, classes)
    held, y_held = _list(test, classes)
    x = read_images([*paths, *held], size=size, grey=grey)
    return DataSet(str(path), Split(x[: len(y)], y), Split(x[len(y) :], y_held), classes)


def _classes(folder: Path) -> tuple[str, ...]:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
    if not names:
        raise DataError("has no sub-folders; needed one for each class", where=str(folder))
    return tuple(names)


def _list(folder: Path, classes: tuple[str, ...]) -> tuple[list[Path], np.ndarray]:
    """Return the images of all classes, and their labels."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            raise DataError(f"has no class {name!r}; needed a sub-folder for it", where=str(folder))
        found = sorted(p for p in (folder / name).iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise DataError(f"has no images ({', '.join(sorted(SUFFIXES))})", where=str(folder / name))
        paths += found
        labels += [label] * len(found)
    return paths, np.asarray(labels, np.int64)
