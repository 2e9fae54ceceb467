"""Small nets with every kind of pooling and of batch norm."""

from __future__ import annotations

from tests.kernels.blocks import add, conv, head
from xcnn.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    MaxPool2D,
    ReLU,
)

# Pooling

add(
    "average with ceil",
    (3, 10, 9),
    lambda: head(conv(5), AvgPool2D(3, ceil=True), conv(4, 2), AvgPool2D(2, ceil=True)),
)
add(
    "average with padding",
    (3, 8, 9),
    lambda: head(
        conv(5), AvgPool2D(3, padding=1, stride=2, count_include_pad=False), AvgPool2D(2, padding=1, stride=1)
    ),
)
add(
    "overlapping max pool",
    (3, 11, 12),
    lambda: head(conv(5), MaxPool2D(3, stride=2), conv(4, 2), MaxPool2D(2, stride=1)),
)
add(
    "padded max pool",
    (3, 9, 9),
    lambda: head(conv(5), MaxPool2D(3, stride=2, padding=1), conv(4, 2), MaxPool2D((3, 2), padding=(1, 0))),
)
add(
    "max pool with ceil",
    (3, 10, 11),
    lambda: head(conv(5), MaxPool2D(3, ceil=True), Conv2D(4, 2), MaxPool2D(2, ceil=True)),
)
add(
    "max pool same",
    (3, 7, 8),
    lambda: head(conv(5), MaxPool2D(2, padding="same"), MaxPool2D(3, stride=1, padding="same")),
)
add(
    "stride over window",
    (3, 13, 12),
    lambda: head(conv(5), MaxPool2D(2, stride=3), conv(4, 1), MaxPool2D((1, 2), stride=(2, 3))),
)
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

add(
    "a bias before norm",
    (3, 9, 9),
    lambda: head(Conv2D(5, 3), BatchNorm2D(), ReLU(), Conv2D(4, 3), BatchNorm2D()),
)
add("norm of the input", (3, 8, 8), lambda: head(BatchNorm2D(), conv(5)))
add("norm alone after pooling", (3, 10, 10), lambda: head(conv(5), MaxPool2D(2), BatchNorm2D(), conv(4, 2)))
add(
    "norm and then pooling",
    (3, 10, 10),
    lambda: head(
        Conv2D(5, 3), BatchNorm2D(), MaxPool2D(2), Conv2D(4, 2), BatchNorm2D(), ReLU(), MaxPool2D(2)
    ),
)
add(
    "norm and then overlapping pooling",
    (3, 10, 10),
    lambda: head(Conv2D(5, 3), BatchNorm2D(), MaxPool2D(3, stride=2), BatchNorm2D(), AvgPool2D(2)),
)
add("norm after ReLU", (3, 9, 9), lambda: head(conv(5), BatchNorm2D(), conv(4), BatchNorm2D(), MaxPool2D(2)))
add("norm after norm", (3, 9, 9), lambda: head(Conv2D(5, 3), BatchNorm2D(), BatchNorm2D(), ReLU()))
add(
    "norm after Concat",
    (3, 8, 8),
    lambda: head(Concat(conv(3, padding=1), Conv2D(4, 1)), BatchNorm2D(), ReLU(), conv(4)),
)
add(
    "norm of features",
    (3, 6, 6),
    lambda: head(conv(4), Flatten(), Dense(9), BatchNorm2D(), ReLU(), Dense(5), BatchNorm2D()),
)
add("norm of flattened images", (3, 5, 5), lambda: head(conv(4), Flatten(), BatchNorm2D(), Dense(5)))
add(
    "norm with options",
    (3, 8, 8),
    lambda: head(Conv2D(5, 3), BatchNorm2D(momentum=0.3, eps=1e-2), ReLU(), BatchNorm2D(momentum=1.0)),
)
add(
    "norm of a grouped strided convolution",
    (4, 9, 9),
    lambda: head(Conv2D(6, 3, groups=2, stride=2, padding=1), BatchNorm2D(), ReLU(), conv(4)),
)
