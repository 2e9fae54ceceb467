"""Pooling on the device is the readable pair's, in every kind of number and both layouts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda import kinds
from xcnn import ops
from xcnn.backend import readable
from xcnn.errors import DTypeError, ShapeError
from xcnn.ops.window import output_size

cupy = kinds.device()

from xcnn_cupy import pooling  # noqa: E402
from xcnn_cupy.layout import is_nhwc  # noqa: E402
from xcnn_cupy.source import ROWS  # noqa: E402

NONE = ((0, 0), (0, 0))
SHAPES = [(2, 3, 7, 6), (3, 1, 8, 8), (1, 33, 5, 9), (2, 16, 6, 6), (2, 5, 1, 1)]
WINDOWS = [
    {"size": (2, 2), "stride": (2, 2)},
    {"size": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1))},
    {"size": (3, 2), "stride": (1, 3), "padding": ((2, 0), (1, 1))},
    {"size": (5, 5), "stride": (3, 1), "padding": ((4, 4), (4, 4)), "ceil": True},
    {"size": (2, 2), "stride": (2, 2), "padding": ((1, 0), (0, 1)), "ceil": True},
    {"size": (1, 1), "stride": (2, 2)},
]
DILATED = [
    {"size": (2, 3), "stride": (1, 1), "dilation": (3, 2)},
    {"size": (2, 2), "stride": (2, 3), "dilation": (2, 2)},
    {"size": (3, 2), "stride": (3, 1), "dilation": (1, 4)},
]


def _images(shape, kind, seed=0):
    """Return images with many equal pixels, so that ties are common."""
    a = np.random.default_rng(seed).integers(-6, 7, shape) * 0.37
    return kinds.rounded(a, kind)


def _fits(shape, window):
    try:
        with readable():
            ops.max_pool2d(np.zeros(shape), **window)
    except ShapeError:
        return False
    return True


CASES = [(shape, window) for shape in SHAPES for window in WINDOWS if _fits(shape, window)]
CASES += [(shape, window) for shape in SHAPES for window in DILATED if _fits(shape, window)]


def _out(shape, window):
    return output_size(shape[2:], **{"padding": NONE} | window)


def _arguments(window):
    return {"padding": NONE} | {key: value for key, value in window.items() if key != "ceil"}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize(("shape", "window"), CASES)
def test_largest_pixels_and_their_gradient(shape, window, kind, channels_last):
    x = _images(shape, kind)
    with readable():
        want, saved = ops.max_pool2d(x, **window)
    dy = kinds.rounded(np.random.default_rng(1).standard_normal(want.shape), kind)
    (want_dx,) = saved.backward(dy)
    given = kinds.put(x, kind, channels_last=channels_last)
    y, argmax = pooling.max_forward(given, out=_out(shape, window), **_arguments(window))
    assert (argmax.dtype, argmax.shape) == (np.uint8, want.shape)
    assert is_nhwc(y) if is_nhwc(given) else y.flags.c_contiguous
    np.testing.assert_array_equal(kinds.get(y), want)
    dy_given = kinds.put(dy, kind, channels_last=not channels_last)
    dx = pooling.max_backward(dy_given, argmax, shape, **_arguments(window))
    kinds.check(dx, want_dx, kind, source=dy)


@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize(("shape", "window"), [case for case in CASES if "dilation" not in case[1]])
def test_means_and_their_gradient(shape, window, kind, count):
    x, channels_last = _images(shape, kind), bool(shape[2] % 2)
    with readable():
        want, saved = ops.avg_pool2d(x, count_include_pad=count, **window)
    dy = kinds.rounded(np.random.default_rng(1).standard_normal(want.shape), kind)
    (want_dx,) = saved.backward(dy)
    given = kinds.put(x, kind, channels_last=channels_last)
    y = pooling.average_forward(given, out=_out(shape, window), count_include_pad=count, **_arguments(window))
    kinds.check(y, want, kind, source=x)
    dy_given = kinds.put(dy, kind, channels_last=channels_last)
    dx = pooling.average_backward(dy_given, shape, count_include_pad=count, **_arguments(window))
    assert is_nhwc(dx) if is_nhwc(dy_given) else dx.flags.c_contiguous
    kinds.check(dx, want_dx, kind, source=dy)


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 40, 3, 3), (1, 64, 16, 15)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_means_of_whole_maps_and_their_gradient(shape, kind, channels_last):
    x = _images(shape, kind)
    y = pooling.global_average_forward(kinds.put(x, kind, channels_last=channels_last))
    kinds.check(y, x.mean(axis=(2, 3)), kind, source=x)
    dy = _images(shape[:2], kind, 1)
    dx = pooling.global_average_backward(kinds.put(dy, kind), shape)
    want = np.broadcast_to((dy / (shape[2] * shape[3]))[:, :, None, None], shape)
    kinds.check(dx, want, kind)
    assert is_nhwc(dx)


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("channels", [1, 16])
def test_nan_is_kept_and_gets_no_gradient(kind, channels):
    x = _images((2, channels, 6, 6), kind)
    x[0, 0, 0, 1] = x[1, channels - 1, 5, 5] = np.nan
    with readable():
        want, saved = ops.max_pool2d(x, size=(3, 3), stride=(1, 1))
    (want_dx,) = saved.backward(np.ones_like(want))
    window = {"size": (3, 3), "stride": (1, 1), "padding": NONE}
    y, argmax = pooling.max_forward(kinds.put(x, kind), out=(4, 4), **window)
    np.testing.assert_array_equal(kinds.get(y), want)
    dx = pooling.max_backward(kinds.put(np.ones_like(want), kind), argmax, x.shape, **window)
    np.testing.assert_array_equal(kinds.get(dx), want_dx)


def test_minus_infinity_is_found_before_the_padding():
    x = np.full((1, 1, 2, 2), -np.inf)
    window = {"size": (3, 3), "stride": (1, 1), "padding": ((1, 1), (1, 1))}
    y, argmax = pooling.max_forward(kinds.put(x, "float32"), out=(2, 2), **window)
    np.testing.assert_array_equal(kinds.get(y), x)
    assert argmax.get().ravel().tolist() == [4, 3, 1, 0]


def test_more_images_than_blocks_along_y():
    x = _images((ROWS + 5, 1, 2, 2), "float32")
    y, _ = pooling.max_forward(kinds.put(x, "float32"), out=(1, 1), **_arguments(WINDOWS[0]))
    np.testing.assert_array_equal(kinds.get(y), x.max(axis=(2, 3), keepdims=True))


@pytest.mark.parametrize("kernel", [pooling.MAX_POOL, pooling.AVG_POOL])
def test_what_the_readable_pair_would_refuse_is_left_to_it(kernel):
    x = kinds.put(_images((2, 3, 6, 6), "float32"), "float32")
    refused = [
        (x, {"size": (7, 7)}),
        (x, {"size": (2, 2), "padding": ((2, 2), (0, 0))}),
        (x, {"size": (0, 2)}),
        (x[:0], {}),
        (x[0], {}),
        (x.astype("int32"), {}),
        (x.astype("uint16"), {}),
    ]
    for given, window in refused:
        assert kernel.forward(given, **window) is NotImplemented
    assert pooling.MAX_POOL.forward(x, dilation=(2, 2), padding=((1, 1), (1, 1))) is NotImplemented
    many = cupy.zeros((1, 1, 16, 16), dtype="float32")
    assert pooling.MAX_POOL.forward(many, size=(16, 16)) is NotImplemented


@pytest.mark.parametrize("op", [ops.max_pool2d, ops.avg_pool2d])
@pytest.mark.parametrize("channels_last", [True, False])
def test_ops_of_images_of_either_layout(op, channels_last):
    x = _images((2, 4, 7, 6), "float64")
    window = {"size": (3, 2), "stride": (2, 1), "padding": ((1, 1), (0, 1))}
    with readable():
        want, saved = op(x, **window)
    dy = _images(want.shape, "float64", 1)
    (want_dx,) = saved.backward(dy)
    y, saved = op(kinds.put(x, "float64", channels_last=channels_last), **window)
    kinds.check(y, want, "float64")
    kinds.check(saved.backward(kinds.put(dy, "float64"))[0], want_dx, "float64")
    assert saved.backward(kinds.put(dy, "float64"), (False,)) == (None,)


def test_images_of_integers_are_refused_by_the_op():
    with pytest.raises(DTypeError, match="needed a real floating dtype"):
        ops.max_pool2d(cupy.zeros((1, 1, 4, 4), dtype="uint16"))


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_images_and_gradients_that_begin_anywhere_in_memory_are_read(kind):
    def moved(a):
        n, c, h, w = a.shape
        flat = cupy.zeros(a.size + 1, a.dtype)
        there = cupy.transpose(flat[1:].reshape(n, h, w, c), (0, 3, 1, 2))
        there[...] = a
        return there

    x = kinds.put(_images((2, 8, 6, 6), kind), kind)
    dy, few = kinds.put(_images((2, 8, 3, 3), kind, 1), kind), kinds.put(_images((2, 8, 1, 1), kind), kind)
    window = {"size": (2, 2), "stride": (2, 2), "padding": NONE}
    (want, argmax), (got, other) = (pooling.max_forward(a, **window, out=(3, 3)) for a in (x, moved(x)))
    pairs = [(want, got), (argmax, other)]
    pairs.append([pooling.max_backward(a, argmax, x.shape, **window) for a in (dy, moved(dy))])
    pairs.append([pooling.average_forward(a, **window, out=(3, 3)) for a in (x, moved(x))])
    pairs.append([pooling.average_backward(a, x.shape, **window) for a in (dy, moved(dy))])
    pairs.append([pooling.global_average_forward(a) for a in (x, moved(x))])
    pairs.append([pooling.global_average_backward(a[:, :, 0, 0], x.shape) for a in (few, moved(few))])
    for one, two in pairs:
        np.testing.assert_array_equal(one.get(), two.get())
