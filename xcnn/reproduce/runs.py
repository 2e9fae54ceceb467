"""Trainings that a report describes, each done again over several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from xcnn.reproduce.experiment import Experiment, Run
from xcnn.reproduce.result import Reported, Result, Row, accuracy_row, percent, spread, table
from xcnn.reproduce.training import Lab, Trained, train

__all__ = ["MEASURES", "Runs", "repeat"]

MEASURES = {
    "test_accuracy": "accuracy on the test images",
    "val_accuracy": "accuracy in validation",
    "accuracy": "accuracy on the training images",
}
_Picture = Literal["accuracy", "loss", "classes", "confusion", "kernels", "misclassified"]


def repeat(
    run: Run, seeds: range, lab: Lab, /, tell: Callable[[int], None] = lambda seed: None
) -> list[Trained]:
    """Train `run` once for each seed, on the same images."""
    config = lab.prepare(run.config)
    data, done = config.load_data(), []
    for seed in seeds:
        tell(seed)
        done.append(train(config.model_copy(update={"seed": seed}), data))
    return done


class Runs(Experiment):
    """Trainings, compared with the report's and with one another.

    Parameters
    ----------
    runs : dict
        By name.
    repeats : int
        Trainings of each, with different seeds.
    pictures : list of str
        What is drawn of them.
    faster : list of two names, optional
        The report says that the loss of the first falls faster than that of the second.
    """

    kind: ClassVar[str] = "runs"
    runs: dict[str, Run] = Field(min_length=1)
    repeats: int = 1
    pictures: tuple[_Picture, ...] = ("accuracy", "confusion")
    faster: tuple[str, str] | None = None

    def figures(self) -> dict[str, Reported]:
        """Return the report's figures by what they measure."""
        return {
            f"{name}, {MEASURES[measure]}": figure
            for name, run in self.runs.items()
            for measure, figure in run.reported.items()
        }

    def perform(self, lab: Lab, /) -> Result:
        """Train all of them."""
        done, seeds = {}, lab.seeds(self.repeats)
        for name, run in self.runs.items():

            def tell(seed: int, name: str = name) -> None:
                lab.tell(f"{name}, training {seed + 1} of {len(seeds)}")

            done[name] = repeat(run, seeds, lab, tell)
        result = Result(rows=[row for name in done for row in _rows(name, self.runs[name], done[name])])
        if self.faster:
            result.rows.append(_compare_losses(done, *self.faster))
        result.notes.append(_choices(done))
        for name, run in self.runs.items():
            if run.precision and run.recall:
                result.notes.append(_per_class(name, run, done[name][0]))
        result.pictures = _draw(self.pictures, {name: found[0] for name, found in done.items()})
        result.numbers = {name: _numbers(found) for name, found in done.items()}
        return result


def _numbers(found: list[Trained]) -> dict[str, list[float]]:
    """Return what was measured, a number for each seed."""
    known = [measure for measure in MEASURES if measure in found[0].history]
    numbers = {measure: [trained.at_choice(measure) for trained in found] for measure in known}
    return numbers | {"seconds": [trained.seconds for trained in found]}


def _rows(name: str, run: Run, found: list[Trained]) -> list[Row]:
    rows = []
    for measure, reported in (run.reported or {"test_accuracy": None}).items():
        values = [trained.at_choice(measure) for trained in found]
        n = {"test_accuracy": len(found[0].test.y), "accuracy": len(found[0].train.y)}.get(measure)
        if n is None:
            n = len(found[0].data.train.y) - len(found[0].train.y)
        timing = {
            "seconds": statistics.fmean(t.seconds for t in found),
            "rate": statistics.fmean(t.rate for t in found),
        }
        rows.append(accuracy_row(f"{name}, {MEASURES[measure]}", reported, values, n, **timing))
    return rows


