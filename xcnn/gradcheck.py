"""Gradients against finite differences, for ops, layers, models and losses, a user's own included."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xcnn.backend import backend_of, plugin_of
from xcnn.data.rows import from_list
from xcnn.errors import DataError, DeviceMismatchError, DTypeError, GradientError, named, number
from xcnn.layer import Layer, Pass
from xcnn.layers.geometry import integer
from xcnn.losses import Loss
from xcnn.model import Model
from xcnn.ops import Op

__all__ = ["gradcheck"]

_STEP = 1e-6  # of the largest element: errors of differences are then about 1e-10
_TRIES = 8  # points near the given one, where that lies on a kink


def gradcheck(
    f: Any, /, *arrays: Any, seed: int = 0, tolerance: float = 1e-5, directions: int = 3, **options: Any
) -> float:
    r"""Compare the gradients of `f` with central differences along random directions, in float64.

    .. math:: \langle \nabla_a L, v \rangle \approx \frac{L(a + h v) - L(a - h v)}{2h},
              \qquad L = \langle r, f(a, \ldots) \rangle

    for each floating array a (inputs, and the parameters of a layer or model), random v and random r. Where
    the differences on both sides disagree, a lies on a kink (ReLU at 0, a tie of maxima): the arrays are
    moved a little and it is tried again.

    Parameters
    ----------
    f : Op, Layer, Model, Loss or callable
        An op, or a function like it that returns ``(y, saved)``; a layer, built or not; a model; a loss.
        A copy is used: nothing changes.
    *arrays : array
        What `f` takes: (x,) for a layer; (x,) or (x, labels) for a model.
    seed : int
        Of directions, of dropout and of first values.
    tolerance : float
        The largest relative error that passes.
    directions : int
        How many for each array.
    **options
        Given to an op.

    Returns
    -------
    float
        The largest relative error found.

    Raises
    ------
    GradientError
        If a gradient is wrong; the message names the array.
    """
    if not arrays:
        msg = "there are no arrays; needed what f takes"
        raise DTypeError(msg, where="gradcheck")
    with named("gradcheck"):
        directions = integer(directions, "gradcheck: directions")
        seed = integer(seed, "gradcheck: seed", 0)
        tolerance = number(tolerance, "tolerance", "a positive number", lambda a: a > 0)
        given = [a if a is None else _array(a) for a in arrays]
        for i, a in enumerate(given):
            if a is not None and 0 in a.shape:
                msg = f"array {i + 1} is empty, its shape {tuple(a.shape)}; needed one element at least"
                raise DataError(msg)
            if a is not None and plugin_of(a) is not plugin_of(given[0]):
                kinds = type(given[0]).__name__, type(a).__name__
                msg = f"the first array is a {kinds[0]}, array {i + 1} a {kinds[1]}; needed one kind"
                raise DeviceMismatchError(msg)
        return _worst(f, given, options, seed, tolerance, directions)


def _array(a: Any) -> Any:
    """Return an array, or numbers that are none, as one; refuse the rest."""
    if isinstance(a, (int, float)):
        return np.asarray(a)
    a = from_list(a)
    plugin_of(a)
    return a


def _worst(f: Any, arrays: Any, options: Any, seed: int, tolerance: float, directions: int) -> float:
    """Return the largest relative error of all gradients."""
    backend = backend_of(arrays[0])
    exact = [_float64(backend, a) for a in arrays]
    rng = np.random.default_rng(seed)
    label, names, run, points = _problem(f, exact, options, seed)
    if not any(_floating(backend, p) for p in points):
        msg = "none of the arrays is floating; needed one that has a gradient"
        raise DTypeError(msg, where=label)
    worst = 0.0
    for k, name in enumerate(names):
        if not _floating(backend, points[k]):
            continue
        for _ in range(directions):
            try:
                error = _compare(backend, run, points, k, rng)
            except GradientError as refused:
                refused.what = f"the gradient with respect to {name} {refused.what}"
                refused.where = label
                raise
            if error is None:
                continue
            if not error <= tolerance:
                msg = (
                    f"the gradient with respect to {name} is off by {error:.1e} of its size; "
                    f"needed {tolerance:.0e} at most"
                )
                raise GradientError(msg, where=label)
            worst = max(worst, error)
    return worst


Run = Callable[[list[Any]], tuple[Any, Callable[[Any], list[Any]]]]


def _floating(backend: Any, a: Any) -> bool:
    return a is not None and bool(backend.xp.isdtype(a.dtype, "real floating"))


def _float64(backend: Any, a: Any) -> Any:
    if a is None:
        return None
    if not hasattr(a, "dtype"):
        a = backend.asarray(a)
    return backend.asarray(a, "float64") if _floating(backend, a) else a


def _problem(f: Any, arrays: list[Any], options: Any, seed: int) -> tuple[str, list[str], Run, list[Any]]:
    """Return a label, the names of the points, a function of the points, and the points."""
    if isinstance(f, Layer):
        f = _twin(f, arrays[0], seed)
    if isinstance(f, Model):
        return _model_problem(f, arrays, seed)

    def run(points: list[Any]) -> tuple[Any, Callable[[Any], list[Any]]]:
        y, saved = f(*points, **options)
        y = y[0] if isinstance(y, tuple) else y
        return y, lambda dy: list(saved.backward(dy))

    label = f.name if isinstance(f, (Op, Loss)) else getattr(f, "__name__", "gradcheck")
    return label, [f"array {i + 1}" for i in range(len(arrays))], run, arrays


def _twin(layer: Layer, x: Any, seed: int) -> Model:
    """Return a model of a copy of `layer`, with its values if it is built."""
    source, make = layer, layer.maker
    memo = {} if make is None else {id(make): None, id(make.state): None}
    layer = copy.deepcopy(layer, memo)
    for part in [*_tree(layer)]:
        part._unbuild()
    model = Model([layer], x.shape[1:], seed=seed, dtype="float64", backend=backend_of(x), compile=False)
    if make is not None:
        for old, new in zip(_tree(source), _tree(layer), strict=True):
            for key, p in old.parameters().items():
                new.parameters()[key].value = p.value
    return model


def _tree(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children():
        yield from _tree(child)


def _model_problem(model: Model, arrays: list[Any], seed: int) -> tuple[str, list[str], Run, list[Any]]:
    """Return the problem of a model's inputs and parameters, through its loss if there are labels."""
    model = model.copy(backend=backend_of(arrays[0]), dtype="float64", precision="float32")
    state, parameters = model.state, model.parameters()
    labels = arrays[1] if len(arrays) > 1 else None

    def run(points: list[Any]) -> tuple[Any, Callable[[Any], list[Any]]]:
        state.arrays = arrays_before
        for p, value in zip(parameters.values(), points[1:], strict=True):
            p.value = value
        training = Pass(seed, 0)
        if labels is None:
            y, saved = model.forward(points[0], train=training)
            pull: Any = model.backward
        else:
            loss = model.loss
            if loss is None:
                msg = "labels came, but the model has no loss; needed model.loss"
                raise DTypeError(msg, where="gradcheck")
            head, probabilities = model.head(loss)
            z, saved = head.forward(points[0], train=training)
            y, of_loss = loss(z, labels, probabilities=probabilities)

            def through_loss(dy: Any, saved: Any) -> Any:
                return head.backward(of_loss.backward(dy)[0], saved)

            pull = through_loss

        def gradients(dy: Any) -> list[Any]:
            state.take_gradient()
            dx = pull(dy, saved)
            found = [dx, *[p.gradient for p in parameters.values()]]
            state.take_gradient()
            return [0.0 * p if g is None else g for p, g in zip(points, found, strict=True)]  # forgotten: 0

        return y, gradients

    arrays_before = state.arrays
    names = ["the input", *parameters]
    label = type(model.layers[0]).__name__ if len(model.layers) == 1 else "Model"
    return label, names, run, [arrays[0], *[p.value for p in parameters.values()]]


