"""Normalisation."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import DataError, OptionError, ShapeError, number
from xcnn.ops.op import Op, check_floating
from xcnn.types import Array

__all__ = ["batch_norm", "group_norm", "layer_norm", "standardize"]


def _check_channels(x: Array) -> None:
    if x.ndim not in (2, 4):
        msg = f"x has shape {tuple(x.shape)}; needed (N, C, H, W) or (N, C)"
        raise ShapeError(msg)


def _check(x: Array, others: dict[str, Array | None], shape: tuple[int, ...], eps: float) -> None:
    for name, a in others.items():
        if a is not None and a.shape != shape:
            msg = f"{name} has shape {tuple(a.shape)}; needed {shape} for x of shape {tuple(x.shape)}"
            raise ShapeError(msg)
    if 0 in x.shape:
        msg = f"x is empty, its shape {tuple(x.shape)}; needed at least one image"
        raise DataError(msg)
    number(eps, "eps", "a positive number", lambda e: e > 0)
    check_floating(array_namespace(x), x, *others.values(), names=" ".join(["x", *others]))


@Op
def standardize(x: Array, mean: Array, std: Array, /) -> tuple[Any, Any]:
    r"""Shift and scale each channel by fixed statistics: :math:`y = (x - \mu_c) / \sigma_c`.

    Parameters
    ----------
    x : array (N, C, ...)
        Inputs.
    mean, std : array (C,)
        Of each channel.

    Returns
    -------
    y : array like x
        Outputs.
    saved : Saved
        Its ``backward(dy)`` gives (dx, None, None).

    Raises
    ------
    ShapeError
        If ranks or channels do not fit.
    """
    xp = array_namespace(x)
    if x.ndim < 2:
        msg = f"x has shape {tuple(x.shape)}; needed (N, C, ...)"
        raise ShapeError(msg)
    _check(x, {"mean": mean, "std": std}, (x.shape[1],), 1.0)
    shape = (1, -1, *[1] * (x.ndim - 2))
    std = xp.reshape(std, shape)
    return (x - xp.reshape(mean, shape)) / std, std


@standardize.gradient
def standardize_gradient(dy: Array, std: Array, needs: tuple[bool, ...]) -> tuple[Any, None, None]:
    """dx = dy / std."""
    return dy / std, None, None


def _standardize(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Any, Any, Any, Any]:
    """Return (x - mean)/sqrt(var + eps), 1/sqrt(var + eps), mean and biased variance over `axes`."""
    xp = array_namespace(x)
    mean = xp.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    var = xp.mean(centred * centred, axis=axes, keepdims=True)  # in two passes: exact for large means
    scale = 1.0 / xp.sqrt(var + eps)
    return centred * scale, scale, mean, var


def _standardize_gradient(g: Array, z: Array, scale: Array, axes: tuple[int, ...]) -> Any:
    """Return dx = scale (g - mean(g) - z mean(g z)) for the gradient g of z."""
    xp = array_namespace(g)
    return scale * (g - xp.mean(g, axis=axes, keepdims=True) - z * xp.mean(g * z, axis=axes, keepdims=True))


@Op
def batch_norm(
    x: Array,
    w: Array,
    b: Array,
    mean: Array | None = None,
    var: Array | None = None,
    /,
    *,
    eps: float = 1e-5,
) -> tuple[Any, Any]:
    r"""Standardise each channel over the batch, then scale and shift it.

    .. math:: y = w_c \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + b_c

    with the mean and the biased variance of the batch, or the given ones.

    Parameters
    ----------
    x : array (N, C, H, W) or (N, C)
        Inputs.
    w, b : array (C,)
        Scale and shift.
    mean, var : array (C,), optional
        Running statistics (evaluation); the batch's own where absent (training).
    eps : float
        Added to the variance.

    Returns
    -------
    (y, mean, var) : tuple of array
        Outputs like x; the statistics used, (C,) each.
    saved : Saved
        Its ``backward(dy)``, with dy for y alone, gives (dx, dw, db, None, None).

    Raises
    ------
    ShapeError
        If ranks or channels do not fit.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", 2015, algorithm 1.
    """
    xp = array_namespace(x)
    _check_channels(x)
    _check(x, {"w": w, "b": b, "mean": mean, "var": var}, (x.shape[1],), eps)
    if (mean is None) != (var is None):
        msg = "got one of mean and var; needed both (evaluation) or none (training)"
        raise OptionError(msg)
    axes = (0, 2, 3)[: x.ndim - 1]
    shape = (1, -1, 1, 1)[: x.ndim]
    if mean is None or var is None:
        z, scale, mean, var = _standardize(x, axes, eps)
        mean, var, training = xp.reshape(mean, w.shape), xp.reshape(var, w.shape), True
    else:
        scale = xp.reshape(1.0 / xp.sqrt(var + eps), shape)
        z, training = (x - xp.reshape(mean, shape)) * scale, False
    w = xp.reshape(w, shape)
    return (z * w + xp.reshape(b, shape), mean, var), (z, scale, w, axes, training)


@batch_norm.gradient
def batch_norm_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """dw: the sum of dy z; db: the sum of dy; dx: through the statistics too, in training."""
    xp = array_namespace(dy)
    z, scale, w, axes, training = values
    dx = dw = db = None
    if needs[0]:
        dx = _standardize_gradient(dy * w, z, scale, axes) if training else dy * (w * scale)
    if needs[1]:
        dw = xp.sum(dy * z, axis=axes)
    if needs[2]:
        db = xp.sum(dy, axis=axes)
    return dx, dw, db, None, None


@Op
def group_norm(x: Array, w: Array, b: Array, /, *, groups: int, eps: float = 1e-5) -> tuple[Any, Any]:
    r"""Standardise groups of channels within each image, then scale and shift each channel.

    .. math:: y = w_c \frac{x - \mu_{ng}}{\sqrt{\sigma_{ng}^2 + \epsilon}} + b_c

    Parameters
    ----------
    x : array (N, C, H, W) or (N, C)
        Inputs.
    w, b : array (C,)
        Scale and shift.
    groups : int
        Number of groups of neighbouring channels; divides C.
    eps : float
        Added to the variance.

    Returns
    -------
    y : array like x
        Outputs.
    saved : Saved
        Its ``backward(dy)`` gives (dx, dw, db).

    Raises
    ------
    ShapeError
        If ranks or channels do not fit, or groups does not divide them.

    References
    ----------
    Wu and He, "Group normalization", 2018, equations 1 to 3.
    """
    xp = array_namespace(x)
    _check_channels(x)
    _check(x, {"w": w, "b": b}, (x.shape[1],), eps)
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1 or x.shape[1] % groups:
        msg = f"groups is {groups!r}; needed a positive divisor of the {x.shape[1]} channels"
        raise ShapeError(msg)
    shape = (1, -1, 1, 1)[: x.ndim]
    z, scale, _, _ = _standardize(xp.reshape(x, (x.shape[0], groups, -1)), (2,), eps)
    w = xp.reshape(w, shape)
    return xp.reshape(z, x.shape) * w + xp.reshape(b, shape), (z, scale, w)


@group_norm.gradient
def group_norm_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """dw: the sum of dy z; db: the sum of dy; dx: through the group's statistics."""
    xp = array_namespace(dy)
    z, scale, w = values
    axes = (0, 2, 3)[: dy.ndim - 1]
    dx = dw = db = None
    if needs[0]:
        dx = xp.reshape(_standardize_gradient(xp.reshape(dy * w, z.shape), z, scale, (2,)), dy.shape)
    if needs[1]:
        dw = xp.sum(dy * xp.reshape(z, dy.shape), axis=axes)
    if needs[2]:
        db = xp.sum(dy, axis=axes)
    return dx, dw, db


