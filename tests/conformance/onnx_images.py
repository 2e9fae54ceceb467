"""ONNX's operators on images, said in xcnn's: windows and their automatic padding, zeros, repeated pixels.

A line (N, C, L) is an image of one row: the same numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from tests.conformance.onnx_graph import OPERATORS, Lacking, Node, register
from xcnn import ops

_BEFORE = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "output_shape": 1}


def lines(function: Callable[..., Any], /) -> Callable[..., Any]:
    """Let an operator on images take lines, too."""

    @functools.wraps(function)
    def taking_lines(node: Node, x: Any, *others: Any) -> Any:
        if x.ndim != 3:
            return function(node, x, *others)
        for name, first in _BEFORE.items():
            if name in node.attributes:
                node.attributes[name] = [first, *node.attributes[name]]
        if "pads" in node.attributes:
            before, after = node.attributes["pads"]
            node.attributes["pads"] = [0, before, 0, after]
        y = function(node, *(node.xp.expand_dims(a, axis=2) if a.ndim == 3 else a for a in (x, *others)))
        return node.xp.reshape(y, (*y.shape[:2], y.shape[3]))

    return taking_lines


def _pads(node: Node, extents: Any, size: Any, stride: Any, dilation: Any) -> Any:
    """Return ((before, after), ...) of each axis of an image."""
    auto, n = node.get("auto_pad", "NOTSET"), len(extents)
    if auto == "NOTSET":
        pads = node.get("pads", [0] * (2 * n))
        return tuple(zip(pads[:n], pads[n:], strict=True))
    if auto == "VALID":
        return ((0, 0),) * n
    sides = []
    for extent, k, s, d in zip(extents, size, stride, dilation, strict=True):
        total = max((math.ceil(extent / s) - 1) * s + d * (k - 1) + 1 - extent, 0)
        less, more = total // 2, total - total // 2
        sides.append((less, more) if auto == "SAME_UPPER" else (more, less))
    return tuple(sides)


def _window(node: Node, x: Any, size: Any) -> dict[str, Any]:
    """Return the options of a window, as xcnn's operators take them."""
    stride, dilation = (tuple(node.get(name, [1] * len(size))) for name in ("strides", "dilations"))
    if x.ndim != 4:
        raise Lacking(f"{node.kind} over {x.ndim - 2} axes")
    return {
        "stride": stride,
        "dilation": dilation,
        "padding": _pads(node, x.shape[2:], size, stride, dilation),
    }


@register(OPERATORS, "Conv")
@lines
def conv(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """Convolve."""
    return ops.conv2d(x, w, b, **_window(node, x, w.shape[2:]), groups=node.get("group", 1))[0]


@register(OPERATORS, "ConvTranspose")
@lines
def conv_transpose(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """Lay kernels down; what `output_shape` or automatic padding ask for is cut off, or added at the end."""
    options = _window(node, x, w.shape[2:])
    added = list(node.get("output_padding", [0, 0]))
    auto, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if auto in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
        wanted = [extent * s for extent, s in zip(x.shape[2:], options["stride"], strict=True)]
    if wanted is not None:
        sides = []
        for i, out in enumerate(wanted):
            reach = options["dilation"][i] * (w.shape[2 + i] - 1) + 1
            total = (x.shape[2 + i] - 1) * options["stride"][i] + reach + added[i] - out
            added[i], total = added[i] + max(-total, 0), max(total, 0)
            less, more = total // 2, total - total // 2
            sides.append((less, more) if auto == "SAME_UPPER" else (more, less))
        options["padding"] = tuple(sides)
    groups = node.get("group", 1)
    return ops.conv_transpose2d(x, w, b, **options, output_padding=tuple(added), groups=groups)[0]


@register(OPERATORS, "MaxPool")
@lines
def max_pool(node: Node, x: Any) -> Any:
    """Take the largest pixel of each window."""
    node.floating(x)
    size = tuple(node.get("kernel_shape"))
    return ops.max_pool2d(x, size=size, **_window(node, x, size), ceil=bool(node.get("ceil_mode", 0)))[0]


@register(OPERATORS, "AveragePool")
@lines
def average_pool(node: Node, x: Any) -> Any:
    """Take the mean of each window."""
    size = tuple(node.get("kernel_shape"))
    options = _window(node, x, size)
    if any(d != 1 for d in options.pop("dilation")):
        raise Lacking("AveragePool dilated")
    options |= {
        "ceil": bool(node.get("ceil_mode", 0)),
        "count_include_pad": bool(node.get("count_include_pad", 0)),
    }
    return ops.avg_pool2d(x, size=size, **options)[0]


@register(OPERATORS, "GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, x: Any) -> Any:
    """Pool each feature map whole; ONNX keeps two axes of one pixel."""
    pool = ops.global_avg_pool2d if node.kind == "GlobalAveragePool" else ops.global_max_pool2d
    return node.xp.reshape(pool(x)[0], (*x.shape[:2], 1, 1))


@register(OPERATORS, "Resize", "Upsample")
def resize(node: Node, x: Any, *given: Any) -> Any:
    """Repeat pixels: nearest neighbours by whole factors, by half pixels or floored without shift."""
    rule = (
        node.get("coordinate_transformation_mode", "half_pixel"),
        node.get("nearest_mode", "round_prefer_floor"),
    )
    if node.kind == "Upsample":
        rule, given = ("asymmetric", "floor"), (None, *given)
    if node.get("mode", "nearest") != "nearest" or x.ndim != 4:
        raise Lacking(f"Resize {node.get('mode')}")
    if rule not in (("half_pixel", "round_prefer_floor"), ("asymmetric", "floor")):
        raise Lacking(f"Resize nearest with {rule}")
    scales, sizes = (None if a is None else node.host(a).tolist() for a in (*given, None, None)[1:3])
    axes = node.get("axes", list(range(x.ndim)))
    factor = [1.0] * x.ndim
    wanted: Any = scales
    if sizes is not None:
        wanted = [size / x.shape[axis] for size, axis in zip(sizes, axes, strict=True)]
    for axis, f in zip(axes, wanted, strict=True):
        factor[axis] = float(f)
    if (
        node.get("keep_aspect_ratio_policy", "stretch") != "stretch"
        and len({factor[axis] for axis in axes}) > 1
    ):
        raise Lacking("Resize that keeps the aspect ratio")
    if any(f != int(f) or f < 1 for f in factor) or factor[:2] != [1.0, 1.0]:
        raise Lacking(f"Resize by {factor}")
    return ops.upsample2d(x, factor=(int(factor[2]), int(factor[3])))[0]


@register(OPERATORS, "Pad")
def pad(node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    """Surround images by zeros."""
    node.floating(x)
    amounts = node.get("pads") if pads is None else [int(p) for p in node.host(pads)]
    filling = node.get("value", 0.0) if value is None else float(node.host(value))
    if node.get("mode", "constant") != "constant" or filling != 0:
        raise Lacking(f"Pad {node.get('mode')} {filling}")
    if axes is not None or any(amounts[i] for i in (0, 1, 4, 5)):
        raise Lacking("Pad of other axes")
    return ops.zero_pad2d(x, padding=((amounts[2], amounts[6]), (amounts[3], amounts[7])))[0]
