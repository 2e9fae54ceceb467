"""One writer at a time in a folder: a lock that the operating system frees, however the process ends."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from xcnn.errors import FileError
from xcnn.files import as_file_error, ensure_folder

__all__ = ["only_writer"]

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}  # Windows has the first and the last
_BEYOND = 1 << 30  # on Windows nobody else may read what is locked: a byte that is never written


@contextlib.contextmanager
def only_writer(path: Path, what: str, /) -> Iterator[None]:
    """Be the only one that writes to a folder.

    Parameters
    ----------
    path : Path
        A file in it, made if there is none. One that is there and may only be read needs no lock.
    what : str
        What writes, for the error: "search".

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
            with as_file_error(path):
                ensure_folder(path.parent)
                file = stack.enter_context(path.open("ab"))
        except FileError:
            if not path.is_file():
                raise
        else:
            try:
                _lock(file.fileno())
            except OSError as error:
                if error.errno in _TAKEN:
                    msg = f"another {what} is writing here; needed another folder, or its end"
                    raise FileError(msg, where=str(path.parent)) from error
                msg = f"cannot be locked: {error.strerror or error}; needed a file system with locks"
                raise FileError(msg, where=str(path)) from error
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
