"""The folder of a search: what was asked for, and every trial that has ended, so that it can go on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xcnn.errors import Error, FileError
from xcnn.files import append_line, as_file_error, is_leftover, remove_leftovers, write_atomically
from xcnn.io.config import RunConfig
from xcnn.io.json_text import format_json, read_json
from xcnn.io.model_file import load
from xcnn.lock import only_writer
from xcnn.model import Model
from xcnn.search.plan import Plan
from xcnn.search.result import ranking
from xcnn.search.trial import Trial

__all__ = ["BEST", "SEARCH", "TRIALS", "Record", "open_record"]

SEARCH, TRIALS, CONFIG, BEST, MODEL = "search.json", "trials.jsonl", "config.json", "best", "model.xcnn"
NEW, OLD = f".{BEST}-new", f".{BEST}-old"  # the best model on its way in, and on its way out


@contextlib.contextmanager
def open_record(folder: Path, plan: Plan, threads: int, /) -> Iterator[Record]:
    """Open the folder of a search, for this process alone.

    Parameters
    ----------
    folder : Path
        New or empty, or that of the same search.
    plan : Plan
        What is to be tried.
    threads : int
        Of each trial.

    Yields
    ------
    Record
        Of what has ended so far.

    Raises
    ------
    FileError
        If the folder holds something else, cannot be written, or another search writes to it.
    """
    if folder.exists() and not (folder / SEARCH).exists():
        begun = folder.is_dir() and all(path.name == TRIALS for path in _visible(folder))
        if not begun or _holds_something(folder / TRIALS):
            msg = "exists already, and is no search; needed a new folder, or one to go on with"
            raise FileError(msg, where=str(folder))
    with only_writer(folder / TRIALS, "search"):
        yield Record(folder, plan, threads)


def _visible(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, without what another search is about to write there."""
    return (path for path in folder.iterdir() if not is_leftover(path, SEARCH))


