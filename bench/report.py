"""What is printed, and what the machine is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import xcnn

__all__ = ["MIB", "align", "heading", "machine", "number", "text"]

MIB = 2**20
LIBRARIES = ("numpy", "numba", "array-api-compat", "torch")
VARIABLES = ("OPENBLAS_", "OMP_", "MKL_", "GOMP_", "KMP_", "VECLIB_", "MALLOC_", "NUMBA_", "XCNN_")
LEGEND = """\
Milliseconds of one call, float32. eager: PyTorch as written, Adam by its defaults; tuned: channels last in
memory, fused Adam. Ratio: PyTorch's time over ours, eager's and that of the best of the two.
*: other programs used the processor all the while."""
FRESH = """\
First step: seconds from the start of a process until the first step is done, imports included; cold: xcnn
with no kernel compiled before, warm: once more. Memory in MiB: the peak of such a process (ours: warm), and
what building the net, steps and predictions take of it beyond the imports."""


def machine() -> dict[str, Any]:
    """Return what figures depend on.

    Returns
    -------
    dict
        Processor, system, versions, BLAS, and the environment variables that steer threads and kernels.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = re.findall(r"model name\s*: (.*)", lines)[0]
    except (OSError, IndexError):
        processor = platform.processor() or platform.machine()
    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return {
        "processor": processor,
        "logical_processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "versions": {"xcnn": xcnn.__version__} | {k: v for k in LIBRARIES if (v := _version(k))},
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def heading(found: Mapping[str, Any], /) -> str:
    """Return the line that says where figures come from.

    Parameters
    ----------
    found : mapping
        With ``machine`` and ``threads``.

    Returns
    -------
    str
        Processor, threads, versions.
    """
    m = found["machine"]
    versions = ", ".join(f"{library} {version}" for library, version in m["versions"].items())
    threads = f"{found['threads']} thread{'s' * (found['threads'] > 1)}"
    return f"\n{m['processor']}, {threads}, Python {m['python']}, {versions}, {m['blas']}"


def text(found: Mapping[str, Any], /) -> str:
    """Return all figures for one number of threads as lines of text.

    Parameters
    ----------
    found : mapping
        From `measure.everything`.

    Returns
    -------
    str
        The machine, a table of times, a table of beginnings and memory, the imports.
    """
    imports = ", ".join(f"{module} {seconds:.3f} s" for module, seconds in found["import_seconds"].items())
    sides = ("xcnn", "eager", "tuned", "eager", "best")
    times = [("net", "batch", *sides, *sides), *map(_times, found["runs"])]
    fresh = ("net", "batch", "parameters", "cold", "warm", "torch", "xcnn", "torch", "xcnn", "torch")
    groups = {3: "first step, s", 6: "peak", 8: "beyond imports"}
    parts = [
        f"{heading(found)}\n{LEGEND}\n",
        align(times, {2: "step, ms", 5: "ratio", 7: "predict, ms", 10: "ratio"}),
    ]
    if all(run["fresh"] for run in found["runs"]):
        parts += [f"\n{FRESH}\n", align([fresh, *map(_fresh, found["runs"])], groups)]
    return "\n".join([*parts, f"\nimport: {imports}"])


def _times(run: Mapping[str, Any]) -> tuple[str, ...]:
    cells = [run["net"], str(run["batch"])]
    for work in ("step", "predict"):
        timings = [run[work].get(side) for side in ("xcnn", "eager", "tuned")]
        stars = ["*" * bool(timing and timing["quiet"] is False) for timing in timings]
        for timing, star in zip(timings, stars, strict=True):
            cells.append(number(1e3 * timing["seconds"]) + star if timing else "-")
        ratios = run[work].get("ratios", {})
        for kind, star in (("eager", stars[0] or stars[1]), ("best", max(stars))):
            cells.append(f"{ratios[kind]:.2f}x{star}" if kind in ratios else "-")
    return tuple(cells)


def _fresh(run: Mapping[str, Any]) -> tuple[str, ...]:
    found = run["fresh"]
    cells = [run["net"], str(run["batch"]), f"{run['parameters']:,}"]
    cells += [f"{found[k]['first_step']:.2f}" if k in found else "-" for k in ("cold", "warm", "torch")]
    memory = [found.get(k, {"run": None}) for k in ("warm", "torch")]
    cells += ["-" if m["run"] is None else f"{(m['imports'] + m['run']) / MIB:.0f}" for m in memory]
    cells += ["-" if m["run"] is None else f"{m['run'] / MIB:.1f}" for m in memory]
    return tuple(cells)


def number(value: float, /) -> str:
    """Return a number with three digits or four, never in exponents.

    Parameters
    ----------
    value : float
        Positive.

    Returns
    -------
    str
        Such as 0.094, 1.53, 158.7.
    """
    return f"{value:.{3 if value < 1 else 2 if value < 100 else 1 if value < 1000 else 0}f}"


def align(rows: Sequence[tuple[str, ...]], groups: Mapping[int, str], /) -> str:
    """Return rows as text, the first a heading, below the names of groups of columns.

    Parameters
    ----------
    rows : sequence of tuple of str
        Of one length.
    groups : mapping
        First column to name, in order.

    Returns
    -------
    str
        The names to the left, the rest to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    bounds = [*groups, len(widths)]
    for k, (first, name) in enumerate(groups.items()):  # a long name makes the last of its columns wider
        last = bounds[k + 1] - 1
        widths[last] += max(0, len(name) - sum(widths[first : last + 1]) - 2 * (last - first))
    names = ""
    for k, name in groups.items():
        names = names.ljust(sum(widths[:k]) + 2 * k) + name
    lines = [
        "  ".join(c.rjust(w) if k else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join([names, lines[0].rstrip(), "-" * len(lines[0]), *lines[1:]])
