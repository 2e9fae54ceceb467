"""Every layer with options and input shapes of all sorts: it is built, run and run backward, or refuses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

import xcnn
from tests.fuzz.arrays_held import drawn, held
from tests.fuzz.arrays_nonsense import VIRTUAL, option
from tests.tolerances import assert_close
from xcnn import layers as L
from xcnn.build import at_most
from xcnn.layer import Layer

Shape = tuple[int, ...]

SMALL = (1, 2, 3)
PAIRS = (1, 2, 3, (1, 2), (3, 1), [2, 2])
SPOTS = (0, 1, (0, 1), (2, 1), ((0, 1), (1, 0)), "valid", "same", "full")
ACTIVATIONS = (None, "relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softmax", "log_softmax")
INITS = ("he_normal", "glorot_uniform", "ones", "zeros")

# The type of a layer, values for its positional options, values for its others.
FAMILIES: dict[str, tuple[type[Layer], tuple[Any, ...], dict[str, Any]]] = {
    "Conv2D": (
        L.Conv2D,
        ((1, 2, 4), PAIRS),
        {
            "stride": PAIRS,
            "padding": SPOTS,
            "dilation": PAIRS,
            "groups": (1, 2),
            "bias": (True, False),
            "activation": ACTIVATIONS,
            "init": INITS,
            "op": ("conv2d", "conv2d_loops", "conv2d_indices", "true_conv2d"),
        },
    ),
    "ConvTranspose2D": (
        L.ConvTranspose2D,
        ((1, 2, 4), PAIRS),
        {
            "stride": PAIRS,
            "padding": SPOTS,
            "output_padding": (0, 1, (0, 1)),
            "dilation": PAIRS,
            "groups": (1, 2),
            "bias": (True, False),
            "activation": ACTIVATIONS,
            "init": INITS,
        },
    ),
    "MaxPool2D": (L.MaxPool2D, (PAIRS,), {"stride": PAIRS, "padding": SPOTS, "ceil": (True, False)}),
    "AvgPool2D": (
        L.AvgPool2D,
        (PAIRS,),
        {"stride": PAIRS, "padding": SPOTS, "ceil": (True, False), "count_include_pad": (True, False)},
    ),
    "GlobalAvgPool2D": (L.GlobalAvgPool2D, (), {}),
    "GlobalMaxPool2D": (L.GlobalMaxPool2D, (), {}),
    "Dense": (L.Dense, ((1, 2, 7),), {"bias": (True, False), "activation": ACTIVATIONS, "init": INITS}),
    "BatchNorm2D": (L.BatchNorm2D, (), {"eps": (1e-5, 0.1), "momentum": (0.1, 1, 0)}),
    "GroupNorm": (L.GroupNorm, ((1, 2, 4),), {"eps": (1e-5, 0.1)}),
    "LayerNorm": (L.LayerNorm, (), {"eps": (1e-5, 0.1)}),
    "Normalize": (L.Normalize, ((0.5, [0.1, 0.2]), (1.0, 0, [0.5, 2])), {}),
    "Dropout": (L.Dropout, (), {"rate": (0.0, 0.3, 0.9)}),
    "ReLU": (L.ReLU, (), {}),
    "LeakyReLU": (L.LeakyReLU, (), {"slope": (0.01, -1, 2)}),
    "ELU": (L.ELU, (), {"alpha": (0.5, 2)}),
    "GELU": (L.GELU, (), {"approximate": ("none", "tanh")}),
    "SiLU": (L.SiLU, (), {}),
    "Sigmoid": (L.Sigmoid, (), {}),
    "Tanh": (L.Tanh, (), {}),
    "Softmax": (L.Softmax, (), {"axis": (1, -1, 2, 3)}),
    "LogSoftmax": (L.LogSoftmax, (), {"axis": (1, -1, 2, 3)}),
    "Flatten": (L.Flatten, (), {}),
    "Reshape": (L.Reshape, ((-1, (-1,), (1, -1), (2, 2, -1), (4,)),), {}),
    "ZeroPad2D": (L.ZeroPad2D, (SPOTS,), {}),
    "UpSample2D": (L.UpSample2D, (), {"factor": PAIRS}),
    "Identity": (L.Identity, (), {}),
    "UntiedBias": (L.UntiedBias, (), {}),
}
COMPOSITES: dict[str, Callable[..., Layer]] = {
    "Sequential": L.Sequential, "Sum": L.Sum, "Concat": L.Concat, "Gate": L.Gate,
}  # fmt: skip
STATISTICS = (L.BatchNorm2D, L.GroupNorm, L.LayerNorm)  # of few elements they magnify what rounding leaves


def layer(rng: Random, nonsense: float, depth: int = 0) -> Layer:
    """Return a layer; each of its options is anything at all with the probability `nonsense`."""

    def pick(values: tuple[Any, ...]) -> Any:
        found = option(rng) if rng.random() < nonsense else rng.choice(values)
        return rng.choice(values) if callable(found) and values is INITS else found  # somebody's own function

    if depth < 2 and rng.random() < 0.12:
        name = rng.choice(tuple(COMPOSITES))
        parts: list[Any] = [
            layer(rng, nonsense, depth + 1) for _ in range(1 if name == "Gate" else rng.randint(0, 3))
        ]
        if rng.random() < nonsense and name != "Gate":
            parts.append(option(rng))
        return COMPOSITES[name](*parts)
    kind, needed, others = FAMILIES[rng.choice(tuple(FAMILIES))]
    positional = [pick(values) for values in needed]
    return kind(*positional, **{key: pick(values) for key, values in others.items() if rng.random() < 0.4})


def shape(rng: Random, wrong: float) -> Shape:
    """Return the shape of one input: images, features, or with the probability `wrong` anything."""
    if rng.random() < wrong:
        found = [rng.randint(0, 9) for _ in range(rng.randint(0, 5))]
        if found and rng.random() < 0.2:
            found[rng.randrange(len(found))] = rng.choice((VIRTUAL, 2**40, 10**30, 10**5))
        return tuple(found)
    if rng.random() < 0.25:
        return (rng.choice((1, 2, 3, 4, 8)),)
    return rng.choice((1, 2, 4)), rng.randint(1, 9), rng.randint(1, 9)


def model_of(rng: Random, nonsense: float, wrong: float, **options: Any) -> xcnn.Model:
    """Return a model of up to three layers."""
    made = [layer(rng, nonsense) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    given = shape(rng, wrong)
    with at_most(10**6):
        model = xcnn.Model(made, given, **options)
    assert all(type(n) is int and n > 0 for n in model.output_shape), model.output_shape
    return model


def build(rng: Random) -> None:
    """Build a model of layers, with options and shapes of all sorts."""
    model = held(lambda: model_of(rng, 0.15, 0.3, backend="numpy", compile=rng.random() < 0.3))
    assert repr(model)


def _run(model: xcnn.Model, x: Any, train: Any, dy: Any) -> tuple[Any, ...]:
    """Return y, dx, the flat gradient and the buffers, and leave the model as it was."""
    before = model.state.arrays
    y, saved = model.forward(x, train=xcnn.Pass(3, 4) if train else False, hold=True)
    announced = (x.shape[0], *model.output_shape)
    assert tuple(y.shape) == announced, f"y has shape {y.shape}; the model announced {announced}"
    assert y.dtype == x.dtype
    dx = model.backward(dy(y), saved)
    assert tuple(dx.shape) == tuple(x.shape)
    found = y, dx, model.state.take_gradient(), model.state.arrays.buffers
    model.state.arrays = before
    return found


def run(rng: Random) -> None:
    """Run a model forward and backward: compiled, and as the readable pairs say."""
    dtype = rng.choice(("float32", "float64"))
    model = model_of(rng, 0.02, 0.05, backend="numpy", dtype=dtype, seed=rng.randrange(9))
    n = rng.choice((1, 2, 3, 5, 9, 17))
    if n * max(math.prod(model.input_shape), _largest(model)) > 200_000:
        return
    numbers = np.random.default_rng(rng.getrandbits(32))
    given = (n, *model.input_shape) if rng.random() < 0.9 else (n, *shape(rng, 0.3))
    if math.prod(given) > 200_000 or math.prod(n for n in given if n) > 2**40:
        return
    x = numbers.normal(size=given).astype(dtype)
    train = rng.random() < 0.5
    if given[1:] != model.input_shape:
        held(lambda: model.forward(x), x, model=model)
        return
    draws: list[Any] = []

    def dy(y: Any) -> Any:
        if not draws:
            draws.append(numbers.normal(size=y.shape).astype(dtype))
        return draws[0]

    got = held(lambda: _run(model, x, train, dy), x)
    with xcnn.readable():
        want = _run(model, x, train, dy)
    names = ("y", "dx", "gradient", *(f"buffer {i}" for i in range(len(want[3]))))
    exact = not any(isinstance(part, STATISTICS) for part in model.walk())
    for name, a, b in zip(names, (*got[:3], *got[3]), (*want[:3], *want[3]), strict=True):
        assert np.isfinite(a).all() == np.isfinite(b).all(), f"{name}: not finite in one way alone"
        assert np.isfinite(b).all() or not exact, f"{name} is not finite for finite inputs"
        more = 1.0 if exact or name == "y" else 300.0
        assert_close(a, b, dtype, name, source=more * _scale(model, *want, draws[0], x))


def _scale(model: xcnn.Model, *found: Any) -> float:
    """Return the size of the largest terms of what was computed."""
    parts = itertools.chain.from_iterable(a if isinstance(a, tuple) else (a,) for a in found)
    sizes = [float(np.max(np.abs(a), initial=0.0)) for a in (*parts, model.state.arrays.values)]
    return 30 * max(1.0, *sizes)


def _largest(model: xcnn.Model) -> int:
    return max(math.prod(part.output_shape) for part in model.walk())


BUILD = drawn("layer-build", build, sample=3_000, whole=(1, 120_000))
RUN = drawn("layer-run", run, sample=300, whole=(1, 60_000))
