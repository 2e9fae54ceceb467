"""What a model does with some inputs, in numbers: the material of `xcnn.diagnose`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xcnn import losses
from xcnn.backend import readable
from xcnn.data.rows import from_list, read_slice
from xcnn.layer import Layer, Pass, watch
from xcnn.layers import Identity, Normalize, Sigmoid, Tanh
from xcnn.layers.geometry import integer
from xcnn.layers.linear import Activated
from xcnn.model import Model

__all__ = ["Observation", "Statistics", "observe"]

# Below this part of its largest slope a sigmoid or tanh hardly learns: beyond 5.3, or 2.6, from 0.
FLAT = 0.02


@dataclass
class Statistics:
    """Of arrays (N, C, ...), over images and positions, batch by batch.

    Parameters
    ----------
    layer : Layer or None
        Whose outputs they are; None for the inputs.
    label : str
        What to call it: for the activation of a layer, that layer.

    Attributes
    ----------
    smallest, largest : numpy.ndarray (C,)
        Of each channel or unit.
    flat : numpy.ndarray (C,)
        At which part of the outputs a sigmoid or tanh has hardly a slope.
    rms : float
        Root of the mean square.
    finite : bool
        Whether all are.
    """

    layer: Layer | None
    label: str
    smallest: Any = np.inf
    largest: Any = -np.inf
    pixels: bool = False
    finite: bool = True
    _flat: Any = 0.0
    _squares: float = 0.0
    _count: int = 0

    def add(self, y: np.ndarray, /) -> None:
        """Count a batch.

        Parameters
        ----------
        y : array (N, C) or (N, C, H, W)
            Outputs.
        """
        axes = (0, *range(2, y.ndim))
        self.pixels = y.ndim > 2
        self.finite = self.finite and bool(np.isfinite(y).all())
        self.smallest = np.minimum(self.smallest, y.min(axis=axes))
        self.largest = np.maximum(self.largest, y.max(axis=axes))
        self._squares += float(np.sum(np.square(y, dtype=np.float64)))
        self._count += y.size
        if isinstance(self.layer, (Sigmoid, Tanh)):
            slope = 4 * y * (1 - y) if isinstance(self.layer, Sigmoid) else 1 - y * y
            self._flat = self._flat + (slope < FLAT).sum(axis=axes)

    @property
    def flat(self) -> Any:
        """Of each channel, the part of the outputs without a slope."""
        return self._flat * np.size(self.largest) / self._count

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return float(np.sqrt(self._squares / self._count))


@dataclass
class Observation:
    """What was seen.

    Attributes
    ----------
    model : Model
        The model.
    images : int
        How many inputs.
    inputs : Statistics
        Of the inputs as the model takes them; where it begins with Normalize, of what that makes of them.
    layers : list of Statistics
        In the order in which layers run.
    loss : Loss
        The model's, or the usual one for its outputs.
    probabilities : bool
        Whether outputs are probabilities rather than logits.
    outputs : numpy.ndarray (N, ...)
        Logits, or whatever the loss works on.
    labels : numpy.ndarray (N,) or (N, K), or None
        If they were given.
    gradients : dict
        Of each parameter that is not all zero, the rms of its gradient over its own rms, for one batch; empty
        without labels.
    differ : bool
        Whether not all inputs are the same.
    """

    model: Model
    images: int
    inputs: Statistics
    layers: list[Statistics]
    loss: losses.Loss
    probabilities: bool
    outputs: np.ndarray
    labels: np.ndarray | None
    gradients: dict[str, float] = field(default_factory=dict)
    differ: bool = True

    @property
    def logits(self) -> bool:
        """Whether outputs are the logits of classes that exclude one another."""
        kinds = ("softmax", "sigmoid") if self.outputs.shape[1:] == (1,) else ("softmax",)
        classes = self.loss.link in kinds and self.outputs.ndim == 2 and not self.probabilities
        return classes and bool(np.isfinite(self.outputs).all())

    def sure(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the confidence of each answer, and whether it is right.

        Returns
        -------
        tuple of numpy.ndarray (N,)
            Largest probabilities; bools.
        """
        z = self.outputs.astype(np.float64)
        z = np.concatenate([0 * z, z], axis=1) if z.shape[1] == 1 else z
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return (e / e.sum(axis=1, keepdims=True)).max(axis=1), z.argmax(axis=1) == self._classes()

    def commonest(self) -> float:
        """Return the part of the inputs that belong to the commonest class: what guessing gets right.

        Returns
        -------
        float
            A fraction.
        """
        return float(np.bincount(self._classes()).max() / self.images)

    def _classes(self) -> np.ndarray:
        labels = np.asarray(self.labels)
        many = labels.ndim == 2 and labels.shape[1] > 1
        return (labels.argmax(axis=1) if many else labels.reshape(-1)).astype(np.int64)


