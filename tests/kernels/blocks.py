"""What the small nets are made of, and their register."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xcnn.layers import (
    ELU,
    GELU,
    BatchNorm2D,
    Conv2D,
    Dense,
    Flatten,
    LeakyReLU,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
)


def Activation(name: str) -> Any:
    """Return a new layer of that activation."""
    return {
        "leaky_relu": LeakyReLU,
        "sigmoid": Sigmoid,
        "tanh": Tanh,
        "silu": SiLU,
        "elu": ELU,
        "gelu": GELU,
    }[name]()


NETS: dict[str, tuple[tuple[int, ...], Callable[[], list[Any]]]] = {}


def net(name: str, *shape: int) -> Callable[[Callable[[], list[Any]]], None]:
    """Enter a net."""

    def enter(make: Callable[[], list[Any]]) -> None:
        NETS[name] = shape, make

    return enter


def conv(filters: int, size: Any = 3, **options: Any) -> Conv2D:
    """Return a rectified convolution."""
    return Conv2D(filters, size, **{"activation": "relu", **options})


def block(filters: int, size: Any = 3, **options: Any) -> Sequential:
    """Return convolution, batch norm, ReLU."""
    return Sequential(Conv2D(filters, size, padding=1, bias=False, **options), BatchNorm2D(), ReLU())


def body(filters: int, stride: int = 1) -> Sequential:
    """Return the two convolutions of a residual block."""
    last = Conv2D(filters, 3, padding=1, bias=False)
    return Sequential(block(filters, stride=stride), last, BatchNorm2D())


def projection(filters: int, stride: int = 2) -> Sequential:
    """Return the way around a body that changes the shape."""
    return Sequential(Conv2D(filters, 1, stride=stride, bias=False), BatchNorm2D())


def add(name: str, shape: tuple[int, ...], make: Callable[[], list[Any]]) -> None:
    """Enter a net that one line holds."""
    net(name, *shape)(make)


def head(*layers: Any) -> list[Any]:
    """Return the layers with a dense layer of three units behind them."""
    return [*layers, Flatten(), Dense(3)]
