"""Calibration: whether probabilities mean what they say, and one number that mends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn import losses
from xcnn.backend import plugin_of
from xcnn.data.rows import from_list, read_slice
from xcnn.errors import DataError, DTypeError, OptionError, named
from xcnn.layers.geometry import integer
from xcnn.model import Model
from xcnn.plan import ending_of

__all__ = [
    "Reliability",
    "calibrate",
    "expected_calibration_error",
    "fit_temperature",
    "reliability_table",
]

_RANGE = 1e6  # 1/T is searched so far above and below the inverse of the logits' spread
_MANY = 10**6  # bins: more say nothing
_HALVINGS = 100  # of that range, in logarithms: as far as float64 goes
_ROUNDED = 1e-2  # by so much a sum of probabilities may miss 1: ten of bfloat16 do by 0.004


@dataclass(frozen=True)
class Reliability:
    """What `reliability_table` counts, for each bin of the confidence.

    Parameters
    ----------
    edges : numpy.ndarray (B + 1,)
        The bins: bin b holds confidences above ``edges[b]`` up to ``edges[b + 1]``.
    count : numpy.ndarray (B,)
        Images in the bin.
    confidence : numpy.ndarray (B,)
        Their mean confidence, a fraction; NaN in an empty bin.
    accuracy : numpy.ndarray (B,)
        The fraction of them that are right; NaN in an empty bin.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_error(self) -> float:
        """The mean of abs(accuracy - confidence) over the images: see `expected_calibration_error`."""
        gap = np.abs(self.accuracy - self.confidence)[self.count > 0]
        return float(np.sum(gap * self.count[self.count > 0]) / self.count.sum())


@named("reliability_table")
def reliability_table(truth: Any, proba: Any, /, *, bins: int = 15) -> Reliability:
    """Count, by confidence, how many images are right.

    Parameters
    ----------
    truth : array (N,) or (N, K)
        Classes, or one-hot.
    proba : array (N, K)
        Probabilities; of a single column, that of class 1. The confidence is the largest.
    bins : int
        How many, of equal width.

    Returns
    -------
    Reliability
        Counts, mean confidences and accuracies.

    Raises
    ------
    DataError
        If the arrays do not go together, or probabilities do not lie in [0, 1] or have another sum than 1.
    """
    if (bins := integer(bins, "reliability_table: bins")) > _MANY:
        raise OptionError(f"bins is {bins}; needed {_MANY} at most", where="reliability_table")
    p, y = _outputs(proba, "proba"), _classes(truth)
    if p.shape[1] == 1:
        p = np.concatenate([1.0 - p, p], axis=1)
    _check(p, y, "proba")
    if not np.isfinite(p).all():
        raise DataError("a probability is NaN or infinite; needed finite ones", where="reliability_table")
    if p.min() < 0 or p.max() > 1 + 1e-5:
        msg = f"proba reach from {p.min():.3g} to {p.max():.3g}; needed probabilities, 0 to 1 (predict_proba)"
        raise DataError(msg, where="reliability_table")
    sums = p.sum(axis=1)
    worst = int(np.abs(sums - 1.0).argmax())
    if abs(sums[worst] - 1.0) > _ROUNDED:
        msg = f"row {worst} of proba has the sum {sums[worst]:.3g}; needed 1: classes exclude one another"
        raise DataError(msg, where="reliability_table")
    sure, right = p.max(axis=1), (p.argmax(axis=1) == y).astype(float)
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    some = np.where(count > 0, count, np.nan)
    confidence, accuracy = (np.bincount(place, a, minlength=bins) / some for a in (sure, right))
    return Reliability(np.linspace(0.0, 1.0, bins + 1), count, confidence, accuracy)


