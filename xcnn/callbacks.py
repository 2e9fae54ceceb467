"""What happens between steps and epochs, besides training."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xcnn.errors import FileError, OptionError, suggest

__all__ = [
    "BlockLoss",
    "Callback",
    "EarlyStopping",
    "JSONLogger",
    "LearningRateSchedule",
    "ModelCheckpoint",
]


class Callback:
    """Called by `fit`; one of your own overrides what it needs. A function is called after each epoch."""

    def on_train_begin(self, trainer: Any, history: Any, /) -> None:
        """See the trainer before the first step.

        Parameters
        ----------
        trainer : Trainer
            Setting ``trainer.stop`` ends training after the epoch.
        history : History
            What is being recorded.
        """

    def on_epoch_begin(self, trainer: Any, epoch: int, /) -> None:
        """See the start of an epoch.

        Parameters
        ----------
        trainer : Trainer
            Of this training.
        epoch : int
            From 0.
        """

    def on_step_end(self, trainer: Any, loss: float, images: int, /) -> None:
        """See each step's loss.

        Parameters
        ----------
        trainer : Trainer
            Of this training.
        loss : float
            Mean over the batch.
        images : int
            How many were in it.
        """

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """See what an epoch measured.

        Parameters
        ----------
        trainer : Trainer
            Of this training.
        epoch : int
            From 0.
        logs : dict
            Name to number; what is added is recorded.
        """

    def on_train_end(self, trainer: Any, history: Any, /) -> None:
        """See the end, also after Ctrl-C or an error.

        Parameters
        ----------
        trainer : Trainer
            Of this training.
        history : History
            What was recorded.
        """


class EachEpoch(Callback):
    """Call a function after each epoch.

    Parameters
    ----------
    function : callable
        ``function(epoch, logs)``.
    """

    def __init__(self, function: Callable[[int, dict[str, float]], Any]) -> None:
        self.function = function

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """Call the function."""
        self.function(epoch, logs)


class _Best(Callback):
    """Know whether a measure is the best so far."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            msg = f"mode is {mode!r}; needed 'auto', 'min' or 'max'"
            raise OptionError(msg, where=type(self).__name__)
        self.monitor, self.min_delta = monitor, min_delta
        self.sign = -1.0 if mode == "max" or (mode == "auto" and "accuracy" in monitor) else 1.0
        self.best = math.inf

    def improved(self, logs: dict[str, float]) -> bool:
        """Return whether `logs` holds a new best, and remember it."""
        if self.monitor not in logs:
            hint = "" if not self.monitor.startswith("val_") else " (is there a validation set?)"
            msg = f"no measure {self.monitor!r} after the epoch{hint}{suggest(self.monitor, logs)}"
            raise OptionError(msg, where=type(self).__name__)
        value = self.sign * logs[self.monitor]
        if value < self.best - self.min_delta:
            self.best = value
            return True
        return False


class EarlyStopping(_Best):
    """Stop when a measure has not improved for some epochs, and go back to the best values.

    Parameters
    ----------
    monitor : str
        The measure.
    patience : int
        Epochs without improvement that are borne.
    min_delta : float
        What counts as improvement.
    mode : {"auto", "min", "max"}
        Whether the measure is to fall or to grow; auto: accuracies grow.
    restore_best : bool
        Whether the model gets back its best parameters and statistics at the end.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 0:
            msg = f"patience is {patience!r}; needed no negative number of epochs"
            raise OptionError(msg, where="EarlyStopping")
        self.patience, self.restore_best = patience, restore_best

    def on_train_begin(self, trainer: Any, history: Any, /) -> None:
        """Forget earlier training."""
        self.best, self.waited, self._arrays = math.inf, 0, None
        self.best_epoch: int | None = None

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """Count epochs without improvement."""
        if self.improved(logs):
            self.waited, self.best_epoch = 0, epoch
            self._arrays = trainer.model.state.arrays  # never written in place: no copy needed
            return
        self.waited += 1
        if self.waited > self.patience:
            trainer.stop = True

    def on_train_end(self, trainer: Any, history: Any, /) -> None:
        """Give the model its best values back."""
        if self.restore_best and self._arrays is not None:
            state = trainer.model.state
            state.arrays = state.arrays._replace(values=self._arrays.values, buffers=self._arrays.buffers)


class ModelCheckpoint(_Best):
    """Save the model after each epoch that is the best so far.

    Parameters
    ----------
    path : str or Path
        The file; ``{epoch}`` in it becomes the epoch's number from 1.
    monitor : str
        The measure.
    mode : {"auto", "min", "max"}
        Whether the measure is to fall or to grow; auto: accuracies grow.
    every : bool
        Save after every epoch instead.
    """

    def __init__(
        self, path: str | Path, *, monitor: str = "val_loss", mode: str = "auto", every: bool = False
    ) -> None:
        super().__init__(monitor, mode)
        self.path, self.every = str(path), every

    def on_train_begin(self, trainer: Any, history: Any, /) -> None:
        """Forget earlier training."""
        self.best = math.inf

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """Save the model if it is the best."""
        if self.every or self.improved(logs):
            trainer.model.save(self.path.replace("{epoch}", str(epoch + 1)))


class JSONLogger(Callback):
    """Append one line of JSON per epoch to a file, as it ends.

    Parameters
    ----------
    path : str or Path
        The file; what it holds is kept.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_train_begin(self, trainer: Any, history: Any, /) -> None:
        """Start the clock."""
        self.start = time.time()

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """Write the line."""
        entry = {"epoch": epoch + 1, "seconds": round(time.time() - self.start, 3), **logs}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            msg = f"cannot be written: {error.strerror or error}"
            raise FileError(msg, where=str(self.path)) from error


class BlockLoss(Callback):
    """Record the mean loss of each block of samples, as they are seen, in ``history.blocks``.

    Parameters
    ----------
    samples : int
        In a block; a batch that crosses its end counts where it starts.
    """

    def __init__(self, samples: int = 250) -> None:
        if samples < 1:
            msg = f"samples is {samples!r}; needed a positive integer"
            raise OptionError(msg, where="BlockLoss")
        self.samples = samples

    def on_train_begin(self, trainer: Any, history: Any, /) -> None:
        """Start the first block."""
        self._history, self._sum, self._count = history, 0.0, 0

    def on_step_end(self, trainer: Any, loss: float, images: int, /) -> None:
        """Close a block when it is full."""
        self._sum, self._count = self._sum + loss * images, self._count + images
        if self._count >= self.samples:
            self._history.blocks.append(self._sum / self._count)
            self._sum, self._count = 0.0, 0


class LearningRateSchedule(Callback):
    """Follow a schedule: the same as ``fit(..., schedule=...)``.

    Parameters
    ----------
    schedule : str or callable
        A factor on the learning rates, a function of (epoch, epochs). See `xcnn.schedules`.
    """

    def __init__(self, schedule: Any) -> None:
        from xcnn import schedules

        self.schedule = schedules.get(schedule)

    def on_train_begin(self, trainer: Any, history: Any, /) -> None:
        """Give it to the trainer."""
        trainer.schedule = copy.deepcopy(self.schedule)
