"""One point of a grid, trained and measured."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xcnn.callbacks import EarlyStopping
from xcnn.data import DataSet
from xcnn.errors import FileError
from xcnn.io.config import RunConfig

__all__ = ["Images", "Job", "Trial", "rank", "run_trial"]

_KEPT = 4  # data sets that a process keeps: a grid may choose images by several seeds


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of one point.

    Parameters
    ----------
    index : int
        Which point, from 0.
    point : dict
        Path to value.
    score : float or None
        The measure that chooses, at its best epoch; None if the trial failed.
    epoch : int or None
        The best epoch, from 1; of equal ones the first.
    logs : dict
        Every measure at that epoch: ``logs["val_accuracy"]``.
    history : dict
        Every measure, one number per epoch.
    seconds : float
        How long training took, validation included, and in the first trial of a process loading kernels.
    error : str or None
        What made it fail.
    """

    index: int
    point: dict[str, Any]
    score: float | None = None
    epoch: int | None = None
    logs: dict[str, float] = dataclasses.field(default_factory=dict)
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None

    @property
    def last(self) -> dict[str, float]:
        """Every measure after the last epoch."""
        return {name: values[-1] for name, values in self.history.items()}


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process needs to run a trial; all of it is JSON.

    Parameters
    ----------
    index : int
        Which point.
    point : dict
        Path to value.
    config : dict
        The configuration.
    monitor : str
        The measure that chooses.
    best : list or None
        Score and index of the best trial so far.
    folder : str
        Where the model is written if it is better, and files of callbacks.
    """

    index: int
    point: dict[str, Any]
    config: dict[str, Any]
    monitor: str
    best: list[Any] | None
    folder: str

    @property
    def model(self) -> Path:
        """Where the model is written."""
        return Path(self.folder, f"trial-{self.index + 1}.xcnn")


class Images:
    """The images of a process: loaded once, not for each trial."""

    def __init__(self) -> None:
        self._kept: dict[Any, DataSet] = {}

    def of(self, config: RunConfig, /) -> DataSet:
        """Return the images of a configuration.

        Parameters
        ----------
        config : RunConfig
            What is done with the images after they are loaded makes no difference.

        Returns
        -------
        DataSet
            Shared by all trials.
        """
        spec = config.data
        some = spec.train_size is not None or spec.test_size is not None
        whole = spec.model_copy(update={"validation": None, "normalize": False, "augment": []})
        key = whole.model_dump_json(), config.seed if some else None
        if key not in self._kept:
            self._kept[key] = config.load_data()
            if len(self._kept) > _KEPT:
                self._kept.pop(next(iter(self._kept)))
        return self._kept[key]


def rank(monitor: str, score: float, index: int, /) -> tuple[float, int]:
    """Return what is the smallest for the best trial: accuracies are to grow, all other measures to fall.

    Parameters
    ----------
    monitor : str
        The measure.
    score : float
        Its value.
    index : int
        Of the trial; of equal ones the first is the best.

    Returns
    -------
    tuple
        To compare.
    """
    return (-score if "accuracy" in monitor else score), index


def run_trial(job: Job, images: Images, /) -> Trial:
    """Train the model of one point, and write it if it is better than the best so far.

    Parameters
    ----------
    job : Job
        What to do.
    images : Images
        Of this process.

    Returns
    -------
    Trial
        With the error, if there was one.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C ended the training.
    FileError
        If the folder of the search cannot be written: no other trial would fare better.
    """
    start = time.perf_counter()
    try:
        config = RunConfig.from_dict(job.config)
        data = images.of(config)
        model = config.build_model(data)
        keep = EarlyStopping(job.monitor, patience=config.epochs)  # never stops; keeps the best values
        start = time.perf_counter()
        folder = Path(job.folder, f"trial-{job.index + 1}")
        with np.errstate(all="ignore"):  # what is not finite ends training with an error that says where
            history = config.fit(model, data, callbacks=[keep], folder=folder, progress=False)
        seconds = time.perf_counter() - start
        if history.interrupted:
            raise KeyboardInterrupt
        at = keep.best_epoch
        assert at is not None  # an epoch whose measure is not finite is an error
        score = history[job.monitor][at]
    except Exception as error:
        if isinstance(error, FileError) and Path(error.where).is_relative_to(job.folder):
            raise
        seconds = time.perf_counter() - start
        return Trial(job.index, job.point, seconds=seconds, error=f"{type(error).__name__}: {error}")
    if job.best is None or rank(job.monitor, score, job.index) < rank(job.monitor, *job.best):
        model.save(job.model)
    logs: Mapping[str, float] = {name: values[at] for name, values in history.items()}
    return Trial(job.index, job.point, score, at + 1, dict(logs), dict(history), seconds)
