"""Whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from xcnn.calibration import Reliability, reliability_table
from xcnn.errors import DataError
from xcnn.metrics import wilson_interval
from xcnn.plots.style import BLUE, GREY, Saved, figure, finish, line_of, styled

__all__ = ["reliability"]


@styled
def reliability(truth: Any, proba: Any, /, *, bins: int = 15, path: Saved = None) -> Figure:
    """Draw accuracy against confidence, and how many images have which confidence.

    Parameters
    ----------
    truth : array (N,) or (N, K)
        Classes, or one-hot.
    proba : array (N, K), or dict of them
        Probabilities, see `xcnn.calibration.expected_calibration_error`; several by their name, for example
        before and after `xcnn.calibration.calibrate`.
    bins : int
        How many, of equal width.
    path : str or Path, optional
        Where to save it; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Below the diagonal a model is surer than it is right. Bars at the points are 95 % Wilson intervals;
        ECE, the expected calibration error, is written beside each name.

    Raises
    ------
    DataError
        If the arrays do not go together.
    FileError
        If it cannot be saved.
    """
    several = proba if isinstance(proba, Mapping) else {"": proba}
    if not several:
        msg = "there are no probabilities; needed an array or a dict of them"
        raise DataError(msg, where="reliability")
    tables = {name: reliability_table(truth, one, bins=bins) for name, one in several.items()}
    made = figure(5.2, 5.6)
    above, below = made.subplots(2, 1, height_ratios=[3.0, 1.0], sharex=True)
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=(0, (2, 2)))
    above.annotate(
        "calibrated", (0.04, 0.04), (4, -1), textcoords="offset points", size=8.5, color=GREY, va="top"
    )
    for i, (name, table) in enumerate(tables.items()):
        _curve(above, below, name, table, line_of(i), len(tables))
    above.set_ylabel("accuracy")
    above.set_xlim(0, 1)
    above.set_ylim(0, 1.02)
    below.set_ylabel("images")
    below.set_xlabel("confidence (largest probability)")
    below.set_yscale("log")
    below.set_ylim(bottom=0.7)
    for axes in (above, below):
        axes.grid(color="#ededed")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter(FuncFormatter(_per_cent))
    above.yaxis.set_major_formatter(FuncFormatter(_per_cent))
    below.yaxis.set_major_locator(LogLocator(numticks=4))
    below.yaxis.set_minor_locator(NullLocator())
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    above.legend(frameon=False, loc="upper left", handlelength=2.6)
    return finish(made, path)


def _per_cent(value: float, _: Any) -> str:
    return f"{100 * value:.4g} %"


def _curve(above: Any, below: Any, name: str, table: Reliability, look: dict[str, Any], of: int) -> None:
    """Draw the points of one model, and its histogram."""
    some = table.count > 0
    x, y, n = table.confidence[some], table.accuracy[some], table.count[some]
    low, high = np.array([wilson_interval(round(a * m), int(m)) for a, m in zip(y, n, strict=True)]).T
    told = f"ECE {100 * table.expected_error:.2f} %"
    label = f"{name}: {told}" if name else told
    above.errorbar(
        x, y, np.maximum([y - low, high - y], 0.0), **look, marker="o", markersize=4.5, elinewidth=0.9,
        linewidth=1.6, label=label,
    )  # fmt: skip
    if of == 1:
        mean, right = (float(np.sum(a * n) / n.sum()) for a in (x, y))
        above.set_title(f"accuracy {100 * right:.2f} %, mean confidence {100 * mean:.2f} %", size=10)
        centres = 0.5 * (table.edges[1:] + table.edges[:-1])
        below.bar(centres, table.count, 0.9 * np.diff(table.edges), color=BLUE)
    else:
        below.stairs(np.maximum(table.count, 0.1), table.edges, baseline=0.1, linewidth=1.6, **look)
