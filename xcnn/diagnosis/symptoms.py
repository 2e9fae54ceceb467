"""What can be wrong: one function for each symptom, and from where on it counts as one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xcnn.calibration import expected_calibration_error
from xcnn.diagnosis.observe import Observation
from xcnn.diagnosis.units import Finding, dead, listed, misplaced, saturated
from xcnn.metrics import wilson_interval
from xcnn.model import Model

__all__ = ["CHECKS", "Finding", "parameters"]

LARGE_INPUT = 3.0  # rms; images in [0, 1] stay below 1, standardized ones at 1; bytes as numbers have 80
SMALL_INPUT = 0.005  # rms; images divided by 255 twice have 0.001
GROWTH = 1e3  # of the rms from the input to a layer; with He's initialization it stays within 10
LOGIT_GAP = 16.6  # log(2^24): the first probability is 1 in float32, and a right image has no gradient
SURER = 0.015  # of the mean confidence over the accuracy, unless chance explains it; trained nets: below 0.01
FADED = 1e-3  # of the largest relative gradient; eight layers of sigmoids; nets that learn: above 0.02
STEEP = 10.0  # rms of a gradient over its weights': a step of 0.1 moves them by their size; healthy: below 1


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
        largest = max(abs(low), abs(high))
        by = (
            "255 (or give uint8, which the model divides itself)" if 128 < largest < 256 else f"{largest:.4g}"
        )
        learned = _learned(seen)
        change = f"divide inputs by {by}, or standardize them"
        change += "; with these the model has learned all the same" * learned
        found.append(Finding("inputs not scaled", x.label, "note" if learned else "warning", reach, change))
    elif 0 < x.rms < SMALL_INPUT:
        change = "don't divide by 255 twice; bring images to [0, 1], or standardize them"
        found.append(Finding("inputs not scaled", x.label, "warning", reach, change))
    constant = np.flatnonzero(x.smallest == x.largest)
    if x.pixels and len(constant):
        measured = f"channel {listed(constant)} of {len(x.largest)} has one value in all images and pixels"
        change = "leave it out, or look at how images are loaded"
        found.append(Finding("constant input channel", x.label, "warning", measured, change))
    return found


def _learned(seen: Observation) -> bool:
    """Whether most of what guessing gets wrong is right, and the inputs do not drive it to its limits."""
    if seen.labels is None or not seen.logits or saturated(seen) or _logits(seen):
        return False
    low, _ = wilson_interval(int(seen.sure()[1].sum()), seen.images)
    return low > 0.5 * (1 + seen.commonest())


def _sizes(seen: Observation) -> list[Finding]:
    start = seen.inputs.rms or 1.0
    for layer in seen.layers:
        if layer.label == seen.layers[-1].label and seen.loss.link is None and layer.finite:
            continue  # as large as the numbers to learn
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
    if seen.differ and spread <= 1e-6 * size:
        measured = f"all {seen.images:,} inputs give the same outputs, though they differ"
        host, weights = seen.model.backend.to_numpy, seen.model.parameters().items()
        zero = [name for name, p in weights if len(p.shape) > 1 and not np.any(host(p.value))]
        if zero:
            measured += f"; all values of {', '.join(zero)} are 0"
            change = "train it: a last layer may begin at 0, any other needs another init"
            return [Finding("identical outputs", "the outputs", "warning", measured, change)]
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


_FIRST = ("non-finite parameters", "non-finite inputs", "inputs not scaled")

# What is looked at, by which function, unless one of these causes was found before.
CHECKS: tuple[tuple[str, Callable[[Observation], list[Finding]], tuple[str, ...]], ...] = (
    ("inputs", _inputs, ("non-finite parameters",)),
    ("dead kernels and units", dead, _FIRST),
    ("places of activations", misplaced, _FIRST),
    ("saturated units", saturated, _FIRST),
    ("activations", _sizes, (*_FIRST, "saturated units")),
    ("outputs", _same, (*_FIRST, "vanishing activations")),
    ("logits", _logits, (*_FIRST, "exploding activations")),
    ("confidence", _overconfident, (*_FIRST, "exploding activations", "exploding logits")),
    ("gradients", _gradients, (*_FIRST, "saturated units", "exploding activations", "vanishing activations",
                               "identical outputs", "exploding logits")),
)  # fmt: skip
