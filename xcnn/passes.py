"""What random layers draw from."""

from __future__ import annotations

from typing import Any

__all__ = ["Pass"]


class Pass:
    """One training pass: what random layers draw from.

    Parameters
    ----------
    seed : int
        Key of the random numbers.
    step : int or 0-d array
        Which.
    """

    __slots__ = ("_uses", "seed", "step")

    def __init__(self, seed: int = 0, step: Any = 0) -> None:
        self.seed, self.step = seed, step
        self._uses: dict[int, int] = {}

    def use(self, number: int, /) -> int:
        """Return how often layer `number` has drawn in this pass, and count one more.

        Parameters
        ----------
        number : int
            A layer's number.

        Returns
        -------
        int
            0 at the first use.
        """
        count = self._uses.get(number, 0)
        self._uses[number] = count + 1
        return count

    def __repr__(self) -> str:
        return f"Pass(seed={self.seed}, step={self.step})"
