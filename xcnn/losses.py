"""Losses as objects: hyperparameters, the op, and the link that turns logits into probabilities."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from xcnn import ops
from xcnn.backend import Backend, backend_of, move
from xcnn.data.rows import from_list
from xcnn.errors import OptionError, lookup, named, number
from xcnn.labels import check_range, check_shape, kind_of, look
from xcnn.layers.geometry import numbers

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "get",
]


class Loss:
    """A number that says how far outputs are from labels: the mean over the batch.

    Attributes
    ----------
    name : str
        In configurations and files.
    link : str or None
        The activation that turns its logits into probabilities; a model that ends in it is trained on what
        comes before.
    classifies : bool
        Whether labels are classes.
    """

    name: ClassVar[str]
    link: ClassVar[str | None] = None
    classifies: ClassVar[bool] = False

    def __call__(self, z: Any, labels: Any, /, *, probabilities: bool = False) -> tuple[Any, ops.Saved]:
        """Return the loss and what its backward needs.

        Parameters
        ----------
        z : array (N, ...)
            Outputs: logits, or numbers.
        labels : array
            Labels on the same backend.
        probabilities : bool
            Whether z are probabilities already.

        Returns
        -------
        loss : array ()
            The mean over the batch.
        saved : Saved
            The first of its ``backward(1.0)`` is dz.
        """
        raise NotImplementedError

    def accept(
        self, labels: Any, n: int, output_shape: tuple[int, ...], backend: Backend, dtype: str, /
    ) -> Any:
        """Return `labels` on `backend`, checked: integers as int64, others in `dtype`.

        Parameters
        ----------
        labels : array or list
            Of any backend.
        n : int
            How many images there are.
        output_shape : tuple of int
            Of the model, without N.
        backend : Backend
            Where to.
        dtype : str
            The model's.

        Returns
        -------
        array
            The labels.

        Raises
        ------
        DataError, DTypeError, ShapeError
            If their number, dtype, shape or range does not fit.
        """
        with named(self.name):
            labels = from_list(labels)
            look(labels, n, output_shape, self)
            return self.place(labels, backend, dtype)

    def place(self, labels: Any, backend: Backend, dtype: str, /) -> Any:
        """Return labels that `check` has let pass on `backend`: integers as int64, others in `dtype`.

        Parameters
        ----------
        labels : array
            Of any backend; some of those that were checked.
        backend, dtype
            See `accept`.

        Returns
        -------
        array
            The labels.
        """
        return move(labels, backend, dtype if kind_of(labels) == "f" else "int64")

    def check(self, labels: Any, n: int, output_shape: tuple[int, ...], /) -> None:
        """Refuse labels that do not fit, their values on a device included.

        Parameters
        ----------
        labels, n, output_shape
            See `accept`.

        Raises
        ------
        DataError, DTypeError, ShapeError
            If their number, dtype, shape or range does not fit, or one is NaN.
        """
        with named(self.name):
            labels = from_list(labels)
            check_range(labels, check_shape(labels, n, output_shape, self), output_shape, self)

    def weight(self, labels: Any, /) -> Any:
        """Return what the mean over these labels counts in the mean over a data set: their number.

        Parameters
        ----------
        labels : array
            Accepted ones.

        Returns
        -------
        float or array ()
            With class weights, their sum.
        """
        return labels.shape[0]


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross-entropy of classes; pairs with Softmax. See `xcnn.ops.cross_entropy`.

    Parameters
    ----------
    label_smoothing : float
        The fraction of each label that is spread over all classes.
    class_weights : sequence of float, optional
        How much each class counts.
    """

    name: ClassVar[str] = "cross_entropy"
    link: ClassVar[str | None] = "softmax"
    classifies: ClassVar[bool] = True

    label_smoothing: float = 0.0
    class_weights: Any = None
    _: KW_ONLY
    _weights: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fraction, needed = self.label_smoothing, "0 <= label_smoothing < 1"
        fraction = number(fraction, "label_smoothing", needed, lambda a: 0 <= a < 1, self.name)
        object.__setattr__(self, "label_smoothing", fraction)
        if self.class_weights is not None:
            weights = numbers(self.class_weights, f"{self.name}: class_weights")
            if not all(0 <= w < math.inf for w in weights) or not sum(weights):
                msg = f"class_weights is {weights}; needed finite ones, not negative, and a positive sum"
                raise OptionError(msg, where=self.name)
            object.__setattr__(self, "class_weights", weights)

    def __call__(self, z, labels, /, *, probabilities=False):
        """Return the loss and what its backward needs."""
        op = ops.cross_entropy_probabilities if probabilities else ops.cross_entropy
        return op(z, labels, self._weights_like(z), label_smoothing=self.label_smoothing)

    def weight(self, labels: Any, /) -> Any:
        """Return the sum of the weights of the labels' classes."""
        if self.class_weights is None:
            return labels.shape[0]
        backend = backend_of(labels)
        xp, weights = backend.xp, backend.asarray(self.class_weights, "float32")
        if labels.ndim == 1:
            return xp.sum(xp.take(weights, labels))
        return xp.sum(xp.astype(labels, xp.float32) * weights)

    @named("cross_entropy")
    def _weights_like(self, z: Any) -> Any:
        if self.class_weights is None or kind_of(z) != "f":  # which the op refuses
            return None
        backend = backend_of(z)
        key = backend.name, str(z.dtype)
        if key not in self._weights:  # a copy from the host each step would make a device wait
            self._weights[key] = backend.asarray(self.class_weights, key[1].rpartition(".")[2])
        return self._weights[key]


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy of one output or one per class; pairs with Sigmoid.

    See `xcnn.ops.binary_cross_entropy`.
    """

    name: ClassVar[str] = "binary_cross_entropy"
    link: ClassVar[str | None] = "sigmoid"
    classifies: ClassVar[bool] = True

    def __call__(self, z, labels, /, *, probabilities=False):
        """Return the loss and what its backward needs."""
        op = ops.binary_cross_entropy_probabilities if probabilities else ops.binary_cross_entropy
        return op(z, labels)


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Mean squared error of numbers. See `xcnn.ops.mse`."""

    name: ClassVar[str] = "mse"

    def __call__(self, z, labels, /, *, probabilities=False):
        """Return the loss and what its backward needs."""
        return ops.mse(z, labels)


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """Mean absolute error of numbers. See `xcnn.ops.mae`."""

    name: ClassVar[str] = "mae"

    def __call__(self, z, labels, /, *, probabilities=False):
        """Return the loss and what its backward needs."""
        return ops.mae(z, labels)


@dataclass(frozen=True)
class Huber(Loss):
    """Huber's loss of numbers. See `xcnn.ops.huber`.

    Parameters
    ----------
    delta : float
        Where the parabola ends.
    """

    name: ClassVar[str] = "huber"

    delta: float = 1.0

    def __post_init__(self) -> None:
        delta = number(self.delta, "delta", "a positive number", lambda a: a > 0, self.name)
        object.__setattr__(self, "delta", delta)

    def __call__(self, z, labels, /, *, probabilities=False):
        """Return the loss and what its backward needs."""
        return ops.huber(z, labels, delta=self.delta)


NAMES: dict[str, type[Loss]] = {
    kind.name: kind for kind in (CrossEntropy, BinaryCrossEntropy, MeanSquaredError, MeanAbsoluteError, Huber)
}


def get(loss: str | Loss, /) -> Loss:
    """Return the loss called `loss`.

    Parameters
    ----------
    loss : str or Loss
        ``"cross_entropy"``, ``"binary_cross_entropy"``, ``"mse"``, ``"mae"`` or ``"huber"``; a loss is
        returned as it is.

    Returns
    -------
    Loss
        The loss.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if isinstance(loss, Loss):
        return loss
    return lookup(loss, NAMES, "loss")()
