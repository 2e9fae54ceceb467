"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from xcnn.errors import FileError

__all__ = ["write_atomically"]


def write_atomically(path: str | Path, content: bytes, /) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a half.

    A temporary file in the same folder is written, flushed to the disk and renamed; then the folder is
    flushed.

    Parameters
    ----------
    path : str or Path
        Folders on the way are made.
    content : bytes
        All of it.

    Raises
    ------
    FileError
        If it cannot be written; the old file is untouched.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        msg = f"cannot be written: {error.strerror or error}"
        raise FileError(msg, where=str(path)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
