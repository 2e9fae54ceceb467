"""Full and read-only disks, real ones: training says so and goes on, and resumes when there is room."""

from __future__ import annotations

import errno
import os
import sys
import warnings

import pytest

from tests.crash import mounts
from tests.crash.conftest import WHOLE
from tests.nets import assert_same
from tests.ops.checks import says
from xcnn.errors import FileError
from xcnn.training.checkpoint import newest_checkpoint

LONG = pytest.mark.skipif(not WHOLE, reason="a run more: with XCNN_TEST_WHOLE=1")


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("fills_up", {}),
        ("is_full", {}),
        ("turns_read_only", {}),
        ("is_read_only", {}),
        ("goes", {}),
        ("command_fills_up", {"at_the_end": False}),
        pytest.param("command_fills_up", {"at_the_end": True}, marks=LONG),
    ],
)
def test_on_a_disk_that(processes, tmp_path, what, options):
    if sys.platform != "linux":
        pytest.skip("mounts a tmpfs in a namespace of its own, which Linux alone has")
    ended = processes.run(f"mounts.{what}", tmp_path / "disk", **options)
    if ended.code == mounts.REFUSED:
        pytest.skip("this system lets nobody mount a tmpfs in a namespace of its own")
    assert ended.code == 0, ended.output


class Faulty:
    """Let one call to the system fail, or all from one on for a while."""

    def __init__(self, monkeypatch, number):
        self.calls, self.at, self.number = 0, range(0), number
        for name in ("open", "fsync", "replace"):
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))
        monkeypatch.setattr("xcnn.files.open", self._opened, raising=False)

    def _count(self):
        self.calls += 1
        if self.calls in self.at:
            raise OSError(self.number, os.strerror(self.number))

    def _failing(self, call):
        def failing(*args, **options):
            self._count()
            return call(*args, **options)

        return failing

    def _opened(self, path, mode):
        self._count()
        file = open(path, mode)  # noqa: SIM115
        write = file.write

        class Torn:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(own, content):
                try:
                    self._count()
                except OSError:
                    write(content[: len(content) // 2])
                    raise
                write(content)

            flush, fileno = file.flush, file.fileno

        return Torn()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_whichever_call_fails_training_goes_on_and_resumes(tmp_path, monkeypatch, number):
    want, history = mounts.fit(tmp_path / "want", epochs=2)
    with monkeypatch.context() as patch:
        faulty = Faulty(patch, number)
        mounts.fit(tmp_path / "counted", epochs=2)
        total, refused = faulty.calls, {}
        for start in range(1, total, 1 if WHOLE else 11):
            folder = tmp_path / f"{start}"
            faulty.calls, faulty.at = 0, range(start, start + 15)
            try:
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    got = mounts.fit(folder, epochs=2)
            except FileError as error:
                refused[start] = str(error)
            else:
                assert told
                assert_same(got[0], want)
                assert got[1] == history
            assert not list(folder.glob(".*"))
            faulty.at = range(0)
            if start not in refused:
                newest_checkpoint(folder)
            model, again = mounts.fit(folder, epochs=2)
            assert_same(model, want)
            assert again == history
    assert all(os.strerror(number) in reason for reason in refused.values())
    assert 0 < max(refused) <= 12  # the first save, and it alone, is one that must not fail


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("precious")
    for folder in (tmp_path / "run", tmp_path / "run" / "checkpoints"):
        with pytest.raises(FileError, match=says("run", "cannot be written: ", "is a file; needed a folder")):
            mounts.fit(folder)
    assert (tmp_path / "run").read_text() == "precious"


def test_a_second_process_in_the_same_folder_is_refused(processes, tmp_path):
    told = []

    def another():
        ended = processes.run("mounts.fit", tmp_path / "run")
        told.append((ended.code, ended.output))

    got = mounts.fit(tmp_path / "run", mounts.After(7, another))
    ((code, output),) = told
    assert code == 1
    assert (
        f"{tmp_path / 'run'}: another training is writing here; needed another folder, or its end" in output
    )
    want = mounts.fit(tmp_path / "want", mounts.After(7, lambda: None))
    mounts._assert_equal(got, want)
