"""What the tests of ops share: running an op on a backend, differences, and messages."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tests.ops.draws import Case
from tests.tolerances import DIFFERENCES
from xcnn import ops

STEP = 1e-4  # of the differences: errors of order STEP^4, rounding of order 1e-16 / STEP


def arrays_on(backend: Any, case: Case, /) -> list[Any]:
    """Return fresh copies of the arrays of `case` on `backend`."""
    return [None if a is None else backend.asarray(a.copy()) for a in case.arrays]


def forward(backend: Any, name: str, case: Case, /) -> tuple[list[np.ndarray], Any]:
    """Return the outputs of an op on the host (batch_norm has three), and saved."""
    y, saved = getattr(ops, name)(*arrays_on(backend, case), **case.options)
    outputs = y if isinstance(y, tuple) else (y,)
    return [backend.to_numpy(a) for a in outputs], saved


def upstream(y: np.ndarray, /, seed: int = 0) -> np.ndarray:
    """Return a random gradient with respect to y, of its shape and dtype."""
    return np.asarray(np.random.default_rng(seed).normal(size=y.shape), dtype=y.dtype)


def backward(backend: Any, saved: Any, dy: np.ndarray, /) -> list[np.ndarray | None]:
    """Return the gradients on the host."""
    gradients = saved.backward(backend.asarray(dy.copy()))
    return [None if g is None else backend.to_numpy(g) for g in gradients]


def assert_gradients_match_differences(backend: Any, name: str, case: Case, /, seed: int = 0) -> None:
    """Compare each gradient with the slope of sum(dy y) along a random direction, in float64.

    The slope is the central difference of fourth order,
    (8 (L(h) - L(-h)) - (L(2h) - L(-2h))) / 12h.
    """
    rng = np.random.default_rng(seed)
    outputs, saved = forward(backend, name, case)
    dy = upstream(outputs[0], seed)
    gradients = backward(backend, saved, dy)
    assert len(gradients) == len(case.arrays)
    for k, (a, gradient) in enumerate(zip(case.arrays, gradients, strict=True)):
        if a is None or k >= case.differentiable:
            assert gradient is None, f"argument {k} has no gradient"
            continue
        assert gradient is not None, f"argument {k} has a gradient"
        assert gradient.shape == a.shape
        direction = rng.normal(size=a.shape)

        def loss(step: float, k: int = k, direction: np.ndarray = direction) -> float:
            moved = list(case.arrays)
            moved[k] = moved[k] + step * direction
            y = forward(backend, name, Case(tuple(moved), case.options))[0][0]
            return float(np.sum(dy * y))

        slope = (8 * (loss(STEP) - loss(-STEP)) - (loss(2 * STEP) - loss(-2 * STEP))) / (12 * STEP)
        exact = float(np.sum(gradient * direction))
        scale = float(np.sum(np.abs(dy * outputs[0])) + np.sum(np.abs(gradient * direction)))
        allowed = DIFFERENCES.rtol * abs(slope) + DIFFERENCES.atol * scale
        assert abs(slope - exact) <= allowed, f"argument {k}: gradient {exact}, differences {slope} ({case})"


def says(*parts: str) -> str:
    """Return a pattern that matches a message in which every part occurs, in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(part)})" for part in parts)
