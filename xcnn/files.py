"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from xcnn.errors import FileError

__all__ = [
    "append_line",
    "as_file_error",
    "ensure_folder",
    "is_leftover",
    "remove_leftovers",
    "sync_folder",
    "write_atomically",
]

_HEX = 16  # digits that end the name of a temporary file
_NO_SYNC = {errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EPERM}  # of systems that can't


@contextlib.contextmanager
def as_file_error(path: Path, /) -> Iterator[None]:
    """Make an error of the operating system a FileError.

    Parameters
    ----------
    path : Path
        What cannot be written.

    Yields
    ------
    None
        To write in between.

    Raises
    ------
    FileError
        Naming the path.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        msg = f"cannot be written: {error.strerror or error}"
        raise FileError(msg, where=str(path)) from error


def write_atomically(path: str | Path, content: bytes, /) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a half.

    A temporary file in the same folder is written, flushed to the disk and renamed; then the folder is
    flushed, and those above it that were made.

    Parameters
    ----------
    path : str or Path
        Folders on the way are made.
    content : bytes
        All of it.

    Raises
    ------
    FileError
        If it cannot be written; what is there is whole.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        with as_file_error(path):
            ensure_folder(path.parent)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(_HEX // 2)}")
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            temporary = None
            sync_folder(path.parent)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def append_line(path: Path, line: str, /) -> None:
    """Append a line to a file, through to the disk; half a line at its end, which a kill left, is ended.

    Parameters
    ----------
    path : Path
        Folders on the way are made.
    line : str
        Without its end.

    Raises
    ------
    FileError
        If it cannot be written; the file is as it was.
    """
    with as_file_error(path):
        ensure_folder(path.parent)
        new = not path.exists()
        with path.open("ab+", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            file.seek(max(before - 1, 0))
            content = b"\n" * (file.read(1) not in (b"", b"\n")) + line.encode() + b"\n"
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
        if new:
            sync_folder(path.parent)


def remove_leftovers(folder: Path, name: str = "*", /) -> None:
    """Remove what a kill left of files that were being written; nobody else may be writing there.

    Parameters
    ----------
    folder : Path
        Where; need not exist.
    name : str
        Of the files, or a pattern of `glob`.
    """
    for path in folder.glob(".*"):
        if is_leftover(path, name):
            with contextlib.suppress(OSError):
                path.unlink()


def is_leftover(path: Path, name: str = "*", /) -> bool:
    """Return whether a kill left `path` of a file that was being written.

    Parameters
    ----------
    path : Path
        Told by its name alone.
    name : str
        Of the file, or a pattern of `glob`.

    Returns
    -------
    bool
        True also while a living process writes.
    """
    return fnmatchcase(path.name, f".{name}.{'[0-9a-f]' * _HEX}")


def ensure_folder(folder: Path, /) -> None:
    """Make a folder, and those above it, so that they outlast a power cut.

    Parameters
    ----------
    folder : Path
        May be there.

    Raises
    ------
    OSError
        If it cannot be made, or is a file.
    """
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file; needed a folder")
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


def sync_folder(folder: Path, /) -> None:
    """Make what was renamed or made in a folder outlast a power cut; not every system can.

    Parameters
    ----------
    folder : Path
        Is there.

    Raises
    ------
    OSError
        If its disk fails.
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
