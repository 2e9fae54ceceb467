"""The tree of a model's layers, and what they hold, by its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xcnn.layer import Layer
from xcnn.layers import Sequential
from xcnn.state import Buffer, Parameter

__all__ = ["Tree"]


class Tree:
    """What can be walked: the part of a `Model` that names things."""

    layers: Sequential

    def walk(self) -> Iterator[Layer]:
        """Yield every layer once, outer ones first.

        Yields
        ------
        Layer
            In the order of the forward pass.
        """
        seen, stack = set[int](), [self.layers]
        while stack:
            layer: Any = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack += reversed(layer.children())

    def _named(self, kind: type) -> dict[str, Any]:
        return {
            ".".join(filter(None, (layer.path, key))): value
            for layer in self.walk()
            for key, value in vars(layer).items()
            if isinstance(value, kind)
        }

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters by their place.

        Returns
        -------
        dict
            ``"layers[0].w"`` and so on; shared ones once.
        """
        return self._named(Parameter)

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers (running statistics) by their place.

        Returns
        -------
        dict
            ``"layers[1].mean"`` and so on.
        """
        return self._named(Buffer)
