"""The updates of the optimizers on flat vectors, in one pass, and the search for what is not finite."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import types

from xcnn_numpy.compiler import compiled_function
from xcnn_numpy.memory import fresh, plain

__all__ = ["UPDATES", "all_finite"]


def _sgd(w, dw, w2, lr):
    for i in range(w.size):
        w2[i] = w[i] - lr * dw[i]


def _momentum(w, dw, v, w2, v2, lr, momentum, ahead):
    for i in range(w.size):
        a = momentum * v[i] + dw[i]
        v2[i] = a
        w2[i] = w[i] - lr * (dw[i] + momentum * a if ahead else a)


def _adagrad(w, dw, s, w2, s2, lr, eps):
    for i in range(w.size):
        a = s[i] + dw[i] * dw[i]
        s2[i] = a
        w2[i] = w[i] - lr * dw[i] / (math.sqrt(a) + eps)


def _rmsprop(w, dw, s, w2, s2, lr, alpha, rest, eps):
    for i in range(w.size):
        a = alpha * s[i] + rest * dw[i] * dw[i]
        s2[i] = a
        w2[i] = w[i] - lr * dw[i] / (math.sqrt(a) + eps)


def _adam(w, dw, m, v, w2, m2, v2, lr, beta1, rest1, beta2, rest2, eps, c1, c2):
    for i in range(w.size):
        a = beta1 * m[i] + rest1 * dw[i]
        b = beta2 * v[i] + rest2 * dw[i] * dw[i]
        m2[i] = a
        v2[i] = b
        w2[i] = w[i] - lr * (a / c1) / (math.sqrt(b / c2) + eps)


FUNCTIONS = {_sgd: (3, 1), _momentum: (5, 3), _adagrad: (5, 2), _rmsprop: (5, 4), _adam: (7, 8)}


def compile_for(dtype: np.dtype[Any], /) -> None:
    """Compile the updates for numbers of `dtype`."""
    for function in FUNCTIONS:
        _compiled(function, dtype)


@cache
def _compiled(function: Any, dtype: np.dtype[Any]) -> Any:
    number = getattr(types, dtype.name)
    vectors, scalars = FUNCTIONS[function]
    kinds = [types.Array(number, 1, "C")] * vectors + [number] * scalars
    return compiled_function(function, types.void(*kinds))


def _apply(function: Any, w: Any, dw: Any, slots: Any, *numbers: float) -> tuple[Any, tuple[Any, ...]]:
    """Run one update; the numbers become the dtype of w."""
    run = _compiled(function, w.dtype)
    new = [fresh(w.shape, w.dtype) for _ in range(1 + len(slots))]
    run(*[plain(a) for a in (w, dw, *slots)], *new, *[w.dtype.type(x) for x in numbers])
    return new[0], tuple(new[1:])


def sgd(self: Any, w: Any, dw: Any, slots: Any, scalars: Any) -> Any:
    """Return what `xcnn.optim.SGD.update` returns."""
    (lr,) = scalars
    if not self.momentum:
        return _apply(_sgd, w, dw, (), lr)
    return _apply(_momentum, w, dw, slots, lr, self.momentum, float(self.nesterov))


def adagrad(self: Any, w: Any, dw: Any, slots: Any, scalars: Any) -> Any:
    """Return what `xcnn.optim.Adagrad.update` returns."""
    return _apply(_adagrad, w, dw, slots, scalars[0], self.eps)


def rmsprop(self: Any, w: Any, dw: Any, slots: Any, scalars: Any) -> Any:
    """Return what `xcnn.optim.RMSprop.update` returns."""
    return _apply(_rmsprop, w, dw, slots, scalars[0], self.alpha, 1 - self.alpha, self.eps)


def adam(self: Any, w: Any, dw: Any, slots: Any, scalars: Any) -> Any:
    """Return what `xcnn.optim.Adam.update` returns."""
    lr, c1, c2 = scalars
    rest = 1 - self.beta1, 1 - self.beta2
    return _apply(_adam, w, dw, slots, lr, self.beta1, rest[0], self.beta2, rest[1], self.eps, c1, c2)


def all_finite(a: Any, /) -> Any:
    """Return whether all numbers are finite."""
    with np.errstate(all="ignore"):
        return np.isfinite(np.dot(a, a)) or bool(np.isfinite(a).all())


UPDATES = {"SGD": sgd, "Adagrad": adagrad, "RMSprop": rmsprop, "Adam": adam, "AdamW": adam}
