"""Progress of a search: a line per trial, and on a terminal a bar with the time left."""

from __future__ import annotations

import sys
from typing import Any

from xcnn.search.grid import told
from xcnn.search.trial import Trial

__all__ = ["Progress"]


class Progress:
    """Lines, and a bar, on standard error.

    Parameters
    ----------
    shown : bool, optional
        Whether to show it; by default if standard error is a terminal.
    trials : int
        Planned.
    done : int
        Ended in an earlier run.
    monitor : str
        The measure that chooses.
    """

    def __init__(self, shown: bool | None, trials: int, done: int, monitor: str) -> None:
        terminal = sys.stderr.isatty()
        self.shown = terminal if shown is None else shown
        self.trials, self.done, self.monitor = trials, done, monitor
        self._bar = self._bar_for(done) if self.shown and terminal else None

    def _bar_for(self, done: int) -> Any:
        try:
            from rich import progress
            from rich.console import Console
        except ImportError:
            return None
        columns = (
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.completed} of {task.total} trials"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("left"),
            progress.TextColumn("{task.description}"),
        )
        bar = progress.Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
        bar.add_task("", total=self.trials, completed=done)
        return bar

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, trial: Trial, best: Trial | None, /) -> None:
        """Tell that a trial has ended.

        Parameters
        ----------
        trial : Trial
            Which.
        best : Trial or None
            The best so far.
        """
        self.done += 1
        if not self.shown:
            return
        if trial.error is None:
            epochs = max(map(len, trial.history.values()))
            what = f"{self.monitor} {trial.score:.4f} (epoch {trial.epoch} of {epochs})"
        else:
            what = f"failed: {trial.error.splitlines()[0]}"
        line = f"trial {self.done}/{self.trials}  {told(trial.point)}  {what}  {trial.seconds:.1f} s"
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)
            return
        self._bar.console.print(line, markup=False)
        told_best = "" if best is None else f"best {self.monitor} {best.score:.4f}"
        self._bar.update(self._bar.task_ids[0], completed=self.done, description=told_best)
