"""Small nets: each thing that a compiled run knows, in the places where it may stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xcnn.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    Identity,
    MaxPool2D,
    Normalize,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Sum,
    Tanh,
)

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


# The nets of the first measurements, LeNet-5 and what came after

add("A", (1, 12, 12), lambda: head(conv(8), MaxPool2D(2)))
add("B", (1, 16, 16), lambda: head(conv(6, 5), MaxPool2D(2), conv(6), MaxPool2D(2)))
add(
    "C", (1, 16, 16),
    lambda: head(conv(6, 5), MaxPool2D(2), conv(6), MaxPool2D(2), Flatten(), Dense(16, activation="sigmoid")),
)  # fmt: skip
add("D", (1, 14, 14), lambda: head(conv(8), MaxPool2D(2), conv(8), MaxPool2D(2)))
add(
    "E", (1, 14, 14),
    lambda: head(conv(10), MaxPool2D(2), conv(6), MaxPool2D(2), Flatten(), Dense(18, activation="sigmoid")),
)  # fmt: skip
add(
    "F", (1, 14, 14),
    lambda: head(
        conv(8, padding=1), MaxPool2D(3), conv(8, padding=1), MaxPool2D(2), Flatten(), Dense(20, activation="sigmoid")
    ),
)  # fmt: skip
add(
    "LeNet-5", (1, 16, 16),
    lambda: head(
        *(conv(6, 5, padding=2), MaxPool2D(2), conv(16, 5), MaxPool2D(2), Flatten()),
        *(Dense(30, activation="relu"), Dense(21, activation="relu")),
    ),
)  # fmt: skip
add(
    "vgg-like", (3, 12, 12),
    lambda: head(
        *(block(8), block(8), MaxPool2D(2), block(12), block(12), MaxPool2D(2)), Flatten(), Dense(9, activation="relu")
    ),
)  # fmt: skip
add(
    "ResNet", (3, 10, 10),
    lambda: [
        *(block(6), Sum(Identity(), body(6)), ReLU(), Sum(projection(9), body(9, 2)), ReLU()),
        *(Sum(Identity(), body(9)), ReLU(), GlobalAvgPool2D(), Dense(3)),
    ],
)  # fmt: skip
add(
    "MobileNet-like", (3, 10, 10),
    lambda: [
        *(block(8), block(8, groups=8), conv(12, 1, bias=False), block(12, groups=12, stride=2)),
        *(Conv2D(10, 1, bias=False), BatchNorm2D(), ReLU(), GlobalAvgPool2D(), Dense(3)),
    ],
)  # fmt: skip
add(
    "DenseNet-like", (3, 8, 8),
    lambda: head(
        *(conv(6, padding=1), Concat(Identity(), block(4)), Concat(Identity(), Sequential(BatchNorm2D(), ReLU(), conv(4, padding=1)))),
        *(BatchNorm2D(), ReLU(), Conv2D(7, 1), AvgPool2D(2)),
    ),
)  # fmt: skip
add(
    "inception", (3, 9, 9),
    lambda: head(
        Concat(conv(3, 1), Sequential(conv(2, 1), conv(5, padding=1)), Sequential(MaxPool2D(3, stride=1, padding=1), conv(2, 1))),
        MaxPool2D(3, stride=2),
    ),
)  # fmt: skip

# Convolutions

add("dilation", (2, 12, 12), lambda: head(conv(5, dilation=2), conv(4, padding=3, dilation=3)))
add("dilation and stride", (2, 13, 12), lambda: head(conv(5, padding=2, dilation=2, stride=3), conv(4, 2, dilation=(1, 2))))
add("groups", (4, 9, 9), lambda: head(conv(6, groups=2), conv(9, groups=3, padding=1), Conv2D(18, 3, groups=9)))
add("stride 2", (3, 11, 10), lambda: head(conv(5, stride=2), conv(7, stride=2, padding=1)))
add("stride 3", (3, 16, 14), lambda: head(conv(5, stride=3, padding=1), conv(4, stride=3, padding=1)))
add("stride over a smaller kernel", (3, 11, 10), lambda: head(conv(5, 2, stride=3), conv(4, 1, stride=2)))
add("asymmetric padding", (2, 9, 8), lambda: head(conv(5, padding=((0, 2), (1, 0))), conv(4, padding=((2, 0), (0, 3)), stride=2)))
add("more padding than kernel", (2, 5, 6), lambda: head(conv(4, padding=4), conv(3, 2, padding=((3, 0), (0, 3)))))
add("rectangular kernels", (2, 9, 12), lambda: head(conv(5, (1, 5)), conv(4, (5, 1), padding=(0, 1)), conv(3, (2, 3), stride=(1, 2))))
add("same and full", (2, 9, 8), lambda: head(conv(5, 4, padding="same"), conv(4, padding="full"), conv(3, padding="same", stride=2)))
add("a kernel as large as the image", (3, 6, 7), lambda: head(conv(5, (6, 7)), Conv2D(4, 1)))
add("convolutions without bias", (3, 9, 9), lambda: head(conv(5, bias=False), Conv2D(4, 3, bias=False), MaxPool2D(2)))
add("no activation", (3, 9, 9), lambda: [Conv2D(5, 3), MaxPool2D(2), Conv2D(4, 2)])
add("one convolution", (3, 7, 8), lambda: [Conv2D(5, 3)])
add("many channels", (48, 5, 5), lambda: head(conv(40, padding=1), conv(33)))
add("odd channels", (17, 6, 7), lambda: head(conv(13, padding=1), conv(11), conv(1), conv(7, 1)))
add("wide images", (1, 3, 40), lambda: head(conv(3, (3, 4)), MaxPool2D((1, 3))))
add("1x1 images", (6, 1, 1), lambda: head(conv(8, 1), conv(5, 3, padding=1), Flatten()))
add("1x1 images with norm", (6, 1, 1), lambda: head(Conv2D(8, 1), BatchNorm2D(), ReLU(), conv(5, 1), BatchNorm2D()))

# Pooling

add("average with ceil", (3, 10, 9), lambda: head(conv(5), AvgPool2D(3, ceil=True), conv(4, 2), AvgPool2D(2, ceil=True)))
add(
    "average with padding", (3, 8, 9),
    lambda: head(conv(5), AvgPool2D(3, padding=1, stride=2, count_include_pad=False), AvgPool2D(2, padding=1, stride=1)),
)  # fmt: skip
add("overlapping max pool", (3, 11, 12), lambda: head(conv(5), MaxPool2D(3, stride=2), conv(4, 2), MaxPool2D(2, stride=1)))
add("padded max pool", (3, 9, 9), lambda: head(conv(5), MaxPool2D(3, stride=2, padding=1), conv(4, 2), MaxPool2D((3, 2), padding=(1, 0))))
add("max pool with ceil", (3, 10, 11), lambda: head(conv(5), MaxPool2D(3, ceil=True), Conv2D(4, 2), MaxPool2D(2, ceil=True)))
add("max pool same", (3, 7, 8), lambda: head(conv(5), MaxPool2D(2, padding="same"), MaxPool2D(3, stride=1, padding="same")))
add("stride over window", (3, 13, 12), lambda: head(conv(5), MaxPool2D(2, stride=3), conv(4, 1), MaxPool2D((1, 2), stride=(2, 3))))
add("a ragged edge dropped", (3, 11, 12), lambda: head(conv(5), MaxPool2D(2), Conv2D(4, 2), MaxPool2D(3)))
add("pooling first", (3, 8, 8), lambda: head(MaxPool2D(2), conv(5)))
add("averaging first", (3, 8, 8), lambda: head(AvgPool2D(2), conv(5)))
add("pooling last", (3, 8, 8), lambda: [conv(5), MaxPool2D(2)])
add("pooling twice", (3, 12, 12), lambda: head(conv(5), MaxPool2D(2), MaxPool2D(2)))
add("a window over everything", (3, 9, 9), lambda: head(conv(5), MaxPool2D(7)))
add("a window of more than a byte names", (1, 14, 14), lambda: head(conv(5), MaxPool2D(12)))
add("global pools", (3, 8, 8), lambda: [conv(5), conv(4), GlobalAvgPool2D(), Dense(3)])
add("a global max pool, which no run takes", (3, 8, 8), lambda: [conv(5), GlobalMaxPool2D(), Dense(3)])

# Batch norm

add("a bias before norm", (3, 9, 9), lambda: head(Conv2D(5, 3), BatchNorm2D(), ReLU(), Conv2D(4, 3), BatchNorm2D()))
add("norm of the input", (3, 8, 8), lambda: head(BatchNorm2D(), conv(5)))
add("norm alone after pooling", (3, 10, 10), lambda: head(conv(5), MaxPool2D(2), BatchNorm2D(), conv(4, 2)))
add("norm and then pooling", (3, 10, 10), lambda: head(Conv2D(5, 3), BatchNorm2D(), MaxPool2D(2), Conv2D(4, 2), BatchNorm2D(), ReLU(), MaxPool2D(2)))
add("norm and then overlapping pooling", (3, 10, 10), lambda: head(Conv2D(5, 3), BatchNorm2D(), MaxPool2D(3, stride=2), BatchNorm2D(), AvgPool2D(2)))
add("norm after ReLU", (3, 9, 9), lambda: head(conv(5), BatchNorm2D(), conv(4), BatchNorm2D(), MaxPool2D(2)))
add("norm after norm", (3, 9, 9), lambda: head(Conv2D(5, 3), BatchNorm2D(), BatchNorm2D(), ReLU()))
add("norm after Concat", (3, 8, 8), lambda: head(Concat(conv(3, padding=1), Conv2D(4, 1)), BatchNorm2D(), ReLU(), conv(4)))
add("norm of features", (3, 6, 6), lambda: head(conv(4), Flatten(), Dense(9), BatchNorm2D(), ReLU(), Dense(5), BatchNorm2D()))
add("norm of flattened images", (3, 5, 5), lambda: head(conv(4), Flatten(), BatchNorm2D(), Dense(5)))
add("norm with options", (3, 8, 8), lambda: head(Conv2D(5, 3), BatchNorm2D(momentum=0.3, eps=1e-2), ReLU(), BatchNorm2D(momentum=1.0)))
add("norm of a grouped strided convolution", (4, 9, 9), lambda: head(Conv2D(6, 3, groups=2, stride=2, padding=1), BatchNorm2D(), ReLU(), conv(4)))

# Trees

add("Normalize first", (3, 8, 8), lambda: head(Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), conv(5, padding=1), MaxPool2D(2)))
add("Normalize, then a sum", (3, 8, 8), lambda: head(Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), Sum(Identity(), Conv2D(3, 3, padding=1))))
add("Normalize later", (3, 8, 8), lambda: head(conv(3, padding=1), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), conv(4)))
add("ReLU first", (3, 8, 8), lambda: head(ReLU(), conv(5)))
add("ReLU twice", (3, 8, 8), lambda: head(conv(5), ReLU(), ReLU()))
add("ReLU after pooling", (3, 9, 9), lambda: head(Conv2D(5, 3), MaxPool2D(2), ReLU(), Conv2D(4, 2), AvgPool2D(2), ReLU()))
add("ReLU after overlapping pooling", (3, 9, 9), lambda: head(Conv2D(5, 3), MaxPool2D(3, stride=2), ReLU(), Conv2D(4, 2)))
add("ReLU after Flatten", (3, 6, 6), lambda: [Conv2D(5, 3), Flatten(), ReLU(), Dense(3), ReLU()])
add("ReLU before a branch", (3, 8, 8), lambda: head(conv(4, padding=1), Sum(Sequential(ReLU(), Conv2D(4, 3, padding=1)), Identity()), ReLU()))
add("ReLU in a branch", (3, 8, 8), lambda: head(Conv2D(4, 3, padding=1), Sum(ReLU(), Identity()), ReLU(), conv(3)))
add("a sum of three", (3, 8, 8), lambda: head(conv(4), Sum(Identity(), conv(4, padding=1), body(4)), ReLU(), MaxPool2D(2)))
add("a sum of two norms", (3, 8, 8), lambda: head(conv(4), Sum(body(4), projection(4, 1)), conv(3)))
add("a sum of the input", (3, 8, 8), lambda: head(Sum(Identity(), Conv2D(3, 3, padding=1)), ReLU(), Sum(Identity(), body(3))))
add("a sum without a body", (3, 8, 8), lambda: head(conv(4), Sum(Identity(), Identity()), conv(3)))
add("a sum of one", (3, 8, 8), lambda: head(conv(4), Sum(Identity()), Sum(Conv2D(4, 3)), Sum(Sequential(Conv2D(3, 1), BatchNorm2D()))))
add("a sum in a sum", (3, 8, 8), lambda: head(conv(4), Sum(Identity(), Sequential(Sum(Identity(), body(4)), ReLU(), block(4))), ReLU()))
add("sums one after the other", (3, 8, 8), lambda: head(conv(4), Sum(Identity(), body(4)), Sum(Identity(), body(4)), Sum(body(4), Identity())))
add("a residual that is pooled", (3, 8, 8), lambda: head(conv(4), Sum(Identity(), body(4)), MaxPool2D(2), ReLU(), AvgPool2D(3)))
add("a residual of norm alone", (3, 8, 8), lambda: head(conv(4), Sum(Identity(), BatchNorm2D()), ReLU(), Sum(BatchNorm2D(), ReLU())))
add("pooling in a branch", (3, 8, 8), lambda: head(conv(4), Sum(MaxPool2D(3, stride=1, padding=1), AvgPool2D(3, stride=1, padding=1), Identity()), conv(3)))
add("pooled convolutions in branches", (3, 8, 8), lambda: head(Sum(Sequential(conv(4), MaxPool2D(2)), Sequential(Conv2D(4, 3), AvgPool2D(2))), ReLU()))
add("Concat of the input", (3, 8, 8), lambda: head(Concat(Identity(), Conv2D(2, 3, padding=1)), conv(4)))
add("Concat of copies", (3, 8, 8), lambda: head(conv(4), Concat(Identity(), Identity(), ReLU()), conv(4)))
add("Concat in Concat", (3, 8, 8), lambda: head(Concat(Concat(conv(2, 1), Conv2D(3, 1)), Sum(Identity(), Conv2D(3, 1))), ReLU(), conv(4)))
add("Concat in a sum", (3, 8, 8), lambda: head(conv(5), Sum(Identity(), Concat(conv(2, 1), Sequential(Conv2D(3, 1), BatchNorm2D()))), ReLU(), conv(4)))
add("a sum in Concat", (3, 8, 8), lambda: head(conv(4), Concat(Sum(Identity(), body(4)), conv(2, 1)), ReLU(), MaxPool2D(2)))
add("Concat of residual and pooled", (3, 8, 8), lambda: head(Concat(Sequential(conv(4), MaxPool2D(2)), Sequential(block(4), Conv2D(3, 3), MaxPool2D(2))), BatchNorm2D()))
add("Concat and then Dense", (3, 6, 6), lambda: [Concat(conv(2), Conv2D(3, 3)), Flatten(), Dense(4, activation="relu"), Dense(3)])
add("Concat last", (3, 6, 6), lambda: [Concat(conv(2), Sequential(Conv2D(3, 3), BatchNorm2D()))])
add("Concat of dense layers", (7,), lambda: [Dense(5, activation="relu"), Concat(Dense(4), Identity(), Dense(2, activation="relu")), Dense(3)])
add("a sum of dense layers", (7,), lambda: [Dense(5), Sum(Identity(), Sequential(Dense(9, activation="relu"), Dense(5))), ReLU(), Dense(3)])
add("Concat of flattened branches", (2, 6, 6), lambda: [conv(3, padding=1), Concat(Flatten(), Sequential(conv(4), Flatten()), Flatten()), Dense(3)])
add("a sum of flattened branches", (2, 6, 6), lambda: [conv(4), Sum(Flatten(), Sequential(conv(16, 3), Flatten())), Dense(3)])
add("a sum of dense and flattened", (2, 6, 6), lambda: [conv(3), Sum(Flatten(), Sequential(Flatten(), Dense(48))), ReLU(), Dense(3)])
add("Dense", (9,), lambda: [Dense(3)])
add("Dense without bias", (9,), lambda: [Dense(8, bias=False, activation="relu"), Dense(20, activation="relu"), Dense(3, bias=False)])
add("Dense of many features", (700,), lambda: [Dense(37, activation="relu"), Dense(17)])
add("Dense after a border", (2, 5, 5), lambda: [Sum(Identity(), Sequential(Conv2D(2, 3, padding=1))), Flatten(), Dense(3)])

# Layers that no run takes, in between

add("Dropout of nothing in between", (3, 8, 8), lambda: head(conv(4), Dropout(0.0), conv(4), MaxPool2D(2)))
add("Tanh in between", (3, 8, 8), lambda: head(Conv2D(4, 3, activation="tanh"), conv(4), Sigmoid(), MaxPool2D(2), Tanh()))
add("a gate", (3, 8, 8), lambda: head(conv(4), Gate(Sequential(GlobalAvgPool2D(), Dense(2, activation="relu"), Dense(4, activation="sigmoid"))), conv(3)))
add("Softmax last", (3, 6, 6), lambda: [*head(conv(4)), Softmax()])

# With one image, a batch norm of these sees one number in each channel: all gradients below it are 0.
SINGLE_NUMBERS = ("1x1 images with norm", "norm of features", "norm of flattened images")
