"""Drawings with the right answer, kept as a folder of images that `xcnn train` reads."""

from __future__ import annotations

import hashlib
import io
import os
from datetime import datetime
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np

from xcnn.draw.refusals import Refused
from xcnn.errors import DataError, FileError
from xcnn.files import write_atomically

__all__ = ["Examples"]

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_LONGEST = 100  # bytes of a class's name


class Examples:
    """A folder with a sub-folder for each class that has images; see `xcnn.data.load`.

    Parameters
    ----------
    folder : path
        Made if it is missing.
    most : int
        How many images it may hold, those that were there before included.
    most_bytes : int
        How many bytes they may take.

    Raises
    ------
    FileError
        If it is no folder that can be written to, or holds images to train and to test apart.
    """

    def __init__(
        self, folder: str | os.PathLike[str], /, *, most: int = 100_000, most_bytes: int = 1 << 30
    ) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.most, self.most_bytes = most, most_bytes
        self._lock = Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot be made: {error.strerror or error}; needed a folder for examples"
            raise FileError(msg, where=str(self.folder)) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise FileError("cannot be written to; needed a folder for examples", where=str(self.folder))
        if (self.folder / "train").is_dir() and (self.folder / "test").is_dir():
            msg = f"holds train and test apart; needed a folder of classes, such as {self.folder / 'train'}"
            raise FileError(msg, where=str(self.folder))

    def counts(self) -> dict[str, int]:
        """Return how many images each class has.

        Returns
        -------
        dict
            Names of classes, sorted; none without images.
        """
        return {name: len(files) for name, files in self._files().items()}

    def save(self, picture: Any, name: str, /) -> str:
        """Keep a picture of a class, once.

        Parameters
        ----------
        picture : array
            Shape (1, H, W) or (3, H, W), uint8, or floating in [0, 1].
        name : str
            The class.

        Returns
        -------
        str
            The file, from the folder on: ``7/20261120-143000-0123456789abcdef.png``.

        Raises
        ------
        DataError
            If `picture` is no such array.
        Refused
            400 if `name` cannot be that of a folder; 507 if there is no more room.
        """
        pixels = _bytes(np.asarray(picture))
        _check_name(name)
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]
        file = f"{datetime.now():%Y%m%d-%H%M%S}-{digest}.png"
        try:
            with self._lock:
                files = self._files()
                for known in files.get(name, {}):
                    if known.endswith(f"-{digest}.png"):
                        return str(PurePosixPath(name, known))
                self._check_place(name)
                content = _png(pixels)
                self._check_room(files, len(content))
                write_atomically(self.folder / name / file, content)
        except FileError as error:
            raise Refused(507, error.what, f"{name}/{file}") from error
        except OSError as error:  # somebody else moves or deletes what is in the folder
            msg = f"cannot be written to: {error.strerror or error}"
            raise Refused(507, msg, self.folder.name) from error
        return str(PurePosixPath(name, file))

    def _files(self) -> dict[str, dict[str, int]]:
        """Return the images of each class that has any, and their sizes in bytes."""
        found = {}
        self.folder.mkdir(parents=True, exist_ok=True)  # it may have been deleted meanwhile
        with os.scandir(self.folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        for name in names:
            with os.scandir(self.folder / name) as entries:
                files = {e.name: e.stat(follow_symlinks=False).st_size for e in entries if _is_image(e)}
            if files:
                found[name] = files
        return found

    def _check_place(self, name: str) -> None:
        """Raise Refused if the class's folder is something else, or another one on some file systems."""
        place = self.folder / name
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise Refused(400, "is there and no plain folder; needed one, or none", name)
        with os.scandir(self.folder) as entries:
            alike = [e.name for e in entries if e.name != name and e.name.casefold() == name.casefold()]
        if alike:
            raise Refused(400, f"differs from {alike[0]!r}, which is there, in capitals alone", name)

    def _check_room(self, files: dict[str, dict[str, int]], size: int) -> None:
        n = sum(map(len, files.values()))
        if n >= self.most:
            msg = f"holds {n:,} images, as many as are allowed; needed another folder"
            raise Refused(507, msg, self.folder.name)
        used = sum(sum(sizes.values()) for sizes in files.values())
        if used + size > self.most_bytes:
            msg = f"holds {used:,} bytes of images, of {self.most_bytes:,} allowed; needed another folder"
            raise Refused(507, msg, self.folder.name)


def _is_image(entry: os.DirEntry[str]) -> bool:
    hidden = entry.name.startswith(".")  # being written
    return entry.name.lower().endswith(".png") and not hidden and entry.is_file(follow_symlinks=False)


def _bytes(picture: np.ndarray) -> np.ndarray:
    """Return a picture as uint8."""
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or 0 in picture.shape:
        msg = f"has shape {picture.shape}; needed (1, H, W) or (3, H, W) to be kept as an image"
        raise DataError(msg, where="the picture")
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype.kind != "f" or not (picture.min() >= 0 and picture.max() <= 1):
        msg = "cannot be kept as an image; needed uint8, or numbers from 0 to 1"
        raise DataError(msg, where="the picture")
    return np.rint(picture * 255).astype(np.uint8)


def _check_name(name: str) -> None:
    """Raise Refused if a class cannot have a folder of its name, on any system, that `load` finds again."""
    wrong = None
    if not name or name != name.strip() or name.startswith((".", "__")) or name.endswith("."):
        wrong = "is empty, hidden, or begins or ends in a space or a dot"
    elif any(c in '/\\<>:"|?*' or not c.isprintable() for c in name):
        wrong = "holds characters that no folder may hold"
    elif name.casefold() in ("train", "test") or name.partition(".")[0].casefold() in _RESERVED:
        wrong = "means something else"
    elif len(name.encode(errors="replace")) > _LONGEST:
        wrong = f"has more than {_LONGEST} bytes"
    if wrong:
        msg = f"{name[:40]!r} {wrong}; needed a class whose name can be a folder's"
        raise Refused(400, msg, "the class")


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
