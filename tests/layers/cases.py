"""Random layers with the shape of their inputs, and one of each for tests that need no more.

Inputs are drawn by `tests.ops.draws.apart`, so that no element lies on a kink.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.draws import apart, image, pairs, reach, seeds
from xcnn import layers as L
from xcnn.layers import Layer

Shape = tuple[int, ...]


class Drawn(NamedTuple):
    """A layer that is not built, and inputs for it."""

    layer: Layer
    x: np.ndarray


ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", None)
activations = st.sampled_from(ACTIVATIONS)
batches = st.sampled_from((1, 2, 3))
spots = st.one_of(
    st.integers(0, 2),
    pairs(0, 2),
    st.tuples(pairs(0, 2), pairs(0, 2)),
    st.sampled_from(("valid", "same", "full")),
)


def _x(draw: Any, *shape: int) -> np.ndarray:
    return apart(np.random.default_rng(draw(seeds)), (draw(batches), *shape))


def _number_or(pair: tuple[int, int]) -> Any:
    return pair[0] if pair[0] == pair[1] else pair


@st.composite
def conv(draw: Any, kind: type[Layer] = L.Conv2D) -> Drawn:
    groups, size, stride, dilation = (
        draw(st.integers(1, 2)),
        draw(pairs(1, 3)),
        draw(pairs(1, 2)),
        draw(pairs(1, 2)),
    )
    c, f = (groups * draw(st.integers(1, 2)) for _ in range(2))
    options: dict[str, Any] = {
        "stride": _number_or(stride),
        "dilation": _number_or(dilation),
        "padding": draw(spots),
        "groups": groups,
        "bias": draw(st.booleans()),
        "activation": draw(activations),
    }
    least = reach(size, dilation)
    if kind is L.ConvTranspose2D:
        options["padding"] = draw(st.sampled_from((0, 1, (0, 1), "valid")))
        options["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
        least = [3, 3]  # so that something is left after the padding is cut off
    return Drawn(kind(f, _number_or(size), **options), _x(draw, c, *image(draw, least, 2)))


@st.composite
def pool(draw: Any, kind: type[Layer] = L.MaxPool2D) -> Drawn:
    size, stride = draw(pairs(1, 3)), draw(st.one_of(st.none(), pairs(1, 3)))
    options: dict[str, Any] = {"stride": stride, "ceil": draw(st.booleans())}
    options["padding"] = draw(st.one_of(st.just("same"), st.tuples(*[st.integers(0, k - 1) for k in size])))
    if kind is L.AvgPool2D:
        options["count_include_pad"] = draw(st.booleans())
    return Drawn(
        kind(_number_or(size), **options), _x(draw, draw(st.integers(1, 3)), *image(draw, list(size), 3))
    )


def of_images(make: Callable[[Any], Layer], channels: int = 2) -> st.SearchStrategy[Drawn]:
    """Return a strategy of `make(draw)` on images."""

    @st.composite
    def cases(draw: Any) -> Drawn:
        return Drawn(make(draw), _x(draw, channels, *draw(pairs(2, 4))))

    return cases()


def of_any(make: Callable[[Any], Layer]) -> st.SearchStrategy[Drawn]:
    """Return a strategy of `make(draw)` on features or images."""

    @st.composite
    def cases(draw: Any) -> Drawn:
        return Drawn(make(draw), _x(draw, *draw(st.sampled_from(((4,), (2, 3, 3))))))

    return cases()


@st.composite
def dense(draw: Any) -> Drawn:
    layer = L.Dense(draw(st.integers(1, 5)), bias=draw(st.booleans()), activation=draw(activations))
    return Drawn(layer, _x(draw, draw(st.integers(1, 6))))


@st.composite
def batch_norm(draw: Any) -> Drawn:
    shape = draw(st.sampled_from(((3,), (2, 3, 3))))
    layer = L.BatchNorm2D(eps=draw(st.sampled_from((1e-5, 0.1))), momentum=draw(st.sampled_from((0.1, 0.9))))
    rng = np.random.default_rng(draw(seeds))
    return Drawn(layer, rng.normal(size=(draw(st.sampled_from((4, 6))), *shape)))  # batches of 2 saturate


def _body(draw: Any) -> Layer:
    return L.Sequential(L.Conv2D(3, 3, padding="same", activation=draw(activations)), L.Conv2D(2, 1))


def _squeeze(draw: Any) -> Layer:
    return L.Sequential(
        L.GlobalAvgPool2D(), L.Dense(3, activation=draw(activations)), L.Dense(2, activation="sigmoid")
    )


_slopes = st.sampled_from((0.01, 0.3))

LAYERS: dict[str, st.SearchStrategy[Drawn]] = {
    "AvgPool2D": pool(L.AvgPool2D),
    "BatchNorm2D": batch_norm(),
    "Concat": of_images(lambda draw: L.Concat(L.Identity(), _body(draw), L.Conv2D(1, 1))),
    "Conv2D": conv(),
    "ConvTranspose2D": conv(L.ConvTranspose2D),
    "Dense": dense(),
    "Dropout": of_any(lambda draw: L.Dropout(draw(st.sampled_from((0.0, 0.3, 0.8))))),
    "ELU": of_any(lambda draw: L.ELU(draw(_slopes))),
    "Flatten": of_any(lambda draw: L.Flatten()),
    "GELU": of_any(lambda draw: L.GELU(draw(st.sampled_from(("none", "tanh"))))),
    "Gate": of_images(lambda draw: L.Gate(draw(st.sampled_from((_squeeze, _body)))(draw))),
    "GlobalAvgPool2D": of_images(lambda draw: L.GlobalAvgPool2D()),
    "GlobalMaxPool2D": of_images(lambda draw: L.GlobalMaxPool2D()),
    "GroupNorm": of_images(lambda draw: L.GroupNorm(draw(st.sampled_from((1, 2, 4)))), 4),
    "Identity": of_any(lambda draw: L.Identity()),
    "LayerNorm": of_any(lambda draw: L.LayerNorm()),
    "LeakyReLU": of_any(lambda draw: L.LeakyReLU(draw(_slopes))),
    "LogSoftmax": of_any(lambda draw: L.LogSoftmax()),
    "MaxPool2D": pool(),
    "Normalize": of_images(lambda draw: L.Normalize(0.3, (0.5, 2.0))),
    "ReLU": of_any(lambda draw: L.ReLU()),
    "Reshape": of_images(lambda draw: L.Reshape(draw(st.sampled_from(((-1,), (1, 2, -1)))))),
    "Sequential": of_images(lambda draw: L.Sequential(_body(draw), L.BatchNorm2D(), L.Flatten(), L.Dense(2))),
    "SiLU": of_any(lambda draw: L.SiLU()),
    "Sigmoid": of_any(lambda draw: L.Sigmoid()),
    "Softmax": of_any(lambda draw: L.Softmax()),
    "Sum": of_images(lambda draw: L.Sum(L.Identity(), _body(draw))),
    "Tanh": of_any(lambda draw: L.Tanh()),
    "UntiedBias": of_images(lambda draw: L.UntiedBias()),
    "UpSample2D": of_images(lambda draw: L.UpSample2D(draw(st.one_of(st.integers(1, 3), pairs(1, 3))))),
    "ZeroPad2D": of_images(
        lambda draw: L.ZeroPad2D(draw(st.one_of(st.integers(0, 2), st.tuples(pairs(0, 2), pairs(0, 2)))))
    ),
}


def for_random_layers(name: str, check: Callable[[Drawn], None], *, examples: int = 3) -> None:
    """Run `check` on random layers of the type called `name`."""
    settings(max_examples=examples)(given(LAYERS[name])(check))()