def _choices(done: Mapping[str, list[Trained]]) -> str:
    """Return what each way of choosing an epoch gives on the test images."""
    rows = []
    for name, found in done.items():
        tested = [trained.history["test_accuracy"] for trained in found]
        rows.append([
            name,
            f"{found[0].history.epochs}",
            spread([trained.at_choice("test_accuracy") for trained in found]),
            spread([values[-1] for values in tested]),
            spread([max(values) for values in tested]),
        ])  # fmt: skip
    heading = [
        "test accuracy",
        "epochs",
        "epoch chosen in validation",
        "last epoch",
        "best epoch on the test images",
    ]
    words = (
        "How the epoch is chosen matters: the column at the right chooses on the test images themselves and "
        "is therefore too good; the figures above are those of the first way."
    )
    return f"{table(heading, rows)}\n\n{words}"


def _per_class(name: str, run: Run, trained: Trained) -> str:
    """Return precision and recall of each class, the report's in brackets."""
    from sklearn.metrics import precision_recall_fscore_support

    guess = trained.probabilities().argmax(axis=1)
    labels = np.arange(len(run.precision or ()))
    found = precision_recall_fscore_support(trained.test.y, guess, labels=labels, zero_division=0.0)
    rows = []
    for what, ours, theirs in (("precision", found[0], run.precision), ("recall", found[1], run.recall)):
        rows.append(
            [
                what,
                *(
                    f"{100 * own:.1f} ({100 * other:.1f})"
                    for own, other in zip(ours, theirs or (), strict=True)
                ),
            ]
        )
    heading = [f"{name}, % (the report's)", *map(str, labels)]
    text = table(heading, rows)
    counts = np.bincount(trained.test.y, minlength=len(labels))
    implied = float(np.dot(run.recall or (), counts) / counts.sum())
    said = run.reported.get("test_accuracy")
    if isinstance(said, float) and abs(implied - said) > 1e-4 and counts.sum() == 10_000:
        text += (
            f"\n\nThe report's recalls of {name} imply an accuracy of {percent(implied)}, not "
            "{percent(said)}: one of its two tables is of another model or epoch."
        )
    return text


def _compare_losses(done: Mapping[str, list[Trained]], fast: str, slow: str) -> Row:
    """Check that the loss of one run ends below that of another, in the mean over seeds."""
    last = {name: statistics.fmean(t.history["loss"][-1] for t in done[name]) for name in (fast, slow)}
    mean = {name: statistics.fmean(value for t in done[name] for value in t.history["loss"]) for name in last}
    ours = ", ".join(
        f"{name}: mean over epochs {mean[name]:.2g}, at the end {last[name]:.2g}" for name in last
    )
    confirmed = last[fast] < last[slow] and mean[fast] < mean[slow]
    return Row(
        f"training loss of {fast} and {slow}",
        f"{fast} falls faster and ends lower",
        ours,
        "-",
        "confirmed" if confirmed else "not confirmed",
    )


def _draw(wanted: tuple[_Picture, ...], done: Mapping[str, Trained]) -> dict[str, Any]:
    from xcnn import plots

    made: dict[str, Any] = {}
    histories = {name: trained.history for name, trained in done.items()}
    first = next(iter(done.values()))
    if "accuracy" in wanted:
        if len(done) == 1:
            made["Loss and accuracy of each epoch"] = plots.learning_curves(first.history)
        else:
            made["Accuracy on the test images after each epoch"] = plots.compare(
                histories, key="test_accuracy"
            )
    if "loss" in wanted:
        made["Training loss of each epoch"] = plots.compare(histories, key="loss", beside=len(done) > 1)
    if "classes" in wanted:
        made["How many images there are of each class"] = plots.class_distribution(first.data)
    for name, trained in done.items():
        proba, label = trained.probabilities(), "" if len(done) == 1 else f"{name}: "
        if "confusion" in wanted:
            right = int((proba.argmax(axis=1) == trained.test.y).sum())
            caption = (
                f"{label}confusion matrix; its trace, {right:,} of {len(trained.test.y):,}, is the accuracy "
                f"of {percent(right / len(trained.test.y))}"
            )
            made[caption] = plots.confusion_matrix(trained.test.y, proba, trained.model.classes)
        if "misclassified" in wanted:
            x, y = trained.test.x, trained.test.y
            made[f"{label}images that it gets wrong"] = plots.misclassified(
                x, y, proba, trained.model.classes
            )
        if "kernels" in wanted:
            made[f"{label}kernels of the first convolution"] = plots.kernels(trained.model)
    return made
