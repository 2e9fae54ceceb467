"""Small nets with activations in odd places, sums and concatenations, and layers that no run takes."""

from __future__ import annotations

from tests.kernels.blocks import Activation, add, block, body, conv, head, projection
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
    Identity,
    LeakyReLU,
    MaxPool2D,
    Normalize,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Sum,
    Tanh,
)

# Trees

add(
    "Normalize first",
    (3, 8, 8),
    lambda: head(Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), conv(5, padding=1), MaxPool2D(2)),
)
add(
    "Normalize, then a sum",
    (3, 8, 8),
    lambda: head(Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), Sum(Identity(), Conv2D(3, 3, padding=1))),
)
add(
    "Normalize later",
    (3, 8, 8),
    lambda: head(conv(3, padding=1), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), conv(4)),
)
add("ReLU first", (3, 8, 8), lambda: head(ReLU(), conv(5)))
add("ReLU twice", (3, 8, 8), lambda: head(conv(5), ReLU(), ReLU()))
add(
    "ReLU after pooling",
    (3, 9, 9),
    lambda: head(Conv2D(5, 3), MaxPool2D(2), ReLU(), Conv2D(4, 2), AvgPool2D(2), ReLU()),
)
add(
    "ReLU after overlapping pooling",
    (3, 9, 9),
    lambda: head(Conv2D(5, 3), MaxPool2D(3, stride=2), ReLU(), Conv2D(4, 2)),
)
add("ReLU after Flatten", (3, 6, 6), lambda: [Conv2D(5, 3), Flatten(), ReLU(), Dense(3), ReLU()])
add(
    "ReLU before a branch",
    (3, 8, 8),
    lambda: head(conv(4, padding=1), Sum(Sequential(ReLU(), Conv2D(4, 3, padding=1)), Identity()), ReLU()),
)
add(
    "ReLU in a branch",
    (3, 8, 8),
    lambda: head(Conv2D(4, 3, padding=1), Sum(ReLU(), Identity()), ReLU(), conv(3)),
)
add(
    "a sum of three",
    (3, 8, 8),
    lambda: head(conv(4), Sum(Identity(), conv(4, padding=1), body(4)), ReLU(), MaxPool2D(2)),
)
add("a sum of two norms", (3, 8, 8), lambda: head(conv(4), Sum(body(4), projection(4, 1)), conv(3)))
add(
    "a sum of the input",
    (3, 8, 8),
    lambda: head(Sum(Identity(), Conv2D(3, 3, padding=1)), ReLU(), Sum(Identity(), body(3))),
)
add("a sum without a body", (3, 8, 8), lambda: head(conv(4), Sum(Identity(), Identity()), conv(3)))
add(
    "a sum of one",
    (3, 8, 8),
    lambda: head(conv(4), Sum(Identity()), Sum(Conv2D(4, 3)), Sum(Sequential(Conv2D(3, 1), BatchNorm2D()))),
)
add(
    "a sum in a sum",
    (3, 8, 8),
    lambda: head(conv(4), Sum(Identity(), Sequential(Sum(Identity(), body(4)), ReLU(), block(4))), ReLU()),
)
add(
    "sums one after the other",
    (3, 8, 8),
    lambda: head(conv(4), Sum(Identity(), body(4)), Sum(Identity(), body(4)), Sum(body(4), Identity())),
)
add(
    "a residual that is pooled",
    (3, 8, 8),
    lambda: head(conv(4), Sum(Identity(), body(4)), MaxPool2D(2), ReLU(), AvgPool2D(3)),
)
add(
    "a residual of norm alone",
    (3, 8, 8),
    lambda: head(conv(4), Sum(Identity(), BatchNorm2D()), ReLU(), Sum(BatchNorm2D(), ReLU())),
)
add(
    "pooling in a branch",
    (3, 8, 8),
    lambda: head(
        conv(4),
        Sum(MaxPool2D(3, stride=1, padding=1), AvgPool2D(3, stride=1, padding=1), Identity()),
        conv(3),
    ),
)
add(
    "pooled convolutions in branches",
    (3, 8, 8),
    lambda: head(Sum(Sequential(conv(4), MaxPool2D(2)), Sequential(Conv2D(4, 3), AvgPool2D(2))), ReLU()),
)
add("Concat of the input", (3, 8, 8), lambda: head(Concat(Identity(), Conv2D(2, 3, padding=1)), conv(4)))
add("Concat of copies", (3, 8, 8), lambda: head(conv(4), Concat(Identity(), Identity(), ReLU()), conv(4)))
add(
    "Concat in Concat",
    (3, 8, 8),
    lambda: head(Concat(Concat(conv(2, 1), Conv2D(3, 1)), Sum(Identity(), Conv2D(3, 1))), ReLU(), conv(4)),
)
add(
    "Concat in a sum",
    (3, 8, 8),
    lambda: head(
        conv(5), Sum(Identity(), Concat(conv(2, 1), Sequential(Conv2D(3, 1), BatchNorm2D()))), ReLU(), conv(4)
    ),
)
add(
    "a sum in Concat",
    (3, 8, 8),
    lambda: head(conv(4), Concat(Sum(Identity(), body(4)), conv(2, 1)), ReLU(), MaxPool2D(2)),
)
add(
    "Concat of residual and pooled",
    (3, 8, 8),
    lambda: head(
        Concat(Sequential(conv(4), MaxPool2D(2)), Sequential(block(4), Conv2D(3, 3), MaxPool2D(2))),
        BatchNorm2D(),
    ),
)
add(
    "Concat and then Dense",
    (3, 6, 6),
    lambda: [Concat(conv(2), Conv2D(3, 3)), Flatten(), Dense(4, activation="relu"), Dense(3)],
)
add("Concat last", (3, 6, 6), lambda: [Concat(conv(2), Sequential(Conv2D(3, 3), BatchNorm2D()))])
add(
    "Concat of dense layers",
    (7,),
    lambda: [
        Dense(5, activation="relu"),
        Concat(Dense(4), Identity(), Dense(2, activation="relu")),
        Dense(3),
    ],
)
add(
    "a sum of dense layers",
    (7,),
    lambda: [Dense(5), Sum(Identity(), Sequential(Dense(9, activation="relu"), Dense(5))), ReLU(), Dense(3)],
)
add(
    "Concat of flattened branches",
    (2, 6, 6),
    lambda: [conv(3, padding=1), Concat(Flatten(), Sequential(conv(4), Flatten()), Flatten()), Dense(3)],
)
add(
    "a sum of flattened branches",
    (2, 6, 6),
    lambda: [conv(4), Sum(Flatten(), Sequential(conv(16, 3), Flatten())), Dense(3)],
)
add(
    "a sum of dense and flattened",
    (2, 6, 6),
    lambda: [conv(3), Sum(Flatten(), Sequential(Flatten(), Dense(48))), ReLU(), Dense(3)],
)
add("Dense", (9,), lambda: [Dense(3)])
add(
    "Dense without bias",
    (9,),
    lambda: [Dense(8, bias=False, activation="relu"), Dense(20, activation="relu"), Dense(3, bias=False)],
)
add("Dense of many features", (700,), lambda: [Dense(37, activation="relu"), Dense(17)])
add(
    "Dense after a border",
    (2, 5, 5),
    lambda: [Sum(Identity(), Sequential(Conv2D(2, 3, padding=1))), Flatten(), Dense(3)],
)

