"""What a search found: printed, written, drawn."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from xcnn import plots
from xcnn.cli.console import note, plural, say
from xcnn.cli.report import Report
from xcnn.cli.system import cores, versions
from xcnn.files import write_atomically
from xcnn.io.config import RunConfig
from xcnn.search import SearchResult

__all__ = ["introduce", "show", "write"]

_SHOWN = 10  # rows of the table on the terminal


def introduce(run: RunConfig, grid: Mapping[str, Sequence[Any]], points: int, /) -> None:
    """Say what is going to be tried: `points` of the `grid`, each a change to `run`."""
    say(f"Searching {plural(points, 'point')} on {run.data.label}:")
    for path, values in grid.items():
        say(f"  {path} = {', '.join(map(_text, values))}")
    if run.data.validation is None and "data.validation" not in grid:
        say("data.validation is not set: a tenth of the training images is held out, to choose by")
    say()


def show(found: SearchResult, /) -> None:
    """Print the best trials, and the errors of those that failed."""
    headings, rows = _cells(found)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for number, row in enumerate(rows[:_SHOWN]):
        table.add_row(*row, style="bold green" if number == 0 else None)
    if rows:
        say(table)
    if len(rows) > _SHOWN:
        say(f"and {plural(len(rows) - _SHOWN, 'more trial')} in table.csv")
    for trial in found.trials:
        if trial.error is not None:
            note(f"failed: {_point(trial.point)}: {trial.error}")


def write(found: SearchResult, report: Report | None, folder: Path, /) -> None:
    """Write `found`, and the `report` of its best model, into `folder` as tables and pictures; say which."""
    written = {
        "best/": f"the best model and its run: xcnn test {folder / 'best'}",
        "table.csv": "all trials and what was measured, the best first",
        "summary.md": "all of this in words",
        "trials.jsonl": "each trial with its history, as it ended",
        "config.json": "what the points start from",
    }
    _write_csv(found, folder / "table.csv")
    if found.best is not None:
        scored = [trial for trial in found.trials if trial.score is not None]
        plots.settings(
            [trial.point for trial in scored],
            [trial.score for trial in scored],
            measure=found.monitor,
            path=folder / "heat_map.png",
        )
        written["heat_map.png"] = f"{found.monitor} over the grid"
    if report is not None:
        report.draw(folder / "best")
    write_atomically(folder / "summary.md", _summary(found, report, folder.name).encode())
    say(f"Written to {folder}:")
    for file, what in written.items():
        if (folder / file).exists():
            say(f"  {file:15}{what}")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _point(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} {_text(value)}" for path, value in point.items())


def _score(monitor: str, score: float) -> str:
    return f"{100 * score:.2f}" if "accuracy" in monitor else f"{score:.4g}"


def _cells(found: SearchResult) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the trials that succeeded, the best first."""
    measure = f"{found.monitor} %" if "accuracy" in found.monitor else found.monitor
    headings = ["rank", *found.paths, measure, "best epoch", "seconds"]
    rows = [
        [
            str(row["rank"]),
            *(_text(row[path]) for path in found.paths),
            _score(found.monitor, row[found.monitor]),
            f"{row['epoch']} of {row['epochs']}",
            f"{row['seconds']:.1f}",
        ]
        for row in found.table()
        if row["rank"] is not None
    ]
    return headings, rows


def _write_csv(found: SearchResult, path: Path) -> None:
    rows, text = found.table(), io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    paths = {*found.paths}
    writer.writerows(
        {key: _text(value) if key in paths and value is not None else value for key, value in row.items()}
        for row in rows
    )
    write_atomically(path, text.getvalue().encode())


def _summary(found: SearchResult, report: Report | None, name: str) -> str:
    """Return a search in words: Markdown."""
    headings, rows = _cells(found)
    lines = [f"# {name}\n", f"{datetime.now():%Y-%m-%d %H:%M}, xcnn {versions()['xcnn']}, {cores()} cores\n"]
    failed = [trial for trial in found.trials if trial.error is not None]
    told = f"{len(found.trials)} of {plural(len(found.points), 'trial')} ended, {len(failed)} in an error."
    held = found.config.data.validation
    chosen = f"Chosen by the best {found.monitor} over the epochs of each trial"
    lines.append(f"{told} {chosen}{f', on {100 * held:g} % of the training images' if held else ''}.\n")
    best = found.best
    if best is not None and best.score is not None:
        score = _score(found.monitor, best.score) + (" %" if "accuracy" in found.monitor else "")
        lines.append(f"**Best: {_point(best.point)}** with {found.monitor} {score} in epoch {best.epoch}.\n")
        lines.append("![the measure over the grid](heat_map.png)\n")
    if report is not None:
        lines += ["## The best model on the test images, which no trial has seen\n", report.markdown()]
    if rows:
        lines += ["## Trials\n", _markdown([headings, *rows])]
    if failed:
        lines += ["## Trials that failed\n"]
        lines += [f"- {_point(trial.point)}: `{str(trial.error).splitlines()[0]}`" for trial in failed] + [""]
    settings = [f"{key}: {json.dumps(value)}" for key, value in found.config.to_dict().items()]
    lines += ["## What the points start from\n", "```", *settings, "```\n"]
    return "\n".join(lines)


def _markdown(rows: list[list[str]]) -> str:
    heading, *others = [[cell.replace("|", "/") for cell in row] for row in rows]
    made = [f"| {' | '.join(row)} |" for row in (heading, ["--:"] * len(heading), *others)]
    return "\n".join(made) + "\n"
