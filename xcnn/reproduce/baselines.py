"""A network beside classifiers that are no networks of ours."""

from __future__ import annotations

import importlib
import statistics
import time
from typing import Any, ClassVar

import numpy as np

from xcnn.metrics import wilson_interval
from xcnn.reproduce.experiment import Experiment, Run
from xcnn.reproduce.result import Reported, Result, accuracy_row
from xcnn.reproduce.runs import repeat
from xcnn.reproduce.training import Lab

__all__ = ["Baselines"]


class Baselines(Experiment):
    """A network over several seeds, and scikit-learn's classifiers on the same images.

    Parameters
    ----------
    run : Run
        The network.
    repeats : int
        How often it is trained, with different seeds.
    baselines : dict
        The report's accuracy of each classifier, and the ends of its interval.
    """

    kind: ClassVar[str] = "baselines"
    run: Run
    repeats: int = 1
    baselines: dict[str, tuple[float, float, float]]

    def figures(self) -> dict[str, Reported]:
        """Return the report's figures by what they measure."""
        return {"convolutional network": self.run.reported["test_accuracy"]} | {
            name: values[0] for name, values in self.baselines.items()
        }

    def perform(self, lab: Lab, /) -> Result:
        """Train all of them."""
        from xcnn import plots

        seeds = lab.seeds(self.repeats)
        done = repeat(
            self.run, seeds, lab, lambda seed: lab.tell(f"network, training {seed + 1} of {len(seeds)}")
        )
        first = done[0]
        n = len(first.test.y)
        tested = [trained.measured("test_accuracy")[0] for trained in done]
        result = Result()
        result.rows.append(
            accuracy_row(
                "convolutional network",
                self.run.reported["test_accuracy"],
                tested,
                n,
                seconds=statistics.fmean(t.seconds for t in done),
                rate=statistics.fmean(t.rate for t in done),
            )
        )
        ours = {"convolutional network": _interval(statistics.fmean(tested), n)}
        data = first.data
        for name, reported in self.baselines.items():
            lab.tell(name)
            accuracy, seconds = _fit(_classifier(name), data)
            rate = len(data.train.y) / seconds if seconds else None
            result.rows.append(accuracy_row(name, reported[0], [accuracy], n, seconds=seconds, rate=rate))
            ours[name] = _interval(accuracy, n)
        theirs: dict[str, Any] = dict(self.baselines)
        theirs["convolutional network"] = self.run.reported["test_accuracy"]
        result.pictures["Test accuracies with their 95 % intervals"] = plots.intervals(ours, reported=theirs)
        result.pictures["Loss and accuracy of each epoch"] = plots.learning_curves(first.history)
        result.numbers = {
            "test_accuracy": tested,
            "baselines": {name: ours[name][0] for name in self.baselines},
        }
        return result


def _interval(accuracy: float, n: int) -> tuple[float, float, float]:
    return (accuracy, *wilson_interval(round(accuracy * n), n))


def _fit(classifier: Any, data: Any) -> tuple[float, float]:
    """Return the test accuracy of `classifier`, and the seconds that it learned."""
    flat = [part.x.reshape(len(part.y), -1) for part in (data.train, data.test)]
    start = time.perf_counter()
    classifier.fit(flat[0], data.train.y)
    seconds = time.perf_counter() - start
    return float((classifier.predict(flat[1]) == np.asarray(data.test.y)).mean()), seconds


def _classifier(name: str) -> Any:
    """Return one of scikit-learn's classifiers, with its defaults but for what makes it come to an end."""
    module, kind, options = _CLASSIFIERS[name]
    return getattr(importlib.import_module(f"sklearn.{module}"), kind)(**options)


_CLASSIFIERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "logistic regression": ("linear_model", "LogisticRegression", {"max_iter": 2000}),
    "neural network": ("neural_network", "MLPClassifier", {"max_iter": 500, "random_state": 0}),
    "random forest": ("ensemble", "RandomForestClassifier", {"random_state": 0}),
    "support vector machine": ("svm", "SVC", {}),
    "gradient boosting": ("ensemble", "HistGradientBoostingClassifier", {"random_state": 0}),
}
