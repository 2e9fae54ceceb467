"""Convolution through cuDNN, or its stand-in in the emulator, against the readable pair in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.kinds import KINDS, check, device, get, put, rounded
from xcnn import ops

cupy = device()

from xcnn_cupy import convolutions, layout, plans  # noqa: E402
from xcnn_cupy.convolutions import Geometry  # noqa: E402

if not convolutions.available():
    pytest.skip("needs nvidia-cudnn-frontend", allow_module_level=True)

EMULATED = hasattr(cupy, "emulator")
RNG = np.random.default_rng(0)
SHAPES = {  # x, w, geometry
    "plain": ((3, 8, 7, 6), (16, 8, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)))),
    "asymmetric": ((2, 5, 9, 8), (7, 5, 3, 2), Geometry((1, 1), ((1, 0), (0, 2)))),
    "strided": ((2, 4, 11, 12), (6, 4, 3, 3), Geometry((2, 3), ((2, 1), (1, 2)), (2, 1))),
    "left over": ((2, 3, 10, 9), (4, 3, 3, 3), Geometry((3, 2))),
    "groups": ((2, 6, 6, 5), (9, 2, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 3)),
    "depthwise": ((2, 8, 6, 7), (16, 1, 3, 3), Geometry((2, 2), ((1, 1), (1, 1)), (1, 1), 8)),
    "one channel": ((4, 1, 8, 8), (6, 1, 5, 5), Geometry((1, 1), ((2, 2), (2, 2)))),
    "three channels": ((2, 3, 8, 8), (16, 3, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)))),
    "dense": ((5, 20, 1, 1), (10, 20, 1, 1), Geometry()),
}


def arrays(name: str, kind: str) -> Any:
    """Return x, w, b, dy as the kind has them, and the geometry."""
    x, w, geometry = SHAPES[name]
    x, w, b = (rounded(RNG.normal(size=size), kind) for size in (x, w, (w[0],)))
    y, _ = ops.conv2d(x, w, **options(geometry))
    return x, w, b, rounded(RNG.normal(size=y.shape), kind), geometry


def options(geometry: Geometry) -> dict[str, Any]:
    return {
        key: value for key, value in geometry._asdict().items() if key != "math"
    }  # float64 knows no other


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_the_readable_pair(kind, name):
    x, w, b, dy, geometry = arrays(name, kind)
    y, saved = ops.conv2d(x, w, b, **options(geometry))
    dx, dw, _ = saved.backward(dy)
    xs, ws, bs, dys = (put(a, kind) for a in (x, w, b, dy))
    check(convolutions.forward(xs, ws, bs, geometry), y, kind, "y")
    check(convolutions.forward(xs, ws, None, geometry), ops.conv2d(x, w, **options(geometry))[0], kind, "y")
    check(convolutions.forward(xs, ws, bs, geometry, relu=True), np.maximum(y, 0), kind, "relu", source=y)
    check(convolutions.input_gradient(dys, ws, x.shape, geometry), dx, kind, "dx")
    check(convolutions.weight_gradient(xs, dys, w.shape, geometry), dw, kind, "dw")


@pytest.mark.parametrize("kind", KINDS)
def test_results_lie_with_channels_last(kind):
    x, w, b, dy, geometry = arrays("strided", kind)
    xs, ws, bs, dys = (put(a, kind) for a in (x, w, b, dy))
    for a in (
        convolutions.forward(xs, ws, bs, geometry),
        convolutions.input_gradient(dys, ws, x.shape, geometry),
        convolutions.weight_gradient(xs, dys, w.shape, geometry),
    ):
        assert layout.is_nhwc(a)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_relu_keeps_nan(kind, relu):
    x, w, b, _, geometry = arrays("plain", kind)
    x[1, 2, 3, 3] = np.nan
    y = get(convolutions.forward(*(put(a, kind) for a in (x, w, b)), geometry, relu=relu))
    assert np.isnan(y[1, :, 2:5, 2:5]).all()
    assert not np.isnan(y[[0, 2]]).any()
    assert (y[0].min() >= 0) == relu


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_any_order_and_address_are_taken(kind):
    x, w, b, _, geometry = arrays("plain", kind)
    want = get(convolutions.forward(*(put(a, kind) for a in (x, w, b)), geometry))
    rows, columns = put(x, kind, channels_last=False), put(w, kind, channels_last=False)
    odd = layout.empty((b.size + 1,), kind)
    odd[1:] = put(b, kind)
    assert odd[1:].data.ptr % plans.ALIGNMENT
    np.testing.assert_array_equal(get(convolutions.forward(rows, columns, odd[1:], geometry)), want)
    moved = layout.empty((x.size + 1,), kind)
    images = moved[1:].reshape(3, 7, 6, 8).transpose(0, 3, 1, 2)
    images[...] = put(x, kind)
    assert layout.is_nhwc(images)
    np.testing.assert_array_equal(get(convolutions.forward(images, columns, put(b, kind), geometry)), want)


def test_a_bias_of_float32_serves_halves():
    x, w, b, _, geometry = arrays("plain", "bfloat16")
    xs, ws = put(x, "bfloat16"), put(w, "bfloat16")
    want = get(convolutions.forward(xs, ws, put(b, "bfloat16"), geometry))
    np.testing.assert_array_equal(get(convolutions.forward(xs, ws, put(b, "float32"), geometry)), want)


@pytest.mark.parametrize("kind", ["bfloat16", "float32"])
@pytest.mark.parametrize("start", [0, 1, 8])
def test_the_gradient_of_weights_is_written_where_it_belongs(kind, start):
    x, w, _, dy, geometry = arrays("plain", "bfloat16")
    flat = layout.empty((start + w.size + 8,), kind)
    flat.fill(0)
    f, c, kh, kw = w.shape
    out = flat[start : start + w.size].reshape(f, kh, kw, c).transpose(0, 3, 1, 2)
    xs, dys = put(x, "bfloat16"), put(dy, "bfloat16")
    assert convolutions.weight_gradient(xs, dys, w.shape, geometry, out=out) is out
    np.testing.assert_array_equal(get(out), get(convolutions.weight_gradient(xs, dys, w.shape, geometry)))
    assert not get(flat)[start + w.size :].any()
    assert not get(flat)[:start].any()


def test_float32_is_exact_unless_tf32_is_asked_for():
    x, w, b, dy, geometry = arrays("plain", "float32")
    y, saved = ops.conv2d(x, w, b, **options(geometry))
    xs, ws, bs, dys = (put(a, "float32") for a in (x, w, b, dy))
    loose = geometry._replace(math="tf32")
    for run, want in (
        (lambda g: convolutions.forward(xs, ws, bs, g), y),
        (lambda g: convolutions.input_gradient(dys, ws, x.shape, g), saved.backward(dy)[0]),
        (lambda g: convolutions.weight_gradient(xs, dys, w.shape, g), saved.backward(dy)[1]),
    ):
        exact, fast = (np.max(np.abs(get(run(g)) - want)) / np.max(np.abs(want)) for g in (geometry, loose))
        assert exact < 2e-6
        assert fast < 2e-3
        assert fast > 2e-5 or not EMULATED  # a GPU without tensor cores rounds nothing


def test_results_repeat_bit_for_bit():
    x, w, b, dy, geometry = arrays("strided", "float16")
    xs, ws, bs, dys = (put(a, "float16") for a in (x, w, b, dy))
    for run in (
        lambda: convolutions.forward(xs, ws, bs, geometry),
        lambda: convolutions.input_gradient(dys, ws, x.shape, geometry),
        lambda: convolutions.weight_gradient(xs, dys, w.shape, geometry),
    ):
        np.testing.assert_array_equal(get(run()), get(run()))
