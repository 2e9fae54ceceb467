"""How far results are from the truth: the readable layers in float64, on draws that lie away from kinks.

A compiled result may be `TIMES` as far from the truth as that of the readable layers in the same dtype (the
worse of two: of the batch in either order, since a sum may be exact by luck), plus `FLOOR` units of the last
place of the largest number of its array. The gradients of all parameters are one array in the State, so the
largest of them counts for each; each counts as large as dy at least, for what cancels on the way is of that
size.
In float64 there is no truth to be had at little cost: there the readable layers' error is taken for what it
is in float32, scaled by the two units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import xcnn
from xcnn.layers import Layer, LeakyReLU, MaxPool2D, ReLU
from xcnn_numpy import program

TIMES = 4.0
FLOOR = 16.0
KINK = 4e-6  # of the largest number of an array: what rounding in float32 does not cross
DRAWS = 40
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


class Draw(NamedTuple):
    """Numbers that float32 holds: values, buffers, inputs, and the gradient of the outputs."""

    values: np.ndarray
    buffers: list[np.ndarray]
    x: np.ndarray
    dy: np.ndarray


def draw(model: xcnn.Model, n: int, seed: int = 0, /) -> Draw:
    """Return random numbers for `model`: no bias, scale, shift or statistic is what a layer starts with."""
    rng = np.random.default_rng(seed)
    values = np.array(model.state.arrays.values)
    for p in model.state.parameters:
        if not p.is_weight:
            shift = float(values[p.start]) if p.size else 0.0  # 1 for a scale, 0 for a bias
            values[p.start : p.stop] = shift + 0.4 * rng.normal(size=p.size)
    buffers = [
        rng.uniform(0.5, 1.5, b.shape) if name.endswith(("var", "scale")) else 0.3 * rng.normal(size=b.shape)
        for name, b in sorted(model.buffers().items(), key=lambda item: item[1].index)
    ]
    x, dy = (rng.normal(size=(n, *shape)) for shape in (model.input_shape, model.output_shape))
    single = [a.astype("float32") for a in (values, *buffers, x, dy)]
    return Draw(single[0], single[1:-2], *single[-2:])


def fill(model: xcnn.Model, given: Draw, /) -> xcnn.Model:
    """Put the numbers of `given` into `model`, and return it."""
    buffers = tuple([b.astype(model.dtype) for b in given.buffers])
    model.state.arrays = model.state.arrays._replace(values=given.values.astype(model.dtype), buffers=buffers)
    return model


def results(model: xcnn.Model, given: Draw, /, need_dx: bool = True) -> dict[str, np.ndarray]:
    """Return what `model` gives: outputs in evaluation and training, gradients, running statistics."""
    fill(model, given)
    x, dy = given.x.astype(model.dtype), given.dy.astype(model.dtype)
    found = {"evaluation": model.forward(x)[0]}
    found["training"], saved = model.forward(x, train=True)
    dx = model.backward(dy, saved, need_dx=need_dx)
    assert (dx is not None) is need_dx
    if need_dx:
        found["dx"] = dx
    for name, p in model.parameters().items():
        found[f"gradient of {name}"] = p.gradient
    for name, b in model.buffers().items():
        found[f"buffer {name}"] = b.value
    assert all(a.dtype == model.dtype for a in found.values())
    model.state.drop_gradient()
    return {name: np.array(a, "float64") for name, a in found.items()}


def readable(model: xcnn.Model, given: Draw, /) -> dict[str, np.ndarray]:
    """Return what the readable layers of `model` give."""
    with xcnn.readable():
        return results(model, given)


def turned(given: Draw, /) -> Draw:
    """Return the same batch from its last input to its first."""
    return given._replace(x=given.x[::-1], dy=given.dy[::-1])


def backwards(found: dict[str, np.ndarray], /) -> dict[str, np.ndarray]:
    """Return the results for a turned batch in the order of the batch."""
    return {name: a[::-1] if name in ("evaluation", "training", "dx") else a for name, a in found.items()}


def gaps(model: xcnn.Model, given: Draw, /) -> float:
    """Return how near, relative to the largest number, ReLU and max pooling come to a kink."""
    found = [1.0]

    def watched(layer: Any) -> None:
        original = type(layer).apply

        def apply(x: np.ndarray) -> Any:
            scale = np.max(np.abs(x), initial=1e-30)
            near = np.abs(x[x != 0]) if isinstance(layer, (ReLU, LeakyReLU)) else _leads(x, layer)
            found.append(float(np.min(near, initial=np.inf) / scale))
            return original(layer, x)

        layer.apply = apply

    layers = {id(part): part for leaf in model.flat for part in _inside(leaf)}
    for layer in layers.values():
        if isinstance(layer, (ReLU, LeakyReLU, MaxPool2D)):
            watched(layer)
    with xcnn.readable():
        model.flat.forward(given.x.astype("float64"), train=True)
    for layer in layers.values():
        vars(layer).pop("apply", None)
    return min(found)


def _inside(layer: Layer, /) -> Iterator[Layer]:
    yield layer
    for child in layer.children():
        yield from _inside(child)


def _leads(x: np.ndarray, layer: Any, /) -> np.ndarray:
    """Return by how much the largest pixel of each window leads, where it does."""
    (top, bottom), (left, right) = layer.window["padding"]
    (kh, kw), (sh, sw) = layer.extent, layer.steps
    wide = ((0, 0), (0, 0), (top, bottom + kh + sh), (left, right + kw + sw))
    padded = np.pad(x, wide, constant_values=-np.inf)
    _, oh, ow = layer.output_shape
    view = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(2, 3))
    view = view[:, :, : oh * sh : sh, : ow * sw : sw].reshape(-1, kh * kw)
    if kh * kw == 1:
        return np.ones(1)
    two = np.sort(view, axis=1)[:, -2:]
    leads = two[:, 1] - two[:, 0]
    return leads[(leads > 0) & np.isfinite(leads)]


class Truth:
    """What a net gives for one size of batch: in float64, and by the readable layers in float32.

    Parameters
    ----------
    make : callable
        Returns the layers, new ones each time.
    shape : tuple of int
        Of one input.
    n : int
        Inputs.
    seed : int
        Of the first draw.
    """

    def __init__(self, make: Callable[[], Any], shape: tuple[int, ...], n: int, seed: int = 0) -> None:
        self.make, self.shape = make, shape
        exact = self.model("float64", compile=False)
        self.draw = self._draw(exact, n, seed)
        self.exact = readable(exact, self.draw)
        single = self.model("float32", compile=False)
        self.readable = [readable(single, self.draw), backwards(readable(single, turned(self.draw)))]
        gradients = [a for name, a in self.exact.items() if name.startswith("gradient")]
        self.scale = max(float(np.max(np.abs(a), initial=0.0)) for a in (self.draw.dy, *gradients))

    @staticmethod
    def _draw(model: xcnn.Model, n: int, seed: int) -> Draw:
        """Return the first draw away from kinks, or of many the one farthest away."""
        farthest = -1.0
        for k in range(DRAWS):
            given = draw(model, n, seed + k)
            gap = gaps(fill(model, given), given)
            if gap > farthest:
                farthest, best = gap, given
            if gap > KINK:
                break
        return best

    def model(self, dtype: str, **options: Any) -> xcnn.Model:
        """Return a new model."""
        return xcnn.Model(self.make(), self.shape, dtype=dtype, **options)

    def limits(self, dtype: str, /) -> dict[str, float]:
        """Return how far each result may be from the truth."""
        found = {}
        for name, want in self.exact.items():
            own = max(float(np.max(np.abs(one[name] - want), initial=0.0)) for one in self.readable)
            largest = self.scale if name.startswith("gradient") else float(np.max(np.abs(want), initial=0.0))
            if name == "dx":
                largest = max(largest, float(np.max(np.abs(self.draw.dy), initial=0.0)))
            times = TIMES if dtype == "float32" else TIMES + 1.0  # of two errors: from each to the truth
            found[name] = times * own * EPS[dtype] / EPS["float32"] + FLOOR * EPS[dtype] * largest
        return found

    def check(self, model: xcnn.Model, /, need_dx: bool = True) -> None:
        """Fail unless `model` gives what the truth is, within the limits."""
        limits, found = self.limits(model.dtype), results(model, self.draw, need_dx)
        assert set(found) == {name for name in self.exact if need_dx or name != "dx"}
        wrong = []
        for name, got in found.items():
            assert got.shape == self.exact[name].shape, name
            error = float(np.max(np.abs(got - self.exact[name]), initial=0.0))
            if not error <= limits[name]:
                wrong.append(f"{name}: {error:.3g} from the truth; allowed {limits[name]:.3g}")
        assert not wrong, "\n".join(wrong)


@contextmanager
def parts(count: int, /) -> Iterator[None]:
    """Cut every kernel, however small its work, into so many parts: what so many threads would do."""
    grain, before = program.GRAIN, xcnn.get_num_threads()
    program.GRAIN = 1.0
    xcnn.set_num_threads(count)
    try:
        yield
    finally:
        program.GRAIN = grain
        xcnn.set_num_threads(before)


def runs(model: xcnn.Model, /) -> list[Any]:
    """Return the compiled runs of a model."""
    return [layer for layer in model.plan if type(layer).__name__ == "Run"]
