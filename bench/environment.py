"""Processes that begin with the threads and the BLAS kernels that are to be measured."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["PIN", "call", "clean", "numbers", "processors"]

# What BLAS, OpenMP, Numba and PyTorch read when they are imported.
THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    "XCNN_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
PIN = "OPENBLAS_CORETYPE"  # holds NumPy's BLAS to the kernels of a certain processor


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def numbers(text: str, /) -> list[int]:
    """Return the numbers of an option like ``1,16,64``.

    Parameters
    ----------
    text : str
        Positive numbers, separated by commas.

    Returns
    -------
    list of int
        In order.

    Raises
    ------
    argparse.ArgumentTypeError
        If one is no positive number.
    """
    found = text.split(",")
    if not all(number.isascii() and number.isdigit() and int(number) for number in found):
        msg = f"{text!r}; needed positive numbers, separated by commas"
        raise argparse.ArgumentTypeError(msg)
    return list(map(int, found))


def clean(threads: int, /) -> dict[str, str]:
    """Return this environment with `threads` for everyone, and BLAS kernels of BLAS's own choice.

    Parameters
    ----------
    threads : int
        Of both sides.

    Returns
    -------
    dict
        For a new process.
    """
    kept = {name: value for name, value in os.environ.items() if name != PIN}
    return kept | dict.fromkeys(THREADS, str(threads))


def call(module: str, given: Mapping[str, Any], threads: int, /) -> Any:
    """Run a module of the benchmark in a clean environment; if it fails, so does this process.

    Parameters
    ----------
    module : str
        It reads JSON from its argument, and its last line is JSON.
    given : mapping
        That argument.
    threads : int
        Of both sides.

    Returns
    -------
    object
        What that line says.
    """
    command = [sys.executable, "-m", module, json.dumps(given)]
    done = subprocess.run(command, env=clean(threads), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout.splitlines()[-1])
