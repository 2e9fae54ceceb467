"""What an experiment found: figures beside the report's, tables, pictures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xcnn.metrics import wilson_interval

__all__ = ["Reported", "Result", "Row", "accuracy_row", "claim_row", "percent", "spread", "table"]

Reported: TypeAlias = float | list[float] | None  # a figure, its lowest and highest, or none

_REACHED = {
    "beaten": True,
    "met": True,
    "confirmed": True,
    "below, within the interval": False,
    "below": False,
    "not confirmed": False,
}


@dataclass(frozen=True)
class Row:
    """One figure beside the report's.

    Parameters
    ----------
    what : str
        What was measured.
    reported, ours, interval : str
        As they are to be read; the interval is that of ours.
    verdict : str
        What comes of it.
    seconds : float, optional
        That one training took.
    rate : float, optional
        Images per second in training.
    """

    what: str
    reported: str
    ours: str
    interval: str
    verdict: str
    seconds: float | None = None
    rate: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the report's figure was; None where it has none or nothing was to be compared."""
        return _REACHED.get(self.verdict)


@dataclass
class Result:
    """All that an experiment found.

    Parameters
    ----------
    rows : list of Row
        Figures beside the report's.
    notes : list of str
        Paragraphs and tables in Markdown.
    pictures : dict
        Captions and their figures.
    numbers : dict
        What a program may want to read: plain numbers, lists and dicts.
    seconds : float
        That all of it took.
    """

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def percent(share: float, /, digits: int = 2) -> str:
    """Return a fraction in per cent."""
    return f"{100 * share:.{digits}f} %"


def spread(values: Sequence[float], /) -> str:
    """Return the mean of fractions in per cent and, of several, their standard deviation."""
    mean = percent(statistics.fmean(values))
    if len(values) == 1:
        return mean
    return f"{mean[:-2]} ± {100 * statistics.stdev(values):.2f} % ({len(values)} seeds)"


def accuracy_row(
    what: str,
    reported: Reported,
    values: Sequence[float],
    n: int,
    /,
    *,
    goal: float | None = None,
    **measured: float | None,
) -> Row:
    """Compare accuracies with the report's.

    Parameters
    ----------
    what : str
        What was measured.
    reported : float or (lowest, highest), optional
        A fraction.
    values : sequence of float
        Ours, one for each seed.
    n : int
        How many images were asked.
    goal : float, optional
        What we set out to reach where the report has no figure.
    **measured : float
        See `Row`.

    Returns
    -------
    Row
        With a verdict. "beaten": the report's figure lies below the Wilson interval of ours; "met": ours is
        at least as large; "below, within the interval" and "below".
    """
    mean = statistics.fmean(values)
    low, high = wilson_interval(round(mean * n), n)
    interval = f"{100 * low:.2f} to {percent(high)}"
    if reported is None:
        verdict = "not in the report"
        if goal is not None:
            verdict = f"our goal of {100 * goal:g} % {'reached' if mean >= goal else 'missed'}"
        return Row(what, "-", spread(values), interval, verdict, **measured)
    least, most = reported if isinstance(reported, list) else (reported, reported)
    theirs = percent(most) if least == most else f"{100 * least:g} to {100 * most:g} %"
    if low > most:
        verdict = "beaten"
    elif mean >= least - 1e-9:
        verdict = "met"
    else:
        verdict = "below, within the interval" if high >= least else "below"
    return Row(what, theirs, spread(values), interval, verdict, **measured)


def claim_row(what: str, claimed: str, found: str, confirmed: bool, /) -> Row:
    """Compare what was found with what the report says in words."""
    return Row(what, claimed, found, "-", "confirmed" if confirmed else "not confirmed")


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], /, *, align: str = "") -> str:
    """Return a table in Markdown.

    Parameters
    ----------
    heading : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        The cells.
    align : str
        A letter for each column: l for words, r for numbers; by default words are in the first alone.

    Returns
    -------
    str
        Without a newline at its end.
    """
    rules = [":--" if letter == "l" else "--:" for letter in align or "l".ljust(len(heading), "r")]
    lines = [heading, rules, *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )
