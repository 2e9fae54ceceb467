"""What can be wrong: one function for each symptom, and from where on it counts as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xcnn.calibration import expected_calibration_error
from xcnn.diagnosis.observe import Observation, Statistics
from xcnn.layers import ReLU, Sigmoid, Tanh
from xcnn.metrics import wilson_interval
from xcnn.model import Model

__all__ = ["CHECKS", "Finding", "parameters"]

LARGE_INPUT = 3.0  # rms; images in [0, 1] stay below 1, standardized ones at 1; bytes as numbers have 80
SMALL_INPUT = 0.005  # rms; images divided by 255 twice have 0.001
NEARLY_ALL = 0.95  # a unit without a slope for so many learns from one image in twenty
MANY = 0.25  # of a layer's channels: fewer cost some time, so many lame it (units are told only then)
GROWTH = 1e3  # of the rms from the input to a layer; with He's initialization it stays within 10
LOGIT_GAP = 16.6  # log(2^24): the first probability is 1 in float32, and a right image has no gradient
SURER = 0.015  # of the mean confidence over the accuracy, unless chance explains it; trained nets: below 0.01
FADED = 1e-3  # of the largest relative gradient; eight layers of sigmoids; nets that learn: above 0.02
STEEP = 10.0  # rms of a gradient over its weights': a step of 0.1 moves them by their size; healthy: below 1


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Parameters
    ----------
    kind : str
        What: ``"dead kernels"``, ``"saturated units"``, ...
    layer : str
        Where: the label of a layer with its path, the place of a parameter, the input or the outputs.
    severity : {"error", "warning", "note"}
        Whether the model can't learn, learns or answers worse than it could, or wastes some of its work.
    measured : str
        What was seen, in numbers.
    change : str
        What to do.
    """

    kind: str
    layer: str
    severity: str
    measured: str
    change: str


def parameters(model: Model, /) -> list[Finding]:
    """Find parameters that are not finite.

    Parameters
    ----------
    model : Model
        The model.

    Returns
    -------
    list of Finding
        One for each parameter.
    """
    found = []
    for name, p in model.parameters().items():
        bad = int(np.sum(~np.isfinite(model.backend.to_numpy(p.value))))
        if bad:
            measured = f"{bad:,} of {p.size:,} values are NaN or infinite"
            change = "start from a checkpoint again, with a lower learning rate; look for NaN in the inputs"
            found.append(Finding("non-finite parameters", name, "error", measured, change))
    return found


def _inputs(seen: Observation) -> list[Finding]:
    x, found = seen.inputs, []
    low, high = np.min(x.smallest), np.max(x.largest)
    reach = f"they reach from {low:.3g} to {high:.3g}, rms {x.rms:.3g}"
    if not x.finite:
        return [
            Finding("non-finite inputs", x.label, "error", "some are NaN or infinite", "remove those images")
        ]
    if x.rms > LARGE_INPUT:
        change = "divide images by 255 (or give uint8, which the model divides itself), or standardize them"
        found.append(Finding("inputs not scaled", x.label, "warning", reach, change))
    elif 0 < x.rms < SMALL_INPUT:
        change = "don't divide by 255 twice; bring images to [0, 1], or standardize them"
        found.append(Finding("inputs not scaled", x.label, "warning", reach, change))
    constant = np.flatnonzero(x.smallest == x.largest)
    if x.pixels and len(constant):
        measured = f"channel {_listed(constant)} of {len(x.largest)} has one value in all images and pixels"
        change = "leave it out, or look at how images are loaded"
        found.append(Finding("constant input channel", x.label, "warning", measured, change))
    return found


def _dead(seen: Observation) -> list[Finding]:
    found = []
    for layer in seen.layers:
        dead = np.flatnonzero((layer.smallest == 0) & (layer.largest == 0))
        few = len(dead) < MANY * np.size(layer.largest)
        if not isinstance(layer.layer, ReLU) or not len(dead) or (few and not layer.pixels):
            continue
        kind, where = ("kernels", " and positions") if layer.pixels else ("units", "")
        measured = f"{_part(dead, layer)} {kind} give 0 for all inputs{where}: no gradient reaches them"
        change = 'init="he_normal", a lower learning rate or LeakyReLU'
        change += f"; while they are few, fewer {kind} would do as well" * few
        found.append(Finding(f"dead {kind}", layer.label, _severity(dead, layer), measured, change))
    return found


def _saturated(seen: Observation) -> list[Finding]:
    found = []
    for layer in seen.layers:
        flat = np.flatnonzero(layer.flat >= NEARLY_ALL)
        if not isinstance(layer.layer, (Sigmoid, Tanh)) or len(flat) < MANY * np.size(layer.largest):
            continue
        kind = type(layer.layer).__name__.lower()
        measured = (
            f"{_part(flat, layer)} units are near the limits of the {kind}, where it has hardly a slope, "
        )
        measured += f"for {100 * NEARLY_ALL:.0f} % of the inputs or more; of all units and inputs, "
        measured += f"{100 * np.mean(layer.flat):.0f} % are"
        change = 'smaller first weights (init="glorot_normal"), a lower learning rate, weight decay, '
        change += "normalization before the activation, or ReLU"
        found.append(Finding("saturated units", layer.label, _severity(flat, layer), measured, change))
    return found


