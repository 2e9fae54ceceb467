"""The test suite, told line by line: what ran is known even if the rest does not."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.environment import processors

__all__ = ["lines", "results"]

ROOT = Path(__file__).parents[1]
SUMS = 30.0  # seconds before the end at which pytest is asked to stop and to say why tests failed
PLUGINS = {  # others' are no part of this
    "xdist": ("-p", "xdist.plugin", "-n", str(min(8, processors()))),
    "pytest_timeout": ("-p", "pytest_timeout", "--timeout=120"),
}
RESULT = re.compile(
    r"(PASSED|FAILED|ERROR|SKIPPED|XFAIL) +(tests/\S.*)|(tests/\S.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b"
)


def lines(backend: str, seconds: float, paths: Sequence[str] = ("tests/cuda", "tests"), /) -> Iterator[str]:
    """Run the test suite on a backend and on NumPy.

    Parameters
    ----------
    backend : str
        Must be usable.
    seconds : float
        When it must be done.
    paths : sequence of str
        What to run, the most telling first.

    Yields
    ------
    str
        Each line that pytest prints, and last its exit status.
    """
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider"]
    for module, options in PLUGINS.items():
        command += options if importlib.util.find_spec(module) is not None else ()
    given = os.environ | {"XCNN_TEST_BACKENDS": f"numpy,{backend}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([*command, *paths], cwd=ROOT, env=given, **out)  # type: ignore[call-overload]
    timer = threading.Timer(max(seconds - SUMS, 1), process.send_signal, (signal.SIGINT,))
    timer.daemon = True
    timer.start()
    with process.stdout:
        for line in process.stdout:
            print(line, end="", flush=True)
            yield line.rstrip()
    timer.cancel()
    yield f"exit status {process.wait()}"


def results(told: Sequence[str], /) -> dict[str, Any]:
    """Return what lines of pytest say.

    Parameters
    ----------
    told : sequence of str
        Of `lines`, or the first of them.

    Returns
    -------
    dict
        ``code``: the exit status, or None; ``counts`` of results; ``failed``: the tests that did.
    """
    found = {}
    for match in filter(None, map(RESULT.search, told)):
        result, test = match[1] or match[4], match[2] or match[3]
        found[re.split(r" - |\s+\[ *\d+%\]", test)[0].strip()] = result
    code = re.fullmatch(r"exit status (-?\d+)", told[-1]) if told else None
    failed = sorted(test for test, result in found.items() if result in ("FAILED", "ERROR"))
    return {"code": code and int(code[1]), "counts": dict(Counter(found.values())), "failed": failed}
