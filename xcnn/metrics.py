"""What is reported beside the loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

from array_api_compat import array_namespace

from xcnn.backend import backend_of, plugin_of
from xcnn.errors import DataError, DeviceMismatchError, DTypeError, OptionError, ShapeError, lookup, named
from xcnn.labels import kind_of
from xcnn.ops.target import as_target, check_outputs, size_of
from xcnn.types import Array

__all__ = ["accuracy", "get", "mean_absolute_error", "per_image", "top5_accuracy", "wilson_interval"]

Metric = Callable[[Any, Any], Any]
AnyMetric = TypeVar("AnyMetric", bound=Callable[..., Any])


def per_image(metric: AnyMetric, /) -> AnyMetric:
    """Say that a metric is a mean over images: `fit` may then ask for that of many batches at once.

    Parameters
    ----------
    metric : callable
        ``metric(z, labels)``, each image counting alike.

    Returns
    -------
    callable
        The same function, with an attribute ``per_image`` that is True.
    """
    metric.per_image = True  # type: ignore[attr-defined]
    return metric


def _together(z: Any, labels: Any, where: str) -> tuple[Any, Any]:
    """Return the namespace of outputs and labels that go together, and the labels; no values are looked at.

    Labels as many as the outputs come in the shape of these.
    """
    with named(where):
        plugin, xp = plugin_of(z), check_outputs(z, "outputs")
        if plugin_of(labels) is not plugin:
            msg = f"outputs are a {type(z).__name__}, labels a {type(labels).__name__}; needed one kind"
            raise DeviceMismatchError(msg)
        if kind_of(labels) not in "biuf":
            msg = f"labels have dtype {labels.dtype}; needed integers (classes) or floating numbers"
            raise DTypeError(msg)
        given, own = tuple(labels.shape), tuple(z.shape)
        if given[:1] == own[:1] and size_of(labels) == size_of(z):
            return xp, xp.reshape(labels, own)
        if len(own) != 2 or given not in ((own[0],), (own[0], 1)):
            like = f" or ({own[0]},)" if len(own) < 3 else ""
            msg = f"labels have shape {given}, outputs {own}; needed {own}{like}"
            raise ShapeError(msg)
        return xp, labels


def _classes(labels: Array, /) -> Any:
    """Return labels as classes (N,): the largest of one-hot rows."""
    xp = array_namespace(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return xp.argmax(labels, axis=1)
    return xp.reshape(labels, (-1,))


@per_image
def accuracy(z: Array, labels: Array, /, *, threshold: float = 0.0) -> Any:
    """Return the fraction of images whose largest output is their class; of images as outputs, of pixels.

    Parameters
    ----------
    z : array (N, K) or (N, C, H, W)
        Logits or probabilities; a single one, and each pixel, counts as class 1 above the threshold.
    labels : array (N,), (N, K) or (N, C, H, W)
        Classes, one-hot, or pixels, which count as class 1 above 1/2.
    threshold : float
        0 for logits, 1/2 for probabilities and numbers.

    Returns
    -------
    array ()
        A fraction.

    Raises
    ------
    ShapeError, DTypeError, DeviceMismatchError
        If outputs and labels do not go together.
    """
    xp, labels = _together(z, labels, "accuracy")
    if z.ndim > 2:
        right = (z > threshold) == (xp.astype(labels, z.dtype) > 0.5)
    elif z.ndim == 1 or z.shape[-1] == 1:
        right = xp.reshape(z > threshold, (-1,)) == (xp.astype(_classes(labels), z.dtype) > 0.5)
    else:
        right = xp.argmax(z, axis=1) == _classes(labels)
    return xp.mean(xp.astype(right, z.dtype))


@per_image
def top5_accuracy(z: Array, labels: Array, /) -> Any:
    """Return the fraction of images whose class is among the five largest outputs.

    Parameters
    ----------
    z : array (N, K)
        Logits or probabilities.
    labels : array (N,) or (N, K)
        Classes, or one-hot.

    Returns
    -------
    array ()
        A fraction.

    Raises
    ------
    ShapeError, DTypeError, DataError, DeviceMismatchError
        If outputs and labels do not go together, or a label on the host is no class.
    """
    xp, labels = _together(z, labels, "top5_accuracy")
    if z.ndim != 2:
        msg = f"outputs have shape {tuple(z.shape)}; needed (N, K)"
        raise ShapeError(msg, where="top5_accuracy")
    own = xp.astype(_classes(labels), xp.int64)
    if backend_of(z).host and bool(xp.any((own < 0) | (own >= z.shape[1]))):
        msg = f"labels reach from {int(xp.min(own))} to {int(xp.max(own))}; needed 0 to {z.shape[1] - 1}"
        raise DataError(msg, where="top5_accuracy")
    own = xp.take_along_axis(z, xp.expand_dims(own, axis=1), axis=1)
    above = xp.sum(xp.astype(z > own, xp.int64), axis=1)
    return xp.mean(xp.astype(above < 5, z.dtype))


@per_image
def mean_absolute_error(y: Array, target: Array, /) -> Any:
    """Return the mean of |y - target|.

    Parameters
    ----------
    y : array (N, ...)
        Outputs.
    target : array of as many elements, or (N,)
        Targets; integers (N,) of K > 1 classes count as one-hot, as in the loss.

    Returns
    -------
    array ()
        In the unit of the target.

    Raises
    ------
    ShapeError, DTypeError, DataError, DeviceMismatchError
        If outputs and targets do not go together.
    """
    xp, target = _together(y, target, "mean_absolute_error")
    if target.shape == y.shape:
        target = xp.astype(target, y.dtype)
    with named("mean_absolute_error"):
        return xp.mean(xp.abs(y - as_target(y, target, "y")))


def wilson_interval(successes: int, trials: int, /, *, z: float = 1.959963984540054) -> tuple[float, float]:
    r"""Return the interval of a proportion.

    .. math:: \frac{p + z^2/2n \pm z \sqrt{p (1 - p)/n + z^2/4n^2}}{1 + z^2/n}, \qquad p = s/n

    Parameters
    ----------
    successes, trials : int
        s of n.
    z : float
        Standard deviations; 1.96 for 95 %.

    Returns
    -------
    (low, high)
        Fractions.

    Raises
    ------
    OptionError
        If not 0 <= successes <= trials, trials > 0.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= successes <= trials or trials < 1:
        msg = f"got {successes} successes of {trials}; needed 0 <= successes <= trials and a trial"
        raise OptionError(msg, where="wilson_interval")
    p, n = successes / trials, trials
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return max(low, 0.0), min(high, 1.0)


