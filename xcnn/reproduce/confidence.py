"""How sure networks are that are wrong (report 004, sections VII.B and VIII)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from xcnn.calibration import calibrate, expected_calibration_error
from xcnn.layers import Dense
from xcnn.losses import CrossEntropy
from xcnn.reproduce.experiment import Experiment, Run
from xcnn.reproduce.result import Reported, Result, Row, accuracy_row, claim_row, percent, table
from xcnn.reproduce.runs import choices
from xcnn.reproduce.training import Lab, Trained, train

__all__ = ["Confidence"]

_SURE = 0.99  # a probability that stands for certainty


class Confidence(Experiment):
    """Trainings as the report describes them, and the confidence of what comes of them.

    Parameters
    ----------
    runs : dict
        By name; each with images to validate on, by which the temperature is fitted.
    early : (int, float), optional
        After how many blocks of images the report has which training error.
    """

    kind: ClassVar[str] = "confidence"
    runs: dict[str, Run] = Field(min_length=2)
    early: tuple[int, float] | None = None

    def figures(self) -> dict[str, Reported]:
        """Return the report's figures by what they measure."""
        return {
            f"{name}, accuracy on the test images": run.reported.get("test_accuracy")
            for name, run in self.runs.items()
        }

    def perform(self, lab: Lab, /) -> Result:
        """Train all of them, and calibrate."""
        from xcnn import plots

        result, done, measured = Result(), {}, {}
        for name, run in self.runs.items():
            lab.tell(f"{name}, one image at a time")
            trained = done[name] = train(lab.prepare(run.config))
            measured[name] = _measure(trained)
            tested = [trained.measured("test_accuracy")[0]]
            timing = {"seconds": trained.seconds, "rate": trained.rate}
            reported, n = run.reported.get("test_accuracy"), len(trained.test.y)
            result.rows.append(
                accuracy_row(f"{name}, accuracy on the test images", reported, tested, n, **timing)
            )
        result.rows.append(_judge(done, measured))
        result.rows += [_early_error(done, *self.early)] if self.early else []
        result.notes += [_table(done, measured), choices({name: [trained] for name, trained in done.items()})]
        result.pictures["Training loss per block of 250 images"] = plots.blocks(
            {name: trained.history for name, trained in done.items()}
        )
        for name in done:
            curves = {"as trained": measured[name]["proba"], "calibrated": measured[name]["calibrated"]}
            result.pictures[f"{name}: how often it is right when it is so sure"] = plots.reliability(
                done[name].test.y, curves
            )
        result.numbers = {
            name: {key: value for key, value in found.items() if isinstance(value, float)}
            for name, found in measured.items()
        }
        return result


def _measure(trained: Trained) -> dict[str, Any]:
    """Return how sure the model is, and how much of that is left after temperature scaling."""
    truth, proba = np.asarray(trained.test.y), trained.probabilities()
    sure, right = proba.max(axis=1), proba.argmax(axis=1) == truth
    held = trained.config.data.parts(trained.data, trained.config.seed)[1]
    assert held is not None
    calibrated = np.asarray(calibrate(trained.model, held.x, held.y).predict_proba(trained.test.x))
    return {
        "proba": proba,
        "calibrated": calibrated,
        "mean confidence": float(sure.mean()),
        "confidence when wrong": float(sure[~right].mean()) if not right.all() else 0.0,
        "certain when wrong": float((sure[~right] > _SURE).mean()) if not right.all() else 0.0,
        "largest logit": _largest_logit(trained),
        "ECE": float(expected_calibration_error(truth, proba)),
        "ECE calibrated": float(expected_calibration_error(truth, calibrated)),
    }


def _largest_logit(trained: Trained) -> float:
    """Return the mean over test images of the largest logit less the mean of its image."""
    model = trained.model
    head, _ = model.head(CrossEntropy())
    logits = np.asarray(model.backend.to_numpy(head.forward(model.accept(trained.test.x))[0]), np.float64)
    return float((logits.max(axis=1) - logits.mean(axis=1)).mean())


def _has_hidden(trained: Trained) -> bool:
    """Return whether there is a dense layer besides the output's."""
    return sum(isinstance(layer, Dense) for layer in trained.model.walk()) > 1


def _judge(done: dict[str, Trained], measured: dict[str, dict[str, Any]]) -> Row:
    """Compare the networks with a hidden sigmoid layer with those without, by their confidence when wrong."""
    certain = {}
    for hidden in (False, True):
        shares = [
            found["certain when wrong"]
            for name, found in measured.items()
            if hidden == _has_hidden(done[name])
        ]
        certain[hidden] = float(np.mean(shares))
    found = (
        f"of the wrong answers, {percent(certain[False], 1)} are over {percent(_SURE, 0)} sure without one"
    )
    found += f", {percent(certain[True], 1)} with one"
    claim = "without one, close to 100 % sure even when wrong; with one, the confidence varies"
    confirmed = certain[False] > 0.5 > certain[True]
    return claim_row("overconfidence with and without a hidden sigmoid layer", claim, found, confirmed)


def _early_error(done: dict[str, Trained], blocks: int, reported: float) -> Row:
    """Compare the training error of the first blocks with the report's."""
    found = {name: trained.history.blocks[:blocks] for name, trained in done.items()}
    last = {name: losses[-1] for name, losses in found.items() if losses}
    told = ", ".join(f"{name} {loss:.2f}" for name, loss in last.items())
    confirmed = bool(last) and min(last.values()) <= reported
    what = f"training error (cross-entropy) in block {blocks}"
    return claim_row(what, f"{reported:g}", told or "-", confirmed)


def _table(done: dict[str, Trained], measured: dict[str, dict[str, Any]]) -> str:
    heading = [
        "network",
        "hidden sigmoid layer",
        "mean confidence",
        "when wrong",
        f"of the wrong, over {percent(_SURE, 0)} sure",
    ]
    heading += ["largest logit above the mean", "ECE", "ECE, calibrated"]
    rows = []
    for name, found in measured.items():
        shares = [found[key] for key in ("mean confidence", "confidence when wrong", "certain when wrong")]
        rows.append(
            [name, "yes" if _has_hidden(done[name]) else "no", *(percent(share, 1) for share in shares)]
        )
        rows[-1] += [f"{found['largest logit']:.1f}", percent(found["ECE"]), percent(found["ECE calibrated"])]
    words = (
        "ECE: expected calibration error in 15 bins (C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On "
        "calibration of modern neural networks, 2017). Calibrated: one temperature divides the logits, "
        "fitted on the validation images; no answer changes."
    )
    return f"{table(heading, rows)}\n\n{words}"
