"""Random layers and random trees of layers, drawn as plain data: layers belong to one model each."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from xcnn import layers as L

Spec = tuple[str, tuple[Any, ...], dict[str, Any]]


def built(spec: Any, /) -> Any:
    """Return new layers for a spec, or a list of layers for a list of specs."""
    if isinstance(spec, list):
        return [built(each) for each in spec]
    kind, arguments, options = spec
    return getattr(L, kind)(
        *[built(a) if isinstance(a, tuple) and a and a[0] in L.__all__ else a for a in arguments], **options
    )


def layer(kind: str, *arguments: Any, **options: Any) -> Spec:
    """Return the spec of a layer."""
    return kind, arguments, options


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Return (rows, columns)."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


relu_or_none = st.sampled_from(("relu", None))
batches = st.sampled_from((1, 2, 3, 15, 16, 17, 33))
seeds = st.integers(0, 2**20)


@st.composite
def convolutions(draw: Any) -> tuple[list[Spec], tuple[int, int, int]]:
    """Return a convolution, perhaps something behind it, and the shape of its inputs."""
    groups = draw(st.integers(1, 3))
    c, f = (groups * draw(st.integers(1, 6)) for _ in range(2))
    size, stride, dilation = draw(pairs(1, 5)), draw(pairs(1, 3)), draw(pairs(1, 3))
    padding = draw(
        st.one_of(
            st.just("valid"),
            st.just("same"),
            st.just("full"),
            st.integers(0, 3),
            st.tuples(pairs(0, 3), pairs(0, 3)),
        )
    )
    room = draw(pairs(0, 6))
    least = [
        1 if padding in ("same", "full") else d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)
    ]
    conv = layer(
        "Conv2D", f, size, stride=stride, dilation=dilation, padding=padding, groups=groups,
        bias=draw(st.booleans()), activation=draw(relu_or_none),
    )  # fmt: skip
    behind = draw(
        st.sampled_from(
            ([], [layer("BatchNorm2D")], [layer("BatchNorm2D"), layer("ReLU")], [layer("Conv2D", 3, 1)])
        )
    )
    return [conv, *behind], (c, least[0] + room[0], least[1] + room[1])


@st.composite
def poolings(draw: Any) -> tuple[list[Spec], tuple[int, int, int]]:
    """Return a pooling before or after a convolution of size 1, and the shape of its inputs."""
    kind, size = draw(st.sampled_from(("MaxPool2D", "AvgPool2D"))), draw(pairs(1, 4))
    options = {"stride": draw(st.one_of(st.none(), pairs(1, 5))), "ceil": draw(st.booleans())}
    padding = st.tuples(*[st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in size])
    options["padding"] = draw(st.one_of(st.just(0), st.just("same"), padding))
    if kind == "AvgPool2D":
        options["count_include_pad"] = draw(st.booleans())
    pool, c = layer(kind, size, **options), draw(st.integers(1, 5))
    conv = layer("Conv2D", draw(st.integers(1, 6)), 1, activation=draw(relu_or_none))
    norm = [layer("BatchNorm2D")] if draw(st.booleans()) else []
    rectified = [layer("ReLU")] if draw(st.booleans()) else []
    specs = [conv, *norm, pool, *rectified] if draw(st.booleans()) else [pool, *rectified, conv, *norm]
    return specs, (c, size[0] + draw(st.integers(0, 7)), size[1] + draw(st.integers(0, 7)))


@st.composite
def dense_layers(draw: Any) -> tuple[list[Spec], tuple[int]]:
    """Return one or two dense layers, and the shape of their inputs."""
    sizes = draw(st.lists(st.integers(1, 70), min_size=1, max_size=2))
    specs = [layer("Dense", k, bias=draw(st.booleans()), activation=draw(relu_or_none)) for k in sizes]
    return specs, (draw(st.one_of(st.integers(1, 40), st.integers(500, 1100))),)


def _one(draw: Any, c: int, depth: int) -> tuple[Spec, int]:
    """Return a layer that keeps rows and columns, and its channels."""
    kinds = ("Conv2D", "Conv2D", "BatchNorm2D", "ReLU", "pool", "Identity", "Sum", "Sum", "Concat")
    kind = draw(st.sampled_from(kinds[: None if depth else -3]))
    if kind == "Conv2D":
        f, size = draw(st.integers(1, 4)), draw(st.sampled_from((1, 3, (1, 3))))
        options = {"bias": draw(st.booleans()), "activation": draw(relu_or_none)}
        return layer("Conv2D", f, size, padding="same", **options), f
    if kind == "pool":
        return layer(draw(st.sampled_from(("MaxPool2D", "AvgPool2D"))), 3, stride=1, padding=1), c
    if kind in ("Sum", "Concat"):
        branches = [_chain(draw, c, depth - 1) for _ in range(draw(st.integers(1, 3)))]
        if kind == "Concat":
            return layer("Concat", *[spec for spec, _ in branches]), sum(f for _, f in branches)
        f = draw(st.sampled_from([c, *[f for _, f in branches]]))
        return layer("Sum", *[_fitted(draw, spec, g, f) for spec, g in branches]), f
    return layer(kind), c


def _fitted(draw: Any, spec: Spec, c: int, f: int) -> Spec:
    """Return a branch that ends in f channels."""
    if c == f:
        return spec
    norm = [layer("BatchNorm2D")] if draw(st.booleans()) else []
    return layer("Sequential", spec, layer("Conv2D", f, 1), *norm)


def _chain(draw: Any, c: int, depth: int) -> tuple[Spec, int]:
    specs = []
    for _ in range(draw(st.integers(0 if depth < 2 else 2, 3))):
        spec, c = _one(draw, c, depth)
        specs.append(spec)
    return layer("Sequential", *specs), c


@st.composite
def trees(draw: Any) -> tuple[list[Spec], tuple[int, int, int]]:
    """Return a tree of sums and concatenations, and the shape of its inputs."""
    c = draw(st.integers(1, 4))
    spec, _ = _chain(draw, c, 2)
    between = draw(
        st.sampled_from(([], [layer("MaxPool2D", 2)], [layer("ReLU")], [layer("GlobalAvgPool2D")]))
    )
    last = [] if any(s[0] == "GlobalAvgPool2D" for s in between) else [layer("Flatten")]
    return [spec, *between, *last, layer("Dense", 2)], (c, draw(st.integers(3, 6)), draw(st.integers(3, 6)))
