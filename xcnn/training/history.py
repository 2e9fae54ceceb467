"""What was measured, epoch by epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xcnn.files import write_atomically

__all__ = ["History"]


class History(dict[str, list[float]]):
    """Lists of numbers by name, one per epoch: ``history["loss"]``, ``history["val_accuracy"]``.

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C ended training; the last entry is then of a part of an epoch.
    blocks : list of float
        Mean loss per block of samples, where the callback `BlockLoss` asked for it.
    seconds : float
        How long training took, validation included, over all its parts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = False
        self.blocks: list[float] = []
        self.seconds = 0.0

    def record(self, logs: dict[str, float], /) -> None:
        """Append one epoch.

        Parameters
        ----------
        logs : dict
            Name to number.
        """
        for name, value in logs.items():
            self.setdefault(name, []).append(value)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint.

        Returns
        -------
        dict
            Of lists and numbers.
        """
        return {"epochs": dict(self), "blocks": self.blocks, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Become what another history was.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.
        """
        self.clear()
        self.update({name: [*map(float, numbers)] for name, numbers in state["epochs"].items()})
        self.blocks, self.seconds = [*map(float, state["blocks"])], float(state["seconds"])

    @property
    def epochs(self) -> int:
        """How many epochs were recorded."""
        return max(map(len, self.values()), default=0)

    def save(self, path: str | Path, /) -> None:
        """Write the numbers as JSON.

        Parameters
        ----------
        path : str or Path
            Written whole or not at all.
        """
        content = {"interrupted": self.interrupted, "epochs": dict(self), "blocks": self.blocks}
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
