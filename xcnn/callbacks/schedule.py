"""A schedule as a callback."""

from __future__ import annotations

import copy
from typing import Any

from xcnn import schedules
from xcnn.callbacks.base import Callback

__all__ = ["LearningRateSchedule"]


class LearningRateSchedule(Callback):
    """Follow a schedule: the same as ``fit(..., schedule=...)``.

    Parameters
    ----------
    schedule : str or callable
        A factor on the learning rates, a function of (epoch, epochs). See `xcnn.schedules`.
    """

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedules.get(schedule)

    def on_train_begin(self, trainer: Any, history: Any, /) -> None:
        """Give it to the trainer."""
        trainer.schedule = copy.deepcopy(self.schedule)
