"""A disk that can lose power: what is written is recorded, and every state is made that a cut may leave.

What is certain is what `fsync` made certain: the bytes of a file once it was called on the file, the names in
a folder once it was called on the folder. Of all else anything may be there: bytes missing, cut off or zeros;
of names that were made, changed or removed since, any.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Names = dict[str, int | None]  # what a folder holds: a file's number, or None for a folder


class Call(NamedTuple):
    """A call: "make", "link", "rename", "unlink" change names; "write" and "sync" are of a file's number."""

    kind: str
    path: str = ""
    other: str = ""
    file: int = -1
    content: bytes = b""


class Recorder:
    """Record what is done in a folder, while it is done.

    Parameters
    ----------
    folder : Path
        In which; it outlasts everything itself.
    monkeypatch : pytest.MonkeyPatch
        Puts the calls in the place of those of `os`.
    """

    def __init__(self, folder: Path, monkeypatch: Any) -> None:
        self.folder, self.calls, self.marks = str(folder), [], []
        self._handles: dict[int, str | int] = {}  # open ones: a folder's path, or a file's number
        self._written: dict[int, Path] = {}
        self._count = itertools.count()
        self._real = {
            name: getattr(os, name) for name in ("open", "close", "fsync", "replace", "unlink", "mkdir")
        }
        for name in self._real:
            monkeypatch.setattr(os, name, getattr(self, f"_{name}"))
        monkeypatch.setattr("xcnn.files.open", self._create, raising=False)

    def mark(self) -> None:
        """Say that something has ended well."""
        self.marks.append(len(self.calls))

    def _create(self, path: Path, mode: str) -> Any:
        file = open(path, mode)  # noqa: SIM115
        number = next(self._count)
        self._handles[file.fileno()], self._written[number] = number, path
        self.calls.append(Call("link", str(path), file=number))
        return file

    def _open(self, path: Any, flags: int, *args: Any, **options: Any) -> int:
        handle = self._real["open"](path, flags, *args, **options)
        self._handles[handle] = str(path)
        return handle

    def _close(self, handle: int) -> None:
        self._handles.pop(handle, None)
        self._real["close"](handle)

    def _fsync(self, handle: int) -> None:
        self._real["fsync"](handle)
        what = self._handles[handle]
        if isinstance(what, int):
            self._settle(what)
            self.calls.append(Call("sync", file=what))
        else:
            self.calls.append(Call("sync", what))

    def _settle(self, number: int) -> None:
        """Take down what a file holds by now."""
        path = self._written.pop(number, None)
        if path is not None:
            self.calls.append(Call("write", file=number, content=path.read_bytes()))

    def _replace(self, old: Any, new: Any) -> None:
        for number in [number for number, path in self._written.items() if path == old]:
            self._settle(number)  # nobody had made it certain
        self._real["replace"](old, new)
        self.calls.append(Call("rename", str(old), str(new)))

    def _unlink(self, path: Any, **options: Any) -> None:
        self._real["unlink"](path, **options)
        self.calls.append(Call("unlink", str(path)))

    def _mkdir(self, path: Any, *args: Any, **options: Any) -> None:
        self._real["mkdir"](path, *args, **options)
        self.calls.append(Call("make", str(path)))


def outcomes(recorder: Recorder) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield, for a cut after each call, its number and each set of files that may be found, by path."""
    for cut in range(len(recorder.calls) + 1):
        seen = set()
        for files in _after(recorder.calls[:cut], recorder.folder):
            key = frozenset(files.items())
            if key not in seen:
                seen.add(key)
                yield cut, files


def _after(calls: list[Call], root: str) -> Iterator[dict[str, bytes]]:
    """Yield the sets of files that a cut after these calls may leave."""
    content = {call.file: call.content for call in calls if call.kind == "write"}
    certain = {call.file for call in calls if call.kind == "sync" and not call.path}
    synced = {call.path: at for at, call in enumerate(calls) if call.kind == "sync" and call.path}
    changes = [(at, call) for at, call in enumerate(calls) if call.kind not in ("sync", "write")]
    done = [(at, call) for at, call in changes if at < synced.get(os.path.dirname(call.path), -1)]
    open_ = [(at, call) for at, call in changes if at > synced.get(os.path.dirname(call.path), -1)]
    for chosen in itertools.product((False, True), repeat=len(open_)):
        took = [change for change, yes in zip(open_, chosen, strict=True) if yes]
        names = _names(sorted([*done, *took], key=lambda change: change[0]), changes, root)
        loose = sorted({file for file in names.values() if file is not None} - certain)
        for states in itertools.product(range(4), repeat=len(loose)):
            state = dict(zip(loose, states, strict=True))
            yield {
                path: _left(content.get(file, b""), state.get(file, 0))
                for path, file in names.items()
                if file is not None
            }


def _names(took: list[Any], changes: list[Any], root: str) -> Names:
    """Return what is found from the root when these of all changes took place."""
    names: Names = {root: None}
    linked = _numbers(changes)
    for at, call in took:
        if call.kind == "make":
            names[call.path] = None
        elif call.kind == "link":
            names[call.path] = call.file
        elif call.kind == "rename":
            names.pop(call.path, None)
            names[call.other] = linked[at]
        else:
            names.pop(call.path, None)
    return {path: file for path, file in names.items() if path == root or os.path.dirname(path) in names}


def _numbers(changes: list[Any]) -> dict[int, int]:
    """Return which file each renaming renamed."""
    now: dict[str, int] = {}
    found = {}
    for at, call in changes:
        if call.kind == "link":
            now[call.path] = call.file
        elif call.kind == "rename":
            found[at] = now[call.other] = now.pop(call.path)
    return found


def _left(content: bytes, state: int) -> bytes:
    """Return what is found of a file: all of it, nothing, a half, or as many zeros."""
    return (content, b"", content[: len(content) // 2], bytes(len(content)))[state]
