"""Grids of two settings, each point a training, as report 001 drew them; a point counts at its best epoch."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from xcnn.errors import Error
from xcnn.io.config import RunConfig
from xcnn.reproduce.experiment import ConfigFile, Experiment
from xcnn.reproduce.result import Reported, Result, Row, accuracy_row, percent, table
from xcnn.reproduce.training import Lab, Trained, train
from xcnn.search import search
from xcnn.search.grid import place

__all__ = ["Grid"]

_BEST = {
    "val_accuracy": "best of the grid in validation",
    "accuracy": "best of the grid on the training images",
}


class Axis(BaseModel):
    """A setting that varies: its `path` in the configuration, its `values`, and what it is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    name: str
    values: list[Any] = Field(min_length=1)

    def some(self, quick: bool, /) -> list[Any]:
        """Return the values, or only the first and the last."""
        return [self.values[0], self.values[-1]] if quick else self.values


class Panel(BaseModel):
    """One grid: what is `set` in it throughout, and the figures of its best points, by who has them.

    The report itself is "report"; `at` is where in the grid it has its best.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    set: dict[str, Any] = {}
    reported: dict[str, dict[Literal["val_accuracy", "accuracy"], Reported]] = {}
    at: str = ""


class Grid(Experiment):
    """A grid of trainings, or several of one shape, with the best point of each.

    Parameters
    ----------
    config : RunConfig
        What all have in common.
    rows, columns : Axis
        The two settings.
    panels : dict
        By name: what else is set, and the report's best.
    note : str
        What the best accuracy of each row shows.
    """

    kind: ClassVar[str] = "grid"
    config: ConfigFile
    rows: Axis
    columns: Axis
    panels: dict[str, Panel] = Field(min_length=1)
    note: str = ""

    def figures(self) -> dict[str, Reported]:
        """Return the report's figures by what they measure."""
        return {
            f"{name}, {who}: {_BEST[measure]}": figure
            for name, panel in self.panels.items()
            for who, figures in panel.reported.items()
            for measure, figure in figures.items()
        }

    def perform(self, lab: Lab, /) -> Result:
        """Train every point of every panel."""
        result = Result()
        for name, panel in self.panels.items():
            config = lab.prepare(RunConfig.from_dict(place(self.config.to_dict(), panel.set)))
            rows, columns = self.rows.some(lab.quick), self.columns.some(lab.quick)
            lab.tell(f"{name}, {len(rows) * len(columns)} trainings")
            trials, failed = self._train(config, rows, columns)
            held = _grid(trials, lambda trial: trial.score)
            trained = _grid(trials, lambda trial: trial.last.get("accuracy"))
            self._draw(name, panel, held, trained, (rows, columns), result)
            best = divmod(int(np.nanargmax(held)), len(columns))
            at = {self.rows.path: rows[best[0]], self.columns.path: columns[best[1]]}
            chosen = train(RunConfig.from_dict(place(config.to_dict(), at)))
            tops = {"val_accuracy": float(held[best]), "accuracy": float(np.nanmax(trained))}
            result.rows += self._rows(name, panel, tops, at, chosen)
            if failed:
                result.notes.append(f"{name}: {len(failed)} of the trainings failed, the first: {failed[0]}")
            if self.note and not lab.quick:
                result.notes.append(self._best_of_rows(name, held))
            result.numbers[name] = {
                "rows": rows,
                "columns": columns,
                "val_accuracy": _plain(held),
                "accuracy": _plain(trained),
                "test_accuracy_of_best": chosen.measured("test_accuracy")[0],
            }
        return result

    def _train(self, config: RunConfig, rows: list[Any], columns: list[Any]) -> tuple[Any, list[str]]:
        """Return the trials as an array of the grid's shape, and the errors of those that failed."""
        points = [{self.rows.path: row, self.columns.path: column} for row in rows for column in columns]
        found = search(config, points, progress=False)
        if found.interrupted:
            raise KeyboardInterrupt
        failed = [trial.error for trial in found.trials if trial.error]
        if len(failed) == len(points):
            msg = f"every training failed, the first: {failed[0]}"
            raise Error(msg, where=self.name)
        trials = np.empty(len(points), object)
        trials[:] = found.trials
        return trials.reshape(len(rows), len(columns)), failed

    def _draw(
        self, name: str, panel: Panel, held: Any, trained: Any, axes: tuple[Any, Any], result: Result
    ) -> None:
        from xcnn import plots

        names = {"row_name": self.rows.name, "column_name": self.columns.name, "measure": "accuracy"}
        result.pictures[f"{name}: accuracy in validation, at the best epoch"] = plots.heat_map(
            held, *axes, title=name, **names
        )
        if any("accuracy" in figures for figures in panel.reported.values()):
            result.pictures[f"{name}: accuracy on the training images, in the last epoch"] = plots.heat_map(
                trained, *axes, title=f"{name}, training images", **names
            )

    def _rows(
        self, name: str, panel: Panel, tops: dict[str, float], at: dict[str, Any], chosen: Trained
    ) -> list[Row]:
        """Return the best of the grid beside all figures that there are, and what it gives on test images."""
        tested, asked = chosen.measured("test_accuracy")
        counts = {"val_accuracy": chosen.measured("val_accuracy")[1], "accuracy": len(chosen.train.y)}
        place_of_ours = f"{self.rows.name} {at[self.rows.path]}, {self.columns.name} {at[self.columns.path]}"
        told = {
            "val_accuracy": f" ({place_of_ours}{f'; theirs {panel.at}' if panel.at else ''})",
            "accuracy": "",
        }
        rows = []
        for who, figures in (panel.reported or {"report": {"val_accuracy": None}}).items():
            for measure, figure in figures.items():
                what = f"{name}: {_BEST[measure]}{told[measure]}"
                what = what if who == "report" else f"{name}: {_BEST[measure]}, against {who}"
                rows.append(accuracy_row(what, figure, [tops[measure]], counts[measure]))
        timing = {"seconds": chosen.seconds, "rate": chosen.rate}
        what = f"{name}: the best point on {asked:,} test images, which chose nothing"
        return [*rows, accuracy_row(what, None, [tested], asked, **timing)]

    def _best_of_rows(self, name: str, held: np.ndarray) -> str:
        """Return the best of each row of the grid, and what is to be seen in it."""
        tops = zip(self.rows.values, np.nanmax(held, axis=1), strict=True)
        best = [[f"{self.rows.name} {row}", percent(top, 1)] for row, top in tops]
        return f"{table([f'{name}: best of', 'accuracy'], best)}\n\n{self.note}"


def _grid(trials: np.ndarray, value: Callable[[Any], float | None]) -> np.ndarray:
    """Return a number of each trial; NaN of those that failed."""
    found = [value(trial) for trial in trials.flat]
    return np.array([nan if number is None else number for number in found]).reshape(trials.shape)


def _plain(grid: np.ndarray) -> list[list[float | None]]:
    """Return a grid as JSON has it: None where a training failed."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in grid]
