"""`xcnn reproduce`: run the experiments of the reports again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from xcnn.cli.console import DebugOption, commanded, complain, list_files, note, plural, say
from xcnn.cli.runs import choose_folder, make_folder
from xcnn.errors import Error
from xcnn.reproduce import Experiment, Result, experiments
from xcnn.reproduce import reproduce as run_again
from xcnn.reproduce.catalogue import choose
from xcnn.reproduce.page import Outcome, duration

__all__ = ["reproduce"]

_FILES = {
    "report.html": "all figures, tables and pictures in one file",
    "report.md": "the same in Markdown, with figures/",
    "results.json": "the numbers",
}


@commanded
def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help='Experiments, or "all"; without, they are listed.'),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only see that everything works: few images, two epochs.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A new folder for the page.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name, under runs/.")] = None,
    debug: DebugOption = False,
) -> None:
    """Run the experiments of five reports on networks written from scratch, and write a page about them.

    Parameters
    ----------
    names : list of str
        Experiments, or "all".
    quick : bool
        Whether only to see that everything works.
    out : Path, optional
        A new folder for the page.
    name : str, optional
        Its name, under ``runs``.
    debug : bool
        Whether errors show where they came from.
    """
    if not names:
        _list()
        return
    chosen = choose(names)
    folder = choose_folder(out, name, "reproduce")
    make_folder(folder)
    expected = duration(sum(e.seconds for e in chosen))
    say(f"{plural(len(chosen), 'experiment')}{'' if quick else f', about {expected} on two cores'}")
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True, highlight=False)
    shown = sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=len(chosen))
        done: dict[str, Outcome] = {}

        def tell(e: Experiment, what: str) -> None:
            bar.update(task, description=f"{e.name}: {what}")
            if not shown:
                print(f"{e.name}: {what}", file=sys.stderr, flush=True)

        def after(e: Experiment, found: Outcome) -> None:
            bar.advance(task)
            done[e.name] = found
            _show(e, found)

        try:
            run_again(names, folder, quick=quick, tell=tell, after=after)
        finally:
            bar.stop()
            if done:
                list_files(folder, _FILES)
    failed = [name for name, found in done.items() if isinstance(found, Error)]
    if failed:
        complain(f"could not be run: {', '.join(failed)}")
        raise typer.Exit(1)


def _list() -> None:
    """Print what there is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "what", "report, section", "its figures", "time"):
        table.add_column(
            heading,
            justify="right" if heading == "time" else "left",
            no_wrap=heading not in ("what", "report, section"),
        )
    for e in experiments().values():
        reported = [figure for figure in e.figures().values() if figure is not None]
        where = "-" if e.report == "own" else f"{e.report}, {e.section}"
        table.add_row(e.name, e.title, where, _figures(reported), duration(e.seconds))
    say(table)
    total = duration(sum(e.seconds for e in experiments().values()))
    say(f"xcnn reproduce NAME... runs some; all take about {total} on two cores, with --quick a few minutes")


def _figures(reported: list[float | list[float]]) -> str:
    """Return figures in per cent; of many, the lowest and the highest."""
    ends = [r if isinstance(r, list) else [r, r] for r in reported]
    if len(ends) > 3:
        ends = [[min(low for low, _ in ends), max(high for _, high in ends)]]
    texts = [f"{100 * low:g}" if low == high else f"{100 * low:g} to {100 * high:g}" for low, high in ends]
    return f"{', '.join(texts)} %" if texts else "-"


def _show(e: Experiment, found: Outcome) -> None:
    """Print what came of an experiment."""
    if isinstance(found, Result):
        say(f"{e.name}: {e.title} ({duration(found.seconds)})", style="bold")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("figure", "report", "here", "95 % interval", "verdict"):
            table.add_column(heading)
        for row in found.rows:
            table.add_row(row.what, row.reported, row.ours, row.interval, row.verdict)
        say(table)
    else:
        note(f"{e.name} could not be run: {found}")
        say()
