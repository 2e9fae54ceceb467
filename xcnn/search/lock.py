"""One search at a time in a folder: a lock that the operating system frees, however the process ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from xcnn.errors import FileError

__all__ = ["as_file_error", "only_writer"]

_BEYOND = 1 << 30  # on Windows nobody else may read what is locked: a byte that is never written


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


@contextlib.contextmanager
def only_writer(path: Path, /) -> Iterator[None]:
    """Be the only one that writes to a folder.

    Parameters
    ----------
    path : Path
        A file in it, made if there is none. One that is there and may only be read needs no lock.

    Yields
    ------
    None
        With the lock.

    Raises
    ------
    FileError
        If another process has the lock, or the file cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("ab"))
        except OSError as error:
            if not path.is_file():
                msg = f"cannot be written: {error.strerror or error}"
                raise FileError(msg, where=str(path)) from error
        else:
            try:
                _lock(file.fileno())
            except OSError as error:
                msg = "another search is writing here; needed another folder, or its end"
                raise FileError(msg, where=str(path.parent)) from error
        yield


if os.name == "nt":

    def _lock(handle: int) -> None:
        import msvcrt

        os.lseek(handle, _BEYOND, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]

else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
