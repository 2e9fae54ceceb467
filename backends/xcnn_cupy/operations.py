"""Ops outside compiled runs: through cuDNN where it plans them, else readable pairs on parts of the batch.

Arrays of any memory order come in; images go out channels last behind N, C, H, W.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from xcnn import ops
from xcnn.backend import Kernel, readable
from xcnn.errors import Error
from xcnn.ops.chunks import chunked
from xcnn.ops.conv import check_conv2d, check_conv_transpose2d
from xcnn_cupy import activations, convolutions, norms
from xcnn_cupy.convolutions import Geometry, Unsupported, input_gradient, weight_gradient
from xcnn_cupy.graphs import draw_norm, draw_norm_gradient, output_shape
from xcnn_cupy.layout import dense, empty_nhwc, to_nhwc
from xcnn_cupy.plans import Plan, is_capturing, memory, plan

__all__ = ["BATCH_NORM", "CONV2D", "CONV_TRANSPOSE2D", "LINEAR", "budget"]

FLOATS = ("float32", "float64")
SHARE = 16  # of the device's memory, windows may take one part in


def budget() -> int:
    """Return how many bytes the windows of one op may take on the current device."""
    return memory(cupy.cuda.Device().id) // SHARE


IN_PARTS = {name: chunked(getattr(ops, name), budget) for name in ("conv2d", "conv_transpose2d")}


def conv2d(
    x: Any, w: Any, b: Any = None, /, *, stride: Any = (1, 1), padding: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1), groups: int = 1,
) -> Any:  # fmt: skip
    """Return (y, values); NotImplemented for what the readable op refuses, or does as well."""
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    try:
        check_conv2d(x, w, b, stride, padding, dilation, groups)
        if x.dtype.name not in FLOATS:
            return NotImplemented
        geometry = _geometry(**window)
        x, w = to_nhwc(x), to_nhwc(w)
        return convolutions.forward(x, w, b, geometry), ((x, w, geometry), _through_cudnn)
    except Error:
        return NotImplemented
    except Unsupported:
        return _in_parts("conv2d", x, w, b, window)


def _in_parts(name: str, x: Any, w: Any, b: Any, options: dict[str, Any]) -> Any:
    """Return (y, values) where the windows of the whole batch take too much memory."""
    found = IN_PARTS[name].forward(x, w, b, **options)
    return found if found is NotImplemented else (found[0], (found[1], IN_PARTS[name].backward))


def _geometry(stride: Any, padding: Any, dilation: Any, groups: int) -> Geometry:
    (top, bottom), (left, right) = padding
    return Geometry(tuple(stride), ((top, bottom), (left, right)), tuple(dilation), groups)


def _through_cudnn(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    x, w, geometry = values
    dy = to_nhwc(dy)
    db = activations.bias_gradient(dy) if needs[2] else None
    try:
        dx = input_gradient(dy, w, x.shape, geometry) if needs[0] else None
        dw = weight_gradient(x, dy, w.shape, geometry) if needs[1] else None
    except Unsupported:
        window = geometry._asdict()
        del window["math"]
        dx, dw = _without_cudnn("conv2d", dy, x, w, window, needs)
    return dx, dw, db


def _without_cudnn(
    name: str, dy: Any, x: Any, w: Any, options: dict[str, Any], needs: tuple[bool, ...]
) -> tuple[Any, Any]:
    """Return dx and dw where cuDNN plans y alone."""
    found = _in_parts(name, x, w, None, options)
    if found is NotImplemented:
        with readable():
            _, saved = getattr(ops, name)(x, w, None, **options)
        return saved.backward(dy, needs[:2])[:2]
    return gradient(dy, found[1], (*needs[:2], False))[:2]


def conv_transpose2d(
    x: Any, w: Any, b: Any = None, /, *, stride: Any = (1, 1), padding: Any = ((0, 0), (0, 0)),
    output_padding: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1,
) -> Any:  # fmt: skip
    """Return (y, values), y being a convolution's gradient of its images; or NotImplemented."""
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    options = {**window, "output_padding": output_padding}
    try:
        _, size = check_conv_transpose2d(x, w, b, **options)
        if x.dtype.name not in FLOATS:
            return NotImplemented
        geometry, shape = _geometry(**window), (x.shape[0], w.shape[1] * groups, *size)
        if output_shape(shape, w.shape, geometry) != x.shape:  # more output_padding than that gradient has
            raise Unsupported
        x, w = to_nhwc(x), to_nhwc(w)
        y = input_gradient(x, w, shape, geometry)
    except Error:
        return NotImplemented
    except Unsupported:
        return _in_parts("conv_transpose2d", x, w, b, options)
    if b is not None:
        y += b.reshape(-1, 1, 1)
    return y, ((x, w, geometry, options), _transposed_through_cudnn)


