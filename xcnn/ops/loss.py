"""Losses on classes: one number for a batch, the mean over it."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import DTypeError, ShapeError, number
from xcnn.ops.op import Op, check_floating
from xcnn.ops.softmax import shifted
from xcnn.ops.target import as_binary, as_target, check_outputs, one_hot, size_of
from xcnn.types import Array

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_probabilities",
    "cross_entropy",
    "cross_entropy_probabilities",
]


def _weigh(
    z: Array, labels: Array, class_weights: Array | None, label_smoothing: float, name: str
) -> tuple[Any, Any]:
    """Return the smoothed and weighted target w_k t'_nk (N, K), and the sum of w_k t_nk that divides."""
    xp = array_namespace(z)
    needed = "0 <= label_smoothing < 1"
    label_smoothing = number(label_smoothing, "label_smoothing", needed, lambda a: 0 <= a < 1)
    n, k = z.shape
    if k == 1 and labels.ndim == 1 and not xp.isdtype(labels.dtype, ("bool", "integral")):
        msg = f"labels have dtype {labels.dtype}; needed an integer dtype (classes)"
        raise DTypeError(msg)
    if labels.ndim == 1 and labels.shape[0] != n:
        msg = f"labels have shape {tuple(labels.shape)}, {name} {tuple(z.shape)}; needed ({n},)"
        raise ShapeError(msg)
    t = as_target(z, labels, name) if k > 1 or labels.ndim != 1 else one_hot(labels, 1, z.dtype)
    total: Any = n if class_weights is None else None
    if class_weights is not None:
        if class_weights.shape != (k,):
            msg = f"class_weights has shape {tuple(class_weights.shape)}; needed ({k},)"
            raise ShapeError(msg)
        check_floating(xp, z, class_weights, names=f"{name} class_weights")
        total, tiny = xp.sum(t * class_weights), xp.finfo(z.dtype).smallest_normal
        total = total + tiny * xp.astype(xp.abs(total) < tiny, z.dtype)  # 0 / 0 is 0
    if label_smoothing:
        t = (1 - label_smoothing) * t + label_smoothing / k
    return (t if class_weights is None else t * class_weights), total


@Op
def cross_entropy(
    z: Array, labels: Array, class_weights: Array | None = None, /, *, label_smoothing: float = 0.0
) -> tuple[Any, Any]:
    r"""Cross-entropy of logits: softmax and the negative logarithm in one.

    .. math:: L = -\frac{\sum_{nk} w_k t'_{nk} \log \mathrm{softmax}(z)_{nk}}{\sum_{nk} w_k t_{nk}},
              \qquad t' = (1 - \epsilon)\, t + \epsilon / K

    Parameters
    ----------
    z : array (N, K)
        Logits, one per class.
    labels : array (N,) of integers, or (N, K)
        Classes, or the probabilities t (one-hot).
    class_weights : array (K,), optional
        w; all 1 by default.
    label_smoothing : float
        ε, a fraction.

    Returns
    -------
    loss : array ()
        Finite for all finite logits.
    saved : Saved
        Its ``backward(dy)`` gives (dz, None, None).

    Raises
    ------
    ShapeError, DTypeError, DataError
        If labels do not fit the logits.

    References
    ----------
    Szegedy et al., "Rethinking the Inception architecture", 2016, section 7 (label smoothing).
    """
    xp = check_outputs(z, "z", 2)
    target, total = _weigh(z, labels, class_weights, label_smoothing, "z")
    z, e = shifted(z, 1)
    norm = xp.sum(e, axis=1, keepdims=True)
    loss = -xp.sum(target * (z - xp.log(norm))) / total
    return loss, (e / norm, target, total)


@cross_entropy.gradient
def cross_entropy_gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, None, None]:
    """dz = (softmax(z) times the row's weight - the weighted target) / total."""
    p, target, total = values
    xp = array_namespace(p)
    return (p * xp.sum(target, axis=1, keepdims=True) - target) * (dy / total), None, None


def _floored(p: Array, /) -> Any:
    """Return p, at least the smallest normal number: its logarithm and its inverse are finite."""
    xp = array_namespace(p)
    return xp.maximum(p, xp.finfo(p.dtype).smallest_normal)


