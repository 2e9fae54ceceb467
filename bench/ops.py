"""``python -m bench.ops``: single operations of xcnn, beside PyTorch's and the limits of the machine."""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment, report
from bench.cases import CASES, Case, build
from bench.clock import interleave
from bench.layouts import kernels

__all__ = ["agree", "everything", "one", "text"]

PEAK = 1024  # rows and columns of the matrices whose product is called the peak
COPY = 2**25  # values that are copied to find the bandwidth: 128 MiB, more than caches hold
WAYS = ("torch", "last", "mkldnn", "fused")
LEGEND = """\
Microseconds of one call, NCHW in and out, float32. torch: plain tensors; last: channels last in memory;
mkldnn: oneDNN's own layout; fused: fused Adam; lanes: xcnn's kernel alone, in the layout of compiled runs.
Ratio: the best of PyTorch's times over xcnn's. Of lanes, or else of xcnn: the rate in GFLOP/s, or in GB/s of
what must be read and written at least; of peak: of the large matrix product, or of the copy (above 1 within
the caches); of GEMM: NumPy's matrix product of the same arithmetic; of best: the better of it and mkldnn.
*: other programs used the processor all the while."""


def one(case: Case, seconds: float, /, *, peer: bool) -> dict[str, Any]:
    """Return the times of one operation, after all ways to run it agreed.

    Parameters
    ----------
    case : Case
        From `cases.build`.
    seconds : float
        For each time.
    peer : bool
        Whether to measure PyTorch too.

    Returns
    -------
    dict
        ``op``, ``shape``, ``batch``, ``flops``, ``bytes`` and ``ways``: ``xcnn``, ``gemm``, PyTorch's and
        those of `layouts.kernels` to a Timing.
    """
    ways: dict[str, Callable[[], Any]] = {"xcnn": case.run}
    if peer:
        from bench.peer_ops import theirs

        for name, run in (found := theirs(case)).items():
            agree(case, name, run())
        ways |= found
    ways |= kernels(case) or {}
    if case.gemm:
        *groups, rows, inner, columns = case.gemm
        ways["gemm"] = _gemm(*groups, rows=rows, inner=inner, columns=columns)
    timings = interleave({name: (run, _nothing) for name, run in ways.items()}, seconds)
    found = {"op": case.op, "shape": case.label, "batch": case.n, "flops": case.flops, "bytes": case.bytes}
    return found | {"ways": {name: timing._asdict() for name, timing in timings.items()}}


def agree(case: Case, name: str, theirs: Any, /) -> None:
    """Fail unless an operation gives the same on both sides.

    Parameters
    ----------
    case : Case
        From `cases.build`.
    name : str
        Of PyTorch's way.
    theirs : tensor or tuple of tensor
        What it gave.

    Raises
    ------
    AssertionError
        If they differ by more than float32 explains.
    """
    ours = case.run()
    for mine, other in zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]:
        found = np.asarray(other.to_dense() if name == "mkldnn" else other)
        scale = float(np.max(np.abs(mine)))
        np.testing.assert_allclose(found, mine, rtol=1e-3, atol=1e-4 * scale, err_msg=f"{case.op}, {name}")


