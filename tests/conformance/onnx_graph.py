"""ONNX's graphs, run node by node, and the layout that joins their nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xcnn.backend import Backend

__all__ = ["LAYOUT", "OPERATORS", "Lacking", "Node", "register", "run"]


class Lacking(Exception):
    """What ONNX has and xcnn has not."""


class Node:
    """A node of a graph: its attributes, its opset, and arrays by the backend they are on."""

    def __init__(self, node: Any, opset: int, backend: Backend) -> None:
        from onnx.helper import get_attribute_value

        self.kind, self.outputs, self.opset, self.backend = node.op_type, len(node.output), opset, backend
        self.attributes = {a.name: get_attribute_value(a) for a in node.attribute}
        self.xp = backend.xp

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, text as str."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def floating(self, *arrays: Any) -> None:
        """Refuse arrays that are not floating: xcnn's layers, unlike its ops, leave that to the model."""
        if any(not self.xp.isdtype(a.dtype, "real floating") for a in arrays):
            raise Lacking(f"{self.kind} of {arrays[0].dtype}")

    def host(self, a: Any) -> Any:
        """Return an argument that only shapes the result, as a NumPy array."""
        return self.backend.to_numpy(a)

    def full(self, shape: tuple[int, ...], value: float, like: Any) -> Any:
        """Return an array of one value, on the backend."""
        return self.backend.asarray(np.full(shape, value, np.dtype(str(self.host(like).dtype))))


OPERATORS: dict[str, Callable[..., Any]] = {}  # what xcnn computes
LAYOUT: dict[str, Callable[..., Any]] = {}  # moves and copies of elements, with which a graph joins its nodes


def register(table: dict[str, Callable[..., Any]], *names: str) -> Callable[..., Any]:
    """Put a function into a table, under each of the names."""

    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        table.update(dict.fromkeys(names, function))
        return function

    return keep


def run(graph: Any, opset: int, inputs: list[Any], backend: Backend) -> list[Any]:
    """Return the outputs of an ONNX graph, its nodes run in their order."""
    from onnx.numpy_helper import to_array

    for a in inputs:
        if not hasattr(a, "dtype") or (a.dtype.kind == "f" and a.dtype.name not in ("float32", "float64")):
            raise Lacking(f"input {getattr(a, 'dtype', type(a).__name__)}")
    held = {tensor.name: backend.asarray(to_array(tensor)) for tensor in graph.initializer}
    fed = [value.name for value in graph.input if value.name not in held]
    held |= {name: backend.asarray(a) for name, a in zip(fed, inputs, strict=True)}
    for described in graph.node:
        node = Node(described, opset, backend)
        function = OPERATORS.get(node.kind) or LAYOUT[node.kind]
        found = function(node, *(held[name] if name else None for name in described.input))
        found = found if isinstance(found, tuple) else (found,)
        if len(found) < node.outputs:
            raise Lacking(f"{node.kind} with {node.outputs} outputs")
        held |= dict(zip(described.output, found, strict=False))
    return [held[value.name] for value in graph.output]


@register(LAYOUT, "Identity")
def identity(node: Node, x: Any) -> Any:
    """Return x."""
    return x


@register(LAYOUT, "Constant")
def constant(node: Node) -> Any:
    """Return an attribute."""
    from onnx.numpy_helper import to_array

    return node.backend.asarray(to_array(node.get("value")))


@register(LAYOUT, "Transpose")
def transpose(node: Node, x: Any) -> Any:
    """Permute axes."""
    return node.xp.permute_dims(x, tuple(node.get("perm", list(range(x.ndim))[::-1])))


@register(LAYOUT, "Unsqueeze")
def unsqueeze(node: Node, x: Any, axes: Any = None) -> Any:
    """Insert axes of extent 1."""
    for axis in sorted(node.get("axes") if axes is None else map(int, node.host(axes))):
        x = node.xp.expand_dims(x, axis=axis)
    return x


@register(LAYOUT, "Squeeze")
def squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    """Take axes of extent 1 away."""
    gone = {axis % x.ndim for axis in (node.get("axes") if axes is None else map(int, node.host(axes)))}
    return node.xp.reshape(x, tuple(extent for axis, extent in enumerate(x.shape) if axis not in gone))
