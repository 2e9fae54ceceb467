"""What a callback may override."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Callback", "EachEpoch"]


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

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep of this callback.

        Returns
        -------
        dict
            Of numbers, strings, booleans, None, arrays, and lists and dicts of them; by default nothing.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a checkpoint; called after `on_train_begin`.

        Parameters
        ----------
        state : dict
            What `state_dict` returned, its arrays as NumPy's.
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