def _gemm(*groups: int, rows: int, inner: int, columns: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    a = rng.random((*groups, rows, inner), dtype=np.float32)
    b = rng.random((*groups, inner, columns), dtype=np.float32)
    out = np.empty((*groups, rows, columns), dtype=np.float32)
    return lambda: np.matmul(a, b, out=out)


def _nothing() -> None:
    """Reset what has no state."""


def _limits(threads: int, seconds: float) -> dict[str, float]:
    """Return the flops of a large matrix product, and the bytes of a copy, in a second."""
    source, target = np.ones(COPY, dtype=np.float32), np.zeros(COPY, dtype=np.float32)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
        runs = {
            "peak": _gemm(rows=PEAK, inner=PEAK, columns=PEAK),
            "copy": lambda: list(pool.map(lambda part: np.copyto(*part), parts)),
        }
        timings = interleave({name: (run, _nothing) for name, run in runs.items()}, seconds)
    return {"flops": 2 * PEAK**3 / timings["peak"].seconds, "bytes": 8 * COPY / timings["copy"].seconds}


def everything(given: Mapping[str, Any], /) -> dict[str, Any]:
    """Return all figures.

    Parameters
    ----------
    given : mapping
        ``ops``, ``batch``, ``seconds``, ``threads``, ``peer``.

    Returns
    -------
    dict
        ``machine``, ``threads``, ``limits`` (the median of before and after), ``ops``: one of `one` each.
    """
    limits, found = [_limits(given["threads"], given["seconds"])], []
    for op, shape in CASES:
        if op.partition(" ")[0] in given["ops"]:
            case = build(op, shape, given["batch"])
            print(f"measuring {op} {case.label} ...", file=sys.stderr)
            found.append(one(case, given["seconds"], peer=given["peer"]))
    limits.append(_limits(given["threads"], given["seconds"]))
    best = {name: statistics.median(limit[name] for limit in limits) for name in limits[0]}
    return {"machine": report.machine(), "threads": given["threads"], "limits": best, "ops": found}


def text(found: Mapping[str, Any], /) -> str:
    """Return the table.

    Parameters
    ----------
    found : mapping
        From `everything`.

    Returns
    -------
    str
        Limits, legend, a line for each operation.
    """
    names = dict.fromkeys(name for op in found["ops"] for name in op["ways"])
    ways = [name for name in (*WAYS, *names) if name in names and name != "gemm"]
    ways = list(dict.fromkeys(["xcnn", *ways]))
    limits = found["limits"]
    rows = [("op", "shape", *ways, "ratio", "rate", "", "of peak", "of GEMM", "of best")]
    rows += [_row(op, ways, limits) for op in found["ops"]]
    measured = f"{limits['flops'] / 1e9:.0f} GFLOP/s, copy {limits['bytes'] / 1e9:.1f} GB/s read and written"
    first = f"{report.heading(found)}\nNumPy's matrix product of {PEAK} x {PEAK}: {measured}"
    batch = found["ops"][0]["batch"]
    return f"{first}\nBatch {batch}. {LEGEND}\n\n{report.align(rows, {2: 'us'})}"


def _row(op: Mapping[str, Any], ways: list[str], limits: Mapping[str, float]) -> tuple[str, ...]:
    seconds = {name: timing["seconds"] for name, timing in op["ways"].items()}
    stars = {name: "*" * (timing["quiet"] is False) for name, timing in op["ways"].items()}
    cells = [op["op"], op["shape"]]
    cells += [report.number(1e6 * seconds[k]) + stars[k] if k in seconds else "-" for k in ways]
    theirs = {name: seconds[name] for name in WAYS if name in seconds}
    star = max(stars[name] for name in ("xcnn", *theirs))
    cells.append(f"{min(theirs.values()) / seconds['xcnn']:.2f}x{star}" if theirs else "-")
    unit, kind = ("GFLOP/s", "flops") if op["flops"] else ("GB/s", "bytes")
    kernel = seconds.get("lanes", seconds["xcnn"])
    rate = op[kind] / kernel
    cells += [report.number(rate / 1e9), unit, f"{rate / limits[kind]:.2f}"]
    cells.append(f"{seconds['gemm'] / kernel:.2f}" if "gemm" in seconds else "-")
    blocked = [seconds[name] for name in ("mkldnn", "gemm") if name in seconds]
    cells.append(f"{min(blocked) / kernel:.2f}" if blocked else "-")
    return tuple(cells)


def main() -> None:
    """Measure in a clean process, print the table, write the figures."""
    kinds = list(dict.fromkeys(op.partition(" ")[0] for op, _ in CASES))
    parser = argparse.ArgumentParser("python -m bench.ops", description="Single operations, on the CPU.")
    add, several = parser.add_argument, environment.numbers
    add("--ops", default=",".join(kinds), help="some of %(default)s")
    add("--batch", type=int, default=64, help="images in a batch (%(default)s)")
    add("--threads", type=several, default=[environment.processors()], help="like 1,2 (%(default)s)")
    add("--seconds", type=float, default=0.5, help="for each time (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    options.ops = options.ops.split(",")
    for name in options.ops:
        if name not in kinds:
            parser.error(f"unknown operation {name!r}; known: {', '.join(kinds)}")
    given = {name: getattr(options, name) for name in ("ops", "batch", "seconds")}
    given["peer"] = importlib.util.find_spec("torch") is not None
    found = []
    for threads in options.threads:
        found.append(environment.call("bench.ops", given | {"threads": threads}, threads))
        print(text(found[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):  # in the clean process
        print(json.dumps(everything(json.loads(sys.argv[1]))))
    else:
        main()
