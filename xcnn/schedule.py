"""What a schedule is: a factor on every learning rate."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from xcnn.errors import OptionError

__all__ = ["Schedule", "check"]


class Schedule:
    """A factor on every learning rate; any function of (epoch, epochs) does as well.

    Epochs are counted in fractions, so that a factor moves at every step. A `Trainer` used by hand counts
    each step as an epoch.
    """

    def __call__(self, epoch: float, epochs: float | None, /) -> float:
        """Return the factor.

        Parameters
        ----------
        epoch : float
            Epochs done, 0 at the first step.
        epochs : float or None
            Epochs planned; None where nobody knows.

        Returns
        -------
        float
            What every learning rate is multiplied by.
        """
        raise NotImplementedError

    def observe(self, logs: dict[str, float], /) -> None:
        """See what an epoch measured.

        Parameters
        ----------
        logs : dict
            For example ``{"loss": 0.1, "val_loss": 0.2}``.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what `observe` changed, for a checkpoint.

        Returns
        -------
        dict
            By default the fields that no constructor sets, here and in the schedules within.
        """
        found: dict[str, Any] = {}
        known: Any = fields(self) if is_dataclass(self) else ()
        for field in known:
            value = getattr(self, field.name)
            if isinstance(value, Schedule):
                found[field.name] = value.state_dict()
            elif not field.init:
                found[field.name] = value
        return found

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a checkpoint.

        Parameters
        ----------
        state : dict
            What `state_dict` returned, its arrays as NumPy's and its tuples as lists.
        """
        for name in Schedule.state_dict(self):
            own = getattr(self, name)
            if isinstance(own, Schedule):
                own.load_state_dict(state[name])
            else:
                setattr(self, name, state[name])

    def _planned(self, epochs: float | None) -> float:
        if epochs is None:
            msg = "the number of epochs is unknown; needed Trainer(..., epochs=, steps_per_epoch=) or fit"
            raise OptionError(msg, where=type(self).__name__)
        return max(epochs, 1e-9)


def check(fine: bool, owner: Any, needed: str, /) -> None:
    """Raise OptionError, naming the class of `owner`, unless its hyperparameters are `fine`."""
    if not fine:
        raise OptionError(f"got {owner!r}; needed {needed}", where=type(owner).__name__)
