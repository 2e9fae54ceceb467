"""Train a configuration, watch it on the test images, and time it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.callbacks import Callback, EarlyStopping
from xcnn.data import DataSet, Split
from xcnn.io.config import RunConfig
from xcnn.model import Model
from xcnn.training import History

__all__ = ["Lab", "Trained", "fit", "train"]

_FEW = 600  # images of each part in a quick run


@dataclass(frozen=True)
class Lab:
    """How experiments are run.

    Parameters
    ----------
    quick : bool
        Whether only to see that everything works: few images, two epochs, one seed.
    tell : callable
        Gets a line for each thing that begins.
    """

    quick: bool = False
    tell: Callable[[str], None] = print

    def seeds(self, count: int, /) -> range:
        """Return the seeds of `count` repetitions."""
        return range(1 if self.quick else count)

    def prepare(self, config: RunConfig, /) -> RunConfig:
        """Return a configuration, made small if this is a quick run."""
        if not self.quick:
            return config
        content = config.to_dict()
        for part in ("train_size", "test_size"):
            content["data"][part] = min(content["data"].get(part) or _FEW, _FEW)
        return RunConfig.from_dict(content | {"epochs": min(config.epochs, 2)})


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, and how it came to be.

    Parameters
    ----------
    config : RunConfig
        What was asked for.
    model : Model
        With the values of the epoch that validation chose; without validation, the last.
    history : History
        With ``test_accuracy``, measured after each epoch and used for nothing.
    data : DataSet
        All images.
    train : Split
        Those that it learned from.
    seconds : float
        Of training and validation.
    epoch : int
        Which was chosen, from 0.
    """

    config: RunConfig
    model: Model
    history: History
    data: DataSet
    train: Split
    seconds: float
    epoch: int

    @property
    def test(self) -> Split:
        """The images that it is tested on."""
        return self.data.test

    @property
    def rate(self) -> float:
        """Images per second."""
        return len(self.train.y) * self.history.epochs / self.seconds

    def measured(self, measure: str, /) -> tuple[float, int]:
        """Return an accuracy of the model, and on how many images.

        Parameters
        ----------
        measure : str
            "test_accuracy", "val_accuracy" or "accuracy", that on the images that it learned from.

        Returns
        -------
        accuracy : float
            A fraction.
        images : int
            How many were asked.
        """
        if measure == "accuracy":  # the history has the mean while an epoch went on
            right = np.asarray(self.model.predict_classes(self.train.x)) == self.train.y
            return float(right.mean()), len(right)
        asked = len(self.test.y) if measure == "test_accuracy" else len(self.data.train.y) - len(self.train.y)
        return self.history[measure][self.epoch], asked

    def probabilities(self) -> np.ndarray:
        """Return the model's answers on the test images (N, K)."""
        return np.asarray(self.model.predict_proba(self.test.x))


class _Watch(Callback):
    """Measure the test accuracy after each epoch, outside the time of training."""

    def __init__(self, part: Split) -> None:
        self.part, self.seconds = part, 0.0

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """Ask the model."""
        start = time.perf_counter()
        right = np.asarray(trainer.model.predict_classes(self.part.x)) == self.part.y
        logs["test_accuracy"] = float(right.mean())
        self.seconds += time.perf_counter() - start


def train(config: RunConfig, data: DataSet | None = None, /) -> Trained:
    """Train as `config` says; the epoch counts that has the best accuracy in validation, or else the last.

    Parameters
    ----------
    config : RunConfig
        A whole run.
    data : DataSet, optional
        Its images, where they are at hand.

    Returns
    -------
    Trained
        The model and its history.
    """
    data = config.load_data() if data is None else data
    model = config.build_model(data)
    watch, keep = _Watch(data.test), None
    if config.data.validation is not None:
        keep = EarlyStopping("val_accuracy", patience=config.epochs)  # never stops; keeps the best
    start = time.perf_counter()
    history = fit(config, model, data, watch, *([keep] if keep else []))
    seconds = time.perf_counter() - start - watch.seconds
    epoch = keep.best_epoch if keep and keep.best_epoch is not None else history.epochs - 1
    part = config.data.parts(data, config.seed)[0]
    return Trained(config, model, history, data, part, seconds, epoch)


def fit(config: RunConfig, model: Model, data: DataSet, /, *callbacks: Callback) -> History:
    """Train `model` as `config` says, without a bar; Ctrl-C ends the experiment, too."""
    history = config.fit(model, data, callbacks=callbacks, progress=False)
    if history.interrupted:
        raise KeyboardInterrupt
    return history
