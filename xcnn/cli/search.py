"""`xcnn search`: try every point of a grid, keep the best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xcnn.cli.console import BackendOption, DebugOption, commanded, note, plural, say
from xcnn.cli.found import introduce, show, write
from xcnn.cli.report import Report, measure
from xcnn.cli.runs import choose_folder, named_data
from xcnn.cli.train import default_config
from xcnn.data.sets import SETS
from xcnn.errors import Error, OptionError
from xcnn.io.config import RunConfig, load_config
from xcnn.io.json_text import read_json
from xcnn.search import SearchResult, expand, parse
from xcnn.search import search as search_grid
from xcnn.search.plan import hold_out
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
    run, held_out = (default_config(), False) if config is None else _read(config, monitor)
    if backend is not None:
        run = run.model_copy(update={"backend": backend})
    axes = _axes(grid or [])
    folder = _folder(out, name, run.data.label)
    introduce(run, axes, len(expand(axes)), held_out=held_out and "data.validation" not in axes)
    found = search_grid(
        run, axes, folder=folder, workers=workers, threads=threads, monitor=monitor, progress=True
    )
    if found.interrupted and not found.trials:
        note(f"No trial had ended; the same command with --out {folder} begins again")
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


def _read(path: Path, monitor: str | None) -> tuple[RunConfig, bool]:
    """Return the run of a file, and whether images had to be held out for it."""
    content = read_json(path)
    whole = hold_out(content, monitor)
    run = RunConfig.from_dict(whole, where=str(path))
    return run.model_copy(update={"data": run.data.under(path.parent)}), whole is not content


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
        axes[path] = [*map(_data, values)] if path == "data" else values
    return axes


def _data(value: Any) -> Any:
    """Return a data set; a folder may be given without a slash, as to `xcnn train --data`."""
    return named_data(value).path if isinstance(value, str) and value not in SETS else value


def _folder(out: Path | None, name: str | None, label: str) -> Path:
    """Return the folder: that of a search to go on with, or a new one."""
    earlier = out or Path("runs", name or "")
    plain = name is None or Path(name).name == name
    if plain and (out is None) != (name is None) and (earlier / SEARCH).is_file():
        return earlier
    return choose_folder(out, name, f"search-{label}")


def _test(found: SearchResult, folder: Path) -> Report:
    """Measure the best model, and only that, on its test images."""
    if found.best is None:
        msg = f"no trial succeeded; the first: {found.trials[0].error}"
        raise Error(msg)
    if found.model is None:
        msg = f"the best model is no longer in {folder / BEST}"
        raise Error(msg)
    images = load_config(folder / BEST / CONFIG).load_data()
    report = measure(found.model, images.test)
    say("The best model, on test images that no trial has seen:")
    report.show()
    return report
