"""A data set: two pairs of arrays and the names of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["DataSet", "Split"]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and their labels; ``x, y = data.train`` takes them apart.

    Parameters
    ----------
    x : array
        Shape (N, C, H, W), uint8 or float32 in [0, 1].
    y : array
        Shape (N,), int64: the number of each image's class.
    """

    x: Any
    y: Any

    def __iter__(self) -> Iterator[Any]:
        """Yield x, then y."""
        return iter((self.x, self.y))

    def __repr__(self) -> str:
        """Return the shapes and dtypes."""
        x, y = (f"{tuple(a.shape)} {a.dtype}" for a in self)
        return f"Split(x: {x}, y: {y})"


@dataclass(frozen=True, eq=False)
class DataSet:
    """A named data set.

    Parameters
    ----------
    name : str
        What `load` was asked for.
    train, test : Split
        Images to learn from, and images that were held out.
    classes : tuple of str
        Name of each class, by label.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
