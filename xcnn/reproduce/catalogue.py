"""All experiments, and the running of some of them."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from xcnn.errors import ConfigError, Error, OptionError, suggest
from xcnn.io.json_text import read_json
from xcnn.reproduce.baselines import Baselines
from xcnn.reproduce.confidence import Confidence
from xcnn.reproduce.experiment import Experiment, experiments_folder
from xcnn.reproduce.grids import Grid
from xcnn.reproduce.initialisation import Initialisation
from xcnn.reproduce.page import Outcome, draw, write_page
from xcnn.reproduce.runs import Runs
from xcnn.reproduce.training import Lab
from xcnn.search.pool import cores

__all__ = ["choose", "experiments", "read_experiment", "reproduce"]

_KINDS: dict[str, type[Experiment]] = {
    kind.kind: kind for kind in (Runs, Grid, Baselines, Initialisation, Confidence)
}


def read_experiment(path: Path, /) -> Experiment:
    """Read one experiment.

    Parameters
    ----------
    path : Path
        A JSON file; paths of configurations in it start at its folder.

    Returns
    -------
    Experiment
        Of the kind that it names.

    Raises
    ------
    FileError, ConfigError
        If it, or a configuration that it names, cannot be read or is wrong.
    """
    content = read_json(path)
    kind = content.pop("kind", None) if isinstance(content, dict) else None
    if kind not in _KINDS:
        msg = f"got {kind!r}; needed {', '.join(_KINDS)}"
        raise ConfigError(msg, where=f"{path}: kind")
    try:
        return _KINDS[kind].model_validate(content | {"name": path.stem}, context={"folder": path.parent})
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise ConfigError(first["msg"], where=f"{path}: {at}") from error


@functools.cache
def experiments() -> MappingProxyType[str, Experiment]:
    """Return all experiments by name, in the order of the reports.

    Returns
    -------
    mapping
        Name to `Experiment`.

    Raises
    ------
    FileError, ConfigError
        If one cannot be read.
    """
    found = [read_experiment(path) for path in experiments_folder().glob("*.json")]
    return MappingProxyType({e.name: e for e in sorted(found, key=lambda e: e.order)})


def choose(names: Iterable[str], /) -> list[Experiment]:
    """Return the experiments called `names`; "all" means all of them.

    Parameters
    ----------
    names : iterable of str
        In any order.

    Returns
    -------
    list of Experiment
        Each once, in the order of the reports.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    known, names = experiments(), list(names)
    for name in names:
        if name != "all" and name not in known:
            msg = f"no experiment {name!r}{suggest(name, known)}"
            raise OptionError(msg, where="reproduce")
    return [e for name, e in known.items() if name in names or "all" in names]


def reproduce(
    names: Iterable[str],
    target: str | Path,
    /,
    *,
    quick: bool = False,
    tell: Callable[[Experiment, str], None] = lambda experiment, what: None,
    after: Callable[[Experiment, Outcome], None] = lambda experiment, outcome: None,
) -> dict[str, Outcome]:
    """Run experiments, and write a page about them.

    Parameters
    ----------
    names : iterable of str
        Which; "all" means all.
    target : path
        A folder; the page is written anew after each experiment, so that nothing is lost.
    quick : bool
        Whether only to see that everything works: few images, two epochs, one seed, the corners of grids.
    tell : callable
        ``tell(experiment, what)`` for each thing that begins.
    after : callable
        ``after(experiment, outcome)`` for each that is done.

    Returns
    -------
    dict
        By name each experiment's `Result`, or the error that kept it from being run.

    Raises
    ------
    OptionError
        If there is no experiment of some name.
    FileError
        If the page cannot be written.
    """
    done: list[tuple[Experiment, Outcome]] = []
    chosen, folder, machine = choose(names), Path(target), _machine()
    for experiment in chosen:
        start = time.perf_counter()
        try:
            result = experiment.perform(Lab(quick, functools.partial(tell, experiment)))
            result.seconds = time.perf_counter() - start
            if quick:
                result.rows = [replace(row, verdict="quick run") for row in result.rows]
            draw(folder, experiment, result)
            found: Outcome = result
        except Error as error:
            found = error
        done.append((experiment, found))
        write_page(folder, done, machine=machine, quick=quick, missing=chosen[len(done) :])
        after(experiment, found)
    return {e.name: found for e, found in done}


def _machine() -> str:
    """Return where this runs, and with what."""
    import numpy

    import xcnn

    versions = f"xcnn {xcnn.__version__}, NumPy {numpy.__version__}, Python {platform.python_version()}"
    return f"{versions}; {cores()} cores, {platform.machine()}, {platform.system()}."
