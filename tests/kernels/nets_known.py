"""Small nets after well-known ones, and every kind of convolution."""

from __future__ import annotations

from tests.kernels.blocks import add, block, body, conv, head, projection
from xcnn.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    Identity,
    MaxPool2D,
    ReLU,
    Sequential,
    Sum,
)

# The nets of the first measurements, LeNet-5 and what came after

add("A", (1, 12, 12), lambda: head(conv(8), MaxPool2D(2)))
add("B", (1, 16, 16), lambda: head(conv(6, 5), MaxPool2D(2), conv(6), MaxPool2D(2)))
add(
    "C",
    (1, 16, 16),
    lambda: head(conv(6, 5), MaxPool2D(2), conv(6), MaxPool2D(2), Flatten(), Dense(16, activation="sigmoid")),
)
add("D", (1, 14, 14), lambda: head(conv(8), MaxPool2D(2), conv(8), MaxPool2D(2)))
add(
    "E",
    (1, 14, 14),
    lambda: head(conv(10), MaxPool2D(2), conv(6), MaxPool2D(2), Flatten(), Dense(18, activation="sigmoid")),
)
add(
    "F",
    (1, 14, 14),
    lambda: head(
        conv(8, padding=1),
        MaxPool2D(3),
        conv(8, padding=1),
        MaxPool2D(2),
        Flatten(),
        Dense(20, activation="sigmoid"),
    ),
)
add(
    "LeNet-5",
    (1, 16, 16),
    lambda: head(
        *(conv(6, 5, padding=2), MaxPool2D(2), conv(16, 5), MaxPool2D(2), Flatten()),
        *(Dense(30, activation="relu"), Dense(21, activation="relu")),
    ),
)
add(
    "vgg-like",
    (3, 12, 12),
    lambda: head(
        *(block(8), block(8), MaxPool2D(2), block(12), block(12), MaxPool2D(2)),
        Flatten(),
        Dense(9, activation="relu"),
    ),
)
add(
    "ResNet",
    (3, 10, 10),
    lambda: [
        *(block(6), Sum(Identity(), body(6)), ReLU(), Sum(projection(9), body(9, 2)), ReLU()),
        *(Sum(Identity(), body(9)), ReLU(), GlobalAvgPool2D(), Dense(3)),
    ],
)
add(
    "MobileNet-like",
    (3, 10, 10),
    lambda: [
        *(block(8), block(8, groups=8), conv(12, 1, bias=False), block(12, groups=12, stride=2)),
        *(Conv2D(10, 1, bias=False), BatchNorm2D(), ReLU(), GlobalAvgPool2D(), Dense(3)),
    ],
)
add(
    "DenseNet-like",
    (3, 8, 8),
    lambda: head(
        *(
            conv(6, padding=1),
            Concat(Identity(), block(4)),
            Concat(Identity(), Sequential(BatchNorm2D(), ReLU(), conv(4, padding=1))),
        ),
        *(BatchNorm2D(), ReLU(), Conv2D(7, 1), AvgPool2D(2)),
    ),
)
add(
    "inception",
    (3, 9, 9),
    lambda: head(
        Concat(
            conv(3, 1),
            Sequential(conv(2, 1), conv(5, padding=1)),
            Sequential(MaxPool2D(3, stride=1, padding=1), conv(2, 1)),
        ),
        MaxPool2D(3, stride=2),
    ),
)

# Convolutions

add("dilation", (2, 12, 12), lambda: head(conv(5, dilation=2), conv(4, padding=3, dilation=3)))
add(
    "dilation and stride",
    (2, 13, 12),
    lambda: head(conv(5, padding=2, dilation=2, stride=3), conv(4, 2, dilation=(1, 2))),
)
add(
    "groups",
    (4, 9, 9),
    lambda: head(conv(6, groups=2), conv(9, groups=3, padding=1), Conv2D(18, 3, groups=9)),
)
add("stride 2", (3, 11, 10), lambda: head(conv(5, stride=2), conv(7, stride=2, padding=1)))
add("stride 3", (3, 16, 14), lambda: head(conv(5, stride=3, padding=1), conv(4, stride=3, padding=1)))
add("stride over a smaller kernel", (3, 11, 10), lambda: head(conv(5, 2, stride=3), conv(4, 1, stride=2)))
add(
    "asymmetric padding",
    (2, 9, 8),
    lambda: head(conv(5, padding=((0, 2), (1, 0))), conv(4, padding=((2, 0), (0, 3)), stride=2)),
)
add(
    "more padding than kernel",
    (2, 5, 6),
    lambda: head(conv(4, padding=4), conv(3, 2, padding=((3, 0), (0, 3)))),
)
add(
    "rectangular kernels",
    (2, 9, 12),
    lambda: head(conv(5, (1, 5)), conv(4, (5, 1), padding=(0, 1)), conv(3, (2, 3), stride=(1, 2))),
)
add(
    "same and full",
    (2, 9, 8),
    lambda: head(conv(5, 4, padding="same"), conv(4, padding="full"), conv(3, padding="same", stride=2)),
)
add("a kernel as large as the image", (3, 6, 7), lambda: head(conv(5, (6, 7)), Conv2D(4, 1)))
add(
    "convolutions without bias",
    (3, 9, 9),
    lambda: head(conv(5, bias=False), Conv2D(4, 3, bias=False), MaxPool2D(2)),
)
add("no activation", (3, 9, 9), lambda: [Conv2D(5, 3), MaxPool2D(2), Conv2D(4, 2)])
add("one convolution", (3, 7, 8), lambda: [Conv2D(5, 3)])
add("many channels", (48, 5, 5), lambda: head(conv(40, padding=1), conv(33)))
add("odd channels", (17, 6, 7), lambda: head(conv(13, padding=1), conv(11), conv(1), conv(7, 1)))
add("wide images", (1, 3, 40), lambda: head(conv(3, (3, 4)), MaxPool2D((1, 3))))
add("1x1 images", (6, 1, 1), lambda: head(conv(8, 1), conv(5, 3, padding=1), Flatten()))
add(
    "1x1 images with norm",
    (6, 1, 1),
    lambda: head(Conv2D(8, 1), BatchNorm2D(), ReLU(), conv(5, 1), BatchNorm2D()),
)
