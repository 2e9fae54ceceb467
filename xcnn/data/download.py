"""Downloads: from mirror after mirror, resumed where they broke off, and kept only if every byte is right."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from xcnn.data.files import Source, contents
from xcnn.errors import FileError
from xcnn.files import sync_folder

__all__ = ["fetch"]

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 10  # connections to one mirror, each of which must bring something


def fetch(source: Source, folder: Path, /) -> Path:
    """Download a file into a folder.

    It grows as ``NAME.part``, which a later call continues by a range request. Once the contents are right,
    it is renamed in one step: a file under its own name is always whole.

    Parameters
    ----------
    source : Source
        Which file, with its mirrors and what it must contain.
    folder : pathlib.Path
        Where to; made if it is missing.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    FileError
        If no mirror has it, with the reason of each.
    """
    target, part = folder / source.name, folder / f"{source.name}.part"
    reasons = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"the folder for downloads cannot be made: {error}", where=str(folder)) from error
    for url in source.mirrors:
        try:
            _from_mirror(url, part, source)
            with open(part, "r+b") as file:
                os.fsync(file.fileno())  # a part that an earlier process left may not be on the disk
            os.replace(part, target)
            sync_folder(folder)
            return target
        except (OSError, http.client.HTTPException, ValueError) as error:
            if target.exists():  # another process was quicker
                return target
            reasons.append(f"  {url}: {_reason(error)}")
    lines = "\n".join(reasons)
    msg = f"no mirror gave the file:\n{lines}\nIt may be put by hand at {target}"
    raise FileError(msg, where=source.name)


def _from_mirror(url: str, part: Path, source: Source) -> None:
    """Make `part` the whole and right file."""
    limit = source.size + source.size // 1000 + 2**20  # what cannot be compressed grows a little
    while True:
        resumed = _size(part) > 0
        _complete(url, part, limit)
        try:
            for _ in contents(part, source):
                pass
            return
        except FileError:
            part.unlink(missing_ok=True)
            if not resumed:  # else its beginning may have come from elsewhere: once more from the start
                raise


def _complete(url: str, part: Path, limit: int) -> None:
    """Bring `part` to the length of the file, over as many connections as that takes."""
    for attempt in range(ATTEMPTS):
        before = _size(part)
        try:
            return _transfer(url, part, limit)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and before:  # nothing is left after what there is
                return None
            raise
        except (OSError, http.client.HTTPException):
            if _size(part) <= before or attempt == ATTEMPTS - 1:
                raise
    return None


def _transfer(url: str, part: Path, limit: int) -> None:
    """Add to `part` what one connection brings."""
    have = _size(part)
    headers = {"User-Agent": "xcnn", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as reply:
        start = have if reply.status == 206 else 0
        covers = reply.headers.get("Content-Range", "")
        if start and not covers.startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise FileError(f"was asked for what follows byte {start} and sent {covers or 'no range'!r}")
        length = reply.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        came = start
        with open(part, "r+b" if have else "wb") as file, _progress(part.stem, total) as show:
            file.seek(start)
            file.truncate()
            while max(came, total or 0) <= limit and (chunk := reply.read(2**16)):
                file.write(chunk)
                came += len(chunk)
                show(came)
            file.flush()
            os.fsync(file.fileno())
    if max(came, total or 0) > limit:
        part.unlink(missing_ok=True)
        raise FileError(f"serves more than the {limit} bytes that the file may have")
    if total is not None and came < total:
        raise FileError(f"ended after {came} of {total} bytes")


def _reason(error: Exception) -> str:
    """Return why a mirror was given up, in one line."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    if isinstance(error, FileError):
        return error.what
    return f"{type(error).__name__}: {error}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextlib.contextmanager
def _progress(name: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """Yield a function that shows how many bytes there are, on a terminal; elsewhere it does nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        from rich import progress as bar
        from rich.console import Console
    except ImportError:
        print(f"downloading {name} ...", file=sys.stderr)
        yield lambda _: None
        return
    columns = (bar.BarColumn(), bar.DownloadColumn(), bar.TransferSpeedColumn(), bar.TimeRemainingColumn())
    with bar.Progress("{task.description}", *columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)
