"""Layers as ONNX operators: a table with one writer for each type of layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xcnn import layers
from xcnn.errors import OptionError
from xcnn.io.onnx_graph import Graph
from xcnn.layer import Layer
from xcnn.types import Sides

__all__ = ["write"]

Writer = Callable[[Graph, Any, str], str]
WRITERS: dict[type[Layer], Writer] = {}


def write(graph: Graph, layer: Layer, x: str, /) -> str:
    """Write a layer with those inside it.

    Parameters
    ----------
    graph : Graph
        Gets the nodes.
    layer : Layer
        Built.
    x : str
        Name of its input.

    Returns
    -------
    str
        Name of its output.

    Raises
    ------
    OptionError
        If ONNX has no such layer.
    """
    writer = WRITERS.get(type(layer))
    if writer is None:
        msg = "a layer of your own, which has no operator in ONNX; needed layers of xcnn.layers"
        raise OptionError(msg, where=layer.label)
    return writer(graph, layer, x)


def _writes(*kinds: type[Layer]) -> Callable[[Writer], Writer]:
    def register(writer: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(kinds, writer))
        return writer

    return register


def _pads(sides: Sides) -> list[int]:
    """Return ((top, bottom), (left, right)) in ONNX's order."""
    (top, bottom), (left, right) = sides
    return [top, left, bottom, right]


@_writes(layers.Conv2D)
def _conv(graph: Graph, layer: layers.Conv2D, x: str) -> str:
    if not isinstance(layer.op, str):
        msg = f"its op {layer.op!r} is your own, which ONNX does not have; needed an op of xcnn"
        raise OptionError(msg, where=layer.label)
    w = graph.weights(layer.w, f"{layer.path}.w", flip=layer.op == "true_conv2d")
    b = graph.weights(layer.b, f"{layer.path}.b")
    return write(graph, layer.act, graph.node("Conv", layer, [x, w, b], **_window(layer)))


@_writes(layers.ConvTranspose2D)
def _conv_transpose(graph: Graph, layer: layers.ConvTranspose2D, x: str) -> str:
    extra = list(layer.window["output_padding"])
    if any(e >= s for e, s in zip(extra, layer.steps, strict=True)):
        msg = (
            f"output_padding is {extra}, stride {layer.steps}; ONNX has only output padding below the stride"
        )
        raise OptionError(msg, where=layer.label)
    w, b = graph.weights(layer.w, f"{layer.path}.w"), graph.weights(layer.b, f"{layer.path}.b")
    y = graph.node("ConvTranspose", layer, [x, w, b], **_window(layer), output_padding=extra)
    return write(graph, layer.act, y)


def _window(layer: layers.Conv2D | layers.ConvTranspose2D) -> dict[str, Any]:
    return {
        "kernel_shape": list(layer.size),
        "strides": list(layer.steps),
        "pads": _pads(layer.window["padding"]),
        "dilations": list(layer.spacing),
        "group": layer.groups,
    }


@_writes(layers.Dense)
def _dense(graph: Graph, layer: layers.Dense, x: str) -> str:
    w, b = graph.weights(layer.w, f"{layer.path}.w"), graph.weights(layer.b, f"{layer.path}.b")
    return write(graph, layer.act, graph.node("Gemm", layer, [x, w, b], transB=1))


@_writes(layers.MaxPool2D)
def _max_pool(graph: Graph, layer: layers.MaxPool2D, x: str) -> str:
    return graph.node("MaxPool", layer, [x], **_pooling(layer), pads=_pads(_grown(layer)))


@_writes(layers.AvgPool2D)
def _avg_pool(graph: Graph, layer: layers.AvgPool2D, x: str) -> str:
    """Write the mean; where windows hang over, the padding that counts becomes part of the images."""
    padding, grown = layer.window["padding"], _grown(layer)
    counted = layer.count_include_pad
    if counted and grown != padding:
        if padding != ((0, 0), (0, 0)):
            x = _padded(graph, layer, x, padding)
        grown = (0, grown[0][1] - padding[0][1]), (0, grown[1][1] - padding[1][1])
        counted = False
    options = _pooling(layer) | {"pads": _pads(grown), "count_include_pad": int(counted)}
    return graph.node("AveragePool", layer, [x], **options)


def _pooling(layer: layers.MaxPool2D | layers.AvgPool2D) -> dict[str, Any]:
    return {"kernel_shape": list(layer.extent), "strides": list(layer.steps)}


def _grown(layer: layers.MaxPool2D | layers.AvgPool2D) -> Sides:
    """Return the padding with what hangs over at the end: runtimes do not agree on ONNX's ceil_mode."""
    rows, columns = (
        (p[0], max(p[1], (o - 1) * s + k - h - p[0]))
        for h, o, k, s, p in zip(
            layer.input_shape[1:],
            layer.output_shape[1:],
            layer.extent,
            layer.steps,
            layer.window["padding"],
            strict=True,
        )
    )
    return rows, columns


def _padded(graph: Graph, layer: Layer, x: str, padding: Sides) -> str:
    # The axes are named so that onnxruntime does not take zeros before MaxPool for padding that never wins.
    pads = graph.array(_pads(padding), f"{layer.path}.pads", "int64")
    return graph.node("Pad", layer, [x, pads, "", graph.array([2, 3], f"{layer.path}.axes", "int64")])


@_writes(layers.GlobalAvgPool2D, layers.GlobalMaxPool2D)
def _global_pool(graph: Graph, layer: Layer, x: str) -> str:
    op = "GlobalAveragePool" if isinstance(layer, layers.GlobalAvgPool2D) else "GlobalMaxPool"
    return graph.node("Flatten", layer, [graph.node(op, layer, [x])], axis=1)


