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
from xcnn.cli.console import list_files, note, plural, say
from xcnn.cli.report import Report
from xcnn.cli.system import cores, versions
from xcnn.files import write_atomically
from xcnn.io.config import RunConfig
from xcnn.search import SearchResult
from xcnn.search.grid import told, told_value

__all__ = ["introduce", "show", "write"]

_SHOWN = 10  # rows of the table on the terminal


def introduce(run: RunConfig, grid: Mapping[str, Sequence[Any]], points: int, /, *, held_out: bool) -> None:
    """Say what is tried: `points` of the `grid`, each a change to `run`, for which images are `held_out`."""
    say(f"Searching {plural(points, 'point')} on {run.data.label}:")
    for path, values in grid.items():
        say(f"  {path} = {', '.join(map(told_value, values))}")
    if held_out:
        say("data.validation is not set: a tenth of the training images is held out, to choose by")
    say()


def show(found: SearchResult, /) -> None:
    """Print the best trials, and the errors of those that failed."""
    headings, rows = _cells(found)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    short = shorten(found.paths)
    for heading in headings:
        table.add_column(
            short.get(heading, heading), justify="right", overflow="fold", no_wrap=heading not in short
        )
    for number, row in enumerate(rows[:_SHOWN]):
        table.add_row(*row, style="bold green" if number == 0 else None)
    if rows:
        say(table)
    if len(rows) > _SHOWN:
        say(f"and {plural(len(rows) - _SHOWN, 'more trial')} in table.csv")
    for trial in found.trials:
        if trial.error is not None:
            note(f"failed: {told(trial.point)}: {trial.error}")


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
    write_atomically(folder / "summary.md", _summary(found, report, folder.name).encode())
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
    list_files(folder, {file: what for file, what in written.items() if (folder / file).exists()})


def shorten(paths: Sequence[str], /) -> dict[str, str]:
    """Return for each path the shortest end that no other path has: "lr" for "optimizer.lr"."""
    ends = {path: [".".join(path.split(".")[-n:]) for n in range(1, path.count(".") + 2)] for path in paths}
    every = [end for found in ends.values() for end in found]
    return {path: next((end for end in found if every.count(end) == 1), path) for path, found in ends.items()}


def _score(monitor: str, score: float) -> str:
    return f"{100 * score:.2f}" if "accuracy" in monitor else f"{score:.4g}"


def _cells(found: SearchResult) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the trials that succeeded, the best first."""
    measure = f"{found.monitor} %" if "accuracy" in found.monitor else found.monitor
    headings = ["rank", *found.paths, measure, "best epoch", "seconds"]
    rows = [
        [
            str(row["rank"]),
            *(told_value(row["point"].get(path)) for path in found.paths),
            _score(found.monitor, row["score"]),
            f"{row['best_epoch']} of {row['epochs']}",
            f"{row['seconds']:.1f}",
        ]
        for row in found.table()
        if row["rank"] is not None
    ]
    return headings, rows


def _write_csv(found: SearchResult, path: Path) -> None:
    """Write every digit; no column that is no path is called like one."""
    text = io.StringIO()
    rows = [
        {
            "rank": row["rank"],
            **{path: told_value(value) for path, value in row["point"].items()},
            "best_epoch": row["best_epoch"],
            "trained_epochs": row["epochs"],
            "seconds": row["seconds"],
            **{_column(name): value for name, value in row["logs"].items()},
            "error": row["error"],
        }
        for row in found.table()
    ]
    columns = ["rank", *found.paths, "best_epoch", "trained_epochs", "seconds"]
    measured = dict.fromkeys(column for row in rows for column in row if column not in (*columns, "error"))
    writer = csv.DictWriter(text, [*columns, *measured, "error"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _column(measure: str) -> str:
    """Return the heading of a measure: "loss" is a setting, "train_loss" is none."""
    return measure if measure == "learning_rate" or measure.startswith("val_") else f"train_{measure}"


def _summary(found: SearchResult, report: Report | None, name: str) -> str:
    """Return a search in words: Markdown."""
    headings, rows = _cells(found)
    lines = [f"# {name}\n", f"{datetime.now():%Y-%m-%d %H:%M}, xcnn {versions()['xcnn']}, {cores()} cores\n"]
    failed = [trial for trial in found.trials if trial.error is not None]
    ended = f"{len(found.trials)} of {plural(len(found.points), 'trial')} ended, {len(failed)} in an error."
    held = found.config.data.validation
    chosen = f"Chosen by the best {found.monitor} over the epochs of each trial"
    lines.append(f"{ended} {chosen}{f', on {100 * held:g} % of the training images' if held else ''}.\n")
    best = found.best
    if best is not None and best.score is not None:
        score = _score(found.monitor, best.score) + (" %" if "accuracy" in found.monitor else "")
        lines.append(f"**Best: {told(best.point)}** with {found.monitor} {score} in epoch {best.epoch}.\n")
        lines.append("![the measure over the grid](heat_map.png)\n")
    if report is not None:
        lines += ["## The best model on the test images, which no trial has seen\n", report.markdown()]
    if rows:
        lines += ["## Trials\n", _markdown([headings, *rows])]
    if failed:
        lines += ["## Trials that failed\n"]
        lines += [f"- {told(trial.point)}: `{str(trial.error).splitlines()[0]}`" for trial in failed] + [""]
    settings = [f"{key}: {json.dumps(value)}" for key, value in found.config.to_dict().items()]
    lines += ["## What the points start from\n", "```", *settings, "```\n"]
    return "\n".join(lines)


def _markdown(rows: list[list[str]]) -> str:
    heading, *others = [[cell.replace("|", "/") for cell in row] for row in rows]
    made = [f"| {' | '.join(row)} |" for row in (heading, ["--:"] * len(heading), *others)]
    return "\n".join(made) + "\n"