def _sizes(seen: Observation) -> list[Finding]:
    start = seen.inputs.rms or 1.0
    for layer in seen.layers:
        ratio = layer.rms / start if layer.finite else np.inf
        if ratio == 0 or 1 / GROWTH <= ratio <= GROWTH:
            continue
        size = f"have rms {layer.rms:.3g}" if layer.finite else "overflow"
        measured = f"its outputs {size}, the inputs {seen.inputs.rms:.3g}; the layers before it stay "
        measured += f"within a factor of {GROWTH:g}"
        change = 'init="he_normal" for ReLU, "glorot_normal" for sigmoid and tanh; batch norm after '
        change += "convolutions"
        kind = f"{'exploding' if ratio > 1 else 'vanishing'} activations"
        return [Finding(kind, layer.label, "error", measured, change)]
    return []


def _same(seen: Observation) -> list[Finding]:
    z = seen.outputs.reshape(seen.images, -1)
    spread, size = float(np.ptp(z, axis=0).max()), float(np.abs(z).max())
    if seen.images > 1 and np.any(seen.inputs.smallest != seen.inputs.largest) and spread <= 1e-6 * size:
        measured = f"all {seen.images:,} inputs give the same outputs, though they differ"
        change = (
            'look for a layer whose units are all dead or saturated; init="he_normal", a lower learning rate'
        )
        return [Finding("identical outputs", "the outputs", "error", measured, change)]
    return []


def _logits(seen: Observation) -> list[Finding]:
    if not seen.logits:
        return []
    z = (
        seen.outputs
        if seen.outputs.shape[1] > 1
        else np.concatenate([0 * seen.outputs, seen.outputs], axis=1)
    )
    ordered = np.sort(z, axis=1)
    gap = float(np.median(ordered[:, -1] - ordered[:, -2]))
    if gap <= LOGIT_GAP:
        return []
    measured = (
        f"logits reach from {z.min():.3g} to {z.max():.3g}; in the median the largest leads by {gap:.3g}, so "
        f"that half of the answers have probability 1 to the last digit{_compared(seen)}"
    )
    change = (
        "CrossEntropy(label_smoothing=0.1), weight decay, fewer epochs or a hidden layer before the last; "
    )
    change += "for this model, xcnn.calibration.calibrate(model, x, y) with images held out"
    return [Finding("exploding logits", "the outputs", "warning", measured, change)]


def _overconfident(seen: Observation) -> list[Finding]:
    if not seen.logits:
        return []
    p, right = seen.sure()
    low, high = wilson_interval(int(right.sum()), seen.images)
    if low <= seen.commonest() or p.mean() <= max(
        right.mean() + SURER, high
    ):  # it has not learned, or is right
        return []
    change = (
        "xcnn.calibration.calibrate(model, x, y) with images held out, CrossEntropy(label_smoothing=0.1), "
    )
    change += "dropout, augmentation or more data"
    return [Finding("overconfidence", "the outputs", "warning", _compared(seen).lstrip("; "), change)]


def _compared(seen: Observation) -> str:
    """Say how confidence compares with accuracy, if there are labels."""
    if seen.labels is None:
        return ""
    p, right = seen.sure()
    error = 100 * expected_calibration_error(right, p[:, None])
    return (
        f"; the mean confidence is {100 * p.mean():.1f} %, the accuracy {100 * right.mean():.1f} % "
        f"(expected calibration error {error:.1f} %)"
    )


def _gradients(seen: Observation) -> list[Finding]:
    sizes = {name: size for name, size in seen.gradients.items() if size > 0}
    steepest, faintest = (
        max(sizes, key=sizes.__getitem__, default=""),
        min(sizes, key=sizes.__getitem__, default=""),
    )
    if not sizes:
        return []
    if not sizes[steepest] <= STEEP:
        measured = f"the rms of its gradient is {sizes[steepest]:.2g} times that of its values"
        change = (
            "a lower learning rate, an optimizer with clip_norm=1, smaller first weights, or normalization"
        )
        return [Finding("exploding gradients", steepest, "warning", measured, change)]
    if sizes[faintest] < FADED * sizes[steepest]:
        ratio = sizes[faintest] / sizes[steepest]
        measured = f"relative to its values, its gradient is {ratio:.1g} of that of {steepest}"
        change = 'ReLU with init="he_normal" for sigmoid and tanh, batch norm, or residual blocks '
        change += "(Sum(Identity(), body))"
        return [Finding("vanishing gradients", faintest, "warning", measured, change)]
    return []


def _part(channels: np.ndarray, layer: Statistics) -> str:
    """Return for example "2 of 8 (0, 5)"."""
    total = np.size(layer.largest)
    return f"all {total}" if len(channels) == total else f"{len(channels)} of {total} ({_listed(channels)})"


def _listed(channels: np.ndarray) -> str:
    return ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")


def _severity(channels: np.ndarray, layer: Statistics) -> str:
    share = len(channels) / np.size(layer.largest)
    return "error" if share == 1 else "warning" if share >= MANY else "note"


_FIRST = ("non-finite parameters", "non-finite inputs", "inputs not scaled")

# What is looked at, by which function, unless one of these causes was found before.
CHECKS: tuple[tuple[str, Callable[[Observation], list[Finding]], tuple[str, ...]], ...] = (
    ("inputs", _inputs, ("non-finite parameters",)),
    ("dead kernels and units", _dead, _FIRST),
    ("saturated units", _saturated, _FIRST),
    ("activations", _sizes, (*_FIRST, "saturated units")),
    ("outputs", _same, (*_FIRST, "vanishing activations")),
    ("logits", _logits, (*_FIRST, "exploding activations")),
    ("confidence", _overconfident, (*_FIRST, "exploding activations", "exploding logits")),
    ("gradients", _gradients, (*_FIRST, "saturated units", "exploding activations", "vanishing activations",
                               "identical outputs", "exploding logits")),
)  # fmt: skip
