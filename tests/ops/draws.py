"""What random cases of ops are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True, repr=False)
class Case:
    """One call of an op."""

    arrays: tuple[np.ndarray | None, ...]
    options: dict[str, Any] = field(default_factory=dict)
    differentiable: int = 1  # the first so many arrays have gradients

    def __repr__(self) -> str:
        """Show shapes and options: enough to see what is special about a failure."""
        shapes = ["None" if a is None else f"{a.dtype}{list(a.shape)}" for a in self.arrays]
        return f"Case({', '.join(shapes)}, {self.options})"

    def astype(self, dtype: str) -> Case:
        """Return the case with its floating arrays rounded to `dtype`."""
        arrays = [a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in self.arrays]
        return replace(self, arrays=tuple(arrays))


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of both signs in random order, no two closer than 0.01, none closer to 0 than 0.0025."""
    size = int(np.prod(shape))
    gap = max(0.01, min(0.1, 6 / max(size, 1)))
    return gap * np.reshape(rng.permutation(size) - size // 2 + 0.25, shape)


seeds = st.integers(0, 2**32 - 1)
batches = st.sampled_from((1, 2, 3, 5))
sides = st.tuples(st.integers(0, 2), st.integers(0, 2))


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Return (rows, columns)."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


def image(draw: Any, least: list[int], room: int = 4) -> tuple[int, int]:
    """Return (H, W) of at least `least`, and at most `room` more."""
    return tuple(draw(st.integers(max(1, k), max(1, k) + room)) for k in least)


def reach(size: tuple[int, int], dilation: tuple[int, int]) -> list[int]:
    """Return how many pixels a window spans along each axis."""
    return [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
