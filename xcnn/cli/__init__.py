"""The command line: `xcnn train`, `search`, `test`, `predict`, `draw`, `reproduce`, `doctor`, `schema`."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]

_NEEDED = {
    "typer": "typer",
    "rich": "rich",
    "matplotlib": "matplotlib",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
}


def main() -> None:
    """Run the command line on the arguments of the process.

    Raises
    ------
    SystemExit
        Always: 0 when all is well, 2 after an error, 130 after Ctrl-C where there was nothing to save.
    """
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f'xcnn: the command line needs {", ".join(missing)}: pip install "xcnn[app]"', file=sys.stderr)
        raise SystemExit(2)
    try:
        from xcnn.cli.app import app

        app(prog_name="xcnn")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
