"""Measure nets in this process, with the threads that it has: `bench.environment.call` starts it."""

from __future__ import annotations

import json
import sys
from typing import Any

from bench import ours, process, report
from bench.clock import interleave
from bench.nets import NETS
from bench.side import check

__all__ = ["PEERS", "WORKS", "everything", "one"]

PEERS = ("eager", "tuned")  # PyTorch as written; channels last in memory and the fused Adam
WORKS = ("step", "predict")


def one(name: str, size: int, seconds: float, /, *, peer: bool) -> dict[str, Any]:
    """Return the times of one net.

    Parameters
    ----------
    name : str
        Which of `NETS`.
    size : int
        Images in the batch.
    seconds : float
        For each time and side.
    peer : bool
        Whether to measure PyTorch too.

    Returns
    -------
    dict
        ``net``, ``batch``, ``parameters``, and for ``step`` and ``predict`` each side's Timing and, with a
        peer, ``ratios``: the times of ``eager`` and of the ``best`` PyTorch over ours.
    """
    net = NETS[name]
    sides = {"xcnn": ours.build(net, size)}
    found: dict[str, Any] = {"net": name, "batch": size}
    found["parameters"] = sum(w.size for w in sides["xcnn"].weights)
    if peer:
        from bench import peer as theirs

        for kind in PEERS:
            sides[kind] = theirs.build(net, size, sides["xcnn"].weights, tuned=kind == "tuned")
            check(net, sides["xcnn"], sides[kind])
    for work in WORKS:
        timings = interleave({k: (getattr(side, work), side.reset) for k, side in sides.items()}, seconds)
        found[work] = {k: timing._asdict() for k, timing in timings.items()}
        if peer:
            own = timings["xcnn"].seconds
            best = min(timings[kind].seconds for kind in PEERS)
            found[work]["ratios"] = {"eager": timings["eager"].seconds / own, "best": best / own}
    return found


def everything(given: dict[str, Any], /) -> dict[str, Any]:
    """Return all figures for one number of threads.

    Parameters
    ----------
    given : dict
        ``nets``, ``batches`` (None: each net's own), ``seconds``, ``repeats``, ``peer``, ``threads``, and
        ``fresh``: whether to start processes for the time to a first step and for memory.

    Returns
    -------
    dict
        ``machine``, ``threads``, ``import_seconds``, ``runs``: one of `one` for each net and batch, with
        ``fresh``, what `process.fresh` says.
    """
    peer = given["peer"]
    modules = ["numpy", "xcnn"] + ["torch"] * peer
    imports = process.import_seconds(modules, given["repeats"])
    runs = []
    for name in given["nets"]:
        for size in given["batches"] or [NETS[name].batch]:
            print(f"measuring {name}, batch {size}, threads {given['threads']} ...", file=sys.stderr)
            found = one(name, size, given["seconds"], peer=peer)
            found["fresh"] = process.fresh(name, size, peer=peer) if given["fresh"] else {}
            runs.append(found)
    machine = report.machine()
    return {"machine": machine, "threads": given["threads"], "import_seconds": imports, "runs": runs}


if __name__ == "__main__":
    print(json.dumps(everything(json.loads(sys.argv[1]))))
