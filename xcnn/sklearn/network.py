"""What an estimator needs of a network: one by default, and one as bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xcnn import layers, losses, ops
from xcnn.data import channel_statistics
from xcnn.io import load
from xcnn.layer import Layer
from xcnn.model import Model
from xcnn.ops import Op

__all__ = ["default_network", "packed", "unpacked"]


def default_network(x: np.ndarray, n_classes: int) -> list[Layer]:
    """Return a small network that standardises its inputs by the statistics of `x`.

    Parameters
    ----------
    x : ndarray (N, ...)
        What it is trained on: images or rows.
    n_classes : int
        Outputs.

    Returns
    -------
    list of Layer
        Not built.
    """
    normalize = layers.Normalize(*channel_statistics(x.reshape(*x.shape[:2], -1, 1)))
    last = [layers.Dense(128, activation="relu"), layers.Dense(n_classes)]
    if x.ndim != 4:
        flat = [] if x.ndim == 2 else [layers.Flatten()]
        return [normalize, *flat, layers.Dense(128, activation="relu"), *last]
    chain: list[Layer] = [normalize]
    for filters in (32, 64):
        chain.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        chain.append(layers.MaxPool2D(2, ceil=True))
    return [*chain, layers.Flatten(), *last]


def packed(model: Model) -> tuple[bytes, tuple[type[Layer] | Op[...], ...], losses.Loss | None]:
    """Return a model's file, and what of it a file does not hold: layers, ops and a loss of one's own.

    Parameters
    ----------
    model : Model
        Any.

    Returns
    -------
    content : bytes
        As `Model.save` writes it.
    custom : tuple of type or Op
        Classes of layers that are not in `xcnn.layers`, and ops that are not in `xcnn.ops`.
    loss : Loss or None
        The model's.
    """
    parts = [part for layer in model.walk() for part in (type(layer), *vars(layer).values())]
    own = {part.__name__: part for part in parts if _is_own(part)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xcnn"
        model.save(path)
        return path.read_bytes(), tuple(own.values()), model.loss


def _is_own(part: Any) -> bool:
    """Whether `part` is a class of layers, or an op, that xcnn does not have."""
    if isinstance(part, Op):
        return getattr(ops, part.name, None) is not part
    return isinstance(part, type) and getattr(layers, part.__name__, None) is not part


def unpacked(
    content: bytes,
    custom: Sequence[type[Layer] | Op[...]],
    loss: losses.Loss | None,
    /,
    *,
    backend: str | None,
) -> Model:
    """Return the model that `packed` wrote.

    Parameters
    ----------
    content, custom, loss
        See `packed`.
    backend : str, optional
        Where it is to live.

    Returns
    -------
    Model
        Ready to use.

    Raises
    ------
    FileError
        If the bytes are no model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xcnn"
        path.write_bytes(content)
        model = load(path, backend=backend, custom=custom)
    model.loss = loss
    return model
