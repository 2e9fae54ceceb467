"""The report on a model."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from xcnn.diagnosis.observe import observe
from xcnn.diagnosis.symptoms import CHECKS, Finding, parameters
from xcnn.model import Model

__all__ = ["Diagnosis", "diagnose"]

_WIDTH = 100  # characters


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found; printed, it reads as a report.

    Parameters
    ----------
    findings : tuple of Finding
        Causes before what may follow from them; none if the model is healthy.
    checked : tuple of str
        What was looked at.
    images : int
        How many inputs there were.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    images: int

    def __str__(self) -> str:
        """Return the report."""
        number = len(self.findings) or "nothing"
        what = "found" if not self.findings else "finding" if len(self.findings) == 1 else "findings"
        lines = [f"{number} {what} with {self.images:,} input{'s' * (self.images != 1)}"]
        wide = max((len(finding.severity) for finding in self.findings), default=0) + 2
        for finding in self.findings:
            lines += ["", f"{finding.severity.ljust(wide)}{finding.kind}: {finding.layer}"]
            lines += _wrapped(finding.measured, wide) + _wrapped(finding.change, wide, "change: ")
        return "\n".join([*lines, "", *_wrapped(", ".join(self.checked), 0, "checked: ")])

    __repr__ = __str__


def _wrapped(text: str, indent: int, head: str = "") -> list[str]:
    first = " " * indent + head
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first))


def diagnose(model: Model, x: Any, y: Any = None, /, *, batch_size: int = 256) -> Diagnosis:
    """Look for what keeps a model from learning, or its probabilities from meaning what they say.

    Parameters
    ----------
    model : Model
        Trained or not, on any backend; it is not changed.
    x : array (N, ...)
        Inputs as it gets them, of any backend: a hundred or more, as a channel that is zero for all of them
        counts as dead; for the confidence, ones that it was not trained on.
    y : array (N,) or (N, K), optional
        Their labels: then confidence and gradients are looked at too.
    batch_size : int
        How many inputs at a time.

    Returns
    -------
    Diagnosis
        Its ``findings``; printed, what was measured and what to change. What only follows from a finding is
        left out.

    Raises
    ------
    ShapeError, DTypeError, DataError
        If inputs or labels do not fit the model.
    """
    found = parameters(model)
    checked = ["parameters"]
    seen = observe(model, x, None if found else y, batch_size=batch_size)
    for name, check, causes in CHECKS:
        unanswered = y is None and name in ("confidence", "gradients")
        known = {finding.kind for finding in found if finding.severity != "note"}
        if not unanswered and not known.intersection(causes):
            found += check(seen)
            checked.append(name)
    return Diagnosis(tuple(found), tuple(checked), seen.images)
