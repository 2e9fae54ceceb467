"""Every op with arrays and options of all sorts: kernels agree with the readable pairs, or both refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

import xcnn
from tests.fuzz.arrays_held import drawn, held
from tests.fuzz.arrays_nonsense import images, option
from tests.tolerances import assert_close
from xcnn import ops

Shape = tuple[int, ...]

PAIRS = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (1, 3))
SIDES = (((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 1), (2, 0)), ((2, 2), (0, 3)))
WINDOW = {"stride": PAIRS, "padding": SIDES, "dilation": PAIRS}


def _image(rng: Random) -> Shape:
    return rng.choice((1, 2, 5, 9, 17)), rng.choice((1, 2, 4)), rng.randint(1, 9), rng.randint(1, 9)


def _any(rng: Random) -> Shape:
    return _image(rng) if rng.random() < 0.5 else (rng.randint(1, 5), rng.randint(1, 5))


def _convolved(rng: Random) -> list[Shape]:
    n, c, h, width = _image(rng)
    groups = rng.choice((1, 1, 1, 2))
    w = rng.choice((1, 2, 4)), max(c // groups, 1), rng.randint(1, 4), rng.randint(1, 4)
    return [(n, c, h, width), w, w[:1]][: rng.randint(2, 3)]


def _spread(rng: Random) -> list[Shape]:
    n, c, h, w = _image(rng)
    f = rng.choice((1, 2, 4))
    return [(n, c, h, w), (c, f, rng.randint(1, 4), rng.randint(1, 4)), (f,)][: rng.randint(2, 3)]


def _normed(rng: Random) -> list[Shape]:
    x = _any(rng)
    return [x, *[x[1:2]] * rng.choice((2, 2, 4))]


def _rows(rng: Random) -> list[Shape]:
    n, features, units = (rng.randint(1, 5) for _ in range(3))
    return [(n, features), (units, features), (units,)][: rng.randint(2, 3)]


def _one(shape: Callable[[Random], Shape]) -> Callable[[Random], list[Shape]]:
    return lambda rng: [shape(rng)]


CONVOLUTION = WINDOW | {"groups": (1, 2, 4)}
POOLING = {"size": PAIRS, "stride": PAIRS, "padding": SIDES, "ceil": (True, False)}

# Of each op the shapes of its arrays, and values of its options.
OPS: dict[str, tuple[Callable[[Random], list[Shape]], dict[str, Any]]] = {
    "avg_pool2d": (_one(_image), POOLING | {"count_include_pad": (True, False)}),
    "batch_norm": (_normed, {"eps": (1e-5, 0.1)}),
    "conv2d": (_convolved, CONVOLUTION),
    "conv2d_indices": (_convolved, CONVOLUTION),
    "conv2d_loops": (_convolved, CONVOLUTION),
    "conv_transpose2d": (_spread, CONVOLUTION | {"output_padding": ((0, 0), (1, 0), (0, 1))}),
    "dropout": (_one(_any), {"rate": (0.0, 0.5), "seed": (0, 2**64 - 1), "stream": ((0, 0, 0), (1, 2, 3))}),
    "elu": (_one(_any), {"alpha": (0.5, 1)}),
    "gelu": (_one(_any), {"approximate": ("none", "tanh")}),
    "global_avg_pool2d": (_one(_image), {}),
    "global_max_pool2d": (_one(_image), {}),
    "group_norm": (lambda rng: _normed(rng)[:3], {"groups": (1, 2, 4), "eps": (1e-5, 0.1)}),
    "layer_norm": (lambda rng: [x := _any(rng), x[1:], x[1:]], {"eps": (1e-5, 0.1)}),
    "leaky_relu": (_one(_any), {"slope": (0.1, 2)}),
    "linear": (_rows, {}),
    "log_softmax": (_one(_any), {"axis": (0, 1, -1)}),
    "max_pool2d": (_one(_image), POOLING | {"dilation": PAIRS}),
    "relu": (_one(_any), {}),
    "sigmoid": (_one(_any), {}),
    "silu": (_one(_any), {}),
    "softmax": (_one(_any), {"axis": (0, 1, -1)}),
    "standardize": (lambda rng: _normed(rng)[:3], {}),
    "tanh": (_one(_any), {}),
    "true_conv2d": (_convolved, CONVOLUTION),
    "untied_bias": (lambda rng: [x := _image(rng), x[1:]], {}),
    "upsample2d": (_one(_image), {"factor": PAIRS}),
    "zero_pad2d": (_one(_image), {"padding": SIDES}),
}
LOSSES = {
    "binary_cross_entropy",
    "binary_cross_entropy_probabilities",
    "cross_entropy",
    "cross_entropy_probabilities",
    "huber",
    "mae",
    "mse",
}


def _bad(rng: Random, shape: Shape) -> Shape:
    """Return a shape that is near `shape`, or none at all."""
    found, kind = list(shape), rng.randrange(4)
    if kind == 0:
        return tuple(rng.randint(0, 9) for _ in range(rng.randint(0, 6)))
    if kind == 1 and found:
        del found[rng.randrange(len(found))]
    elif kind == 2:
        found.insert(rng.randint(0, len(found)), rng.choice((0, 1, 2)))
    elif found:
        found[rng.randrange(len(found))] = rng.choice((0, 1, 3, 7))
    return tuple(found)


def _given(rng: Random) -> tuple[Any, list[Any], dict[str, Any], bool]:
    """Return an op, arrays and options for it, and whether these are plain numbers of sensible shapes."""
    name = rng.choice(tuple(OPS))
    shapes, values = OPS[name]
    wanted, sane = shapes(rng), True
    options = {key: rng.choice(found) for key, found in values.items() if rng.random() < 0.5}
    if name == "group_norm":
        options.setdefault("groups", 1)
    if name == "zero_pad2d":
        options.setdefault("padding", SIDES[1])
    dtype = rng.choice(("float32", "float64"))
    numbers = np.random.default_rng(rng.getrandbits(32))
    if rng.random() < 0.3:
        at = rng.randrange(len(wanted))
        wanted[at] = _bad(rng, wanted[at])
    arrays: list[Any] = [numbers.normal(size=shape).astype(dtype) for shape in wanted]
    if name == "batch_norm" and len(arrays) == 5:
        arrays[4] = np.abs(arrays[4])
    if name == "standardize":
        arrays[2] = np.abs(arrays[2]) + 0.1
    if rng.random() < 0.15:
        at, sane = rng.randrange(len(wanted)), False
        arrays[at] = images(rng, wanted[at])
    if options and rng.random() < 0.3:
        options[rng.choice(tuple(options))], sane = option(rng), False
    return getattr(ops, name), arrays, options, sane


def op(rng: Random) -> None:
    """Call an op and its backward, with kernels and without."""
    function, arrays, options, sane = _given(rng)
    if _too_large(function.name, arrays, options):
        return
    y, saved = held(lambda: function(*arrays, **options), *arrays)
    first = y[0] if isinstance(y, tuple) else y
    if not sane or not isinstance(first, np.ndarray):
        return
    dy = np.random.default_rng(rng.getrandbits(32)).normal(size=first.shape).astype(first.dtype)
    gradients = held(lambda: saved.backward(dy), dy, *arrays)
    for a, g in zip(arrays, gradients, strict=False):
        assert g is None or (g.shape == a.shape and g.dtype == a.dtype)
    with xcnn.readable():
        want, other = function(*arrays, **options)
        wanted = other.backward(dy)
    source = 30 * max(1.0, *(float(np.max(np.abs(a), initial=0.0)) for a in (*arrays, dy))) * _terms(arrays)
    assert_close(first, want[0] if isinstance(want, tuple) else want, first.dtype.name, "y", source=source)
    for i, (g, h) in enumerate(zip(gradients, wanted, strict=True)):
        assert (g is None) == (h is None)
        if g is not None:
            assert np.isfinite(h).all(), f"gradient {i} of {function.name} is not finite"
            assert_close(g, h, first.dtype.name, f"gradient {i}", source=source)


def _terms(arrays: list[Any]) -> float:
    """Return the root of how many terms a sum may have: what their rounding grows by."""
    return math.sqrt(arrays[0].size)


def _too_large(name: str, arrays: list[Any], options: dict[str, Any]) -> bool:
    """Return whether the call is fine but would only take long: the loops, as they are read, are slow."""
    if any(isinstance(a, np.ndarray) and a.size > 10**7 for a in arrays):
        return True
    return name == "conv2d_loops" and any(isinstance(a, np.ndarray) and a.size > 600 for a in arrays)


def labelled(rng: Random) -> None:
    """Call a loss's op with outputs and labels whose shapes hardly fit."""
    name = rng.choice(sorted(LOSSES))
    n, k = rng.randint(1, 5), rng.randint(1, 5)
    shape = rng.choice(((n, k), (n,), (n, 1), (n, k, 2, 2)))
    numbers = np.random.default_rng(rng.getrandbits(32))
    z = numbers.random(_bad(rng, shape) if rng.random() < 0.2 else shape).astype(
        rng.choice(("float32", "float64"))
    )
    given = _bad(rng, shape) if rng.random() < 0.3 else rng.choice((shape, (n,), (n, 1)))
    if rng.random() < 0.5:
        labels = numbers.integers(0, k if rng.random() < 0.8 else 9, given).astype(
            rng.choice(("int64", "uint8", ">i4"))
        )
    else:
        labels = numbers.random(given).astype(z.dtype if rng.random() < 0.8 else "float64")
    arrays = [z, labels]
    if name.startswith("cross_entropy") and rng.random() < 0.3:
        arrays.append(numbers.random(rng.choice(((k,), (n,), (0,), ()))).astype(z.dtype))
    loss, saved = held(lambda: getattr(ops, name)(*arrays), *arrays)
    with xcnn.readable():
        want, other = getattr(ops, name)(*arrays)
    assert np.isfinite(want)
    assert_close(loss, want, z.dtype.name, "loss", source=10.0)
    assert_close(saved.backward(1.0)[0], other.backward(1.0)[0], z.dtype.name, "dz", source=10.0)


OP = drawn("op", op, sample=1_200, whole=(1, 40_000))
LABELLED = drawn("loss-op", labelled, sample=600, whole=(1, 40_000))
