"""How PyTorch, Keras and xcnn name a model's arrays and lay them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xcnn.errors import OptionError, lookup
from xcnn.layer import Layer
from xcnn.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    Gate,
    GroupNorm,
    LayerNorm,
    Normalize,
    Reshape,
    Sequential,
    Sum,
)
from xcnn.layers.linear import Activated
from xcnn.model import Model

__all__ = ["CONVENTIONS", "Convention", "Slot", "slots_of"]


@dataclass(frozen=True)
class Slot:
    """One array of a model: where it is, and what the features of its layer are in a channels-last network.

    Attributes
    ----------
    layer : Layer
        Whose array it is.
    key : str
        Attribute of the layer: "w", "b", "mean", "var".
    holder : Parameter or Buffer
        Holds the array.
    features : numpy.ndarray (I,) or None
        Which feature of a channels-last network each feature of the layer's input is; None: the same one.
    """

    layer: Layer
    key: str
    holder: Any
    features: np.ndarray | None = None

    @property
    def place(self) -> str:
        """The name in the model: "layers[0].w"."""
        return ".".join(filter(None, (self.layer.path, self.key)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array in xcnn."""
        return tuple(self.holder.shape)


class Convention:
    """Names and layouts of xcnn itself, which the others change.

    Attributes
    ----------
    separator : str
        Between the name of a layer and that of its array.
    keys : dict
        What an array is called there -> the attribute in xcnn.
    ignored : tuple of str
        Arrays that are no weights.
    """

    separator = "."
    keys: ClassVar[dict[str, str]] = {}
    ignored: tuple[str, ...] = ()

    def leaf(self, slot: Slot, /) -> str:
        """Return the last part of a slot's name."""
        return slot.key

    def stems(self, layers: list[Layer], /) -> list[str]:
        """Return the name of each layer."""
        return [layer.path for layer in layers]

    def layouts(self, slot: Slot, a: np.ndarray, /) -> list[np.ndarray]:
        """Return xcnn's array `a` as it may lie there; the first is how it is written."""
        return [a]

    def names(self, slots: list[Slot], /) -> dict[str, str]:
        """Return the default names by their place."""
        layers = list(dict.fromkeys(slot.layer for slot in slots))
        stems = dict(zip(layers, self.stems(layers), strict=True))
        return {slot.place: self.join(stems[slot.layer], slot) for slot in slots}

    def join(self, stem: str, slot: Slot, /) -> str:
        """Return the name of a slot whose layer is called `stem`."""
        return self.separator.join(filter(None, (stem, self.leaf(slot))))

    def split(self, name: str, /) -> tuple[str, str]:
        """Return the name of the layer, and xcnn's attribute, of an array."""
        stem, _, leaf = name.rpartition(self.separator)
        return stem, self.keys.get(leaf, leaf)


class _Torch(Convention):
    keys: ClassVar = {"weight": "w", "bias": "b", "running_mean": "mean", "running_var": "var"}
    ignored = ("num_batches_tracked",)
    leaves: ClassVar = {key: leaf for leaf, key in keys.items()}

    def leaf(self, slot: Slot, /) -> str:
        return self.leaves.get(slot.key, slot.key)

    def stems(self, layers: list[Layer], /) -> list[str]:
        return [layer.path.replace("layers[", "").replace("]", "") for layer in layers]


class _Keras(Convention):
    separator = "/"
    keys: ClassVar = {
        "kernel": "w",
        "depthwise_kernel": "w",
        "gamma": "w",
        "bias": "b",
        "beta": "b",
        "moving_mean": "mean",
        "moving_variance": "var",
    }
    ignored = ("seed_generator_state",)
    linear: ClassVar = {"w": "kernel", "b": "bias"}
    norm: ClassVar = {"w": "gamma", "b": "beta", "mean": "moving_mean", "var": "moving_variance"}
    kinds: ClassVar[dict[type, str]] = {
        Conv2D: "conv2d",
        ConvTranspose2D: "conv2d_transpose",
        Dense: "dense",
        BatchNorm2D: "batch_normalization",
        GroupNorm: "group_normalization",
        LayerNorm: "layer_normalization",
    }

    def leaf(self, slot: Slot, /) -> str:
        normed = isinstance(slot.layer, (BatchNorm2D, GroupNorm, LayerNorm))
        return (self.norm if normed else self.linear).get(slot.key, slot.key)

    def split(self, name: str, /) -> tuple[str, str]:
        return super().split(name.partition(":")[0])  # Keras 2 wrote "kernel:0"

    def stems(self, layers: list[Layer], /) -> list[str]:
        """Name layers as Keras does: "conv2d", "conv2d_1", ..."""
        found, counts = [], dict[str, int]()
        for layer in layers:
            kind = self.kinds.get(type(layer), type(layer).__name__.lower())
            kind = "depthwise_conv2d" if _is_depthwise(layer) else kind
            n = counts[kind] = counts.get(kind, -1) + 1
            found.append(layer.name or (f"{kind}_{n}" if n else kind))
        return found

    def layouts(self, slot: Slot, a: np.ndarray, /) -> list[np.ndarray]:
        layer, features = slot.layer, slot.features
        if isinstance(layer, (Conv2D, ConvTranspose2D)) and slot.key == "w":
            last = a.transpose(2, 3, 1, 0)
            if not _is_depthwise(layer):
                return [last]
            channels = a.reshape(layer.groups, -1, *a.shape[2:])  # (C, multiplier, KH, KW)
            return [channels.transpose(2, 3, 0, 1), last]
        if isinstance(layer, Dense):
            return [_place(a.T, features)] if slot.key == "w" else [a]
        if a.shape == layer.input_shape:  # one value for each element: norms and biases of pixels
            return [a.transpose(1, 2, 0) if a.ndim == 3 else _place(a, features)]
        return [a]


