"""The commands, put together."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

import xcnn
from xcnn.cli.console import DebugOption, commanded
from xcnn.cli.doctor import doctor
from xcnn.cli.draw import draw
from xcnn.cli.evaluate import evaluate
from xcnn.cli.predict import predict
from xcnn.cli.reproduce import reproduce
from xcnn.cli.search import search
from xcnn.cli.train import train

__all__ = ["app", "options", "schema"]

app = typer.Typer(
    name="xcnn",
    help="Train, test and use convolutional networks. Start with: xcnn train",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"xcnn {xcnn.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Take what stands before the command: `version` prints it."""


@commanded
def schema(debug: DebugOption = False) -> None:
    """Print the JSON Schema of a configuration, for editors.

    Parameters
    ----------
    debug : bool
        Whether errors show where they came from.
    """
    from xcnn.io.json_text import format_json
    from xcnn.io.schema import json_schema

    print(format_json(json_schema()), end="")


def _add(command: Callable[..., None], name: str, short: str) -> None:
    """Register a command; its help is its docstring up to the list of the parameters."""
    text = inspect.cleandoc(command.__doc__ or "").partition("\n\nParameters\n")[0]
    app.command(name, help=text, short_help=short)(command)


_add(train, "train", "Train a model, and show what it learned.")
_add(search, "search", "Train a model for each point of a grid, and keep the best.")
_add(evaluate, "test", "Measure a model on the test images of a data set.")
_add(predict, "predict", "Say what images show.")
_add(draw, "draw", "Open a page to try models on by drawing.")
_add(reproduce, "reproduce", "Run the experiments of five reports again.")
_add(doctor, "doctor", "Say what works on this machine, and what mends what does not.")
_add(schema, "schema", "Print the JSON Schema of a configuration, for editors.")
