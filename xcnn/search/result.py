"""What came of a search."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from xcnn.io.config import RunConfig
from xcnn.model import Model
from xcnn.search.trial import Trial, rank

__all__ = ["SearchResult", "ranking"]


@dataclasses.dataclass(frozen=True, eq=False)
class SearchResult:
    """What came of a search; no test image was looked at.

    Parameters
    ----------
    config : RunConfig
        What the points start from, with the images that are held out to choose by.
    points : list of dict
        Those of the grid, path to value.
    monitor : str
        The measure that chooses.
    trials : list of Trial
        Those that ended, in the order of the points.
    model : Model or None
        The best, with the values of its best epoch.
    interrupted : bool
        Whether Ctrl-C ended it.
    folder : Path or None
        Where it was written.
    """

    config: RunConfig
    points: list[dict[str, Any]]
    monitor: str
    trials: list[Trial]
    model: Model | None = None
    interrupted: bool = False
    folder: Path | None = None

    @property
    def paths(self) -> list[str]:
        """Every path that is set, in the order of the grid."""
        return list(dict.fromkeys(path for point in self.points for path in point))

    @property
    def best(self) -> Trial | None:
        """The best trial, of equal ones the first; None if none succeeded."""
        return next(iter(ranking(self.trials, self.monitor)), None)

    def table(self) -> list[dict[str, Any]]:
        """Return the trials as rows, the best first and those that failed last.

        Returns
        -------
        list of dict
            "rank", None for one that failed; "point", path to value; "score", the measure that chooses;
            "best_epoch", from 1; "epochs", how many there were; "seconds"; "logs", every measure at the best
            epoch; "error".
        """
        ranked = ranking(self.trials, self.monitor)
        failed = [trial for trial in self.trials if trial.error is not None]
        return [
            {
                "rank": None if trial.error else number,
                "point": trial.point,
                "score": trial.score,
                "best_epoch": trial.epoch,
                "epochs": max(map(len, trial.history.values()), default=0),
                "seconds": round(trial.seconds, 3),
                "logs": trial.logs,
                "error": trial.error,
            }
            for number, trial in enumerate([*ranked, *failed], start=1)
        ]


def ranking(trials: list[Trial], monitor: str, /) -> list[Trial]:
    """Return those of `trials` that succeeded, the best by `monitor` first."""
    scored = [(rank(monitor, trial.score, trial.index), trial) for trial in trials if trial.score is not None]
    return [trial for _, trial in sorted(scored, key=lambda found: found[0])]