# Layers that no run takes, in between

add("Dropout of nothing in between", (3, 8, 8), lambda: head(conv(4), Dropout(0.0), conv(4), MaxPool2D(2)))
add(
    "Tanh in between",
    (3, 8, 8),
    lambda: head(Conv2D(4, 3, activation="tanh"), conv(4), Sigmoid(), MaxPool2D(2), Tanh()),
)
for activation in ("leaky_relu", "sigmoid", "tanh", "silu", "elu", "gelu"):
    add(
        f"{activation} everywhere",
        (3, 9, 9),
        lambda activation=activation: head(
            *(
                conv(5, activation=activation),
                MaxPool2D(2),
                Conv2D(4, 2),
                BatchNorm2D(),
                Activation(activation),
            ),
            *(Sum(Activation(activation), Identity()), Flatten(), Dense(6, activation=activation)),
        ),
    )
add(
    "leaky ReLU with a slope",
    (3, 8, 8),
    lambda: head(Conv2D(5, 3), LeakyReLU(0.3), Concat(LeakyReLU(0.5), Conv2D(2, 1)), Tanh()),
)
add(
    "activations of the input",
    (3, 8, 8),
    lambda: head(Tanh(), Conv2D(4, 3), Sum(Tanh(), Sigmoid(), SiLU()), SiLU()),
)
add(
    "a gate",
    (3, 8, 8),
    lambda: head(
        conv(4),
        Gate(Sequential(GlobalAvgPool2D(), Dense(2, activation="relu"), Dense(4, activation="sigmoid"))),
        conv(3),
    ),
)
add("Softmax last", (3, 6, 6), lambda: [*head(conv(4)), Softmax()])