def _compare(backend: Any, run: Run, points: list[Any], k: int, rng: np.random.Generator) -> float | None:
    """Return the relative error of one directional derivative; None if `f` has no such gradient."""
    for _ in range(_TRIES):
        error, smooth = _difference(backend, run, points, k, rng)
        if error is None or smooth:
            return error
        points = [_nudged(backend, p, rng) if _floating(backend, p) else p for p in points]
    msg = f"does not exist at {_TRIES} points near the given one: the differences on both sides disagree"
    raise GradientError(msg)


def _largest(backend: Any, a: Any) -> float:
    return float(backend.xp.max(backend.xp.abs(a)))


def _random(backend: Any, like: Any, rng: np.random.Generator) -> Any:
    return backend.asarray(rng.normal(size=tuple(like.shape)), "float64")


def _nudged(backend: Any, a: Any, rng: np.random.Generator) -> Any:
    """Return `a` moved by a thousandth of its size."""
    return a + 1e-3 * max(_largest(backend, a), 1.0) * _random(backend, a, rng)


def _difference(
    backend: Any, run: Run, points: list[Any], k: int, rng: np.random.Generator
) -> tuple[float | None, bool]:
    """Return the relative error along a random direction, and whether both sides agree there."""
    xp, a = backend.xp, points[k]
    v = _random(backend, a, rng)
    h = _STEP * max(_largest(backend, a), 1.0) / _largest(backend, v)
    y, pull = run(points)
    r = _random(backend, y, rng)
    gradients = pull(r)
    if len(gradients) < len(points):
        msg = f"is not among the {len(gradients)} gradients; needed one for each of {len(points)} arrays"
        raise GradientError(msg)
    found = gradients[k]
    if found is None:
        return None, True
    if tuple(found.shape) != tuple(a.shape):
        msg = f"has shape {tuple(found.shape)}; needed {tuple(a.shape)}"
        raise GradientError(msg)
    down, here, up = (
        float(xp.sum(run([*points[:k], a + shift * v, *points[k + 1 :]])[0] * r)) for shift in (-h, 0.0, h)
    )
    left, right = (here - down) / h, (up - here) / h
    size = max(abs(left), abs(right), 1e-3 * float(xp.sqrt(xp.sum(r * r))), 1e-12)
    error = abs(float(xp.sum(found * v)) - (up - down) / (2 * h)) / size
    return error, abs(right - left) < 1e-3 * size