@_writes(layers.BatchNorm2D)
def _batch_norm(graph: Graph, layer: layers.BatchNorm2D, x: str) -> str:
    held = [graph.weights(getattr(layer, name), f"{layer.path}.{name}") for name in ("w", "b", "mean", "var")]
    kept = 1 - layer.momentum  # ONNX says how much of the old statistics stays
    return graph.node("BatchNormalization", layer, [x, *held], epsilon=float(layer.eps), momentum=kept)


@_writes(layers.GroupNorm)
def _group_norm(graph: Graph, layer: layers.GroupNorm, x: str) -> str:
    w, b = graph.weights(layer.w, f"{layer.path}.w"), graph.weights(layer.b, f"{layer.path}.b")
    options = {"num_groups": layer.groups, "epsilon": float(layer.eps)}
    return graph.node("GroupNormalization", layer, [x, w, b], **options)


@_writes(layers.LayerNorm)
def _layer_norm(graph: Graph, layer: layers.LayerNorm, x: str) -> str:
    w, b = graph.weights(layer.w, f"{layer.path}.w"), graph.weights(layer.b, f"{layer.path}.b")
    return graph.node("LayerNormalization", layer, [x, w, b], axis=1, epsilon=float(layer.eps))


@_writes(layers.Normalize)
def _normalize(graph: Graph, layer: layers.Normalize, x: str) -> str:
    for op, holder, name in (("Sub", layer.shift, "mean"), ("Div", layer.scale, "std")):
        values = np.reshape(graph.to_numpy(holder.value), (-1, *[1] * (len(layer.input_shape) - 1)))
        x = graph.node(op, layer, [x, graph.array(values, f"{layer.path}.{name}")])
    return x


@_writes(layers.UntiedBias)
def _untied_bias(graph: Graph, layer: layers.UntiedBias, x: str) -> str:
    return graph.node("Add", layer, [x, graph.weights(layer.b, f"{layer.path}.b")])


@_writes(layers.Identity)
def _identity(graph: Graph, layer: Layer, x: str) -> str:
    return x


@_writes(layers.ReLU, layers.Sigmoid, layers.Tanh)
def _activation(graph: Graph, layer: Layer, x: str) -> str:
    return graph.node(type(layer).__name__.capitalize(), layer, [x])  # ONNX writes Relu


@_writes(layers.SiLU)
def _silu(graph: Graph, layer: Layer, x: str) -> str:
    return graph.node("Mul", layer, [x, graph.node("Sigmoid", layer, [x])])


@_writes(layers.LeakyReLU)
def _leaky_relu(graph: Graph, layer: layers.LeakyReLU, x: str) -> str:
    return graph.node("LeakyRelu", layer, [x], alpha=float(layer.slope))


@_writes(layers.ELU)
def _elu(graph: Graph, layer: layers.ELU, x: str) -> str:
    return graph.node("Elu", layer, [x], alpha=float(layer.alpha))


@_writes(layers.GELU)
def _gelu(graph: Graph, layer: layers.GELU, x: str) -> str:
    return graph.node("Gelu", layer, [x], approximate=layer.approximate)


@_writes(layers.Softmax, layers.LogSoftmax)
def _softmax(graph: Graph, layer: layers.Softmax | layers.LogSoftmax, x: str) -> str:
    return graph.node(type(layer).__name__, layer, [x], axis=layer.axis)


@_writes(layers.Flatten)
def _flatten(graph: Graph, layer: Layer, x: str) -> str:
    return graph.node("Flatten", layer, [x], axis=1)


@_writes(layers.Reshape)
def _reshape(graph: Graph, layer: layers.Reshape, x: str) -> str:
    shape = [0, *layer.output_shape]  # 0: as it is
    return graph.node("Reshape", layer, [x, graph.array(shape, f"{layer.path}.shape", "int64")])


@_writes(layers.ZeroPad2D)
def _zero_pad(graph: Graph, layer: layers.ZeroPad2D, x: str) -> str:
    return _padded(graph, layer, x, layer.sides)


@_writes(layers.UpSample2D)
def _upsample(graph: Graph, layer: layers.UpSample2D, x: str) -> str:
    scales = graph.array([1, 1, *layer.times], f"{layer.path}.scales", "float32")
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", layer, [x, "", scales], **how)


@_writes(layers.Dropout)
def _dropout(graph: Graph, layer: layers.Dropout, x: str) -> str:
    return graph.node("Dropout", layer, [x, graph.array(layer.rate, f"{layer.path}.rate", "float32")])


@_writes(layers.Sequential)
def _sequential(graph: Graph, layer: layers.Sequential, x: str) -> str:
    for inner in layer.layers:
        x = write(graph, inner, x)
    return x


@_writes(layers.Sum)
def _sum(graph: Graph, layer: layers.Sum, x: str) -> str:
    total, *others = (write(graph, inner, x) for inner in layer.layers)
    for y in others:
        total = graph.node("Add", layer, [total, y])
    return total


@_writes(layers.Concat)
def _concat(graph: Graph, layer: layers.Concat, x: str) -> str:
    ys = [write(graph, inner, x) for inner in layer.layers]
    return graph.node("Concat", layer, ys, axis=1) if len(ys) > 1 else ys[0]


@_writes(layers.Gate)
def _gate(graph: Graph, layer: layers.Gate, x: str) -> str:
    g = write(graph, layer.body, x)
    if layer.pixels:
        axes = graph.array(layer.pixels, f"{layer.path}.axes", "int64")
        g = graph.node("Unsqueeze", layer, [g, axes])
    return graph.node("Mul", layer, [x, g])
