"""Schedules: a factor on every learning rate, as a function of the epochs done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xcnn.errors import OptionError, lookup, suggest
from xcnn.schedule import Schedule, check

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
    "get",
]


@dataclass(frozen=True)
class Constant(Schedule):
    """The factor 1."""

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Step(Schedule):
    """factor ** floor(epoch / every).

    Parameters
    ----------
    every : float
        Epochs between steps.
    factor : float
        At each.
    """

    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        check(self.every > 0 and self.factor > 0, self, "positive numbers")

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return the factor."""
        return self.factor ** math.floor(epoch / self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """rate ** epoch.

    Parameters
    ----------
    rate : float
        What is left after one epoch, a fraction.
    """

    rate: float

    def __post_init__(self) -> None:
        check(self.rate > 0, self, "a positive rate")

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return the factor."""
        return self.rate**epoch


@dataclass(frozen=True)
class Cosine(Schedule):
    """floor + (1 - floor) (1 + cos(π epoch / epochs)) / 2.

    Parameters
    ----------
    floor : float
        The last factor.

    References
    ----------
    Loshchilov and Hutter, "SGDR", 2017, equation 5.
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        check(0 <= self.floor <= 1, self, "0 <= floor <= 1")

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return the factor."""
        done = min(epoch / self._planned(epochs), 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From `start` up to 1 and down to `end`, each along half a cosine; lr is the peak.

    Parameters
    ----------
    warmup : float
        The fraction of training that goes up.
    start, end : float
        The first and the last factor.

    References
    ----------
    Smith and Topin, "Super-convergence", 2018.
    """

    warmup: float = 0.3
    start: float = 1 / 25
    end: float = 1e-4

    def __post_init__(self) -> None:
        check(0 <= self.warmup < 1, self, "0 <= warmup < 1")
        check(self.start >= 0 and self.end >= 0, self, "no negative start or end")

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return the factor."""
        done = min(epoch / self._planned(epochs), 1.0)
        if done < self.warmup:
            low, part = self.start, 1 - done / self.warmup
        else:
            low, part = self.end, (done - self.warmup) / (1 - self.warmup)
        return low + (1 - low) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class Warmup(Schedule):
    """Rise linearly from 0 to 1, then follow another schedule.

    Parameters
    ----------
    epochs : float
        How long to rise.
    then : Schedule, optional
        What follows, its epochs counted from there; constant by default.
    """

    epochs: float
    then: Any = None

    def __post_init__(self) -> None:
        check(self.epochs > 0, self, "a positive number of epochs")

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return the factor."""
        if epoch < self.epochs:
            return epoch / self.epochs
        rest = None if epochs is None else epochs - self.epochs
        return 1.0 if self.then is None else self.then(epoch - self.epochs, rest)

    def observe(self, logs: dict[str, float], /) -> None:
        """Tell the schedule that follows."""
        if isinstance(self.then, Schedule):
            self.then.observe(logs)


@dataclass
class ReduceOnPlateau(Schedule):
    """Multiply by `factor` whenever a measure has not improved for `patience` epochs.

    Parameters
    ----------
    factor : float
        At each plateau.
    patience : int
        Epochs without improvement that are borne.
    monitor : str
        The measure; one with "accuracy" in its name is to grow, any other to fall.

    Attributes
    ----------
    scale : float
        The factor now.
    """

    factor: float = 0.1
    patience: int = 5
    monitor: str = "val_loss"
    scale: float = field(default=1.0, init=False)
    _best: float = field(default=math.inf, init=False, repr=False)
    _waited: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check(0 < self.factor < 1 and self.patience >= 0, self, "0 < factor < 1 and patience >= 0")

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return the factor."""
        return self.scale

    def observe(self, logs: dict[str, float], /) -> None:
        """Count epochs without improvement."""
        if self.monitor not in logs:
            msg = f"no measure {self.monitor!r} after the epoch{suggest(self.monitor, logs)}"
            raise OptionError(msg, where="ReduceOnPlateau")
        value = -logs[self.monitor] if "accuracy" in self.monitor else logs[self.monitor]
        if value < self._best:
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self.scale, self._waited = self.scale * self.factor, 0


NAMES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "warmup": Warmup,
    "reduce_on_plateau": ReduceOnPlateau,
}


def get(schedule: str | Callable[..., float] | None, /) -> Callable[..., float]:
    """Return the schedule called `schedule`, with its default hyperparameters.

    Parameters
    ----------
    schedule : str, callable or None
        ``"constant"``, ``"cosine"``, ``"one_cycle"`` or ``"reduce_on_plateau"``; a function of
        (epoch, epochs) is returned as it is; None is constant.

    Returns
    -------
    callable
        The schedule.

    Raises
    ------
    OptionError
        If there is none of that name, or it needs hyperparameters.
    """
    if schedule is None:
        return Constant()
    if callable(schedule):
        return schedule
    kind = lookup(schedule, NAMES, "schedule")
    try:
        return kind()
    except TypeError as error:
        msg = f"schedule {schedule!r} needs hyperparameters: {str(error).partition(') ')[2]}"
        raise OptionError(msg) from error
