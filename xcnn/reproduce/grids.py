"""Grids of two settings, each point a training, as report 001 drew them; a point counts at its best epoch."""

from __future__ import annotations

from math import nan
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from xcnn.io.config import RunConfig
from xcnn.reproduce.experiment import ConfigFile, Experiment
from xcnn.reproduce.result import Reported, Result, accuracy_row, percent, table
from xcnn.reproduce.training import Lab, train
from xcnn.search import search
from xcnn.search.grid import place

__all__ = ["Grid"]


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
    """One grid: what is `set` in it throughout, and the best accuracies that the report gives for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    set: dict[str, Any] = {}
    reported: Reported = None
    at: str = ""
    others: dict[str, Reported] = {}
    training: Reported = None


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
    row_note : str
        What the accuracy of each row, at its best column, shows.
    """

    kind: ClassVar[str] = "grid"
    config: ConfigFile
    rows: Axis
    columns: Axis
    panels: dict[str, Panel] = Field(min_length=1)
    row_note: str = ""

    def figures(self) -> dict[str, Reported]:
        """Return the report's figures by what they measure."""
        found = {f"{name}: best of the grid": panel.reported for name, panel in self.panels.items()}
        for name, panel in self.panels.items():
            found |= {f"{name}: best of the grid, {other}": figure for other, figure in panel.others.items()}
        return found

    def perform(self, lab: Lab, /) -> Result:
        """Train every point of every panel."""
        result = Result()
        for name, panel in self.panels.items():
            self._panel(name, panel, lab, result)
        return result

    def _panel(self, name: str, panel: Panel, lab: Lab, result: Result) -> None:
        from xcnn import plots

        rows, columns = self.rows.some(lab.quick), self.columns.some(lab.quick)
        points = [{self.rows.path: row, self.columns.path: column} for row in rows for column in columns]
        config = lab.prepare(RunConfig.from_dict(place(self.config.to_dict(), panel.set)))
        lab.tell(f"{name}, {len(points)} trainings")
        found = search(config, points, progress=False)
        if found.interrupted:
            raise KeyboardInterrupt
        shape = len(rows), len(columns)
        held = np.array([nan if trial.score is None else trial.score for trial in found.trials]).reshape(
            shape
        )
        trained = np.array([trial.last.get("accuracy", nan) for trial in found.trials]).reshape(shape)
        names = {"row_name": self.rows.name, "column_name": self.columns.name}
        result.pictures[f"{name}: accuracy in validation"] = plots.heat_map(
            held, rows, columns, **names, measure="val_accuracy", title=name
        )
        if panel.training is not None:
            result.pictures[f"{name}: accuracy on the training images"] = plots.heat_map(
                trained, rows, columns, **names, measure="accuracy", title=f"{name}, training images"
            )
        i, j = np.unravel_index(int(np.nanargmax(held)), shape)
        at = f"{self.rows.name} {rows[i]}, {self.columns.name} {columns[j]}"
        best = train(RunConfig.from_dict(place(config.to_dict(), points[i * len(columns) + j])))
        timing = {"seconds": best.seconds, "rate": best.rate}
        n = len(best.data.train.y) - len(best.train.y)
        top = [float(held[i, j])]
        where = f" (theirs at {panel.at})" if panel.at else ""
        result.rows.append(
            accuracy_row(f"{name}: best of the grid, at {at}{where}", panel.reported, top, n, **timing)
        )
        for other, figure in panel.others.items():
            result.rows.append(accuracy_row(f"{name}: the same, against {other}", figure, top, n))
        if panel.training is not None:
            result.rows.append(
                accuracy_row(
                    f"{name}: best on the training images",
                    panel.training,
                    [float(np.nanmax(trained))],
                    len(best.train.y),
                )
            )
        tested = best.at_choice("test_accuracy")
        result.rows.append(
            accuracy_row(
                f"{name}: that point, on {len(best.test.y):,} test images", None, [tested], len(best.test.y)
            )
        )
        if self.row_note:
            heading = [f"{name}: best in each row", *(f"{self.rows.name} {row}" for row in rows)]
            text = table(heading, [["accuracy", *(percent(value, 1) for value in held.max(axis=1))]])
            result.notes.append(f"{text}\n\n{self.row_note}")
        result.numbers[name] = {
            "rows": rows,
            "columns": columns,
            "val_accuracy": _plain(held),
            "accuracy": _plain(trained),
            "test_accuracy_of_best": tested,
        }


def _plain(grid: np.ndarray) -> list[list[float | None]]:
    """Return a grid as JSON has it: None where a training failed."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in grid]