def _transposed_through_cudnn(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    x, w, geometry, options = values
    dy = to_nhwc(dy)
    db = activations.bias_gradient(dy) if needs[2] else None
    try:
        dx = convolutions.forward(dy, w, None, geometry) if needs[0] else None
        dw = weight_gradient(dy, x, w.shape, geometry) if needs[1] else None
    except Unsupported:
        dx, dw = _without_cudnn("conv_transpose2d", dy, x, w, options, needs)
    return dx, dw, db


def linear(x: Any, w: Any, b: Any = None, /) -> Any:
    """Return (y, values); NotImplemented for what the readable op refuses, or does as well.

    cuBLAS, which the readable op ends in, takes no part in CUDA graphs; cuDNN does.
    """
    fits = x.ndim == w.ndim == 2 and x.shape[1] == w.shape[1] and 0 not in (*x.shape, *w.shape)
    if not fits or x.dtype.name not in FLOATS or w.dtype != x.dtype:
        return NotImplemented
    if b is not None and (b.shape != w.shape[:1] or b.dtype != x.dtype):
        return NotImplemented
    x, w = _as_images(x), _as_images(w)
    try:
        return _as_rows(convolutions.forward(x, w, b, Geometry())), (x, w)
    except Unsupported:
        return NotImplemented


def linear_gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """Return dx, dw, db."""
    x, w = values
    g = _as_images(dy)
    db = cupy.sum(dy, axis=0) if needs[2] else None
    try:
        dx = _as_rows(input_gradient(g, w, x.shape, Geometry())) if needs[0] else None
        dw = _as_rows(weight_gradient(x, g, w.shape, Geometry())) if needs[1] else None
    except Unsupported:
        dx, dw = cupy.matmul(dy, _as_rows(w)), cupy.matmul(dy.T, _as_rows(x))
    return dx, dw, db


def _as_images(a: Any) -> Any:
    return cupy.ascontiguousarray(a).reshape(*a.shape, 1, 1)


def _as_rows(a: Any) -> Any:
    return a.reshape(a.shape[:2])


def batch_norm(x: Any, w: Any, b: Any, mean: Any = None, var: Any = None, /, *, eps: float = 1e-5) -> Any:
    """Return ((y, mean, var), values); NotImplemented for what the readable op refuses.

    cuDNN takes float32 images in training, where it plans them and is found exact; the rest is for `norms`.
    """
    if _trains(x, w, b, mean, var) and eps > 0:
        try:
            return _normalized(x, w, b, eps)
        except Unsupported:
            pass
    found = norms.BATCH_NORM.forward(x, w, b, mean, var, eps=eps)
    return found if found is NotImplemented else (found[0], (found[1], norms.BATCH_NORM.backward))


def _trains(x: Any, w: Any, b: Any, mean: Any, var: Any) -> bool:
    """Return whether these are images in training that cuDNN may take."""
    if mean is not None or var is not None or x.ndim != 4 or x.size == 0:
        return False
    return w.shape == b.shape == x.shape[1:2] and x.dtype == w.dtype == b.dtype == "float32"


def _normalized(x: Any, w: Any, b: Any, eps: float) -> tuple[Any, Any]:
    forward = plan(draw_norm, "float32", "float32", x.shape)
    backward = plan(draw_norm_gradient, "float32", "float32", x.shape)
    if forward.trusted is None and not is_capturing():
        forward.trusted = _is_exact(forward, backward, x.shape)
    if not forward.trusted:
        msg = "cuDNN's batch norm is not exact"
        raise Unsupported(msg)
    x, w = convolutions.laid_out(x, "float32"), dense(w)
    y, mean, spread = _normalize(forward, x, w, dense(b), eps)
    var = cupy.maximum(1.0 / (spread * spread) - eps, 0.0)
    return (y, mean, var), ((backward, x, w, mean, spread), _norm_through_cudnn)


def _normalize(forward: Plan, x: Any, w: Any, b: Any, eps: float) -> tuple[Any, Any, Any]:
    y, mean, spread = empty_nhwc(x.shape, "float32"), cupy.empty_like(w), cupy.empty_like(w)
    forward.run(x, w, b, np.asarray(eps, dtype="float32"), y, mean, spread)
    return y, mean, spread


def _norm_through_cudnn(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    backward, x, w, mean, spread = values
    dx, dw, db = empty_nhwc(x.shape, "float32"), cupy.empty_like(w), cupy.empty_like(w)
    backward.run(convolutions.laid_out(dy, "float32"), x, w, mean, spread, dx, dw, db)
    return dx, dw, db, None, None


def _is_exact(forward: Plan, backward: Plan, shape: tuple[int, ...]) -> bool:
    """Return whether cuDNN keeps a small variance around a large mean, as `norms` does."""
    n, c, h, width = shape
    pixels = cupy.arange(n * h * width * c, dtype="float32") // c % 17.0 / 8.0 - 1.0
    x = pixels.reshape(n, h, width, c).transpose(0, 3, 1, 2)
    x, dy, w, b = x + 1e4, x * x, cupy.ones(c, "float32"), cupy.zeros(c, "float32")
    try:
        y, mean, spread = _normalize(forward, x, w, b, 1e-5)
        dx, dw, db, *_ = _norm_through_cudnn(dy, (backward, x, w, mean, spread), (True,) * 3)
    except (Unsupported, MemoryError):  # planned, yet not for this GPU
        return False
    (y1, mean1, _), kept = norms.BATCH_NORM.forward(x, w, b, eps=1e-5)
    dx1, dw1, db1, *_ = norms.BATCH_NORM.backward(dy, kept, (True,) * 3)
    pairs = ((y, y1, 5e-3), (mean, mean1, 2e-7), (spread, kept[2], 1e-4), (dx, dx1, 5e-3), (dw, dw1, 5e-3))
    return all(bool(abs(a - a1).max() <= part * abs(a1).max()) for a, a1, part in (*pairs, (db, db1, 5e-3)))


def gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> Any:
    """Return the gradients, from what computed forward."""
    kept, backward = values
    return backward(dy, kept, needs)


CONV2D = Kernel(conv2d, gradient)
CONV_TRANSPOSE2D = Kernel(conv_transpose2d, gradient)
LINEAR = Kernel(linear, linear_gradient)
BATCH_NORM = Kernel(batch_norm, gradient)
