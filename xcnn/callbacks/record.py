"""What writes down how training goes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from xcnn.callbacks.base import Callback
from xcnn.errors import OptionError
from xcnn.files import append_line, remove_leftovers, write_atomically

__all__ = ["BlockLoss", "JSONLogger"]


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
        append_line(self.path, json.dumps(entry))

    def state_dict(self) -> dict[str, Any]:
        """Return how far the file is, and the time."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        return {"size": size, "seconds": time.time() - self.start}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on where the file was: epochs that are trained again are written again."""
        self.start = time.time() - state["seconds"]
        remove_leftovers(self.path.parent, self.path.name)
        if self.path.is_file() and self.path.stat().st_size > state["size"]:
            write_atomically(self.path, self.path.read_bytes()[: state["size"]])


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

    def state_dict(self) -> dict[str, Any]:
        """Return the block that is not full."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on filling it."""
        self._sum, self._count = float(state["sum"]), int(state["count"])
