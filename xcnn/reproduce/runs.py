"""Trainings that a report describes, each done again over several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from xcnn.reproduce.experiment import Experiment, Run
from xcnn.reproduce.result import Reported, Result, Row, accuracy_row, claim_row, percent, spread, table
from xcnn.reproduce.training import Lab, Trained, train

__all__ = ["MEASURES", "Runs", "choices", "repeat"]

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
        result.notes.append(choices(done))
        for name, run in self.runs.items():
            if run.precision and run.recall:
                result.notes.append(_per_class(name, run, done[name][0]))
        result.pictures = _draw(self.pictures, {name: found[0] for name, found in done.items()})
        result.numbers = {name: _numbers(found) for name, found in done.items()}
        return result


def _numbers(found: list[Trained]) -> dict[str, list[float]]:
    """Return what was measured, a number for each seed."""
    known = [measure for measure in MEASURES if measure in found[0].history]
    numbers = {measure: [trained.measured(measure)[0] for trained in found] for measure in known}
    return numbers | {"seconds": [trained.seconds for trained in found]}


def _rows(name: str, run: Run, found: list[Trained]) -> list[Row]:
    timing = {
        "seconds": statistics.fmean(t.seconds for t in found),
        "rate": statistics.fmean(t.rate for t in found),
    }
    rows = []
    for measure in dict.fromkeys([*run.reported, *run.goal]) or ["test_accuracy"]:
        values = [trained.measured(measure)[0] for trained in found]
        asked = found[0].measured(measure)[1]
        what, reported, goal = (
            f"{name}, {MEASURES[measure]}",
            run.reported.get(measure),
            run.goal.get(measure),
        )
        rows.append(accuracy_row(what, reported, values, asked, goal=goal, **timing))
    return rows


def choices(done: Mapping[str, list[Trained]]) -> str:
    """Return what each way of choosing an epoch gives on the test images."""
    rows = []
    for name, found in done.items():
        tested = [trained.history["test_accuracy"] for trained in found]
        chosen = [trained.measured("test_accuracy")[0] for trained in found]
        validated = "val_accuracy" in found[0].history
        rows.append([name, f"{found[0].history.epochs}", spread(chosen) if validated else "-"])
        rows[-1] += [spread([values[-1] for values in tested]), spread([max(values) for values in tested])]
    heading = ["test accuracy", "epochs", "epoch chosen in validation", "last epoch"]
    heading += ["best epoch on the test images"]
    words = (
        "How the epoch is chosen matters: the column at the right chooses on the test images themselves and "
        "is therefore too good. The figures above are of the epoch chosen in validation, or else of the last."
    )
    return f"{table(heading, rows)}\n\n{words}"


def _per_class(name: str, run: Run, trained: Trained) -> str:
    """Return precision and recall of each class, the report's in brackets."""
    from sklearn.metrics import precision_recall_fscore_support

    guess = trained.probabilities().argmax(axis=1)
    labels = np.arange(len(run.precision))
    found = precision_recall_fscore_support(trained.test.y, guess, labels=labels, zero_division=0.0)
    rows = []
    for what, ours, theirs in zip(("precision", "recall"), found, (run.precision, run.recall), strict=False):
        pairs = zip(ours, theirs, strict=True)
        rows.append([what, *(f"{100 * own:.1f} ({100 * other:.1f})" for own, other in pairs)])
    return table([f"{name}, %, seed {trained.config.seed} (the report's)", *map(str, labels)], rows)


def _compare_losses(done: Mapping[str, list[Trained]], fast: str, slow: str) -> Row:
    """Check in every repetition that one loss is the lower one, at the end and in the mean over epochs."""
    losses = {name: np.array([t.history["loss"] for t in done[name]]) for name in (fast, slow)}
    found = ", ".join(
        f"{name}: mean over epochs {values.mean():.2g}, at the end {values[:, -1].mean():.2g}"
        for name, values in losses.items()
    )
    ahead = losses[fast][:, -1] < losses[slow][:, -1]
    ahead &= losses[fast].mean(axis=1) < losses[slow].mean(axis=1)
    found += f"; both lower in {ahead.sum()} of {len(ahead)} repetitions"
    claim = f"{fast} falls much faster and ends much lower"
    return claim_row(f"training loss of {fast} and {slow}", claim, found, bool(ahead.all()))


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
        proba, label = trained.probabilities(), f"{name}, seed {trained.config.seed}: "
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