def _holds_something(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


class Record:
    """A folder that a search writes to, and takes up again.

    Parameters
    ----------
    folder : Path
        New or empty, or that of the same search.
    plan : Plan
        What is to be tried.
    threads : int
        Of each trial.

    Attributes
    ----------
    threads : int
        As the search began: the last digits of results may depend on it.

    Raises
    ------
    FileError
        If the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, plan: Plan, threads: int) -> None:
        self.folder, self.plan = folder, plan
        asked = json.loads(
            json.dumps({"monitor": plan.monitor, "config": plan.config.to_dict(), "points": plan.points})
        )
        self.threads = self._begin(asked, threads)
        self._trials = self._read()

    def _begin(self, asked: dict[str, Any], threads: int) -> int:
        """Write what is asked for, or compare it with what is there; return the threads of each trial."""
        path = self.folder / SEARCH
        if not path.exists():
            write_atomically(path, format_json({"threads": threads, **asked}).encode())
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            threads = int(found.pop("threads"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError("cannot be read as that of a search", where=str(path)) from error
        if found != asked:
            different = _difference(found, asked)
            msg = f"holds a search with {different}; needed the same to go on, or a new folder"
            raise FileError(msg, where=str(self.folder))
        if not (self.folder / CONFIG).exists():
            self.plan.config.save(self.folder / CONFIG)
        return threads

    def _read(self) -> dict[int, Trial]:
        """Return the trials that ended, each as it last did; what a kill left of a line is cut off."""
        path = self.folder / TRIALS
        found: dict[int, Trial] = {}
        *lines, torn = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                trial = Trial(**json.loads(line))
                fits = self.plan.points[trial.index] == trial.point
            except (ValueError, TypeError, IndexError):
                fits = False
            if not fits:
                msg = f"line {number} is no trial of this search; needed it as it was written, or removed"
                raise FileError(msg, where=str(path))
            found[trial.index] = trial
        if torn:
            with as_file_error(path):
                os.truncate(path, sum(len(line) + 1 for line in lines))
        return found

    @property
    def trials(self) -> list[Trial]:
        """Those that have ended, in the order of the points."""
        return [self._trials[index] for index in sorted(self._trials)]

    @property
    def left(self) -> list[int]:
        """Indices of the points that have not ended yet, or ended in an error when they were last tried."""
        ended = {trial.index for trial in self._trials.values() if trial.error is None}
        return [index for index in range(len(self.plan.points)) if index not in ended]

    @property
    def best(self) -> Trial | None:
        """The best of the trials that have ended."""
        return next(iter(ranking(self.trials, self.plan.monitor)), None)

    def add(self, trial: Trial, model: Path, /) -> None:
        """Take in a trial that has ended.

        Its model is kept first if it is the best, then its line is written: a kill in between loses nothing,
        the trial is run again.

        Parameters
        ----------
        trial : Trial
            One line, written through to the disk.
        model : Path
            Where its model may lie.

        Raises
        ------
        FileError
            If something cannot be written.
        """
        if trial in ranking([*self.trials, trial], self.plan.monitor)[:1]:
            self._keep(trial, model)
        path = self.folder / TRIALS
        with as_file_error(path):
            model.unlink(missing_ok=True)
        append_line(path, json.dumps(dataclasses.asdict(trial)))
        self._trials[trial.index] = trial

    def _keep(self, trial: Trial, model: Path) -> None:
        """Put a model, its run and its history in the place of those of the best so far, all at once."""
        new, old, best = (self.folder / name for name in (NEW, OLD, BEST))
        self.plan.configs[trial.index].save(new / CONFIG)
        history = {"interrupted": False, "epochs": trial.history, "blocks": []}
        write_atomically(new / "history.json", (json.dumps(history, indent=1) + "\n").encode())
        with as_file_error(best):
            os.replace(model, new / MODEL)
            if best.exists():
                os.replace(best, old)
            os.replace(new, best)
            shutil.rmtree(old, ignore_errors=True)

    def forget(self, trial: Trial, /) -> None:
        """Take a trial for one that has not ended.

        Parameters
        ----------
        trial : Trial
            Which; its line stays until it has ended again.
        """
        del self._trials[trial.index]

    def has_model(self) -> bool:
        """Whether the model kept is that of the best trial: a kill, or a hand, may have come between."""
        best, folder = self.best, self.folder / BEST
        if best is None or not (folder / MODEL).is_file():
            return False
        try:
            kept = RunConfig.from_dict(read_json(folder / CONFIG))
        except Error:
            return False
        return kept == RunConfig.from_dict(self.plan.configs[best.index].to_dict())

    def model(self) -> Model | None:
        """Return the model of the best trial; None if it is not there."""
        best = self.best
        if best is None or not self.has_model():
            return None
        return load(self.folder / BEST / MODEL, backend=self.plan.configs[best.index].backend)

    @contextlib.contextmanager
    def tidy(self) -> Iterator[None]:
        """Remove what nobody wants any more, before and after."""
        try:
            self._tidy()
            yield
        finally:
            self._tidy()

    def _tidy(self) -> None:
        with as_file_error(self.folder):
            if (self.folder / OLD).exists() and not (self.folder / BEST).exists():
                os.replace(self.folder / OLD, self.folder / BEST)  # the new one's line was not written
            for name in (NEW, OLD):
                if (self.folder / name).exists():
                    shutil.rmtree(self.folder / name)
            for path in self.folder.glob("trial-*.xcnn"):
                path.unlink(missing_ok=True)
            remove_leftovers(self.folder)


def _difference(found: dict[str, Any], asked: dict[str, Any]) -> str:
    """Say in what two searches differ."""
    if found.get("config") != asked["config"]:
        old, new = found.get("config") or {}, asked["config"]
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return f"another configuration ({', '.join(keys)})"
    if found.get("points") != asked["points"]:
        return "another grid"
    return f"another measure, {found.get('monitor')}"