def _is_depthwise(layer: Layer) -> bool:
    return isinstance(layer, Conv2D) and 1 < layer.groups == layer.input_shape[0]


def _place(a: np.ndarray, features: np.ndarray | None) -> np.ndarray:
    """Return the rows of `a` in the order of a channels-last network."""
    if features is None:
        return a
    moved = np.empty_like(a)
    moved[features] = a
    return moved


CONVENTIONS: dict[str, Convention] = {"torch": _Torch(), "keras": _Keras(), "xcnn": Convention()}


def slots_of(model: Model, convention: str, /) -> list[Slot]:
    """Return the arrays of a model that a convention knows, in the order of the forward pass.

    Parameters
    ----------
    model : Model
        Any.
    convention : {"torch", "keras", "xcnn"}
        Only xcnn's own includes the constants of `Normalize`, which is no layer with weights elsewhere.

    Returns
    -------
    list of Slot
        Shared ones once.

    Raises
    ------
    OptionError
        If the convention is unknown, or lays out a layer's elements in an order that has no counterpart.
    """
    lookup(convention, dict.fromkeys(CONVENTIONS), "convention")
    orders: dict[Layer, np.ndarray | None] = {}
    if convention == "keras":
        _follow(model.layers, None, orders)
    named = {**model.parameters(), **model.buffers()}
    return [
        Slot(layer, key, holder, orders.get(layer))
        for layer in model.walk()
        if convention == "xcnn" or not isinstance(layer, Normalize)
        for key, holder in vars(layer).items()
        if named.get(".".join(filter(None, (layer.path, key)))) is holder and holder is not None
    ]


def _follow(
    layer: Layer, features: np.ndarray | None, orders: dict[Layer, np.ndarray | None]
) -> np.ndarray | None:
    """Note the order of the features that each layer gets, and return that of those it gives."""
    if layer in orders and not _same(orders[layer], features):
        msg = "it is used on features in two orders; a channels-last network has no such layer"
        raise OptionError(msg, where=layer.label)
    orders[layer] = features
    shape, given = layer.input_shape, layer.output_shape
    if isinstance(layer, (Sum, Concat)):
        found = [_follow(branch, features, orders) for branch in layer]
        if isinstance(layer, Concat):
            return _joined(found, [branch.output_shape[0] for branch in layer]) if len(given) == 1 else None
        if not all(_same(found[0], other) for other in found):
            msg = "its branches give features in different orders; a channels-last network cannot add them"
            raise OptionError(msg, where=layer.label)
        return found[0]
    if isinstance(layer, Sequential):
        for child in layer:
            features = _follow(child, features, orders)
        return features
    if isinstance(layer, Gate):
        _follow(layer.body, features, orders)
        return features
    if layer.children() and not isinstance(layer, Activated):
        msg = (
            "it is made of layers in a way of its own; needed Sequential, Sum, Concat or Gate, channels last"
        )
        raise OptionError(msg, where=layer.label)
    if isinstance(layer, (Flatten, Reshape)) and shape != given:
        if len(given) != 1 or len(shape) not in (1, 3):
            msg = f"it turns {shape} into {given}; channels last, the elements have another order"
            raise OptionError(msg, where=layer.label)
        c, h, w = shape
        return np.arange(c * h * w).reshape(h, w, c).transpose(2, 0, 1).ravel()
    return features if shape == given and not isinstance(layer, Dense) else None


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _joined(found: list[np.ndarray | None], sizes: list[int]) -> np.ndarray:
    starts = np.cumsum([0, *sizes])
    return np.concatenate(
        [at + (np.arange(n) if f is None else f) for at, n, f in zip(starts, sizes, found, strict=False)]
    )
