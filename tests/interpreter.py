"""A fresh interpreter, for what can only be seen at the start of a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

# What comes before a script so that it can make imports fail: block("torch").
BLOCK = dedent(
    """
    import sys

    class Blocked:
        def __init__(self, names):
            self.names = names

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in self.names:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def block(*names):
        sys.meta_path.insert(0, Blocked(names))
    """
)


def environment(*paths: Path | str, **variables: str) -> dict[str, str]:
    """Return this process's environment, with `paths` before its own and without a choice of backend."""
    kept = {name: value for name, value in os.environ.items() if name != "XCNN_BACKEND"}
    return kept | {"PYTHONPATH": os.pathsep.join(map(str, (*paths, *sys.path)))} | variables


def python(script: str, /, *paths: Path | str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `script`, which can import what is in `paths`, and return what it said; it must not fail.

    Parameters
    ----------
    script : str
        May be indented.
    *paths : path
        Go before the paths of this interpreter.
    **variables : str
        Of its environment.
    """
    parts = script.split(BLOCK)
    text = BLOCK.join(map(dedent, parts))
    result = subprocess.run(
        [sys.executable, "-c", text],
        env=environment(*paths, **variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result