def expected_calibration_error(truth: Any, proba: Any, /, *, bins: int = 15) -> float:
    r"""Return how far confidence and accuracy lie apart.

    .. math:: \mathrm{ECE} = \sum_{b=1}^{B} \frac{|I_b|}{N}\,
              \big|\mathrm{acc}(I_b) - \mathrm{conf}(I_b)\big|

    where I_b are the images whose largest probability lies in ((b - 1)/B, b/B].

    Parameters
    ----------
    truth : array (N,) or (N, K)
        Classes, or one-hot.
    proba : array (N, K)
        Probabilities; of a single column, that of class 1.
    bins : int
        B.

    Returns
    -------
    float
        A fraction; 0 is calibrated.

    Raises
    ------
    DataError
        If the arrays do not go together, or probabilities do not lie in [0, 1].

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", 2017, equation 3.
    """
    return reliability_table(truth, proba, bins=bins).expected_error


@named("fit_temperature")
def fit_temperature(logits: Any, y: Any, /) -> float:
    r"""Return the temperature at which probabilities fit the labels best.

    .. math:: T = \arg\min_{T > 0}\; -\frac{1}{N} \sum_n \log \mathrm{softmax}(z_n / T)_{y_n}

    The sum is convex in 1/T: where its derivative, the mean of :math:`\sum_k p_{nk} z_{nk} - z_{n y_n}`, is
    zero is found by halving. Where every image is right there is no minimum (T would be 0): then T is that
    at which the mean confidence is (N + 1)/(N + 2), what Laplace's rule of succession expects after N
    successes.

    Parameters
    ----------
    logits : array (N, K)
        z, from images that the model was not trained on; a single column is the logit of class 1 of two.
    y : array (N,) or (N, K)
        Classes, or one-hot.

    Returns
    -------
    float
        T, positive and finite; 1 where logits do not differ.

    Raises
    ------
    DataError
        If the arrays do not go together, or a logit is not finite.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", 2017, section 4.2.
    """
    z, labels = _outputs(logits, "logits"), _classes(y)
    if z.shape[1] == 1:
        z = np.concatenate([np.zeros_like(z), z], axis=1)
    _check(z, labels, "logits")
    if not np.isfinite(z).all():
        raise DataError("a logit is NaN or infinite; needed finite ones", where="fit_temperature")
    z = z - z.max(axis=1, keepdims=True)
    spread = float(-z.mean())
    if spread == 0.0:
        return 1.0
    rows = np.arange(len(z))
    true = z[rows, labels]
    all_right = bool(np.all(true == 0.0))
    sure = float(np.mean(1.0 / np.sum(z == 0.0, axis=1)))  # the confidence as T comes to 0: 1 but for ties
    target = sure * (len(z) + 1) / (len(z) + 2) if all_right else float(np.mean(true))

    def too_unsure(inverse: float) -> bool:
        e = np.exp(inverse * z)
        grows = 1.0 / e.sum(axis=1) if all_right else np.sum(e * z, axis=1) / e.sum(axis=1)
        return bool(np.mean(grows) < target)

    low, high = -np.log(spread * _RANGE), -np.log(spread / _RANGE)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if too_unsure(float(np.exp(middle))) else (low, middle)
    return float(np.exp(-0.5 * (low + high)))


