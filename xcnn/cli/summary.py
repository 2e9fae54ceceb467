"""A run in words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from xcnn.cli.console import plural
from xcnn.cli.report import Report
from xcnn.cli.system import blas, cores, versions, warnings
from xcnn.data import DataSet
from xcnn.io.config import RunConfig
from xcnn.model import Model
from xcnn.summary import summarize
from xcnn.training import History

__all__ = ["Run", "summary"]


@dataclass(frozen=True, eq=False)
class Run:
    """A training that has ended.

    Parameters
    ----------
    config : RunConfig
        What was asked for.
    model : Model
        What came out.
    data : DataSet
        What it learned from, and the test images.
    images : int
        How many images an epoch had.
    history : History
        What was measured.
    seconds : float
        How long it took, validation included.
    best : int or None
        The epoch whose values were kept; None for the last.
    """

    config: RunConfig
    model: Model
    data: DataSet
    images: int
    history: History
    seconds: float
    best: int | None

    @property
    def story(self) -> str:
        """What happened, in one sentence."""
        whole = self.history.epochs - self.history.interrupted
        epochs = plural(self.history.epochs, "epoch")
        rate = f" ({self.images * whole / self.seconds:,.0f} images/s)" if whole else ""
        kept = f"; kept the values of epoch {self.best}, the best in validation" if self.best else ""
        return f"Learned for {self.seconds:.1f} s in {epochs}{rate}{kept}"


def summary(name: str, run: Run, report: Report, /) -> str:
    """Return a run in words.

    Parameters
    ----------
    name : str
        Of the run.
    run : Run
        What was done.
    report : Report
        How good it is.

    Returns
    -------
    str
        Markdown.
    """
    config, data = run.config, run.data
    last = {key: round(values[-1], 6) for key, values in run.history.items()}
    settings = {key: value for key, value in config.to_dict().items() if key not in ("data", "layers")}
    stopped = "\nTraining was stopped before its end.\n" if run.history.interrupted else ""
    parts = [
        f"# {name}\n",
        f"{datetime.now():%Y-%m-%d %H:%M}, xcnn {versions()['xcnn']}\n",
        report.markdown(),
        "## Data\n",
        f"{config.data.label}: {run.images:,} images to learn from, {len(data.test.y):,} to test on, "
        f"{len(data.classes)} classes ({', '.join(data.classes)}).\n",
        _code(json.dumps(config.data.model_dump(exclude_none=True)), "json"),
        "## Model\n",
        _code(str(summarize(run.model))),
        "## Training\n",
        f"{run.story}.\n{stopped}",
        "During training, loss and accuracy are means over the steps of an epoch, on augmented images where "
        "there is augmentation and with dropout; in validation they are of the model after the epoch.\n",
        _code("\n".join(f"{key}: {json.dumps(value)}" for key, value in settings.items())),
        "The last epoch:\n",
        _code("\n".join(f"{key}: {value}" for key, value in last.items())),
        "## Machine\n",
        f"Backend {run.model.backend.name}, {run.model.dtype}; {cores()} cores; NumPy with {blas()}; "
        + ", ".join(f"{key} {value}" for key, value in versions().items())
        + ".\n",
        *[f"Warning: {line}\n" for line in warnings()],
    ]
    return "\n".join(parts)


def _code(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```\n"
