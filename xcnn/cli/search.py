"""`xcnn search`: try every point of a grid, keep the best."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from xcnn.cli.console import BackendOption, DebugOption, commanded, note, plural, say
from xcnn.cli.found import introduce, show, write
from xcnn.cli.report import Report, measure
from xcnn.cli.runs import choose_folder
from xcnn.cli.train import default_config
from xcnn.errors import Error, OptionError
from xcnn.io.config import load_config
from xcnn.search import SearchResult, expand, parse
from xcnn.search import search as search_grid
from xcnn.search.record import BEST, CONFIG, SEARCH

__all__ = ["search"]


@commanded
def search(
    config: Annotated[
        Path | None,
        typer.Argument(help="A JSON file; without it, the run of `xcnn train` without one."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=VALUES",
            help="A setting and its values, as optimizer.lr=1e-3,1e-2 or optimizer.lr=log:1e-4:1e-1:4; "
            "may be given again and again.",
        ),
    ] = None,
    monitor: Annotated[
        str | None, typer.Option(help="The measure that chooses; by default val_accuracy.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; by default one for each core.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of each trial; by default its share of the cores.")
    ] = None,
    backend: BackendOption = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to: new, or that of the same search to go on.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="In place of --out: the folder is runs/NAME.")] = None,
    debug: DebugOption = False,
) -> None:
    """Train a model for each point of a grid of settings, and keep the best.

    What is best is decided on images that are held out of the training images; of all models only the best
    one meets the test images, at the end. Each trial is recorded as it ends: after Ctrl-C, or worse, the same
    command with the same folder goes on.

    Parameters
    ----------
    config : Path, optional
        The JSON file.
    grid : list of str
        See `xcnn.search.parse`.
    monitor, workers, threads, backend
        See `xcnn.search.search`.
    out : Path, optional
        The folder to write to.
    name : str, optional
        In place of `out`: the folder is runs/NAME.
    debug : bool
        Whether errors show where they came from.
    """
    run = default_config() if config is None else load_config(config)
    if backend is not None:
        run = run.model_copy(update={"backend": backend})
    axes = _axes(grid or [])
    folder = _folder(out, name, run.data.label)
    introduce(run, axes, len(expand(axes)))
    found = search_grid(
        run, axes, folder=folder, workers=workers, threads=threads, monitor=monitor, progress=True
    )
    if found.interrupted and not found.trials:
        shutil.rmtree(folder)  # nothing was learned
        raise KeyboardInterrupt
    show(found)
    report = None if found.interrupted else _test(found, folder)
    write(found, report, folder)
    if found.interrupted:
        left = len(found.points) - len(found.trials)
        note(
            f"Stopped by Ctrl-C, {plural(left, 'trial')} to go; the same command with --out {folder} goes on"
        )
        raise typer.Exit(130)


def _axes(grid: list[str]) -> dict[str, list[Any]]:
    """Return path to values."""
    if not grid:
        msg = "there is no grid; needed --grid PATH=VALUE,VALUE, as in --grid optimizer.lr=1e-3,1e-2"
        raise OptionError(msg)
    axes: dict[str, list[Any]] = {}
    for text in grid:
        path, values = parse(text)
        if path in axes:
            msg = f"{path} comes twice; needed all its values in one --grid"
            raise OptionError(msg)
        axes[path] = values
    return axes


def _folder(out: Path | None, name: str | None, label: str) -> Path:
    """Return the folder: that of a search to go on with, or a new one."""
    earlier = out or Path("runs", name or "")
    if (out is None) != (name is None) and (earlier / SEARCH).is_file():
        return earlier
    return choose_folder(out, name, f"search-{label}")


def _test(found: SearchResult, folder: Path) -> Report:
    """Measure the best model, and only that, on its test images."""
    if found.model is None or found.best is None:
        msg = f"no trial succeeded; the first: {found.trials[0].error}"
        raise Error(msg)
    images = load_config(folder / BEST / CONFIG).load_data()
    report = measure(found.model, images.test)
    say("The best model, on test images that no trial has seen:")
    report.show()
    return report
