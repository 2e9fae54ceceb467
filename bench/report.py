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

__all__ = ["machine", "text"]

MIB = 2**20
SIDES = ("xcnn", "torch")
LIBRARIES = ("numpy", "array-api-compat", "torch")
VARIABLES = ("OPENBLAS_", "OMP_", "MKL_", "GOMP_", "KMP_", "VECLIB_", "MALLOC_")
LEGEND = """\
Ratio: PyTorch's time over ours. Memory: what steps and predictions take beyond the imports.
*: other programs used the processor all the while."""


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


def text(result: Mapping[str, Any], /) -> str:
    """Return all figures as lines of text.

    Parameters
    ----------
    result : mapping
        ``machine``, ``threads``, ``batch``, ``import_seconds`` and ``nets``.

    Returns
    -------
    str
        The machine, the table, the imports.
    """
    m = result["machine"]
    versions = ", ".join(f"{library} {version}" for library, version in m["versions"].items())
    last = list(result["nets"].values())[-1]["memory"]
    imports = []
    for module, seconds in result["import_seconds"].items():
        taken = last.get(module)
        size = f" and {taken['imports'] / MIB:.0f} MiB" if taken else ""
        imports.append(f"{module} {seconds:.3f} s{size}")
    return "\n".join(
        [
            f"{m['processor']}, {result['threads']} threads, Python {m['python']}, {versions}, {m['blas']}",
            f"Batch {result['batch']}, float32. {LEGEND}\n",
            _align([_HEADS, *[_row(name, found) for name, found in result["nets"].items()]]),
            f"\nimport: {', '.join(imports)}",
        ]
    )


_GROUPS = {2: "step, ms", 5: "predict, ms", 8: "memory, MiB"}  # first column to heading
_HEADS = ("net", "parameters", *(*SIDES, "ratio"), *(*SIDES, "ratio"), *SIDES)


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    cells = [name, f"{found['parameters']:,}"]
    for work in ("step", "predict"):
        cells += [_milliseconds(found[work].get(side)) for side in SIDES]
        cells.append(f"{found[work]['ratio']:.2f}x" if "ratio" in found[work] else "-")
    cells += [_mebibytes(found["memory"].get(side)) for side in SIDES]
    return tuple(cells)


def _milliseconds(timing: Mapping[str, Any] | None) -> str:
    if timing is None:
        return "-"
    return f"{1e3 * timing['seconds']:.3f}" + ("*" if timing["quiet"] is False else "")


def _mebibytes(found: Mapping[str, int] | None) -> str:
    return "-" if found is None else f"{found['run'] / MIB:.1f}"


def _align(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as text, the first a heading, below the names of groups of columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    groups = ""
    for k, name in _GROUPS.items():
        groups = groups.ljust(sum(widths[:k]) + 2 * k) + name
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([groups, lines[0], "-" * len(lines[0]), *lines[1:]])
