"""`xcnn doctor`: what works here, and what mends what does not."""

from __future__ import annotations

import os
import platform
import sys

from rich.table import Table

from xcnn import data
from xcnn.backend import available_backends, backend_problems, get_backend
from xcnn.cli.console import DebugOption, commanded, note, say
from xcnn.cli.system import blas, cores, threads, versions, warnings
from xcnn.data.files import cache_folder
from xcnn.errors import BackendError, Error

__all__ = ["doctor"]

_DEVICES = ("torch:cuda", "cupy:1")  # tried beside the defaults; shown where they work


@commanded
def doctor(debug: DebugOption = False) -> None:
    """Say what works on this machine, and what mends what does not.

    Parameters
    ----------
    debug : bool
        Whether errors show where they came from.
    """
    say(f"{platform.system()} {platform.machine()}, {cores()} cores; {sys.executable}")
    pools = [("loaded", line) for line in threads()]
    tables = {
        "Backends": _backends(),
        "Data": _data(),
        "Matrix products of NumPy": [("built with", blas()), *pools],
        "Versions": list(versions(every=True).items()),
    }
    for title, rows in tables.items():
        say()
        say(_table(title, rows))
    say()
    cautions = [line for name in available_backends() for line in get_backend(name).cautions()]
    for line in [*warnings(), *cautions]:
        note(f"warning: {line}")
    say(f"New models use {_default()}. Another: --backend NAME, xcnn.set_backend(NAME) or XCNN_BACKEND=NAME")


def _table(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column(no_wrap=True, min_width=18)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _backends() -> list[tuple[str, str]]:
    rows = []
    problems = backend_problems()
    for name in available_backends():
        backend = get_backend(name)
        place = "the processor" if backend.host else "its own device"
        rows.append((name, f"usable: {place if backend.name == name else backend.name}"))
    for name in _DEVICES:
        try:
            rows.append((name, f"usable: {get_backend(name).name}"))
        except BackendError:
            continue  # the root's own line says what is wrong, or there is no such device
    for name in available_backends():
        rows += get_backend(name).facts()
    return rows + [(name, f"not usable: {reason}") for name, reason in problems.items()]


def _data() -> list[tuple[str, str]]:
    named = os.environ.get("XCNN_DATA")
    rows = [("XCNN_DATA", named or "not set"), ("cache", str(cache_folder()))]
    try:
        places = data.available()
    except Error as error:
        return [*rows, ("problem", str(error))]
    missing = {"digits": 'comes with scikit-learn: pip install "xcnn[app]"'}
    fetched = "not here; fetched to the cache at its first use"
    return rows + [(name, str(place or missing.get(name, fetched))) for name, place in places.items()]


def _default() -> str:
    try:
        return get_backend().name
    except BackendError as error:
        return f"nothing usable ({error})"
