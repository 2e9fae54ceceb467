"""The table of a run on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.gpu_rows import WORKS
from bench.report import MIB, align, number

__all__ = ["line", "text"]

LEGEND = """\
Milliseconds of one call of ours. The batches of all sides lie on the GPU (channels last where a side is) and
are copied to where a graph reads them. Ratios: PyTorch's time over ours, eager as written, with channels last
and the fused Adam (cl), that recorded as one CUDA graph (graph), torch.compile in the mode reduce-overhead
(comp, against ours in a process of their own). cuDNN's algorithms are tried on all sides. Peak, mem: the part
of a large product's rate in the same precision, and of a copy's bandwidth, that the least possible work of a
call reaches. Launches: kernels, copies and fills on the GPU in a step, as CUPTI counts them (replays of a
graph included), ours and eager's. MiB: what a side took from the device, ours and eager's.
!: this side's logits or losses differ from ours; -: not measured, see below."""
MOST, SHORT = 12, 160  # failures that are told, and their characters
KINDS = {"eager": "eager", "channels-last": "cl", "graph": "graph", "compile": "comp"}


def text(found: Mapping[str, Any], /) -> str:
    """Return the figures as lines of text.

    Parameters
    ----------
    found : mapping
        Of `gpu.main`: ``device``, ``peaks``, ``rows``, ``left`` (rows out of time), ``mnist``.

    Returns
    -------
    str
        The peaks, a table, what failed, MNIST.
    """
    lines = [_peaks(found.get("peaks", {}))]
    rows = found.get("rows", [])
    if rows:
        heading = ("net", "batch", "precision", *(("ms", *KINDS.values(), "images/s", "peak", "mem") * 2))
        heading = (*heading, "ours", "eager", "ours", "eager")
        groups = {3: "step", 11: "predict", 19: "launches", 21: "MiB"}
        lines += [LEGEND, "", align([heading, *map(_row, rows)], groups)]
    failed = [(row, side, why) for row in rows for side, why in row["failed"].items()]
    lines += [
        f"{r['net']} {r['batch']} {r['precision']}, {side}: {why[:SHORT]}" for r, side, why in failed[:MOST]
    ]
    lines += [f"... and {len(failed) - MOST} more"] if len(failed) > MOST else []
    left = found.get("left", ())
    if left:
        lines.append(f"not measured, out of time: {len(left)} rows, {left[0]} the first")
    mnist = found.get("mnist")
    if mnist and "error" in mnist:
        lines.append(f"MNIST, net B: not measured: {mnist['error']}")
    elif mnist:
        lines.append(
            f"MNIST, net B: {100 * mnist['accuracy']:.2f} % after {mnist['seconds']:.3f} s of training "
            f"({mnist['epochs']} epochs); the first time, with compiling, {mnist['first']:.3f} s"
        )
    return "\n".join(lines)


def line(row: Mapping[str, Any], /) -> str:
    """Return a row in a few words.

    Parameters
    ----------
    row : mapping
        Of `gpu_rows.measure`.

    Returns
    -------
    str
        Milliseconds, and PyTorch's times over ours.
    """
    told = []
    for work in WORKS:
        if work in row:
            ratios = ", ".join(f"{side} {ratio:.2f}" for side, ratio in row[work]["ratios"].items())
            told.append(f"{work} {number(1e3 * row[work]['seconds']['xcnn'])} ms ({ratios or 'alone'})")
    return "; ".join([*told, *(f"{side} failed" for side in row["failed"])])


def _peaks(peaks: Mapping[str, Any]) -> str:
    if "error" in peaks:
        return f"Peaks: not measured: {peaks['error']}"
    rates = [f"{name} {rate / 1e12:.1f} TFLOP/s" for name, rate in peaks.items() if rate and name != "bytes"]
    copied = peaks.get("bytes")
    rates += [f"memory {copied / 1e9:.0f} GB/s"] if copied else []
    return f"Measured peaks: {', '.join(rates) or 'none'}"


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    cells = [row["net"], str(row["batch"]), row["precision"]]
    for work in WORKS:
        of = row.get(work)
        if of is None:
            cells += ["-"] * 8
            continue
        cells.append(number(1e3 * of["seconds"]["xcnn"]))
        for kind in KINDS:
            differs = "!" * str(row["failed"].get(kind, "")).startswith("differs")
            cells.append(f"{of['ratios'][kind]:.2f}{differs}" if kind in of["ratios"] else "-")
        cells.append(f"{of['images']:,.0f}")
        cells += [_percent(of["fractions"][of_what]) for of_what in ("product", "memory")]
    cells += [str(row["launches"].get(side) or "-") for side in ("xcnn", "eager")]
    taken = [row["memory"].get(side) for side in ("xcnn", "eager")]
    cells += ["-" if size is None else f"{size / MIB:.0f}" for size in taken]
    return tuple(cells)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.0f}%"
