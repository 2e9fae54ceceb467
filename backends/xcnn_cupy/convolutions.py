"""Convolution and its two gradients through cuDNN, on images with channels last in memory.

Images (N, C, H, W) and kernels (F, C / groups, KH, KW) are of one kind of number and lie in memory as
N, H, W, C and F, KH, KW, C / groups. What lies otherwise, or at no multiple of 16 bytes, is copied first. A
dense layer is the convolution of images of one pixel by kernels of one pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xcnn_cupy import activations
from xcnn_cupy.graphs import (
    Geometry,
    Unsupported,
    available,
    draw_forward,
    draw_input_gradient,
    draw_weight_gradient,
    output_shape,
)
from xcnn_cupy.layout import convert, dense, empty, empty_nhwc, is_nhwc, to_nhwc
from xcnn_cupy.plans import ALIGNMENT, Plan, is_capturing, plan
from xcnn_cupy.source import kind_of

__all__ = ["Geometry", "Unsupported", "available", "forward", "input_gradient", "weight_gradient"]


def _is_laid_out(a: Any, kind: str) -> bool:
    return is_nhwc(a) and kind_of(a) == kind and a.data.ptr % ALIGNMENT == 0


def laid_out(a: Any, kind: str, /) -> Any:
    """Return images or kernels as plans read them: channels last, of one kind, at a multiple of 16 bytes."""
    if _is_laid_out(a, kind):
        return a
    a = to_nhwc(a, kind)
    if _is_laid_out(a, kind):
        return a
    copy = empty_nhwc(a.shape, kind)
    copy[...] = a
    return copy


def forward(x: Any, w: Any, b: Any, geometry: Geometry, /, *, relu: bool = False) -> Any:
    """Return conv(x, w) + b, and 0 instead of what is negative if `relu`.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images.
    w : array (F, C / groups, KH, KW)
        Kernels.
    b : array (F,) or None
        Biases; rounded to the kind of x, as w and y are.
    geometry : Geometry
        How kernels slide.
    relu : bool
        Whether ReLU follows. NaN stays NaN: see Notes.

    Returns
    -------
    array (N, F, OH, OW)
        A new one, channels last, of the kind of x.

    Raises
    ------
    Unsupported
        If cuDNN has no plan.

    Notes
    -----
    cuDNN does not promise that its ReLU keeps NaN. A plan that holds one is therefore run once with biases of
    NaN, when it is first met and never during capture; if y isn't all NaN, ReLU is a launch of its own.
    """
    kind = kind_of(x)
    x, w = laid_out(x, kind), laid_out(w, kind)
    y = empty_nhwc(output_shape(x.shape, w.shape, geometry), kind)
    given = [x, w]
    if b is not None:
        given.append(dense(convert(b, kind)))
    sizes = (x.shape, w.shape, geometry, b is not None)
    if relu and b is not None and _runs_fused(given, y, sizes):
        return y
    plan(draw_forward, kind, geometry.math, *sizes, False).run(*given, y)
    return activations.forward("relu", y) if relu else y


def _runs_fused(given: list[Any], y: Any, sizes: tuple[Any, ...]) -> bool:
    """Return whether a plan that holds the ReLU and keeps NaN has written y."""
    (x, w, *_), (*_, geometry, _) = given, sizes
    try:
        fused = plan(draw_forward, kind_of(y), geometry.math, *sizes, True)
        if not _keeps_nan(fused, x, w, y):
            return False
        fused.run(*given, y)
    except Unsupported:
        return False
    return True


def _keeps_nan(fused: Plan, x: Any, w: Any, y: Any) -> bool:
    if fused.trusted is None:
        if is_capturing():
            return False
        fused.run(x, w, _nans(w.shape[0], kind_of(x)), y)
        seen = convert(y, "float32")
        fused.trusted = bool((seen != seen).all())
    return fused.trusted


def _nans(n: int, kind: str) -> Any:
    b = empty((n,), kind)
    b.fill(0x7FC0 if kind == "bfloat16" else float("nan"))
    return b


def input_gradient(dy: Any, w: Any, x_shape: Sequence[int], geometry: Geometry, /) -> Any:
    """Return dx.

    Parameters
    ----------
    dy : array (N, F, OH, OW)
        Gradient of the loss with respect to y.
    w : array (F, C / groups, KH, KW)
        Kernels, of the kind of dy.
    x_shape : (N, C, H, W)
        Of x.
    geometry : Geometry
        As in `forward`.

    Returns
    -------
    array (N, C, H, W)
        A new one, channels last, of the kind of dy.

    Raises
    ------
    Unsupported
        If cuDNN has no plan.
    """
    kind = kind_of(dy)
    dy, w, dx = laid_out(dy, kind), laid_out(w, kind), empty_nhwc(x_shape, kind)
    plan(draw_input_gradient, kind, geometry.math, tuple(x_shape), w.shape, geometry).run(dy, w, dx)
    return dx


def weight_gradient(
    x: Any, dy: Any, w_shape: Sequence[int], geometry: Geometry, /, *, out: Any = None
) -> Any:
    """Return dw.

    Parameters
    ----------
    x : array (N, C, H, W)
        Images, of the kind of dy.
    dy : array (N, F, OH, OW)
        Gradient of the loss with respect to y.
    w_shape : (F, C / groups, KH, KW)
        Of w.
    geometry : Geometry
        As in `forward`.
    out : array (F, C / groups, KH, KW), optional
        Where to write it: channels last, of the kind of dy, at a multiple of 16 bytes.

    Returns
    -------
    array (F, C / groups, KH, KW)
        `out`, or a new one, channels last, of the kind of dy.

    Raises
    ------
    Unsupported
        If cuDNN has no plan.
    """
    kind = kind_of(dy)
    x, dy = laid_out(x, kind), laid_out(dy, kind)
    dw = out if out is not None and _is_laid_out(out, kind) else empty_nhwc(w_shape, kind)
    plan(draw_weight_gradient, kind, geometry.math, x.shape, tuple(w_shape), geometry).run(x, dy, dw)
    if out is None or dw is out:
        return dw
    out[...] = convert(dw, kind_of(out))
    return out
