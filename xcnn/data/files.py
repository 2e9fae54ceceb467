"""Files of public data sets: where they may lie, and what they must contain."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xcnn.errors import FileError

__all__ = ["Content", "Source", "cache_folder", "contents", "find", "obtain"]


@dataclass(frozen=True)
class Content:
    """What one file, or one member of an archive, must be once it is unpacked.

    Parameters
    ----------
    name : str
        Its name.
    size : int
        Its length, in bytes.
    sha256 : str
        The hexadecimal digest of its bytes.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A file as its mirrors serve it.

    Parameters
    ----------
    folder : str
        The sub-folder it belongs in.
    name : str
        Its name: ``.tar.gz`` is an archive, ``.gz`` one compressed file, anything else is not packed.
    contents : tuple of Content
        What is in it.
    mirrors : tuple of str
        Addresses, in the order in which they are tried.
    unpacked : str
        Name of the unpacked file, or of the folder of unpacked members, which will do as well.
    """

    folder: str
    name: str
    contents: tuple[Content, ...]
    mirrors: tuple[str, ...]
    unpacked: str

    @property
    def size(self) -> int:
        """Bytes of all contents."""
        return sum(content.size for content in self.contents)


def cache_folder() -> Path:
    """Return the folder that downloads go to.

    Returns
    -------
    pathlib.Path
        ``$XDG_CACHE_HOME/xcnn`` if the variable holds an absolute path; else ``%LOCALAPPDATA%`` on Windows,
        ``~/Library/Caches`` on macOS and ``~/.cache`` elsewhere, with ``xcnn``.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(home):
        return Path(home) / "xcnn"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "xcnn"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "xcnn"


def roots(root: str | os.PathLike[str] | None = None, /) -> list[Path]:
    """Return the folders that are searched: the argument, ``$XCNN_DATA``, the cache."""
    named = [("root", root), ("XCNN_DATA", os.environ.get("XCNN_DATA") or None)]
    folders = []
    for what, folder in named:
        if folder is not None:
            folders.append(Path(folder).expanduser())
            if not folders[-1].is_dir():
                raise FileError(f"{what} is {str(folder)!r}; needed an existing folder", where="data sets")
    return [*folders, cache_folder()]


def find(source: Source, root: str | os.PathLike[str] | None = None, /) -> Path | None:
    """Return where a file is, packed or not, without a look inside.

    Parameters
    ----------
    source : Source
        Which file.
    root : path, optional
        A folder to search first.

    Returns
    -------
    pathlib.Path or None
        The first of ``folder/unpacked`` and ``folder/name`` in `root`, ``$XCNN_DATA`` and the cache.

    Raises
    ------
    FileError
        If `root` or ``$XCNN_DATA`` is no folder.
    """
    for folder in roots(root):
        for name in (source.unpacked, source.name):
            path = folder / source.folder / name
            if path.exists():
                return path
    return None


def obtain(source: Source, root: str | os.PathLike[str] | None = None, /, *, download: bool = True) -> Path:
    """Return where a file is, after downloading it if need be.

    Parameters
    ----------
    source : Source
        Which file.
    root : path, optional
        A folder to search first.
    download : bool
        Whether it may be downloaded.

    Returns
    -------
    pathlib.Path
        See `find`.

    Raises
    ------
    FileError
        If it is nowhere, or no mirror has it.
    """
    path = find(source, root)
    if path is not None:
        return path
    if not download:
        searched = ", ".join(str(folder / source.folder) for folder in roots(root))
        msg = f"not found in {searched}; needed it there, or download=True"
        raise FileError(msg, where=source.name)
    from xcnn.data.download import fetch

    return fetch(source, cache_folder() / source.folder)


def contents(path: Path, source: Source, /) -> Iterator[tuple[str, bytes]]:
    """Read a file, or a folder of unpacked members, and check every byte.

    Never more than the expected size is read, whatever a compressed file would expand to.

    Parameters
    ----------
    path : pathlib.Path
        Where it is.
    source : Source
        What it must contain.

    Yields
    ------
    name : str
        Name of one of the contents.
    data : bytes
        Its bytes.

    Raises
    ------
    FileError
        If it is truncated, too long, of another format or altered.
    """
    try:
        if path.is_dir():
            for content in source.contents:
                with open(path / content.name, "rb") as file:
                    yield content.name, _checked(file, content, path / content.name)
        elif path.name == source.unpacked or not source.name.endswith(".gz"):
            with open(path, "rb") as file:
                yield source.contents[0].name, _checked(file, source.contents[0], path)
        elif source.name.endswith(".tar.gz"):
            with gzip.open(path) as file:
                yield from _members(file, source, path)
        else:
            with gzip.open(path) as file:
                yield source.contents[0].name, _checked(file, source.contents[0], path)
    except FileError:
        raise
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        what = "compressed data" if path.is_file() and source.name.endswith(".gz") else "file"
        msg = f"the {what} cannot be read: {type(error).__name__}: {error}; needed {source.name} whole"
        raise FileError(msg, where=str(path)) from error


def _checked(file: Any, content: Content, path: Path) -> bytes:
    """Return the bytes of one content."""
    data = file.read(content.size + 1)
    if len(data) != content.size:
        came = f"more than {content.size}" if len(data) > content.size else f"only {len(data)}"
        msg = f"{content.name} has {came} bytes; needed {content.size}"
        raise FileError(msg, where=str(path))
    digest = hashlib.sha256(data).hexdigest()
    if digest != content.sha256:
        msg = f"{content.name} has SHA-256 {digest}; needed {content.sha256}"
        raise FileError(msg, where=str(path))
    return data


def _members(file: Any, source: Source, path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted members of a tar archive, in the order they come."""
    wanted = {content.name: content for content in source.contents}
    stream: Any = _Bounded(file, source.size + 2**20, path)
    with tarfile.open(fileobj=stream, mode="r|", bufsize=2**20) as archive:
        for member in archive:
            content = wanted.pop(PurePosixPath(member.name).name, None) if member.isreg() else None
            if content is None:
                continue
            opened = archive.extractfile(member)
            assert opened is not None  # a regular file
            yield content.name, _checked(opened, content, path)
            if not wanted:
                return
    raise FileError(f"the archive has no {', '.join(wanted)}; needed it", where=str(path))


class _Bounded:
    """A stream that refuses to yield more than a limit, or to be read on and on behind its end."""

    def __init__(self, file: Any, limit: int, path: Path) -> None:
        self._file, self._left, self._limit, self._path = file, limit, limit, path
        self._ends = 0

    def read(self, n: int) -> bytes:
        data = self._file.read(min(n, self._left + 1))
        self._left -= len(data)
        self._ends += not data
        if self._ends > 100:  # tarfile would go on to wherever a header says that the next one stands
            raise EOFError("it ends within a member")
        if self._left < 0:
            msg = f"unpacks to more than {self._limit} bytes; needed the wanted members before that"
            raise FileError(msg, where=str(self._path))
        return data
