"""Progress on a terminal: a bar with loss, metrics, images per second and time left."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["Progress"]


class Progress:
    """A bar for each epoch on standard error; silent when that is no terminal.

    Parameters
    ----------
    shown : bool, optional
        Whether to show it; by default if standard error is a terminal. Without rich, one line per epoch.
    epochs : int
        Planned.
    images : int
        In an epoch.
    """

    def __init__(self, shown: bool | None, epochs: int, images: int) -> None:
        self.shown = sys.stderr.isatty() if shown is None else shown
        self.epochs, self.images = epochs, images
        self._done = 0
        self._start = self._last = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self.shown:
            try:
                from rich import progress
                from rich.console import Console
            except ImportError:
                return self
            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(bar_width=24),
                progress.TextColumn("{task.fields[numbers]}"),
                progress.TextColumn("{task.fields[rate]:,.0f} images/s"),
                progress.TimeElapsedColumn(),
                progress.TextColumn("{task.fields[left]}"),
            )
            self._bar = progress.Progress(*columns, console=Console(stderr=True), auto_refresh=False)
            self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, epoch: int, /) -> None:
        """Start an epoch.

        Parameters
        ----------
        epoch : int
            From 0.
        """
        self._epoch, self._done, self._start, self._last = epoch, 0, time.perf_counter(), 0.0
        if self._bar is not None:
            title = f"epoch {epoch + 1}/{self.epochs}"
            self._task = self._bar.add_task(title, total=self.images, numbers="", rate=0.0, left="")

    def advance(self, count: int, /) -> None:
        """Count images.

        Parameters
        ----------
        count : int
            Since the last call.
        """
        self._done += count

    def due(self) -> bool:
        """Return whether a new look is worth its cost: ten times a second.

        Returns
        -------
        bool
            False where nothing is shown.
        """
        return self._bar is not None and time.perf_counter() - self._last > 0.1

    @property
    def rate(self) -> float:
        """Images per second in this epoch."""
        return self._done / max(time.perf_counter() - self._start, 1e-9)

    def show(self, logs: dict[str, float], /, *, final: bool = False) -> None:
        """Bring the bar up to date.

        Parameters
        ----------
        logs : dict
            Name to number.
        final : bool
            Whether the epoch is over.
        """
        if not self.shown:
            return
        self._last = time.perf_counter()
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        if self._bar is None:
            if final:
                print(
                    f"epoch {self._epoch + 1}/{self.epochs}  {numbers}  {self.rate:,.0f} images/s",
                    file=sys.stderr,
                )
            return
        seconds = int((self.images * (self.epochs - self._epoch) - self._done) / max(self.rate, 1e-9))
        left = "" if final else f"{seconds // 60}:{seconds % 60:02d} left"
        self._bar.update(self._task, completed=self._done, numbers=numbers, rate=self.rate, left=left)
        self._bar.refresh()