@Op
def cross_entropy_probabilities(
    p: Array, labels: Array, class_weights: Array | None = None, /, *, label_smoothing: float = 0.0
) -> tuple[Any, Any]:
    r"""Cross-entropy of probabilities, for models that end in them.

    .. math:: L = -\frac{\sum_{nk} w_k t'_{nk} \log \max(p_{nk}, \text{tiny})}{\sum_{nk} w_k t_{nk}}

    Parameters
    ----------
    p : array (N, K)
        Probabilities.
    labels : array (N,) of integers, or (N, K)
        Classes, or the probabilities t (one-hot).
    class_weights : array (K,), optional
        w; all 1 by default.
    label_smoothing : float
        ε, a fraction.

    Returns
    -------
    loss : array ()
        Finite for all probabilities, 0 included.
    saved : Saved
        Its ``backward(dy)`` gives (dp, None, None).

    Raises
    ------
    ShapeError, DTypeError, DataError
        If labels do not fit the probabilities.
    """
    xp = check_outputs(p, "p", 2)
    target, total = _weigh(p, labels, class_weights, label_smoothing, "p")
    p = _floored(p)
    return -xp.sum(target * xp.log(p)) / total, (p, target, total)


@cross_entropy_probabilities.gradient
def cross_entropy_probabilities_gradient(
    dy: Any, values: Any, needs: tuple[bool, ...]
) -> tuple[Any, None, None]:
    """dp = -target / p / total."""
    p, target, total = values
    return -(target / total) / p * dy, None, None


@Op
def binary_cross_entropy(z: Array, labels: Array, /) -> tuple[Any, Any]:
    r"""Binary cross-entropy of logits: sigmoid and the negative logarithm in one, averaged over all outputs.

    .. math:: L = \frac{1}{M} \sum_m \max(z_m, 0) - z_m t_m + \log(1 + e^{-|z_m|})

    Parameters
    ----------
    z : array (N,), (N, 1) or (N, K)
        Logits: one output, or one per class.
    labels : array (N,) or like z
        0 and 1; or integers (N,) that name the class of K.

    Returns
    -------
    loss : array ()
        Finite for all finite logits.
    saved : Saved
        Its ``backward(dy)`` gives (dz, None).

    Raises
    ------
    ShapeError, DTypeError, DataError
        If labels do not fit the logits.
    """
    xp = check_outputs(z, "z")
    t = as_binary(z, labels)
    e = xp.exp(-xp.abs(z))
    loss = xp.mean(xp.maximum(z, 0.0) - z * t + xp.log1p(e))
    return loss, (xp.exp(xp.minimum(z, 0.0)) / (1.0 + e) - t)


@binary_cross_entropy.gradient
def binary_cross_entropy_gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, None]:
    """dz = (σ(z) - t) / M."""
    return values * (dy / size_of(values)), None


@Op
def binary_cross_entropy_probabilities(p: Array, labels: Array, /) -> tuple[Any, Any]:
    r"""Binary cross-entropy of probabilities, averaged over all outputs.

    .. math:: L = -\frac{1}{M} \sum_m t_m \log \max(p_m, \text{tiny})
              + (1 - t_m) \log \max(1 - p_m, \text{tiny})

    Parameters
    ----------
    p : array (N,), (N, 1) or (N, K)
        Probabilities.
    labels : array (N,) or like p
        0 and 1; or integers (N,) that name the class of K.

    Returns
    -------
    loss : array ()
        Finite for all probabilities, 0 and 1 included.
    saved : Saved
        Its ``backward(dy)`` gives (dp, None).

    Raises
    ------
    ShapeError, DTypeError, DataError
        If labels do not fit the probabilities.
    """
    xp = check_outputs(p, "p")
    t = as_binary(p, labels, "p")
    yes, no = _floored(p), _floored(1.0 - p)
    return -xp.mean(t * xp.log(yes) + (1.0 - t) * xp.log(no)), (yes, no, t)


@binary_cross_entropy_probabilities.gradient
def binary_cross_entropy_probabilities_gradient(
    dy: Any, values: Any, needs: tuple[bool, ...]
) -> tuple[Any, None]:
    """dp = ((1 - t)/(1 - p) - t/p) / M."""
    yes, no, t = values
    m = size_of(t)
    return ((1.0 - t) / m / no - t / m / yes) * dy, None
