"""The numbers of a step that change from one to the next, where a replayed CUDA graph reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy

from xcnn_cupy.source import launch

__all__ = ["Scalars"]

SENT = 8  # at most, by one launch


class Scalars:
    """Numbers on the device: what the optimizers need for a step, and its number.

    Parameters
    ----------
    counts : sequence of int
        How many each segment's optimizer needs.
    dtype : cupy.dtype
        Of those numbers.

    Attributes
    ----------
    t : cupy.ndarray ()
        The number of the step, int64.
    parts : list of tuple of cupy.ndarray ()
        What each segment's optimizer needs.
    """

    def __init__(self, counts: Sequence[int], dtype: Any) -> None:
        numbers = cupy.empty(max(sum(counts), 1), dtype)
        self.t = cupy.empty((), cupy.int64)
        self.parts = []
        for i, count in enumerate(counts):
            start = sum(counts[:i])
            self.parts.append(tuple([numbers[j, ...] for j in range(start, start + count)]))
        self._kind = numbers.dtype.name
        self._places = [numbers[i : i + SENT] for i in range(0, numbers.size, SENT)]

    def send(self, t: int, parts: Sequence[Sequence[float]], /) -> None:
        """Write a step's numbers, in the order of what is launched on the current stream.

        Parameters
        ----------
        t : int
            The number of the step.
        parts : sequence of tuple of float
            What each segment's optimizer needs.
        """
        given = [number for part in parts for number in part]
        for i, place in enumerate(self._places):
            numbers = given[SENT * i : SENT * (i + 1)]
            rest = [0.0] * (SENT - len(numbers))
            to = self.t if i == 0 else None
            sent = place, len(numbers), *numbers, *rest, to, t
            launch("scalars", self._kind, "put_scalars", 1, *sent, block=32)
