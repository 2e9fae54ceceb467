"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import xcnn
from xcnn.cli.console import DebugOption, commanded
from xcnn.cli.doctor import doctor
from xcnn.cli.predict import predict
from xcnn.cli.test import test
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
    """Print the JSON Schema of a configuration; with `debug`, where an error came from."""
    from xcnn.io.json_text import format_json
    from xcnn.io.schema import json_schema

    print(format_json(json_schema()), end="")


app.command(short_help="Train a model, and show what it learned.")(train)
app.command(short_help="Measure a model on the test images of a data set.")(test)
app.command(short_help="Say what images show.")(predict)
app.command(short_help="Say what works on this machine, and what mends what does not.")(doctor)
app.command(short_help="Print the JSON Schema of a configuration, for editors.")(schema)
