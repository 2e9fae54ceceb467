"""What can be wrong with single channels, units and activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xcnn.diagnosis.observe import Observation, Statistics
from xcnn.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh

__all__ = ["Finding", "dead", "listed", "misplaced", "saturated"]

NEARLY_ALL = 0.95  # a unit without a slope for so many learns from one image in twenty
MANY = 0.25  # of a layer's channels: fewer cost some time, so many lame it (units are told only then)
FEW = 50  # inputs: of fewer, a healthy kernel may have no answer for any


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


def dead(seen: Observation, /) -> list[Finding]:
    """Find kernels and units whose ReLU gives zero for all inputs.

    Parameters
    ----------
    seen : Observation
        What was seen.

    Returns
    -------
    list of Finding
        One for each layer; of few inputs a single one, as any kernel may be silent for them.
    """
    found, silent = [], 0
    for layer in seen.layers:
        dead = np.flatnonzero((layer.smallest == 0) & (layer.largest == 0))
        few = len(dead) < MANY * np.size(layer.largest)
        if not isinstance(layer.layer, ReLU) or not len(dead) or (few and not layer.pixels):
            continue
        kind, where = ("kernels", " and positions") if layer.pixels else ("units", "")
        measured = f"{_part(dead, layer)} {kind} give 0 for all inputs{where}: no gradient reaches them"
        change = 'init="he_normal", a lower learning rate or LeakyReLU'
        change += f"; so few are harmless: fewer {kind} would do as well" * few
        silent += len(dead)
        found.append(Finding(f"dead {kind}", layer.label, _share(dead, layer), measured, change))
    if found and seen.images < FEW:
        measured = (
            f"inputs: {seen.images}; kernels and units that give 0 for all of them: {silent}; these are "
        )
        measured += "too few inputs to tell whether they are dead"
        change = f"give {FEW} inputs or more"
        return [Finding("too few inputs", seen.inputs.label, "note", measured, change)]
    return found


def saturated(seen: Observation, /) -> list[Finding]:
    """Find sigmoids and tanhs that are near their limits for nearly all inputs; at the end they may be.

    Parameters
    ----------
    seen : Observation
        What was seen.

    Returns
    -------
    list of Finding
        One for each layer.
    """
    found = []
    for layer in seen.layers:
        flat = np.flatnonzero(layer.flat >= NEARLY_ALL)
        few = len(flat) < MANY * np.size(layer.largest)
        if not isinstance(layer.layer, (Sigmoid, Tanh)) or few or layer.layer is seen.model.flat[-1]:
            continue
        kind = type(layer.layer).__name__.lower()
        measured = (
            f"{_part(flat, layer)} units are near the limits of the {kind}, where it has hardly a slope, "
        )
        measured += f"for {100 * NEARLY_ALL:.0f} % of the inputs or more; of all units and inputs, "
        measured += f"{100 * np.mean(layer.flat):.0f} % are"
        change = 'smaller first weights (init="glorot_normal"), a lower learning rate, weight decay, '
        change += "normalization before the activation, or ReLU"
        found.append(Finding("saturated units", layer.label, _share(flat, layer), measured, change))
    return found


def misplaced(seen: Observation, /) -> list[Finding]:
    """Find a softmax before the last layer, and an activation on the logits.

    Parameters
    ----------
    seen : Observation
        What was seen.

    Returns
    -------
    list of Finding
        One for each layer.
    """
    found, last = [], seen.model.flat[-1]
    outer = {id(layer) for layer in seen.model.flat}
    for layer in seen.layers:
        if (
            layer.layer is not last
            and id(layer.layer) in outer
            and isinstance(layer.layer, (Softmax, LogSoftmax))
        ):
            measured = "its outputs are probabilities; what follows it can hardly tell inputs apart by them"
            change = "leave this softmax out: a classifier has one at the end, or none, as its loss has one"
            found.append(Finding("softmax inside", layer.label, "warning", measured, change))
        if layer.layer is last and seen.logits and seen.model.loss and isinstance(layer.layer, (ReLU, Tanh)):
            kind, limit = ("ReLU", "from 0 up") if isinstance(layer.layer, ReLU) else ("Tanh", "-1 to 1")
            measured = (
                f"the logits pass a {kind}: they are {limit}, so that some probabilities are out of reach"
            )
            change = "leave out the activation of the last layer"
            found.append(Finding("activation on the logits", layer.label, "warning", measured, change))
    return found


def _part(channels: np.ndarray, layer: Statistics) -> str:
    """Return for example "2 of 8 (0, 5)"."""
    total = np.size(layer.largest)
    return f"all {total}" if len(channels) == total else f"{len(channels)} of {total} ({listed(channels)})"


def listed(channels: np.ndarray, /) -> str:
    """Return the first numbers of `channels`.

    Parameters
    ----------
    channels : array of int
        Numbers.

    Returns
    -------
    str
        For example ``"0, 5"``.
    """
    return ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")


def _share(channels: np.ndarray, layer: Statistics) -> str:
    share = len(channels) / np.size(layer.largest)
    return "error" if share == 1 else "warning" if share >= MANY else "note"
