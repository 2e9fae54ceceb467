"""The nets, written once for both sides."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, Union

__all__ = [
    "LARGE",
    "NETS",
    "Conv",
    "Dense",
    "GlobalPool",
    "Net",
    "Part",
    "Parts",
    "Pool",
    "Residual",
    "normed",
]

DIGIT = (1, 28, 28)  # channels, rows, columns
PHOTO = (3, 32, 32)


class Conv(NamedTuple):
    """A convolution with biases or, with `norm`, without them and batch norm after it; then an activation."""

    filters: int
    size: int
    padding: int = 0
    stride: int = 1
    groups: int = 1
    norm: bool = False
    activation: str | None = "relu"


class Pool(NamedTuple):
    """The largest pixel of each window; windows do not overlap, the ragged edge is dropped."""

    size: int


class GlobalPool(NamedTuple):
    """The mean of each feature map."""


class Dense(NamedTuple):
    """A linear map with biases, then an activation. The first flattens what it gets."""

    units: int
    activation: str | None = None


class Residual(NamedTuple):
    """The body's outputs plus x, or plus a shortcut's outputs where shapes change; then ReLU."""

    body: Parts
    shortcut: Parts = ()


Part: TypeAlias = Union[Conv, Pool, GlobalPool, Dense, Residual]  # noqa: UP007 (Residual is not complete)
Parts: TypeAlias = tuple[Part, ...]


class Net(NamedTuple):
    """What a net is made of, the images that it sees, and how many at a time unless told otherwise."""

    image: tuple[int, int, int]
    parts: Parts
    batch: int = 64


def normed(parts: Parts, /) -> bool:
    """Return whether there is a batch norm.

    Parameters
    ----------
    parts : tuple
        Of a net.

    Returns
    -------
    bool
        True for the deep nets.
    """
    return any(
        part.norm if isinstance(part, Conv) else isinstance(part, Residual) and normed(part.body)
        for part in parts
    )


def _conv(filters: int, stride: int = 1, activation: str | None = "relu") -> Conv:
    return Conv(filters, 3, 1, stride, norm=True, activation=activation)


def _block(channels: int, filters: int, stride: int) -> Residual:
    """Return two convolutions and the way around them: x itself, or a projection where its shape changes."""
    projection = (Conv(filters, 1, stride=stride, norm=True, activation=None),)
    body = (_conv(filters, stride), _conv(filters, activation=None))
    return Residual(body, () if (channels, stride) == (filters, 1) else projection)


def _separable(channels: int, filters: int, stride: int) -> Parts:
    """Return a convolution of each channel by itself, then one of size 1 across the channels."""
    return Conv(channels, 3, 1, stride, groups=channels, norm=True), Conv(filters, 1, norm=True)


NETS: dict[str, Net] = {
    "A": Net(DIGIT, (Conv(8, 3), Pool(2), Dense(10))),
    "B": Net(DIGIT, (Conv(6, 5), Pool(2), Conv(6, 5), Pool(2), Dense(10))),
    "C": Net(DIGIT, (Conv(6, 5), Pool(2), Conv(6, 5), Pool(2), Dense(16, "sigmoid"), Dense(10))),
    "D": Net(DIGIT, (Conv(8, 3), Pool(2), Conv(8, 3), Pool(2), Dense(10))),
    "E": Net(DIGIT, (Conv(10, 3), Pool(2), Conv(6, 3), Pool(2), Dense(18, "sigmoid"), Dense(10))),
    "F": Net(DIGIT, (Conv(8, 3, 1), Pool(3), Conv(8, 3, 1), Pool(2), Dense(20, "sigmoid"), Dense(10))),
    "LeNet-5": Net(
        DIGIT,
        (
            *(Conv(6, 5, 2), Pool(2), Conv(16, 5), Pool(2)),
            *(Dense(120, "relu"), Dense(84, "relu"), Dense(10)),
        ),
    ),
    "vgg-small": Net(
        PHOTO,
        (
            *(_conv(32), _conv(32), Pool(2)),
            *(_conv(64), _conv(64), Pool(2)),
            *(_conv(128), _conv(128), Pool(2)),
            *(Dense(128, "relu"), Dense(10)),
        ),
    ),
    "ResNet-20": Net(
        PHOTO,
        (
            *(_conv(16), _block(16, 16, 1), _block(16, 16, 1), _block(16, 16, 1)),
            *(_block(16, 32, 2), _block(32, 32, 1), _block(32, 32, 1)),
            *(_block(32, 64, 2), _block(64, 64, 1), _block(64, 64, 1)),
            *(GlobalPool(), Dense(10)),
        ),
        batch=128,
    ),
    "wide": Net(
        PHOTO,
        (
            *(_conv(64), Pool(2), _conv(256), _conv(256), Pool(2), _conv(512), _conv(512)),
            *(GlobalPool(), Dense(10)),
        ),
    ),
    "MobileNet-like": Net(
        PHOTO,
        (
            *(_conv(32), *_separable(32, 64, 1)),
            *(*_separable(64, 128, 2), *_separable(128, 128, 1)),
            *(*_separable(128, 256, 2), *_separable(256, 256, 1)),
            *(GlobalPool(), Dense(10)),
        ),
    ),
}

LARGE: dict[str, Net] = {  # for GPUs
    "ResNet-18": Net(
        PHOTO,
        (
            *(_conv(64), _block(64, 64, 1), _block(64, 64, 1)),
            *(_block(64, 128, 2), _block(128, 128, 1)),
            *(_block(128, 256, 2), _block(256, 256, 1)),
            *(_block(256, 512, 2), _block(512, 512, 1)),
            *(GlobalPool(), Dense(10)),
        ),
        batch=128,
    ),
}
