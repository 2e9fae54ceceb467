"""Small disks of one's own, for this process alone, and what trainings do on them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash import runs
from tests.nets import assert_same, full, host, stripes
from xcnn import callbacks as c
from xcnn.errors import FileError
from xcnn.training import Checkpoint
from xcnn.training.checkpoint import newest_checkpoint
from xcnn.training.loop import Loop

REFUSED = 77  # the exit code where the system lets nobody mount
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _AGAIN, _BIND, _PRIVATE, _LAZY = 1, 32, 4096, (1 << 18) | (1 << 14), 2


def small_disk(folder: Path, *, kilobytes: int = 512) -> None:
    """Put a small tmpfs at a folder, seen by this process alone; end it where that is not allowed."""
    folder.mkdir(parents=True)
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if libc.unshare(_NEW_MOUNTS | (_NEW_USER if user else 0)):
        os._exit(REFUSED)
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount(libc, b"none", Path("/"), None, _PRIVATE, None)
    _mount(libc, b"xcnn", folder, b"tmpfs", 0, f"size={kilobytes}k".encode())


def read_only(folder: Path, yes: bool) -> None:
    """Make a folder read-only, or writable again, though files in it are open."""
    libc = ctypes.CDLL(None, use_errno=True)
    if yes:
        _mount(libc, str(folder).encode(), folder, None, _BIND, None)
        _mount(libc, b"none", folder, None, _BIND | _AGAIN | _READ_ONLY, None)
    elif libc.umount2(str(folder).encode(), _LAZY):
        os._exit(REFUSED)


def _mount(libc: Any, source: bytes, at: Path, kind: bytes | None, flags: int, data: bytes | None) -> None:
    if libc.mount(source, str(at).encode(), kind, flags, data):
        os._exit(REFUSED)


def fill(folder: Path) -> None:
    """Fill a disk to the last byte."""
    with open(folder / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def make_room(folder: Path) -> None:
    """Remove what filled it."""
    (folder / "ballast").unlink()


def fit(folder: Path, *more: Any, **options: Any) -> tuple[dict[str, Any], Any]:
    """Train with a checkpoint after every step; return the parameters and the history."""
    model = full()
    own = {"epochs": 4, "batch_size": 10, "validation": stripes(24, seed=1), "resume": True}
    own["callbacks"] = [c.EarlyStopping(patience=9), *more]
    history = model.fit(*stripes(), **own | options, checkpoint=Checkpoint(folder, every=0))
    return host(model), history


class After(c.Callback):
    """Call a function once, after so many steps."""

    def __init__(self, steps: int, function: Callable[[], Any]) -> None:
        self.left, self.function = steps, function

    def on_step_end(self, trainer: Any, loss: float, images: int, /) -> None:
        """Count."""
        self.left -= 1
        if self.left == 0:
            self.function()


def disturbed(folder: Path, checkpoints: Path, hurt: Callable[[], Any], heal: Callable[[], Any]) -> None:
    """Train while something makes saving fail; when that is over, go on, and end as without it."""
    want = fit(folder.with_name("undisturbed"), After(7, lambda: None))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        got = fit(checkpoints, After(7, hurt))
    assert told
    assert all(
        "training goes on, and the last checkpoint is checkpoint-000000006" in str(w.message) for w in told
    )
    _assert_equal(got, want)
    assert newest_checkpoint(checkpoints).state["trainer"]["t"] == 6
    heal()
    _assert_equal(fit(checkpoints, After(7, lambda: None)), want)
    names = sorted(path.name for path in checkpoints.iterdir())
    assert names == ["checkpoint-000000019.xcnn", "checkpoint-000000020.xcnn", "lock"]


def _assert_equal(got: Any, want: Any) -> None:
    assert got[1] == want[1]
    assert_same(got[0], want[0])


def fills_up(folder: Path) -> None:
    """Train while the disk is full."""
    small_disk(folder)
    disturbed(folder, folder / "run", lambda: fill(folder), lambda: make_room(folder))


def turns_read_only(folder: Path) -> None:
    """Train while the disk is read-only."""
    small_disk(folder)
    run = folder / "run"
    disturbed(folder, run, lambda: read_only(run, True), lambda: read_only(run, False))


def is_full(folder: Path) -> None:
    """Begin where the disk is full: refused before the first step, and nothing is left half written."""
    small_disk(folder)
    fill(folder)
    _refused(folder / "run", "No space left")
    make_room(folder)
    fit(folder / "run")


def is_read_only(folder: Path) -> None:
    """Begin where the disk is read-only: refused before the first step, with and without a checkpoint."""
    small_disk(folder)
    read_only(folder, True)
    _refused(folder / "run", "Read-only file system")
    read_only(folder, False)
    fit(folder / "run", After(99, lambda: None), epochs=1)
    read_only(folder, True)
    _refused(folder / "run", "Read-only file system")


def _refused(folder: Path, reason: str) -> None:
    steps = After(1, lambda: pytest.fail("a step was taken"))
    with pytest.raises(FileError, match=f"{folder}.*cannot be written: {reason}"):
        fit(folder, steps)
    if folder.exists():
        assert not list(folder.glob(".*"))


def command_fills_up(folder: Path, *, at_the_end: bool) -> None:
    """Let ``xcnn train`` find its disk full, while it trains or when it has trained; then make room."""
    runs.command(folder.with_name("undisturbed"), every=0)
    small_disk(folder)
    run = Loop.run
    steps = []

    def filled(self: Any, epochs: int, bar: Any, moved: Callable[[], None]) -> None:
        def counted() -> None:
            steps.append(1)
            if len(steps) == 9 and not at_the_end:
                fill(folder)
            moved()

        run(self, epochs, bar, counted)
        if at_the_end:
            fill(folder)

    Loop.run = filled
    assert runs.command(folder / "run", every=0) == 2
    assert not list((folder / "run").rglob(".*")), "half a file keeps the disk full"
    Loop.run = run
    make_room(folder)
    assert runs.command(folder / "run", every=0) == 0
    want, got = runs.outcome(folder.with_name("undisturbed")), runs.outcome(folder / "run")
    for found in (want, got):
        found["summary.md"] = found["summary.md"].partition(b"\n")[2]  # begins with the folder's name
    assert got == want


def goes(folder: Path) -> None:
    """Train while the folder is deleted: it is made again."""
    want = fit(folder.with_name("undisturbed"), After(7, lambda: None))
    _assert_equal(fit(folder, After(7, lambda: shutil.rmtree(folder))), want)
    _assert_equal(fit(folder, After(7, lambda: None)), want)
