"""Progress on a terminal: a bar with loss, metrics, images per second and time left; a line per epoch."""

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
        self._done = self._before = 0
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
                progress.BarColumn(bar_width=16),
                progress.TextColumn("{task.description}"),
            )
            console = Console(stderr=True, highlight=False)
            self._bar = progress.Progress(*columns, console=console, auto_refresh=False, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.images)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, epoch: int, done: int = 0, /) -> None:
        """Start an epoch, or go on with one.

        Parameters
        ----------
        epoch : int
            From 0.
        done : int
            Images of it that were seen before.
        """
        self._epoch, self._done, self._before = epoch, done, done
        self._start, self._last = time.perf_counter(), 0.0

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
        return (self._done - self._before) / max(time.perf_counter() - self._start, 1e-9)

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
        line = f"epoch {self._epoch + 1}/{self.epochs}  {numbers}  {self.rate:,.0f} images/s"
        if final:
            taken = time.perf_counter() - self._start
            self._print(f"{line}  {taken:.1f} s")
        elif self._bar is not None:
            seconds = int((self.images * (self.epochs - self._epoch) - self._done) / max(self.rate, 1e-9))
            left = f"{seconds // 60}:{seconds % 60:02d} left"
            self._bar.update(self._task, completed=self._done, description=f"{line}  {left}")
            self._bar.refresh()

    def _print(self, line: str) -> None:
        """Write a line that stays, above the bar."""
        if self._bar is None:
            print(line, file=sys.stderr)
        else:
            self._bar.console.print(line, markup=False)
