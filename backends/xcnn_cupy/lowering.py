"""From layers to stages: which layers a run takes, and what is fused into what."""

from __future__ import annotations

from typing import Any

from xcnn import layers
from xcnn_cupy.convolutions import Geometry
from xcnn_cupy.stages import Chain, Shape
from xcnn_cupy.stages_linear import Convolution, Dense
from xcnn_cupy.stages_norm import Norm
from xcnn_cupy.stages_pixel import Activation, Average, Drop, GlobalAverage, MaxPool, Standardize
from xcnn_cupy.stages_tree import Add, Concat, Sum

__all__ = ["Untaken", "lower"]

PLACES = 255  # that an index of one byte can name


class Untaken(Exception):
    """A layer, or a case of it, that runs don't take."""


def lower(leaves: list[Any], /, math: str = "float32") -> tuple[Chain, int] | None:
    """Return the stages of as many of the first layers as a run takes, and how many, or None.

    Parameters
    ----------
    leaves : list of Layer
        In order, activations split off.
    math : {"float32", "tf32"}
        How products of float32 are computed.

    Returns
    -------
    (Chain, int) or None
        None where no convolution and no dense layer is among them: not worth the way in and out.
    """
    shape = leaves[0].input_shape
    if len(shape) not in (1, 3):
        return None
    for count in range(_known(leaves), 0, -1):
        chain = Chain(image(shape), math)
        try:
            for leaf in leaves[:count]:
                _append(chain, leaf)
        except Untaken:
            continue
        return (chain, count) if any(isinstance(stage, Convolution) for stage in chain.walk()) else None
    return None


def image(shape: tuple[int, ...], /) -> Shape:
    """Return (C, H, W) of an image, or of features."""
    c, h, w = shape if len(shape) == 3 else (*shape, 1, 1)
    return c, h, w


def _known(leaves: list[Any]) -> int:
    """Return how many of the first layers are of kinds that runs know."""
    return next((i for i, leaf in enumerate(leaves) if type(leaf) not in LOWER), len(leaves))


def _append(chain: Chain, layer: Any) -> Chain:
    """Add the stages of a layer to a chain, and return it."""
    for leaf in layer.leaves():
        if type(leaf) not in LOWER:
            raise Untaken
        LOWER[type(leaf)](chain, leaf)
    return chain


def _conv(chain: Chain, layer: Any) -> None:
    if layer.op != "conv2d":
        raise Untaken  # its user wants another to run
    geometry = Geometry(**layer.window, groups=layer.groups, math=chain.math)
    chain.append(Convolution(layer, geometry), layer.maps)


def _dense(chain: Chain, layer: Any) -> None:
    geometry = Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1, chain.math)
    chain.append(Dense(layer, geometry, chain.shape), (layer.units, 1, 1))


def _norm(chain: Chain, layer: Any) -> None:
    _match(chain, layer)
    chain.append(Norm(layer), chain.shape)


def _match(chain: Chain, layer: Any) -> None:
    """Make features of images behind a Flatten, for a layer whose channels they are."""
    if layer.input_shape[0] != chain.shape[0]:
        chain.unroll()


def _relu(chain: Chain, layer: Any) -> None:
    last = chain.last
    if isinstance(last, Norm) and not last.relu:
        last.relu = True
    elif isinstance(last, Sum) and not last.join.relu:
        last.join.relu = True
    else:
        _activation(chain, layer)


def _activation(chain: Chain, layer: Any) -> None:
    activation = Activation(ACTIVATIONS[type(layer)], getattr(layer, "slope", 0.0))
    if isinstance(chain.last, Convolution) and chain.last.activation is None:
        chain.last.activation = activation
    else:
        chain.append(activation, chain.shape)


def _max_pool(chain: Chain, layer: Any) -> None:
    if layer.extent[0] * layer.extent[1] > PLACES:
        raise Untaken
    chain.append(MaxPool(layer), layer.output_shape)


def _avg_pool(chain: Chain, layer: Any) -> None:
    chain.append(Average(layer), layer.output_shape)


def _global_avg(chain: Chain, layer: Any) -> None:
    chain.append(GlobalAverage(), image(layer.output_shape))


def _flatten(chain: Chain, layer: Any) -> None:
    """Do nothing: a dense layer reads images, its weights being those of a kernel of their size."""


def _dropout(chain: Chain, layer: Any) -> None:
    if layer.rate:
        chain.append(Drop(layer), chain.shape)


def _standardize(chain: Chain, layer: Any) -> None:
    _match(chain, layer)
    chain.append(Standardize(layer), chain.shape)


def _branches(chain: Chain, layer: Any) -> list[Chain]:
    """Return a chain for each branch; all make features of images behind a Flatten where some do."""
    branches = [_append(Chain(chain.shape, chain.math), part) for part in layer.layers]
    if len({branch.shape[1:] for branch in branches}) > 1:
        for branch in branches:
            branch.unroll()
    return branches


def _sum(chain: Chain, layer: Any) -> None:
    if len(layer.layers) == 1:
        _append(chain, layer.layers[0])
        return
    branches = _branches(chain, layer)
    branches.sort(key=lambda branch: _takes_residual(branch.last))
    last = branches[-1]
    join = last.stages.pop() if _takes_residual(last.last) else Add()
    chain.append(Sum(branches, join), last.shape)


def _takes_residual(stage: Any) -> bool:
    return isinstance(stage, Norm) and not stage.relu


def _concat(chain: Chain, layer: Any) -> None:
    branches = _branches(chain, layer)
    chain.append(Concat(branches), (sum(branch.shape[0] for branch in branches), *branches[0].shape[1:]))


ACTIVATIONS = {
    layers.ReLU: "relu",
    layers.LeakyReLU: "leaky_relu",
    layers.Sigmoid: "sigmoid",
    layers.Tanh: "tanh",
    layers.SiLU: "silu",
}
LOWER: dict[type, Any] = {
    layers.Conv2D: _conv,
    layers.Dense: _dense,
    layers.BatchNorm2D: _norm,
    layers.ReLU: _relu,
    **dict.fromkeys((layers.LeakyReLU, layers.Sigmoid, layers.Tanh, layers.SiLU), _activation),
    layers.MaxPool2D: _max_pool,
    layers.AvgPool2D: _avg_pool,
    layers.GlobalAvgPool2D: _global_avg,
    layers.Flatten: _flatten,
    layers.Dropout: _dropout,
    layers.Sum: _sum,
    layers.Concat: _concat,
    layers.Normalize: _standardize,
}