@Op
def layer_norm(x: Array, w: Array, b: Array, /, *, eps: float = 1e-5) -> tuple[Any, Any]:
    r"""Standardise each image over its last axes, then scale and shift each element.

    .. math:: y = w \frac{x - \mu_n}{\sqrt{\sigma_n^2 + \epsilon}} + b

    Parameters
    ----------
    x : array (N, ...)
        Inputs.
    w, b : array
        Scale and shift, of the shape of the last axes of x: those are standardised together.
    eps : float
        Added to the variance.

    Returns
    -------
    y : array like x
        Outputs.
    saved : Saved
        Its ``backward(dy)`` gives (dx, dw, db).

    Raises
    ------
    ShapeError
        If the shape of w or b is not that of the last axes of x.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", 2016, equation 3.
    """
    if not 0 < w.ndim < x.ndim:
        msg = f"w has shape {tuple(w.shape)}; needed that of the last axes of x, {tuple(x.shape)}"
        raise ShapeError(msg)
    _check(x, {"w": w, "b": b}, tuple(x.shape[x.ndim - w.ndim :]), eps)
    axes = tuple(range(x.ndim - w.ndim, x.ndim))
    z, scale, _, _ = _standardize(x, axes, eps)
    return z * w + b, (z, scale, w, axes)


@layer_norm.gradient
def layer_norm_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """dw: the sum of dy z over the batch; db: the sum of dy; dx: through the statistics."""
    xp = array_namespace(dy)
    z, scale, w, axes = values
    batch = tuple(range(dy.ndim - w.ndim))
    dx = dw = db = None
    if needs[0]:
        dx = _standardize_gradient(dy * w, z, scale, axes)
    if needs[1]:
        dw = xp.sum(dy * z, axis=batch)
    if needs[2]:
        db = xp.sum(dy, axis=batch)
    return dx, dw, db
