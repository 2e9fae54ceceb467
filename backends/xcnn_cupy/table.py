"""Which kernel replaces which op: looked up by name, imported when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Table"]

PLACES: dict[str, str] = {
    # op, optimizer or function: module of this package, and name in it
    "conv2d": "operations:CONV2D",
    "conv_transpose2d": "operations:CONV_TRANSPOSE2D",
    "linear": "operations:LINEAR",
    "max_pool2d": "pooling:MAX_POOL",
    "avg_pool2d": "pooling:AVG_POOL",
    "relu": "activations:RELU",
    "leaky_relu": "activations:LEAKY_RELU",
    "sigmoid": "activations:SIGMOID",
    "tanh": "activations:TANH",
    "silu": "activations:SILU",
    "cross_entropy": "losses:CROSS_ENTROPY",
    "dropout": "dropouts:DROPOUT",
    "SGD": "updates:sgd",
    "Adagrad": "updates:adagrad",
    "RMSprop": "updates:rmsprop",
    "Adam": "updates:adam",
    "AdamW": "updates:adam",
    "update_segments": "updates:update_segments",
    "settle": "updates:settle",
    "keep": "updates:keep",
    "scale_bytes": "inputs:scale_bytes",
    "augmented": "inputs:augmented",
    "batch_norm": "operations:BATCH_NORM",
    "philox": "draws:philox",
}


class Table(Mapping[str, Any]):
    """Kernels by name; a module is imported when its first kernel is asked for.

    Parameters
    ----------
    places : mapping
        Name to ``"module:attribute"``.
    """

    def __init__(self, places: Mapping[str, str] = PLACES) -> None:
        self._places, self._found = places, dict[str, Any]()

    def get(self, name: str, default: Any = None) -> Any:
        """Return the kernel of that name."""
        if name not in self._places:
            return default
        if name not in self._found:
            module, _, attribute = self._places[name].partition(":")
            self._found[name] = getattr(importlib.import_module(f"xcnn_cupy.{module}"), attribute)
        return self._found[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self._places:
            raise KeyError(name)
        return self.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
