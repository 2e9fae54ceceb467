"""The nets, written once for both sides."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = ["IMAGE", "NETS", "Conv", "Dense", "Net", "Pool"]

IMAGE = (1, 28, 28)  # channels, rows, columns


class Conv(NamedTuple):
    """A convolution of stride 1 with biases, then ReLU."""

    filters: int
    size: int
    padding: int = 0


class Pool(NamedTuple):
    """The largest pixel of each window; windows do not overlap, the ragged edge is dropped."""

    size: int


class Dense(NamedTuple):
    """A linear map with biases, then an activation. The first flattens what it gets."""

    units: int
    activation: str | None = None


Net: TypeAlias = tuple[Conv | Pool | Dense, ...]

NETS: dict[str, Net] = {
    "A": (Conv(8, 3), Pool(2), Dense(10)),
    "B": (Conv(6, 5), Pool(2), Conv(6, 5), Pool(2), Dense(10)),
    "C": (Conv(6, 5), Pool(2), Conv(6, 5), Pool(2), Dense(16, "sigmoid"), Dense(10)),
    "D": (Conv(8, 3), Pool(2), Conv(8, 3), Pool(2), Dense(10)),
    "E": (Conv(10, 3), Pool(2), Conv(6, 3), Pool(2), Dense(18, "sigmoid"), Dense(10)),
    "F": (Conv(8, 3, 1), Pool(3), Conv(8, 3, 1), Pool(2), Dense(20, "sigmoid"), Dense(10)),
    "LeNet-5": (
        *(Conv(6, 5, 2), Pool(2), Conv(16, 5), Pool(2)),
        *(Dense(120, "relu"), Dense(84, "relu"), Dense(10)),
    ),
}
