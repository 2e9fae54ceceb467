"""Checkpoints of a training: after a crash it goes on as if nothing had happened."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcnn.errors import Error, FileError, OptionError
from xcnn.files import remove_leftovers
from xcnn.lock import only_writer
from xcnn.training.loop import Loop

if TYPE_CHECKING:
    from xcnn.io.checkpoint_file import Contents

__all__ = ["LOCK", "Checkpoint", "newest_checkpoint", "steps_saved"]

_KEPT = 2  # so that one is whole whatever happens to the other
LOCK = "lock"


class Checkpoint:
    """Save a training as it goes, so that it can go on after a crash and end bit for bit as without one.

    Each file ``checkpoint-<step>.xcnn`` holds all of it: parameters, running statistics, the optimizer's
    slots and step, the schedule, the seeds of every random stream, the position in the epoch, what was
    measured, what callbacks keep (the best so far), and `config`, with a SHA-256. It is written beside,
    flushed to the disk and renamed; the last two are kept. It is a model file too: `xcnn.load` reads it.

    Parameters
    ----------
    folder : str or Path
        Where the files go; of one training alone.
    every : float
        Seconds between two of them; 0 saves after every step.
    config : dict, optional
        Whatever else is needed to do the run again, as JSON has it.
    """

    def __init__(
        self, folder: str | Path, *, every: float = 30.0, config: Mapping[str, Any] | None = None
    ) -> None:
        if not every >= 0:
            msg = f"every is {every!r}; needed seconds, not negative"
            raise OptionError(msg, where="Checkpoint")
        self.folder, self.every, self.config = Path(folder), every, config
        self._kept: list[Path] = []
        self._alone = False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that writes to the folder; within, this may be entered again.

        Yields
        ------
        None
            With the lock; what a killed process left half written is gone.

        Raises
        ------
        FileError
            If another process has it, or the folder cannot be made.
        """
        if self._alone:
            yield
            return
        with only_writer(self.folder / LOCK, "training"):
            remove_leftovers(self.folder)
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    @contextlib.contextmanager
    def guard(self, loop: Loop, /, *, resume: bool) -> Iterator[Callable[[], None]]:
        """Save while a loop runs, and when it ends or Ctrl-C stops it.

        Parameters
        ----------
        loop : Loop
            Not begun.
        resume : bool
            Whether to go on where the newest checkpoint is, if there is one.

        Yields
        ------
        callable
            To be called whenever a step or an epoch is done.

        Raises
        ------
        FileError
            If the first checkpoint cannot be written, none of those there can be read, or another process
            trains here; without `resume`, if there are any. Later ones that can't be written are warned of.
        OptionError
            If the checkpoint is of a training with other options.
        """
        with self.alone():
            there = _files(self.folder)
            if there and not resume:
                msg = f"holds {there[-1].name}, of an earlier training; needed another folder, or resume=True"
                raise FileError(msg, where=str(self.folder))
            self._kept = []
            if there:
                self._restore(loop)
            self._save(loop)  # here and now, where it is known that it can be
            last = time.monotonic()

            def moved() -> None:
                nonlocal last
                if time.monotonic() - last >= self.every:
                    self._try(loop)
                    last = time.monotonic()

            try:
                yield moved
            except KeyboardInterrupt:
                if loop.whole:
                    self._try(loop)
                raise
            self._try(loop)

    def _restore(self, loop: Loop) -> None:
        """Put a loop where the newest checkpoint is that can be read."""
        from xcnn.io.checkpoint_file import restore_model

        contents = newest_checkpoint(self.folder)
        state = contents.state
        try:
            now = loop.settings
            other = {key: value for key, value in state["settings"].items() if now.get(key) != value}
            if other:
                now = {key: now.get(key) for key in other}
                msg = f"is of a training with {_listed(other)}; this one has {_listed(now)}"
                raise OptionError(msg, where=str(contents.path))
            restore_model(loop.trainer.model, contents)
            loop.load_state_dict(state)
        except (OptionError, FileError) as error:
            if error.where == str(contents.path):
                raise
            raise _misfit(contents.path, error) from error
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError, Error) as error:
            raise _misfit(contents.path, error) from error
        there = _files(self.folder)
        self._kept = there[: there.index(contents.path) + 1]

    def _save(self, loop: Loop) -> None:
        """Write a checkpoint, and remove those before the last two."""
        from xcnn.io.checkpoint_file import write_checkpoint

        state = loop.state_dict() | {"config": self.config}
        path = self.folder / f"checkpoint-{loop.trainer.t:09d}.xcnn"
        write_checkpoint(path, loop.trainer.model, state)
        self._kept = [*(other for other in self._kept if other != path), path][-_KEPT:]
        for old in set(_files(self.folder)) - {*self._kept}:
            with contextlib.suppress(OSError):
                old.unlink()

    def _try(self, loop: Loop) -> None:
        """Save; go on training if the disk is full."""
        try:
            self._save(loop)
        except FileError as error:
            msg = f"{error}; training goes on, and the last checkpoint is {self._kept[-1].name}"
            warnings.warn(msg, RuntimeWarning, stacklevel=2)


def newest_checkpoint(folder: Path, /) -> Contents:
    """Return the newest checkpoint of a folder that is whole; a damaged one is warned of.

    Parameters
    ----------
    folder : Path
        Of the checkpoints of one training.

    Returns
    -------
    Contents
        See `xcnn.io.checkpoint_file`.

    Raises
    ------
    FileError
        If there is none.
    """
    from xcnn.io.checkpoint_file import read_checkpoint

    damaged: list[str] = []
    for path in reversed(_files(folder)):
        try:
            contents = read_checkpoint(path)
        except FileError as error:
            damaged.append(str(error))
            continue
        for what in damaged:
            warnings.warn(f"{what}; going on from {path.name}", RuntimeWarning, stacklevel=2)
        return contents
    if damaged:
        msg = f"has no checkpoint that can be read: {'; '.join(damaged)}"
        raise FileError(msg, where=str(folder))
    raise FileError("has no checkpoint", where=str(folder))


def steps_saved(folder: Path, /) -> int:
    """Return how many steps were done at the newest checkpoint of a folder; 0 where there is none.

    Parameters
    ----------
    folder : Path
        Of the checkpoints of one training; need not exist.

    Returns
    -------
    int
        From the file's name; whether it is whole is not looked at.
    """
    return max((_step(path) for path in _files(folder)), default=0)


def _step(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _files(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the newest last."""
    found = (path for path in folder.glob("checkpoint-*.xcnn") if path.stem.rpartition("-")[2].isdecimal())
    return sorted(found, key=_step)


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in settings.items())


def _misfit(path: Path, error: Exception) -> FileError:
    msg = f"its training state does not fit: {type(error).__name__}: {error}"
    return FileError(msg, where=str(path))
