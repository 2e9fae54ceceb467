"""ONNX operators as layers: a table with one reader for each operator of one computed input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xcnn import layers
from xcnn.io.onnx_node import Node
from xcnn.layer import Layer
from xcnn.layers.geometry import sides

__all__ = ["READERS", "Parts"]

Parts = list[tuple[Layer, dict[str, np.ndarray]]]
"""Layers one after the other, each with the values of its parameters and buffers."""

READERS: dict[str, Callable[[Node], Parts]] = {}


def _reads(*ops: str) -> Callable[[Callable[[Node], Parts]], Callable[[Node], Parts]]:
    def register(reader: Callable[[Node], Parts]) -> Callable[[Node], Parts]:
        READERS.update(dict.fromkeys(ops, reader))
        return reader

    return register


def _image(node: Node) -> tuple[int, int, int]:
    if len(node.shape) != 3:
        node.refuse(f"its input has shape (N, {', '.join(map(str, node.shape))}); needed (N, C, H, W)")
    return node.shape[0], node.shape[1], node.shape[2]


def _padding(node: Node, size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Any:
    """Return ((top, bottom), (left, right)), also where the file says how to find them."""
    mode = node.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        _, h, w = _image(node)
        found = sides("same", (h, w), size, stride, dilation)
        return found if mode == "SAME_UPPER" else tuple((end, start) for start, end in found)
    values = node.get("pads", [0, 0, 0, 0]) if mode == "NOTSET" else [0, 0, 0, 0]
    if len(values) != 4:
        node.refuse(f"pads is {list(values)}; needed four: xcnn's windows have rows and columns")
    top, left, bottom, right = map(int, values)
    return (top, bottom), (left, right)


def _window(node: Node, size: tuple[int, int]) -> dict[str, Any]:
    _image(node)
    stride, dilation = node.pair("strides"), node.pair("dilations")
    padding = _padding(node, size, stride, dilation)
    return {"stride": stride, "dilation": dilation, "padding": padding}


def _kernels(node: Node) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
    """Return w, the values, and what both convolutions are made with."""
    w, b = node.constant(1, "kernel"), node.optional(2)
    if w.ndim != 4:
        node.refuse(f"its kernel has shape {w.shape}; needed four axes: xcnn convolves images")
    values = {"w": w} if b is None else {"w": w, "b": b}
    options = {"groups": int(node.get("group", 1)), "bias": b is not None, "init": "zeros"}
    return w, values, options | _window(node, (w.shape[2], w.shape[3]))


@_reads("Conv")
def _conv(node: Node) -> Parts:
    w, values, options = _kernels(node)
    return [(layers.Conv2D(w.shape[0], w.shape[2:], **options), values)]


@_reads("ConvTranspose")
def _conv_transpose(node: Node) -> Parts:
    node.only(auto_pad="NOTSET")
    if "output_shape" in node.attributes:
        node.refuse("it has output_shape; needed pads and output_padding")
    w, values, options = _kernels(node)
    extra = tuple(node.get("output_padding", [0, 0]))
    filters = w.shape[1] * options["groups"]
    return [(layers.ConvTranspose2D(filters, w.shape[2:], output_padding=extra, **options), values)]


@_reads("Gemm", "MatMul")
def _dense(node: Node) -> Parts:
    node.only(transA=0)
    w, b = node.constant(1, "weights"), node.optional(2)
    if w.ndim != 2 or len(node.shape) != 1:
        node.refuse(f"it maps (N, ...) with {node.shape} by weights {w.shape}; needed (N, I) and two axes")
    w = w if node.get("transB", 0) else w.T
    values = {"w": w * w.dtype.type(node.get("alpha", 1.0))}
    if b is not None:
        if b.shape not in ((), (1,), (1, 1), (len(w),), (1, len(w))):
            node.refuse(f"its bias has shape {b.shape}; needed ({len(w)},)")
        values["b"] = np.broadcast_to(b.reshape(-1) * b.dtype.type(node.get("beta", 1.0)), (len(w),))
    return [(layers.Dense(len(w), bias=b is not None, init="zeros"), values)]


@_reads("MaxPool")
def _max_pool(node: Node) -> Parts:
    if len(node.outputs) > 1:
        node.refuse("it also gives indices; xcnn gives the largest pixels alone")
    return [(layers.MaxPool2D(node.pair("kernel_shape"), **_pooling(node)), {})]


@_reads("AveragePool")
def _avg_pool(node: Node) -> Parts:
    counted = bool(node.get("count_include_pad", 0))
    options = _pooling(node)
    return [(layers.AvgPool2D(node.pair("kernel_shape"), count_include_pad=counted, **options), {})]


def _pooling(node: Node) -> dict[str, Any]:
    options = _window(node, node.pair("kernel_shape"))
    if options.pop("dilation") != (1, 1):
        node.refuse(f"dilations is {node.pair('dilations')}; xcnn's pooling layers have (1, 1) alone")
    return options | {"ceil": bool(node.get("ceil_mode", 0))}


@_reads("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Node) -> Parts:
    return _over_pixels(node, keepdims=True)


@_reads("ReduceMean", "ReduceMax")
def _reduce(node: Node) -> Parts:
    rank = len(node.shape) + 1
    axes = node.get("axes", None) or (node.integers(1, "axes") if len(node.constants) > 1 else [])
    if sorted(int(a) % rank for a in axes) != [2, 3]:
        node.refuse(f"axes is {list(axes)}; needed [2, 3], all pixels")
    return _over_pixels(node, keepdims=bool(node.get("keepdims", 1)))


def _over_pixels(node: Node, *, keepdims: bool) -> Parts:
    c, _, _ = _image(node)
    pool = layers.GlobalMaxPool2D() if "Max" in node.op else layers.GlobalAvgPool2D()
    return [(pool, {}), *([(layers.Reshape((c, 1, 1)), {})] if keepdims else [])]


@_reads("BatchNormalization")
def _batch_norm(node: Node) -> Parts:
    node.only(training_mode=0)
    names = ("w", "b", "mean", "var")
    values = {name: node.constant(i, name) for i, name in enumerate(names, 1)}
    moved = 1 - float(node.get("momentum", 0.9))  # ONNX says how much of the old statistics stays
    return [(layers.BatchNorm2D(momentum=moved, eps=float(node.get("epsilon", 1e-5))), values)]


@_reads("GroupNormalization")
def _group_norm(node: Node) -> Parts:
    values = {"w": node.constant(1, "scale"), "b": node.constant(2, "bias")}
    return [(layers.GroupNorm(node.get("num_groups", 1), eps=float(node.get("epsilon", 1e-5))), values)]


@_reads("LayerNormalization")
def _layer_norm(node: Node) -> Parts:
    if node.axis(-1) != 1 or len(node.outputs) > 1:
        node.refuse(f"axis is {node.get('axis', -1)}; needed 1, all of an image, and one output")
    w = node.constant(1, "scale")
    b = node.optional(2)
    return [
        (layers.LayerNorm(eps=float(node.get("epsilon", 1e-5))), {"w": w, "b": 0 * w if b is None else b})
    ]


ACTIVATIONS: dict[str, Callable[[Node], Layer]] = {
    "Elu": lambda node: layers.ELU(float(node.get("alpha", 1.0))),
    "Gelu": lambda node: layers.GELU(node.get("approximate", "none")),
    "Identity": lambda node: layers.Identity(),
    "LeakyRelu": lambda node: layers.LeakyReLU(float(node.get("alpha", 0.01))),
    "LogSoftmax": lambda node: layers.LogSoftmax(node.axis(-1)),
    "Relu": lambda node: layers.ReLU(),
    "Sigmoid": lambda node: layers.Sigmoid(),
    "Softmax": lambda node: layers.Softmax(node.axis(-1)),
    "Tanh": lambda node: layers.Tanh(),
}


@_reads(*ACTIVATIONS)
def _activation(node: Node) -> Parts:
    return [(ACTIVATIONS[node.op](node), {})]


@_reads("Swish")
def _silu(node: Node) -> Parts:
    node.only(alpha=1.0)
    return [(layers.SiLU(), {})]


@_reads("Dropout")
def _dropout(node: Node) -> Parts:
    if len(node.outputs) > 1 or (len(node.constants) > 2 and node.constant(2, "training_mode").any()):
        node.refuse("it drops, or gives its mask; needed one that does nothing at inference")
    ratio = node.optional(1)
    return [(layers.Dropout(0.5 if ratio is None else float(ratio.reshape(-1)[0])), {})]


@_reads("Flatten")
def _flatten(node: Node) -> Parts:
    if node.axis(1) != 1:
        node.refuse(f"axis is {node.get('axis', 1)}; needed 1, which keeps the batch")
    return [(layers.Flatten(), {})]


@_reads("Reshape")
def _reshape(node: Node) -> Parts:
    node.only(allowzero=0)
    first, *extents = node.integers(1, "shape") or [1]
    full = (0, *node.shape)
    extents = [full[i] if e == 0 and i < len(full) else e for i, e in enumerate(extents, 1)]
    whole = math.prod(extents) == math.prod(node.shape)
    if not (first in (0, node.batch) or (first == -1 and whole)):
        node.refuse(f"it reshapes to {[first, *extents]}; needed 0 or -1 first, which keeps the batch")
    if extents in ([-1], [math.prod(node.shape)]):
        return [(layers.Flatten(), {})]
    return [(layers.Reshape(extents), {})]


@_reads("Squeeze", "Unsqueeze")
def _squeeze(node: Node) -> Parts:
    full, axes = [node.batch, *node.shape], node.integers(1, "axes")
    rank = len(full) + (len(axes) if node.op == "Unsqueeze" else 0)
    axes = sorted({a % rank if -rank <= a < rank else 0 for a in axes})
    if 0 in axes or (node.op == "Squeeze" and any(full[a] != 1 for a in axes)):
        node.refuse(f"axes is {axes} on shape {('N', *node.shape)}; needed extents of 1, and not the batch")
    if node.op == "Squeeze":
        full = [extent for i, extent in enumerate(full) if i not in axes]
    for a in axes if node.op == "Unsqueeze" else ():
        full.insert(a, 1)
    return [(layers.Reshape(full[1:]), {})]


@_reads("Pad")
def _pad(node: Node) -> Parts:
    node.only(mode="constant")
    _image(node)
    value, named = node.optional(2), node.optional(3)
    if value is not None and value.any():
        node.refuse("it pads by another value; xcnn pads by zero")
    axes = range(4) if named is None else [a % 4 for a in node.integers(3, "axes")]
    pads = node.integers(1, "pads")
    if len(pads) != 2 * len(axes):
        node.refuse(f"pads is {pads}; needed two for each of {len(axes)} axes")
    around = {a: (pads[i], pads[i + len(axes)]) for i, a in enumerate(axes)}
    if any(around.get(a, (0, 0)) != (0, 0) for a in (0, 1)):
        node.refuse(f"pads is {pads}; needed none of the batch and the channels")
    return [(layers.ZeroPad2D((around.get(2, (0, 0)), around.get(3, (0, 0)))), {})]


@_reads("Resize")
def _resize(node: Node) -> Parts:
    node.only(mode="nearest", antialias=0, exclude_outside=0)
    c, h, w = _image(node)
    how = (
        node.get("coordinate_transformation_mode", "half_pixel"),
        node.get("nearest_mode", "round_prefer_floor"),
    )
    repeats = (
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    )
    if how not in repeats or "axes" in node.attributes:
        node.refuse(f"it interpolates by {' and '.join(how)}; needed asymmetric and floor")
    if node.optional(3) is not None:
        wanted = node.integers(3, "sizes")
        times = [o / i for o, i in zip(wanted[1:], (c, h, w), strict=False)] if len(wanted) == 4 else []
    else:
        times = [float(s) for s in node.constant(2, "scales").reshape(-1)[:8]][1:]
    if len(times) != 3 or times[0] != 1 or any(t < 1 or t % 1 for t in times):
        node.refuse(f"it scales channels, rows and columns by {times}; needed 1 and two integers")
    return [(layers.UpSample2D((int(times[1]), int(times[2]))), {})]


@_reads("Add", "Sub", "Mul", "Div")
def _by_constants(node: Node) -> Parts:
    """Read arithmetic with one constant: a bias for each pixel, or statistics of each channel."""
    at = 0 if node.optional(0) is not None else 1
    a = node.constant(at, "other input")
    if at == 0 and node.op in ("Sub", "Div"):
        node.refuse("it takes x from a constant, or divides one by it; needed x first")
    if node.op == "Add" and len(node.shape) == 3 and a.shape in (node.shape, (1, *node.shape)):
        return [(layers.UntiedBias(), {"b": a.reshape(node.shape)})]
    full = (1,) * (len(node.shape) + 1 - a.ndim) + a.shape
    if len(full) != len(node.shape) + 1 or a.size not in (1, full[1]) or full[1] not in (1, node.shape[0]):
        node.refuse(f"its constant has shape {a.shape}; needed one number per channel, or per pixel to add")
    values = a.astype(np.float64).reshape(-1)
    found = values if a.size > 1 else values.repeat(node.shape[0])
    none = np.zeros(1), np.ones(1)
    if node.op in ("Mul", "Div"):
        if not np.all(found > 0):
            node.refuse("it scales by numbers that are not positive; needed positive ones")
        shift, scale = none[0], 1 / found if node.op == "Mul" else found
    else:
        shift, scale = -found if node.op == "Add" else found, none[1]
    return [(layers.Normalize(*(v.tolist() if v.size > 1 else float(v[0]) for v in (shift, scale))), {})]
