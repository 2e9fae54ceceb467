"""Convolution and its gradients for runs: cuDNN's, and the readable pair's where cuDNN has no plan."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from xcnn import ops
from xcnn_cupy import convolutions
from xcnn_cupy.convolutions import Geometry, Unsupported
from xcnn_cupy.layout import convert, to_nchw, to_nhwc
from xcnn_cupy.source import KINDS, kind_of

__all__ = ["forward", "input_gradient", "weight_gradient"]


def forward(x: Any, w: Any, b: Any, geometry: Geometry, /, *, relu: bool = False) -> Any:
    """Return what `convolutions.forward` returns.

    Parameters
    ----------
    x, w : array
        Images and kernels of one kind, with channels last.
    b : array (F,) or None
        Biases.
    geometry : Geometry
        How kernels slide.
    relu : bool
        Whether negative results become 0.

    Returns
    -------
    array
        y, with channels last.
    """
    try:
        return convolutions.forward(x, w, b, geometry, relu=relu)
    except Unsupported as error:
        _say(str(error))
        y, _ = _readable(x, w, b, geometry)
        return to_nhwc(ops.relu(y)[0] if relu else y, kind_of(x))


def input_gradient(dy: Any, x: Any, w: Any, geometry: Geometry, /) -> Any:
    """Return the gradient of the images.

    Parameters
    ----------
    dy : array
        Gradient of the loss with respect to y.
    x, w, geometry
        See `forward`.

    Returns
    -------
    array
        dx, with channels last.
    """
    try:
        return convolutions.input_gradient(dy, w, x.shape, geometry)
    except Unsupported as error:
        _say(str(error))
        _, saved = _readable(x, w, None, geometry)
        return to_nhwc(saved.backward(_plain(dy), (True, False))[0], kind_of(dy))


def weight_gradient(x: Any, dy: Any, w: Any, geometry: Geometry, out: Any, /) -> None:
    """Write the gradient of the kernels.

    Parameters
    ----------
    x, w, geometry
        See `forward`.
    dy : array
        Gradient of the loss with respect to y.
    out : array
        Like w.
    """
    try:
        convolutions.weight_gradient(x, dy, w.shape, geometry, out=out)
    except Unsupported as error:
        _say(str(error))
        _, saved = _readable(x, w, None, geometry)
        out[...] = to_nhwc(saved.backward(_plain(dy), (False, True))[1], kind_of(dy))


@cache
def _say(reason: str) -> None:
    """Say once why a layer is slower than it could be."""
    print(f"xcnn: layers that cuDNN has no plan for run slower on cupy: {reason}", file=sys.stderr)


def _plain(a: Any) -> Any:
    """Return an array as ops take it."""
    return to_nchw(a, "float64" if KINDS[kind_of(a)][1] == "double" else "float32")


def _readable(x: Any, w: Any, b: Any, geometry: Geometry) -> tuple[Any, Any]:
    """Return y and its Saved from what layers use."""
    stride, padding, dilation, groups, _ = geometry
    x, w = _plain(x), _plain(w)
    b = b if b is None else convert(b, kind_of(x))
    return ops.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
