"""Files that are written whole or not at all, lines that are appended, and locks."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from tests.nets import plain
from tests.ops.checks import says
from xcnn import files
from xcnn.errors import FileError
from xcnn.lock import only_writer


def failing(number, *, folders):
    """Return an `os.fsync` that fails, on folders or on files."""
    fsync = os.fsync

    def fails(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode) == folders:
            raise OSError(number, os.strerror(number))
        fsync(handle)

    return fails


def test_folders_on_the_way_are_made_and_flushed(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(files, "sync_folder", lambda folder: seen.append(str(folder.relative_to(tmp_path))))
    files.write_atomically(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"
    assert seen == [".", "a", "a/b"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="folders are flushed on POSIX alone")
def test_a_system_that_cannot_flush_folders_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL, folders=True))
    files.write_atomically(tmp_path / "file", b"content")
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, folders=True))
    with pytest.raises(FileError, match="file: cannot be written: Input/output error"):
        files.write_atomically(tmp_path / "file", b"content")


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = plain()
    for number in range(8):
        model.save(tmp_path / f"{number}.xcnn")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_line_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "log"
    files.append_line(path, "one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC, folders=False))
        with pytest.raises(FileError, match="log: cannot be written: No space left on device"):
            files.append_line(path, "two")
    assert path.read_text() == "one\n"
    files.append_line(path, "three")
    assert path.read_text() == "one\nthree\n"


def test_a_half_line_is_ended(tmp_path):
    path = tmp_path / "log"
    path.write_text("one\ntw")
    files.append_line(path, "three")
    assert path.read_text() == "one\ntw\nthree\n"


def test_only_what_a_kill_left_is_removed(tmp_path):
    names = [".a.0123456789abcdef", ".b.0123456789abcdef", ".a.0123456789abcde", ".a", ".a.backup-of-mine0"]
    for name in names:
        (tmp_path / name).write_text("")
    files.remove_leftovers(tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
    files.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[2:])
    files.remove_leftovers(tmp_path / "nowhere")


def test_a_system_without_locks_is_no_other_process(tmp_path, monkeypatch):
    def refuse(handle):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("xcnn.lock._lock", refuse)
    with (
        pytest.raises(FileError, match=says("lock: cannot be locked", "needed a file system with locks")),
        only_writer(tmp_path / "lock", "training"),
    ):
        pass
