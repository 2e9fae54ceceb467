"""Images change their order in memory and their kind of number, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda import kinds
from xcnn.errors import ShapeError

cupy = kinds.device()

from xcnn_cupy import layout  # noqa: E402
from xcnn_cupy.source import ROWS, kind_of  # noqa: E402

SHAPES = [
    (2, 3, 5, 7),
    (1, 1, 4, 4),
    (3, 33, 1, 1),
    (2, 1, 1, 1),
    (1, 40, 9, 8),
    (2, 64, 8, 4),
    (5, 32, 1, 3),
]
PAIRS = [(kind, kind) for kind in kinds.KINDS]
PAIRS += [("float32", "bfloat16"), ("float32", "float16"), ("bfloat16", "float32"), ("float16", "float32")]
PAIRS += [("float64", "bfloat16"), ("float64", "float32"), ("float16", "bfloat16"), ("bfloat16", "float64")]


def _images(shape, kind):
    return kinds.rounded(np.random.default_rng(0).standard_normal(shape) * 100, kind)


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_images_come_back_from_channels_last(shape, old, new):
    a = _images(shape, old)
    x = layout.to_nhwc(kinds.put(a, old, channels_last=False), new)
    assert layout.is_nhwc(x)
    assert (x.shape, kind_of(x)) == (shape, new)
    want = kinds.rounded(a, new)
    np.testing.assert_array_equal(kinds.get(x), want)
    back = layout.to_nchw(x, old)
    assert back.flags.c_contiguous
    assert kind_of(back) == old
    np.testing.assert_array_equal(kinds.get(back), kinds.rounded(want, old))


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_strided_images_are_read_as_they_are_indexed(kind):
    a = _images((3, 6, 8, 5), kind)
    x = kinds.put(a, kind, channels_last=False)[::2, 1::2, ::-1, 1:4]
    for to in (layout.to_nhwc, layout.to_nchw):
        np.testing.assert_array_equal(kinds.get(to(x)), a[::2, 1::2, ::-1, 1:4])


def test_what_fits_is_returned_itself():
    x = layout.empty_nhwc((2, 3, 4, 5), "float16")
    y = layout.empty((2, 3, 4, 5), "bfloat16")
    assert layout.to_nhwc(x) is x
    assert layout.to_nhwc(x, "float16") is x
    assert layout.to_nchw(y, "bfloat16") is y
    assert y.dtype == np.uint16


@pytest.mark.parametrize("to", [layout.to_nhwc, layout.to_nchw])
def test_an_array_that_is_no_image_is_refused(to):
    with pytest.raises(ShapeError, match=r"x has shape \(2, 3\); needed 4 axes"):
        to(layout.empty((2, 3), "float32"))


def test_channels_last_are_told_from_channels_first():
    assert layout.is_nhwc(layout.empty_nhwc((2, 3, 4, 5), "float32"))
    assert not layout.is_nhwc(layout.empty((2, 3, 4, 5), "float32"))
    assert not layout.is_nhwc(layout.empty_nhwc((2, 3, 4, 5), "float32")[:, :2])
    assert not layout.is_nhwc(layout.empty((2, 3), "float32"))
    assert layout.is_nhwc(layout.empty((2, 3, 1, 1), "float32"))
    assert layout.is_nhwc(layout.empty((2, 1, 4, 5), "float32"))


def test_more_images_than_blocks_along_y():
    a = _images((ROWS + 3, 2, 2, 1), "float32")
    x = layout.to_nhwc(kinds.put(a, "float32", channels_last=False))
    np.testing.assert_array_equal(kinds.get(x), a)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5)])
def test_rounding_to_bfloat16_is_to_nearest_even(shape):
    a = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    flat = a.reshape(-1)
    flat[:6] = [np.inf, -np.inf, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 3.4e38, 1e-40]
    got = layout.convert(cupy.asarray(a), "bfloat16")
    np.testing.assert_array_equal(kinds.get(got), kinds.rounded(a, "bfloat16"))


def test_nan_stays_nan_in_bfloat16():
    bits = np.array([0x7F800001, 0xFFFFFFFF, 0x7FC00000], np.uint32)
    got = layout.convert(cupy.asarray(bits.view(np.float32)), "bfloat16")
    assert np.isnan(kinds.get(got)).all()


def test_dense_copies_what_is_not_read_as_one_vector():
    x = kinds.put(_images((2, 3, 4, 5), "float32"), "float32")
    assert layout.dense(x) is x
    assert layout.dense(x, x) is x
    other = layout.dense(layout.to_nchw(x), x)
    assert layout.is_nhwc(other)
    np.testing.assert_array_equal(kinds.get(other), kinds.get(x))
    flat = kinds.put(np.arange(9.0), "float32")
    shifted = layout.dense(flat[1:])
    assert shifted.data.ptr % 16 == 0
    np.testing.assert_array_equal(kinds.get(shifted), np.arange(1.0, 9))
    assert layout.dense(flat[::2]).flags.c_contiguous


@pytest.mark.parametrize(("kind", "several"), [("bfloat16", 8), ("float32", 4), ("float64", 2)])
def test_neighbours_are_moved_together_where_all_begin_at_16_bytes(kind, several):
    x = layout.empty((8 * several,), kind)
    assert layout.lanes(several, x) == several
    assert layout.lanes(several + 1, x) == 1
    assert layout.lanes(several, x, x[1:]) == 1
