"""The graph of an ONNX file as a tree of layers."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np

from xcnn import layers
from xcnn.build import Make
from xcnn.errors import Error, FileError
from xcnn.io.onnx_layers import READERS, Parts
from xcnn.io.onnx_node import Node
from xcnn.layer import Layer

__all__ = ["Reader"]

Shape = tuple[int, ...]

_JOINS = {"Add", "Sum", "Mul", "Concat"}
_OLDEST = 13  # in which axes became inputs, and Softmax one of one axis
_NODES = 20_000
_ELEMENTS = 2**27  # of one image between two layers
_CHANNELS = 2**20


class Reader:
    """Turns chains of nodes into layers, and branches that meet into Sum, Concat and Gate.

    Parameters
    ----------
    content : ModelProto
        Checked by onnx, all arrays inside.

    Attributes
    ----------
    input_shape : tuple of int
        Without N.
    dtype : str
        Of the inputs.
    """

    def __init__(self, content: Any) -> None:
        graph = content.graph
        versions = [o.version for o in content.opset_import if o.domain in ("", "ai.onnx")]
        if not versions or max(versions) < _OLDEST:
            msg = f"is of opset {versions}; needed {_OLDEST} or later"
            raise FileError(msg)
        if len(graph.node) > _NODES or graph.sparse_initializer or content.functions:
            msg = f"has {len(graph.node)} nodes; needed at most {_NODES}, no sparse arrays and no functions"
            raise FileError(msg)
        self.constants = {t.name: _array(t) for t in graph.initializer}
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            msg = f"has {len(inputs)} inputs and {len(graph.output)} outputs; needed one of each"
            raise FileError(msg)
        self.dtype, self.batch, self.input_shape = _described(inputs[0])
        self.output: str = graph.output[0].name
        self.start: str = inputs[0].name
        self.shapes: dict[str, Shape] = {self.start: self.input_shape}
        self.above: dict[str, str] = {self.start: ""}  # where all ways to a value last met
        self.depth = {self.start: 0}
        self.made: dict[str, tuple[Node, Any, list[str]]] = {}  # by output: node, its parts, computed inputs
        self.values: list[tuple[Layer, dict[str, np.ndarray]]] = []
        self.make = Make(0)
        self.nodes = graph.node

    def layers(self) -> list[Layer]:
        """Return the layers from the input to the output, not built."""
        try:
            for proto in self.nodes:
                self._read(proto)
        finally:
            self.make.abandon()
        if self.output not in self.shapes:
            msg = f"its output {self.output!r} does not depend on its input"
            raise FileError(msg)
        return self._chain(self.output, self.start)

    def fill(self) -> None:
        """Write the values into the layers, once they are built."""
        for layer, values in self.values:
            held = {**vars(layer)}
            for name, a in values.items():
                holder = held[name]
                if a.shape != holder.shape or a.dtype.name != self.dtype:
                    came = f"{name} has shape {a.shape} and dtype {a.dtype}"
                    msg = f"{layer.label}: {came}; needed {holder.shape} and {self.dtype}"
                    raise FileError(msg)
                holder.value = np.ascontiguousarray(a)

    def _read(self, proto: Any) -> None:
        """Find what a node makes of its input, and the shape that it gives."""
        known = [self.constants.get(name) for name in proto.input]
        computed = [name for name in proto.input if name and name not in self.constants]
        if proto.domain not in ("", "ai.onnx"):
            Node(proto, known, (), self.batch).refuse(f"its domain is {proto.domain!r}; needed ONNX's own")
        if proto.op_type == "Constant":
            self.constants[proto.output[0]] = _constant(Node(proto, [], (), self.batch))
            return
        foreign = [name for name in computed if name not in self.shapes]
        node = Node(proto, known, self.shapes.get(computed[0], ()) if computed else (), self.batch)
        if foreign or not computed:
            node.refuse(f"it takes {foreign or 'constants alone'}; needed what comes from the input")
        y = proto.output[0]
        if len(computed) > 1 and proto.op_type in _JOINS and len(computed) == len(known):
            self._join(node, y, computed)
            return
        reader = READERS.get(node.op)
        if reader is None:
            node.refuse("no layer of xcnn does this")
        if len(computed) > 1:
            node.refuse(f"{len(computed)} of its inputs are computed; needed one, the others constant")
        try:
            parts, shape = reader(node), node.shape
            for layer, _ in parts:
                shape = self.make.build(layer, shape)
                self._check(node, shape)
        except FileError:
            raise
        except (Error, KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
            node.refuse(error.what if isinstance(error, Error) else f"{type(error).__name__}: {error}")
        self._place(y, node, parts, computed, shape, computed[0])

    def _check(self, node: Node, shape: Shape) -> None:
        if math.prod(shape) > _ELEMENTS or shape[0] > _CHANNELS:
            node.refuse(f"it gives shape {shape}; needed at most {_ELEMENTS} numbers, {_CHANNELS} channels")

    def _place(
        self, y: str, node: Node, parts: Parts | None, computed: list[str], shape: Shape, above: str
    ) -> None:
        self.made[y] = node, parts, computed
        self.shapes[y], self.above[y], self.depth[y] = shape, above, self.depth[above] + 1

    def _join(self, node: Node, y: str, computed: list[str]) -> None:
        """Find where the branches that meet in a node began."""
        shapes = [self.shapes[name] for name in computed]
        shape = shapes[0]
        if node.op == "Concat":
            if node.axis(1) != 1 or len({s[1:] for s in shapes}) > 1:
                node.refuse(
                    f"it stacks {shapes} along axis {node.get('axis', 1)}; needed the channels, axis 1"
                )
            shape = (sum(s[0] for s in shapes), *shape[1:])
        elif node.op == "Mul":
            shape = max(shapes, key=math.prod)
        elif len(set(shapes)) > 1:
            node.refuse(f"it adds shapes {', '.join(map(str, shapes))}; needed one")
        self._check(node, shape)
        fork = computed[0]
        for other in computed[1:]:
            while fork != other:
                if self.depth[fork] < self.depth[other]:
                    other = self.above[other]
                else:
                    fork = self.above[fork]
        self._place(y, node, None, computed, shape, fork)

    def _chain(self, value: str, fork: str) -> list[Layer]:
        """Return the layers from `fork` to `value`."""
        found: list[list[Layer]] = []
        while value != fork:
            if value not in self.made:
                msg = f"{value!r} feeds branches that do not meet again in one node; needed nested branches"
                raise FileError(msg)
            node, parts, computed = self.made.pop(value)
            if parts is None:
                found.append([self._branches(node, computed, self.above[value])])
            else:
                self.values += parts
                found.append([layer for layer, _ in parts])
            value = self.above[value]
        return _tidy([layer for few in reversed(found) for layer in few])

    def _branches(self, node: Node, computed: list[str], fork: str) -> Layer:
        if node.op == "Mul":
            return self._gate(node, computed, fork)
        inner = [_one(self._chain(name, fork)) for name in computed]
        return layers.Concat(*inner) if node.op == "Concat" else layers.Sum(*inner)

    def _gate(self, node: Node, computed: list[str], fork: str) -> Layer:
        if len(computed) != 2 or fork not in computed:
            node.refuse("it multiplies two branches; needed x and what is made of it")
        body = computed[1] if computed[0] == fork else computed[0]
        shape, c = self.shapes[fork], self.shapes[fork][0]
        if self.shapes[body] not in (shape, (c,) + (1,) * (len(shape) - 1)):
            node.refuse(f"it multiplies shapes {shape} and {self.shapes[body]}; needed one, or ({c}, 1, 1)")
        found = self._chain(body, fork)
        if len(found) == 1 and type(found[0]) is layers.Sigmoid:
            return layers.SiLU()
        if self.shapes[body] != shape:
            found = _tidy([*found, layers.Flatten()])
        return layers.Gate(_one(found))


def _one(found: list[Layer]) -> Layer:
    if len(found) == 1:
        return found[0]
    return layers.Sequential(*found) if found else layers.Identity()


def _tidy(found: list[Layer]) -> list[Layer]:
    """Drop what does nothing: identities, and shapes given to be taken away; join a shift and a scale."""
    kept: list[Layer] = []
    for layer in found:
        if type(layer) is layers.Identity:
            continue
        before = kept[-1] if kept else None
        if isinstance(layer, layers.Flatten) and isinstance(before, layers.Reshape):
            kept.pop()
            if len(before.input_shape) == 1:
                continue
        elif _is_scale(layer) and isinstance(before, layers.Normalize) and before.std == 1:
            kept[-1] = layers.Normalize(before.mean, layer.std)
            continue
        kept.append(layer)
    return kept


def _is_scale(layer: Layer) -> TypeGuard[layers.Normalize]:
    return isinstance(layer, layers.Normalize) and layer.mean == 0


def _array(tensor: Any) -> np.ndarray:
    """Return an array that the file holds itself."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        msg = f"keeps {tensor.name!r} in another file; needed all arrays in this one"
        raise FileError(msg)
    if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL):
        kind = TensorProto.DataType.Name(tensor.data_type)
        msg = f"array {tensor.name!r} is of {kind}; needed FLOAT, DOUBLE, INT64 or BOOL"
        raise FileError(msg)
    return np.asarray(numpy_helper.to_array(tensor))


def _constant(node: Node) -> np.ndarray:
    """Return what a Constant node holds."""
    ((name, value),) = node.attributes.items()
    kinds = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    if name == "value":
        return _array(value)
    if name not in kinds:
        node.refuse(f"it holds {name}; needed numbers")
    return np.asarray(value, dtype=kinds[name])


def _described(value: Any) -> tuple[str, int | None, Shape]:
    """Return the dtype, the batch if it is fixed, and the shape of the input."""
    kind = value.type.tensor_type
    name = {1: "float32", 11: "float64"}.get(kind.elem_type)
    extents = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    image = [e for e in extents[1:] if e is not None and e > 0]
    if name is None or len(image) != len(extents) - 1 or not image or math.prod(image) > _ELEMENTS:
        msg = f"its input {value.name!r} has type {kind.elem_type} and shape {extents}; "
        raise FileError(f"{msg}needed FLOAT or DOUBLE (N, ...) of fixed positive extents but for N")
    return name, extents[0], tuple(image)
