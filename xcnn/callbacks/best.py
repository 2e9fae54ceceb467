"""What follows the best measure so far."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from xcnn.backend import move
from xcnn.callbacks.base import Callback
from xcnn.errors import OptionError, suggest
from xcnn.files import remove_leftovers

__all__ = ["EarlyStopping", "ModelCheckpoint"]


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

    def state_dict(self) -> dict[str, Any]:
        """Return the best so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Know the best so far."""
        self.best = float(state["best"])


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
        self.best, self.waited = math.inf, 0
        self.best_epoch: int | None = None
        self._arrays: list[Any] | None = None  # the values, then the buffers
        arrays = trainer.model.state.arrays
        self._shapes = [tuple(a.shape) for a in (arrays.values, *arrays.buffers)]

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """Count epochs without improvement."""
        if self.improved(logs):
            self.waited, self.best_epoch = 0, epoch
            arrays = trainer.model.state.arrays  # never written in place: no copy needed
            self._arrays = [arrays.values, *arrays.buffers]
            return
        self.waited += 1
        if self.waited > self.patience:
            trainer.stop = True

    def on_train_end(self, trainer: Any, history: Any, /) -> None:
        """Give the model its best values back."""
        if self.restore_best and self._arrays is not None:
            state, backend = trainer.model.state, trainer.model.backend
            with backend.active():
                values, *buffers = [move(a, backend) for a in self._arrays]
            state.arrays = state.arrays._replace(values=values, buffers=tuple(buffers))

    def state_dict(self) -> dict[str, Any]:
        """Return how long it waited, and the best values."""
        arrays = None if self._arrays is None or not self.restore_best else list(self._arrays)
        own = {"waited": self.waited, "best_epoch": self.best_epoch, "arrays": arrays}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Wait on."""
        arrays, epoch = state["arrays"], state["best_epoch"]
        shapes = None if arrays is None else [tuple(a.shape) for a in arrays]
        if shapes not in (None, self._shapes):
            msg = f"the best values have shapes {shapes}; needed the model's, {self._shapes}"
            raise OptionError(msg, where="EarlyStopping")
        super().load_state_dict(state)
        self.waited, self.best_epoch = int(state["waited"]), None if epoch is None else int(epoch)
        self._arrays = arrays


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

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Know the best so far; what a kill left of a file goes."""
        super().load_state_dict(state)
        path = Path(self.path)
        remove_leftovers(path.parent, path.name.replace("{epoch}", "*"))
