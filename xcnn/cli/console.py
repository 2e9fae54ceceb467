"""What the commands share: where they print, and how they fail."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.text import Text

from xcnn.errors import Error

__all__ = [
    "BackendOption",
    "DebugOption",
    "commanded",
    "complain",
    "list_files",
    "note",
    "plural",
    "say",
    "terminable",
]

BackendOption: TypeAlias = Annotated[
    str | None, typer.Option(help='Where it runs: "numpy", "torch", "torch:cuda", "cupy", "auto", ...')
]
DebugOption: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]

_WIDTH = 110  # where there is no terminal to ask


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def plural(count: int, thing: str, /) -> str:
    """Return `count` of a `thing`: "1 epoch", "2,000 epochs"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def say(what: Any = "", /, *, style: str | None = None) -> None:
    """Print `what`, a line or a table, on standard output, in `style`; lines are not broken."""
    _console().print(what, style=style, soft_wrap=isinstance(what, (str, Text)))


def note(what: str, /) -> None:
    """Print `what`, a remark that is no result, on standard error."""
    _console(stderr=True).print(what, style="yellow", soft_wrap=True)


def complain(what: str, /) -> None:
    """Print `what`, an error, in red on standard error."""
    _console(stderr=True).print(f"error: {what}", style="bold red", soft_wrap=True)


def list_files(folder: Path, written: Mapping[str, str], /) -> None:
    """Print the files that were `written` to `folder`, by name, and what is in each."""
    width = max(map(len, written)) + 2
    say(f"Written to {folder}:")
    for file, what in written.items():
        say(f"  {file:{width}}{what}")


def commanded(command: Callable[..., None]) -> Callable[..., None]:
    """Make errors of `command` one red line and exit code 2, and Ctrl-C exit code 130."""

    @functools.wraps(command)
    def safe(**options: Any) -> None:
        try:
            command(**options)
        except Error as error:
            if options.get("debug"):
                raise
            complain(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of our output has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None

    return safe


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM, which `kill` and schedulers send, do what Ctrl-C does.

    Yields
    ------
    None
        Signals are Python's to handle in the main thread alone; in another, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: of a program around Python
