"""Dead kernels: what too large first weights do (report 004, section VII.A)."""

from __future__ import annotations

import statistics
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from xcnn.backend import readable
from xcnn.layer import watch
from xcnn.layers import Conv2D
from xcnn.model import Model
from xcnn.reproduce.experiment import ConfigFile, Experiment
from xcnn.reproduce.result import Reported, Result, claim_row, percent, table
from xcnn.reproduce.training import Lab, fit

__all__ = ["Initialisation"]

_PROBES = 1000  # test images that are shown to a trained network


class Initialisation(Experiment):
    """He's first weights and multiples of them.

    Parameters
    ----------
    config : RunConfig
        With "he_normal" convolutions followed by ReLU.
    scales : list of float
        Factors on the first weights of the convolutions; 1 is He's.
    repeats : int
        Trainings for each, with different seeds.
    """

    kind: ClassVar[str] = "initialisation"
    config: ConfigFile
    scales: list[float] = Field(min_length=2)
    repeats: int = 5

    def figures(self) -> dict[str, Reported]:
        """Return nothing: the report gives no number."""
        return {}

    def perform(self, lab: Lab, /) -> Result:
        """Train with each of the scales."""
        from xcnn import plots

        config = lab.prepare(self.config)
        data, found = config.load_data(), {}
        for scale in self.scales:
            lab.tell(f"weights {scale:g} times He's")
            measured = []
            for seed in lab.seeds(self.repeats):
                seeded = config.model_copy(update={"seed": seed})
                model = seeded.build_model(data)
                _scale(model, scale)
                fit(seeded, model, data)
                measured.append(
                    (*_dead(model, data.test.x[:_PROBES]), model.evaluate(*data.test)["accuracy"])
                )
            found[scale] = [statistics.fmean(values) for values in zip(*measured, strict=True)]
        heading = [
            "weights, times He's",
            "dead kernels",
            "images with one and the same output",
            "test accuracy",
        ]
        rows = [[f"{scale:g}", *(percent(value, 1) for value in values)] for scale, values in found.items()]
        most = max(self.scales)
        ours = ", ".join(f"{scale:g} times: {percent(found[scale][0], 1)} dead" for scale in (1.0, most))
        better = found[1.0][0] < found[most][0] and found[1.0][2] > found[most][2]
        claim = "too large weights kill kernels, He's do not"
        result = Result(notes=[table(heading, rows)])
        result.rows = [claim_row("dead kernels after training", claim, ours, better)]
        dead = {f"{scale:g} times He's": 100 * found[scale][0] for scale in self.scales}
        caption = f"Kernels that are zero at every pixel of {_PROBES:,} test images"
        result.pictures[caption] = plots.intervals(dead, measure="dead kernels, %")
        result.numbers = {
            f"{scale:g}": dict(zip(("dead", "identical", "test_accuracy"), values, strict=True))
            for scale, values in found.items()
        }
        return result


def _scale(model: Model, factor: float) -> None:
    """Multiply the weights of the convolutions."""
    for layer in model.walk():
        if isinstance(layer, Conv2D):
            layer.w.value = layer.w.value * factor


def _dead(model: Model, x: Any) -> tuple[float, float]:
    """Return the share of kernels without any positive output, and of images that share their output."""
    highest: list[np.ndarray] = []

    def see(layer: Any, when: str, y: Any) -> None:
        if when == "forward" and isinstance(layer, Conv2D):
            highest.append(np.asarray(model.backend.to_numpy(y)).max(axis=(0, 2, 3)))

    with readable(), watch(see), model.active():
        outputs, _ = model.layers.forward(model.accept(x))
    top = np.concatenate(highest)
    _, counts = np.unique(np.asarray(model.backend.to_numpy(outputs)), axis=0, return_counts=True)
    return float((top <= 0).mean()), float(counts.max() / len(x)) if counts.max() > 1 else 0.0