NAMES: dict[str, Metric] = {
    "accuracy": accuracy,
    "top5_accuracy": top5_accuracy,
    "mean_absolute_error": mean_absolute_error,
}


def get(metrics: Any, /, *, classifies: bool = True, threshold: float = 0.0) -> dict[str, Metric]:
    """Return metrics by name.

    Parameters
    ----------
    metrics : sequence of str or callable, dict, or None
        Names, or functions ``f(z, labels)`` that give a mean over the batch, see `per_image`; None: accuracy
        for classes, nothing for numbers.
    classifies : bool
        Whether labels are classes.
    threshold : float
        Of `accuracy`, for a single output.

    Returns
    -------
    dict
        Name to function.

    Raises
    ------
    OptionError
        If a name is unknown.
    """
    if metrics is None:
        metrics = ["accuracy"] if classifies else []
    if isinstance(metrics, dict):
        return metrics
    found: dict[str, Metric] = {}
    for metric in metrics if isinstance(metrics, (list, tuple)) else [metrics]:
        name = getattr(metric, "__name__", repr(metric)) if callable(metric) else metric
        found[name] = metric if callable(metric) else lookup(metric, NAMES, "metric")
        if found[name] is accuracy:
            found[name] = per_image(functools.partial(accuracy, threshold=threshold))
    return found
