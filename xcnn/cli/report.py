"""How good a model is on images that it has not seen: measured, printed, written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from xcnn import plots
from xcnn.cli.console import say
from xcnn.data import Split
from xcnn.errors import DataError
from xcnn.metrics import wilson_interval
from xcnn.model import Model

__all__ = ["Report", "class_names", "measure", "probabilities"]


@dataclass(frozen=True, eq=False)
class Report:
    """A model's answers and the truth.

    Parameters
    ----------
    images : array (N, C, H, W)
        What was shown.
    truth : numpy.ndarray (N,)
        Classes.
    proba : numpy.ndarray (N, K)
        Probabilities.
    classes : tuple of str
        Names.
    per_class : numpy.ndarray (K, 4)
        Precision, recall and F1, fractions, and how many images.
    """

    images: Any
    truth: np.ndarray
    proba: np.ndarray
    classes: tuple[str, ...]
    per_class: np.ndarray

    @property
    def right(self) -> int:
        """How many answers are right."""
        return int((self.proba.argmax(axis=1) == self.truth).sum())

    @property
    def headline(self) -> str:
        """The accuracy and its interval."""
        n = len(self.truth)
        low, high = wilson_interval(self.right, n)
        share = f"accuracy {100 * self.right / n:.2f} % ({self.right:,} of {n:,} test images right)"
        return f"{share}, 95 % Wilson interval {100 * low:.2f} to {100 * high:.2f} %"

    def rows(self) -> list[list[str]]:
        """Return the table of the classes: name, precision, recall, F1, images.

        Returns
        -------
        list of list of str
            A row for each class, at last the means.
        """
        numbers = [*self.per_class, self.per_class.mean(axis=0)]
        numbers[-1][3] = self.per_class[:, 3].sum()
        return [
            [name, *(f"{100 * value:.1f}" for value in row[:3]), f"{int(row[3]):,}"]
            for name, row in zip([*self.classes, "mean"], numbers, strict=True)
        ]

    def show(self) -> None:
        """Print the accuracy and the table of the classes."""
        say(self.headline, style="bold green")
        table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
        *rows, mean = self.rows()
        for heading, footer in zip(HEADINGS, mean, strict=True):
            table.add_column(heading, footer, justify="left" if heading == "class" else "right")
        for row in rows:
            table.add_row(*row)
        say(table)

    def markdown(self) -> str:
        """Return the accuracy and the table of the classes in Markdown.

        Returns
        -------
        str
            Ends in a newline.
        """
        lines = [f"**{self.headline}**", "", f"| {' | '.join(HEADINGS)} |", "| :-- | --: | --: | --: | --: |"]
        lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in self.rows()]
        return "\n".join(lines) + "\n"

    def draw(self, folder: Path, /) -> dict[str, str]:
        """Draw the confusion matrix and some images.

        Parameters
        ----------
        folder : Path
            Where to.

        Returns
        -------
        dict
            Names of the files, and what they show.
        """
        plots.confusion_matrix(self.truth, self.proba, self.classes, path=folder / "confusion_matrix.png")
        drawn = {"confusion_matrix.png": "which classes are taken for which"}
        if self.images.shape[1] in (1, 3):
            path = folder / "predictions.png"
            plots.predictions(self.images, self.truth, self.proba, self.classes, path=path)
            drawn["predictions.png"] = "test images and answers, the wrong ones first"
        return drawn


HEADINGS = ("class", "precision %", "recall %", "F1 %", "images")


def class_names(model: Model, /) -> tuple[str, ...]:
    """Return the names of the classes that `model` tells apart: their numbers where nobody named them."""
    return model.classes or tuple(map(str, range(max(2, model.output_shape[-1]))))


def probabilities(model: Model, x: Any, /) -> np.ndarray:
    """Return a probability for each class.

    Parameters
    ----------
    model : Model
        Of one output or of one per class.
    x : array (N, C, H, W)
        Images.

    Returns
    -------
    numpy.ndarray (N, K)
        For a single output, that of class 0 and of class 1.

    Raises
    ------
    DataError
        If some are not finite.
    """
    p = np.asarray(model.predict_proba(x))
    p = p.reshape(len(p), -1)
    p = np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p
    if not np.isfinite(p).all():
        msg = "its outputs hold NaN or infinity; needed finite images, and a model without them"
        raise DataError(msg, where="the model")
    return p


def measure(model: Model, part: Split, /, classes: Sequence[str] | None = None) -> Report:
    """Return how good `model` is on the images of `part`, whose classes are called `classes`."""
    from sklearn.metrics import precision_recall_fscore_support

    names = tuple(classes or class_names(model))
    proba = probabilities(model, part.x)
    found = precision_recall_fscore_support(
        part.y, proba.argmax(axis=1), labels=np.arange(len(names)), zero_division=0.0
    )
    return Report(part.x, np.asarray(part.y), proba, names, np.stack(found, axis=1).astype(float))