def observe(model: Model, x: Any, y: Any = None, /, *, batch_size: int = 256) -> Observation:
    """Run inputs through a model, uncompiled, and count.

    Parameters
    ----------
    model : Model
        Is not changed.
    x : array (N, ...)
        Inputs, of any backend.
    y : array (N,) or (N, K), optional
        Labels.
    batch_size : int
        How many inputs at a time.

    Returns
    -------
    Observation
        Numbers on the host.
    """
    single = model.output_shape == (1,)
    loss = model.loss or losses.get("binary_cross_entropy" if single else "cross_entropy")
    batch_size = integer(batch_size, "diagnose: batch_size")
    x, host = from_list(x, "diagnose"), model.backend.to_numpy
    some = bool(getattr(x, "shape", None) and x.shape[0])
    model.accept(read_slice(x, 0, 1) if some else x)  # refuses what does not fit
    n = int(x.shape[0])
    inputs, found = Statistics(None, "the input"), dict[int, Statistics]()
    owners = {id(part.act): part for part in model.walk() if isinstance(part, Activated)}

    def look(layer: Layer, _: str, a: Any) -> None:
        whole = isinstance(layer, Activated) and not isinstance(layer.act, Identity)
        if layer.maker is not None and not whole:  # what a whole layer gives, its activation gave
            label = owners.get(id(layer), layer).label
            found.setdefault(layer.number, Statistics(layer, label)).add(host(a))

    outputs: list[np.ndarray] = []
    differ, first = False, None
    with readable(), watch(look), np.errstate(all="ignore"):
        head, probabilities = model.head(loss)
        for i in range(0, n, batch_size):
            part = model.accept(read_slice(x, i, min(i + batch_size, n)))
            inputs.add(host(part))
            first = host(part)[:1].copy() if first is None else first
            differ = differ or bool(np.any(host(part) != first))
            outputs.append(host(head.forward(part)[0]))
    if inputs.finite:
        for layer in itertools.takewhile(lambda layer: type(layer) is Normalize, model.flat):
            inputs = replace(found[layer.number], label="the input after Normalize")
    seen = Observation(
        model, n, inputs, [*found.values()], loss, probabilities, np.concatenate(outputs), None, differ=differ
    )
    if y is not None:
        loss.check(y, n, model.output_shape)
        seen.labels = np.asarray(host(loss.accept(y, n, model.output_shape, model.backend, model.dtype)))
        count = min(n, batch_size)
        seen.gradients = _gradients(
            model.copy(precision="float32"),  # in float16, unscaled, small ones would vanish
            loss,
            read_slice(x, 0, count),
            read_slice(from_list(y), 0, count),
        )
    return seen


def _gradients(model: Model, loss: losses.Loss, x: Any, y: Any) -> dict[str, float]:
    """Return, of each parameter, the rms of its gradient over its own rms in a step of training."""
    host = model.backend.to_numpy
    labels = loss.accept(y, int(x.shape[0]), model.output_shape, model.backend, model.dtype)
    with readable(), model.active(), np.errstate(all="ignore"):
        head, probabilities = model.head(loss)
        z, saved = head.forward(model.accept(x), train=Pass())
        head.backward(loss(z, labels, probabilities=probabilities)[1].backward(1.0)[0], saved, need_dx=False)
    sizes = {}
    for name, p in model.parameters().items():
        if p.gradient is not None and len(p.shape) > 1:  # biases and norms start at values without a scale
            w, dw = (np.asarray(host(a), np.float64) for a in (p.value, p.gradient))
            if np.any(w):  # those that begin at zero have no scale either
                sizes[name] = float(np.sqrt(np.mean(dw * dw) / np.mean(w * w)))
    return sizes
