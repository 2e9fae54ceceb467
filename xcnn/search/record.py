"""The folder of a search: what was asked for, and every trial that has ended, so that it can go on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xcnn.errors import FileError
from xcnn.files import write_atomically
from xcnn.io.config import RunConfig, load_config
from xcnn.io.json_text import format_json
from xcnn.io.model_file import load
from xcnn.model import Model
from xcnn.search.plan import Plan
from xcnn.search.result import ranking
from xcnn.search.trial import Trial

__all__ = ["BEST", "SEARCH", "TRIALS", "Record"]

SEARCH, TRIALS, CONFIG, BEST, MODEL = "search.json", "trials.jsonl", "config.json", "best", "model.xcnn"


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
    trials : list of Trial
        Those that have ended.
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
        self.trials = self._read()

    def _begin(self, asked: dict[str, Any], threads: int) -> int:
        """Write what is asked for, or compare it with what is there; return the threads of each trial."""
        path = self.folder / SEARCH
        if not path.exists():
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
                msg = "exists already, and is no search; needed a new folder, or one to go on with"
                raise FileError(msg, where=str(self.folder))
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
        self.plan.config.save(self.folder / CONFIG)
        return threads

    def _read(self) -> list[Trial]:
        """Return the trials that ended; what a kill left of a line is cut off."""
        path = self.folder / TRIALS
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            found: dict[int, Trial] = {}
            *lines, torn = file.read().split(b"\n")
            for number, line in enumerate(lines, start=1):
                try:
                    trial = Trial(**json.loads(line))
                    fits = self.plan.points[trial.index] == trial.point
                except (ValueError, TypeError, IndexError):
                    fits = False
                if not fits:
                    msg = f"line {number} is no trial of this search; needed it as it was written, or removed"
                    raise FileError(msg, where=str(path))
                found.setdefault(trial.index, trial)
            if torn:
                file.truncate(sum(len(line) + 1 for line in lines))
            return list(found.values())
        return []

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
            folder = self.folder / BEST
            self.plan.configs[trial.index].save(folder / CONFIG)
            history = {"interrupted": False, "epochs": trial.history, "blocks": []}
            write_atomically(folder / "history.json", (json.dumps(history, indent=1) + "\n").encode())
            os.replace(model, folder / MODEL)
        model.unlink(missing_ok=True)
        path = self.folder / TRIALS
        try:
            with path.open("ab") as file:
                file.write(json.dumps(dataclasses.asdict(trial)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            msg = f"cannot be written: {error.strerror or error}"
            raise FileError(msg, where=str(path)) from error
        self.trials.append(trial)

    def model(self) -> Model | None:
        """Return the model of the best trial; None if a kill came just as another one was kept."""
        best, folder = self.best, self.folder / BEST
        config = None if best is None else self.plan.configs[best.index]
        if config is None or load_config(folder / CONFIG) != RunConfig.from_dict(config.to_dict()):
            return None
        return load(folder / MODEL, backend=config.backend)

    @contextlib.contextmanager
    def tidy(self) -> Iterator[None]:
        """Remove models that nobody wants any more, before and after."""
        try:
            self._tidy()
            yield
        finally:
            self._tidy()

    def _tidy(self) -> None:
        for pattern in ("trial-*.xcnn", ".trial-*.xcnn.*"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)


def _difference(found: dict[str, Any], asked: dict[str, Any]) -> str:
    """Say in what two searches differ."""
    if found.get("config") != asked["config"]:
        old, new = found.get("config") or {}, asked["config"]
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return f"another configuration ({', '.join(keys)})"
    if found.get("points") != asked["points"]:
        return "another grid"
    return f"another measure, {found.get('monitor')}"
