"""The ratios as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["draw", "rows"]

COLOURS = {"eager": "#8fb8de", "best": "#1f5fa8"}  # two lightnesses of one colour: legible in grey
NAMES = {"eager": "PyTorch eager", "best": "best PyTorch (eager, or channels last and fused Adam)"}
WORKS = {"step": "training step", "predict": "inference"}


def draw(found: Sequence[Mapping[str, Any]], path: Path, /) -> None:
    """Draw how many times faster xcnn is: bars for each net, a row for each number of threads and batch.

    Parameters
    ----------
    found : sequence of mapping
        From `measure.everything`, with a peer.
    path : Path
        The picture to write.
    """
    from matplotlib.figure import Figure

    titled = rows(found)
    nets = max(len(runs) for runs in titled.values())
    size = (2 * max(3.2, 0.62 * nets + 0.8), 3 * len(titled) + 1.2)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(len(titled), 2, sharey=True, squeeze=False)
    for (title, runs), pair in zip(titled.items(), axes, strict=True):
        for ax, (work, name) in zip(pair, WORKS.items(), strict=True):
            _bars(ax, runs, work)
            ax.set_title(f"{name}, {title}", fontsize=10)
        pair[0].set_ylabel("PyTorch's time / xcnn's")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    bottom, top = axes[0, 0].get_ylim()  # of all: some air beyond the figures, and beyond 1
    axes[0, 0].set_ylim(min(bottom, 0.7), max(top, 1.4))
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    machine = found[0]["machine"]
    libraries = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if k in ("xcnn", "torch"))
    figure.suptitle(
        f"Above 1, xcnn is faster: {machine['processor']}, {libraries} (*: disturbed by other programs)",
        fontsize=11,
    )
    figure.savefig(path, format="png")


def rows(found: Sequence[Mapping[str, Any]], /) -> dict[str, list[tuple[str, Any]]]:
    """Return what is drawn side by side: by threads, and by batch where a net was run with several.

    Parameters
    ----------
    found : sequence of mapping
        From `measure.everything`.

    Returns
    -------
    dict
        Title to (label, run).
    """
    titled: dict[str, list[tuple[str, Any]]] = {}
    for part in found:
        threads = f"{part['threads']} thread{'s' * (part['threads'] > 1)}"
        several = len({run["net"] for run in part["runs"]}) < len(part["runs"])
        for run in part["runs"]:
            title = f"{threads}, batch {run['batch']}" if several else threads
            label = run["net"] if several else f"{run['net']} ({run['batch']})"
            titled.setdefault(title, []).append((label, run))
    return titled


def _bars(ax: Any, runs: Sequence[tuple[str, Any]], work: str) -> None:
    """Draw two bars for each net from the line at 1, up where xcnn is faster, their figures at the ends."""
    at, width = np.arange(len(runs)), 0.4
    for k, kind in enumerate(COLOURS):
        ratios = [run[work]["ratios"][kind] for _, run in runs]
        places = at + (k - 0.5) * width
        heights = [ratio - 1 for ratio in ratios]
        ax.bar(places, heights, width, bottom=1, color=COLOURS[kind], label=NAMES[kind], zorder=2)
        for x, ratio, (_, run) in zip(places, ratios, runs, strict=True):
            up = ratio >= 1
            star = "*" * any(run[work][side]["quiet"] is False for side in ("xcnn", "eager", "tuned"))
            ax.annotate(
                f"{ratio:.{2 if ratio < 1 else 1 if ratio < 10 else 0}f}{star}",
                (x, ratio),
                (0, 2 if up else -2),
                textcoords="offset points",
                ha="center",
                va="bottom" if up else "top",
                fontsize=6.5,
            )
    ax.set_yscale("log")
    ax.axhline(1, color="black", linewidth=1, zorder=3)
    ax.grid(axis="y", which="both", color="0.9", linewidth=0.6, zorder=0)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}".strip("0.")[0] in "25" else "")
    ax.tick_params(axis="y", which="both", labelleft=True, labelsize=8)
    ax.set_xticks(at, [label for label, _ in runs], fontsize=8, rotation=30, ha="right")
    ax.tick_params(axis="x", length=0)
    ax.margins(y=0.12)
    ax.spines[["top", "right"]].set_visible(False)