@named("calibrate")
def calibrate(model: Model, x: Any, y: Any, /, *, batch_size: int = 256) -> Model:
    r"""Return a copy of a model whose probabilities are :math:`\mathrm{softmax}(z / T)`, T fitted to data.

    The weights and biases that make the logits z are divided by T, so that the copy is saved, compiled and
    moved like any model. Its classes are the same; its logits are those of `model` over T.

    Parameters
    ----------
    model : Model
        Ends in logits, or in Softmax, LogSoftmax, or the Sigmoid of a single output.
    x : array (N, ...)
        Inputs that it was not trained on, of any backend.
    y : array (N,) or (N, K)
        Their classes, or one-hot.
    batch_size : int
        How many inputs at a time.

    Returns
    -------
    Model
        The copy.

    Raises
    ------
    OptionError
        If the logits are not linear in the parameters of the model's last layer that has some, or the model
        was trained by a loss without classes.

    See Also
    --------
    fit_temperature : T alone.
    """
    batch_size = integer(batch_size, "calibrate: batch_size")
    logits = _logits(model, x, batch_size)
    temperature = fit_temperature(logits, y)
    twin = model.copy()
    last = next((leaf for leaf in reversed([*twin.flat]) if leaf.parameters()), None)
    for parameter in last.parameters().values() if last else ():
        parameter.value = parameter.value / temperature
    some = read_slice(from_list(x), 0, min(len(logits), batch_size))
    gap = np.abs(_logits(twin, some, batch_size) * temperature - logits[:batch_size]).max()
    if not gap <= 1e-3 * np.abs(logits).max():
        what = last.label if last else "none of its layers"
        msg = f"parameters of {what} divided by T do not give logits divided by T; needed a Dense at the end"
        msg += f", not {twin.flat[-1].label}"
        raise OptionError(msg, where="calibrate")
    return twin


def _logits(model: Model, x: Any, batch_size: int) -> np.ndarray:
    """Return the logits (N, K) on the host, in float64."""
    single = model.output_shape == (1,)
    loss: losses.Loss = losses.BinaryCrossEntropy() if single else losses.CrossEntropy()
    many_sigmoids = not single and model.loss is not None and model.loss.link == "sigmoid"
    head, probabilities = model.head(loss)
    numbers = model.loss is not None and model.loss.link is None and not ending_of(model.flat[-1])
    if len(model.output_shape) != 1 or probabilities or many_sigmoids or numbers:
        msg = f"its outputs {model.output_shape} are not the logits of classes that exclude one another"
        raise OptionError(msg, where="calibrate")
    x, parts = from_list(x), []
    if not getattr(x, "shape", None) or not x.shape[0]:
        model.accept(x)  # refuses it
    for i in range(0, x.shape[0], batch_size):
        part = head.forward(model.accept(read_slice(x, i, min(i + batch_size, x.shape[0]))))[0]
        parts.append(np.asarray(model.backend.to_numpy(part), np.float64))
    return np.concatenate(parts)


def _host(a: Any) -> np.ndarray:
    a = from_list(a, "calibration")
    return a if isinstance(a, np.ndarray) else plugin_of(a).to_numpy(a)


def _outputs(a: Any, what: str) -> np.ndarray:
    """Return outputs (N, K) in float64."""
    a = _host(a)
    if a.dtype.kind not in "biuf":
        raise DTypeError(f"{what} have dtype {a.dtype}; needed real numbers", where="calibration")
    a = a[:, None] if a.ndim == 1 else a
    if a.ndim != 2 or 0 in a.shape:
        raise DataError(f"{what} have shape {a.shape}; needed (N, K)", where="calibration")
    return np.asarray(a, np.float64)


def _classes(labels: Any) -> np.ndarray:
    a = _host(labels)
    if a.dtype.kind not in "biuf" or (a.dtype.kind == "f" and not np.all(a == np.rint(a))):
        msg = f"labels have shape {a.shape} and dtype {a.dtype}, not all integers; needed classes, from 0 up"
        raise DataError(msg, where="calibration")
    return (a.argmax(axis=1) if a.ndim == 2 and a.shape[1] > 1 else a.reshape(-1)).astype(np.int64)


def _check(outputs: np.ndarray, y: np.ndarray, what: str) -> None:
    k = outputs.shape[1]
    if len(outputs) != len(y) or y.min() < 0 or y.max() >= k:
        reach = f"{len(y)} labels from {y.min()} to {y.max()}" if len(y) else "no labels"
        msg = f"there are {len(outputs)} rows of {k} {what} and {reach}; "
        msg += f"needed a label for each, 0 to {k - 1}"
        raise DataError(msg, where="calibration")
