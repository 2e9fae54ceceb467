"""Random cases of every op: arrays, options, and which arguments have a gradient.

The arrays stay away from kinks and ties (`apart`), so that differences across one mean a wrong gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.draws import Case, apart, batches, image, pairs, reach, seeds, sides

EXAMPLES = {  # others: the profile's
    **dict.fromkeys(("conv2d", "conv2d_indices", "conv_transpose2d", "max_pool2d", "avg_pool2d"), 60)
}


@st.composite
def conv2d(draw: Any, batch: st.SearchStrategy[int] = batches, room: int = 4) -> Case:
    """Any stride, padding per side, dilation and groups, down to depthwise; with and without bias."""
    n, groups, size = draw(batch), draw(st.integers(1, 3)), draw(pairs(1, 3))
    c, f = (groups * draw(st.integers(1, 2)) for _ in range(2))
    stride, dilation, padding = draw(pairs(1, 3)), draw(pairs(1, 3)), (draw(sides), draw(sides))
    h, w = image(draw, [r - sum(p) for r, p in zip(reach(size, dilation), padding, strict=True)], room)
    rng = np.random.default_rng(draw(seeds))
    bias = rng.normal(size=f) if draw(st.booleans()) else None
    arrays = rng.normal(size=(n, c, h, w)), rng.normal(size=(f, c // groups, *size)), bias
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Case(arrays, options, 3)


@st.composite
def conv_transpose2d(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Any stride, cut per side, output padding, dilation and groups; with and without bias."""
    n, groups, size = draw(batch), draw(st.integers(1, 3)), draw(pairs(1, 3))
    c, f = (groups * draw(st.integers(1, 2)) for _ in range(2))
    stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 2))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    h, w = draw(pairs(1, 4))
    padding = []
    for extent, s, r, e in zip((h, w), stride, reach(size, dilation), extra, strict=True):
        spare = (extent - 1) * s + r + e - 1  # leave one pixel
        before = draw(st.integers(0, min(2, spare)))
        padding.append((before, draw(st.integers(0, min(2, spare - before)))))
    rng = np.random.default_rng(draw(seeds))
    bias = rng.normal(size=f) if draw(st.booleans()) else None
    arrays = rng.normal(size=(n, c, h, w)), rng.normal(size=(c, f // groups, *size)), bias
    options = {
        "stride": stride,
        "padding": tuple(padding),
        "output_padding": extra,
        "dilation": dilation,
        "groups": groups,
    }
    return Case(arrays, options, 3)


def _pool(draw: Any, batch: st.SearchStrategy[int], dilation: tuple[int, int]) -> Case:
    n, c, size, stride = draw(batch), draw(st.integers(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 3))
    spans = reach(size, dilation)
    padding = tuple(draw(st.tuples(st.integers(0, r - 1), st.integers(0, r - 1))) for r in spans)
    # at least `dilation` pixels, or a window may have no tap inside the image
    least = [max(d, r - sum(p)) for d, r, p in zip(dilation, spans, padding, strict=True)]
    x = apart(np.random.default_rng(draw(seeds)), (n, c, *image(draw, least)))
    return Case((x,), {"size": size, "stride": stride, "padding": padding, "ceil": draw(st.booleans())})


@st.composite
def max_pool2d(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Any size, stride, padding per side up to a window less one pixel, dilation; with and without ceil."""
    dilation = draw(pairs(1, 3))
    case = _pool(draw, batch, dilation)
    return replace(case, options=case.options | {"dilation": dilation})


@st.composite
def avg_pool2d(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """As `max_pool2d` without dilation; padding counted or not."""
    case = _pool(draw, batch, (1, 1))
    return replace(case, options=case.options | {"count_include_pad": draw(st.booleans())})


@st.composite
def images(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Images alone, of any shape."""
    shape = (draw(batch), draw(st.integers(1, 4)), *draw(pairs(1, 6)))
    return Case((apart(np.random.default_rng(draw(seeds)), shape),))


@st.composite
def untied_bias(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Images of any shape, with a bias for each pixel of one."""
    (x,) = draw(images(batch)).arrays
    return Case((x, np.random.default_rng(draw(seeds)).normal(size=x.shape[1:])), {}, 2)


@st.composite
def zero_pad2d(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Any rows and columns on each side."""
    return replace(draw(images(batch)), options={"padding": (draw(sides), draw(sides))})


@st.composite
def upsample2d(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Any factor along each axis."""
    return replace(draw(images(batch)), options={"factor": draw(pairs(1, 3))})


@st.composite
def linear(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Any features and units; with and without bias."""
    n, features, units = draw(batch), draw(st.integers(1, 9)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(seeds))
    bias = rng.normal(size=units) if draw(st.booleans()) else None
    return Case((rng.normal(size=(n, features)), rng.normal(size=(units, features)), bias), {}, 3)


epsilons = st.sampled_from((1e-5, 1e-3, 0.1))


@st.composite
def batch_norm(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Training and evaluation, images and features."""
    n, c = draw(batch), draw(st.integers(1, 4))
    pixels = draw(pairs(2, 4)) if n < 4 or draw(st.booleans()) else ()
    rng = np.random.default_rng(draw(seeds))
    x = 2 * rng.normal(size=(n, c, *pixels)) + 1
    statistics = (rng.normal(size=c), rng.uniform(0.5, 2, size=c)) if draw(st.booleans()) else (None, None)
    return Case((x, rng.normal(size=c), rng.normal(size=c), *statistics), {"eps": draw(epsilons)}, 3)


@st.composite
def standardize(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Fixed statistics of each channel, of images and of features."""
    n, c = draw(batch), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(seeds))
    x = rng.normal(size=(n, c, *draw(st.sampled_from([(), (3, 2)]))))
    return Case((x, rng.normal(size=c), rng.uniform(0.5, 2, size=c)), {}, 1)


@st.composite
def group_norm(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """From one group to one channel in a group."""
    n, groups, c = draw(batch), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(seeds))
    x = 2 * rng.normal(size=(n, groups * c, *draw(pairs(2, 4)))) + 1
    w, b = rng.normal(size=(2, groups * c))
    return Case((x, w, b), {"groups": groups, "eps": draw(epsilons)}, 3)


@st.composite
def layer_norm(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Over features, over the last axis of images, over whole images."""
    n = draw(batch)
    shape = draw(st.sampled_from(((5,), (3, 4, 4), (2, 2, 5))))
    axes = draw(st.integers(1, len(shape)))
    rng = np.random.default_rng(draw(seeds))
    w, b = rng.normal(size=(2, *shape[-axes:]))
    return Case((2 * rng.normal(size=(n, *shape)) + 1, w, b), {"eps": draw(epsilons)}, 3)


def activation(**options: st.SearchStrategy[Any]) -> Callable[..., st.SearchStrategy[Case]]:
    """Return a strategy of one array of two or four axes and the given options."""

    @st.composite
    def cases(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
        shape = (draw(batch), *draw(st.sampled_from(((7,), (3, 2, 4), (1, 5, 3)))))
        x = apart(np.random.default_rng(draw(seeds)), shape)
        return Case((x,), {name: draw(values) for name, values in options.items()})

    return cases


axes = st.sampled_from((1, -1))


def draw_labels(draw: Any, rng: np.random.Generator, n: int, classes: int) -> np.ndarray:
    """Return integers (N,), one-hot (N, K) or probabilities (N, K)."""
    kind = draw(st.sampled_from(("integers", "one-hot", "probabilities")))
    labels = rng.integers(0, classes, n)
    if kind == "integers":
        return labels
    return np.eye(classes)[labels] if kind == "one-hot" else rng.dirichlet(np.ones(classes), size=n)


@st.composite
def cross_entropy(draw: Any, batch: st.SearchStrategy[int] = batches, probabilities: bool = False) -> Case:
    """Every kind of labels; with and without class weights and label smoothing."""
    n, classes = draw(batch), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(seeds))
    z = 0.1 + rng.dirichlet(np.ones(classes), size=n) if probabilities else 3 * rng.normal(size=(n, classes))
    labels = draw_labels(draw, rng, n, classes)
    weights = rng.uniform(0.5, 2, size=classes) if draw(st.booleans()) else None
    return Case((z, labels, weights), {"label_smoothing": draw(st.sampled_from((0.0, 0.1, 0.5)))})


@st.composite
def binary_cross_entropy(
    draw: Any, batch: st.SearchStrategy[int] = batches, probabilities: bool = False
) -> Case:
    """One output, (N,) or (N, 1), or one per class; integer and floating labels."""
    n, outputs = draw(batch), draw(st.sampled_from(((), (1,), (4,))))
    rng = np.random.default_rng(draw(seeds))
    z = rng.uniform(0.1, 0.9, size=(n, *outputs)) if probabilities else 3 * rng.normal(size=(n, *outputs))
    if outputs == (4,):
        labels = rng.integers(0, 4, n) if draw(st.booleans()) else rng.uniform(size=z.shape)
    else:
        shape = (n, *draw(st.sampled_from(((), (1,)))))
        labels = rng.integers(0, 2, shape) if draw(st.booleans()) else rng.uniform(size=shape)
    return Case((z, labels))


def regression(**options: st.SearchStrategy[Any]) -> Callable[..., st.SearchStrategy[Case]]:
    """Return a strategy of outputs and targets whose differences avoid 0 and `delta`."""

    @st.composite
    def cases(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
        shape = (draw(batch), *draw(st.sampled_from(((), (1,), (4,), (2, 3, 3)))))
        rng = np.random.default_rng(draw(seeds))
        drawn = {name: draw(values) for name, values in options.items()}
        difference, target = apart(rng, shape), rng.normal(size=shape)
        kink = np.abs(np.abs(difference) - drawn.get("delta", 0.0)) < 0.002
        return Case((target + np.where(kink, 1.1 * difference, difference), target), drawn)

    return cases


@st.composite
def dropout(draw: Any, batch: st.SearchStrategy[int] = batches) -> Case:
    """Any rate, seed and stream."""
    case = draw(images(batch))
    stream = draw(st.tuples(*[st.integers(0, 2**31 - 1)] * 3))
    options = {"rate": draw(st.sampled_from((0.0, 0.2, 0.5, 0.9))), "seed": draw(seeds), "stream": stream}
    return replace(case, options=options)


CASES: dict[str, Callable[..., st.SearchStrategy[Case]]] = {
    "conv2d": conv2d,
    "conv2d_indices": conv2d,
    "conv2d_loops": lambda *batch: conv2d(*batch, room=1),  # it is slow
    "true_conv2d": lambda *batch: conv2d(*batch, room=2),  # its reference is
    "conv_transpose2d": conv_transpose2d,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool2d": images,
    "global_max_pool2d": images,
    "untied_bias": untied_bias,
    "zero_pad2d": zero_pad2d,
    "upsample2d": upsample2d,
    "linear": linear,
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "standardize": standardize,
    "layer_norm": layer_norm,
    "dropout": dropout,
    "relu": activation(),
    "leaky_relu": activation(slope=st.sampled_from((0.01, 0.3))),
    "elu": activation(alpha=st.sampled_from((1.0, 0.5))),
    "gelu": activation(approximate=st.sampled_from(("none", "tanh"))),
    "silu": activation(),
    "sigmoid": activation(),
    "tanh": activation(),
    "softmax": activation(axis=axes),
    "log_softmax": activation(axis=axes),
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy_probabilities": lambda *batch: cross_entropy(*batch, probabilities=True),
    "binary_cross_entropy_probabilities": lambda *batch: binary_cross_entropy(*batch, probabilities=True),
    "mse": regression(),
    "mae": regression(),
    "huber": regression(delta=st.sampled_from((1.0, 0.3))),
}


def for_random_cases(
    name: str, check: Callable[[Case], None], *batch: int, examples: int | None = None
) -> None:
    """Run `check` on random cases of the op called `name`, with `batch` images if given.

    Parameters
    ----------
    name : str
        Key of `CASES`.
    check : callable
        Fails on a wrong case.
    batch : int
        Number of images; random if absent.
    examples : int, optional
        How many cases; `EXAMPLES`, else the profile's, by default.
    """
    count = examples or EXAMPLES.get(name) or settings.default.max_examples
    strategy = CASES[name](*[st.just(n) for n in batch])
    settings(max_examples=count)(given(strategy)(check))()
