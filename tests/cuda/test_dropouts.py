"""Dropout on the device: the masks of every other backend, whatever the memory order."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import KINDS, device, get, put, rounded
from xcnn import ops
from xcnn.backend import readable
from xcnn.errors import OptionError
from xcnn.random import bernoulli

cupy = device()

from xcnn_cupy import dropouts  # noqa: E402
from xcnn_cupy.layout import is_nhwc  # noqa: E402

STREAM = (5, 2**32 - 7, 3)
SEED = 2**63 + 12345


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    "shape", [(), (7, 9), (3, 4, 5), (2, 3, 5, 7), (2, 5, 1, 3), (3, 1, 4, 4), (2, 8, 4, 4)]
)
def test_the_mask_is_that_of_every_backend_bit_for_bit(shape, channels_last):
    x = put(np.ones(shape), "float32", channels_last=channels_last)
    got = dropouts.forward(x, 0.3, SEED, STREAM)
    want = bernoulli(shape, 1.0 - 0.3, seed=SEED, stream=STREAM, xp=np)
    np.testing.assert_array_equal(got.get() != 0, want)
    assert got.shape == shape
    assert is_nhwc(got) == is_nhwc(x)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_the_op(kind):
    x = rounded(np.random.default_rng(0).normal(size=(3, 5, 4, 6)), kind)
    got = dropouts.forward(put(x, kind), 0.25, 1, (0, 2, 0))
    mask = bernoulli(x.shape, 0.75, seed=1, stream=(0, 2, 0), xp=np)
    scale = np.float64(1) / 0.75 if kind == "float64" else np.float32(1) / np.float32(0.75)
    np.testing.assert_array_equal(get(got), rounded((x.astype(scale.dtype) * (mask * scale)), kind))
    assert is_nhwc(got)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9])
def test_the_kernel_gives_what_the_readable_pair_gives(rate, dtype):
    x, dy = np.random.default_rng(0).normal(size=(2, 3, 4, 7, 5)).astype(dtype)
    with readable():
        want, saved = ops.dropout(x, rate=rate, seed=9, stream=(1, 2, 3))
        (want_dx,) = saved.backward(dy)
    y, saved = ops.dropout(cupy.asarray(x), rate=rate, seed=9, stream=(1, 2, 3))
    np.testing.assert_array_equal(y.get(), want)
    (dx,) = saved.backward(put(dy, dtype))  # in another memory order than x
    np.testing.assert_array_equal(dx.get(), want_dx)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_the_step_may_be_an_array_on_the_device(dtype):
    x = cupy.ones((40, 30))
    want = dropouts.forward(x, 0.5, 3, (2**31 - 1, 1, 0))
    step = cupy.asarray(np.asarray(2**31 - 1, dtype))
    np.testing.assert_array_equal(dropouts.forward(x, 0.5, 3, (step, 1, 0)).get(), want.get())


def test_words_of_a_stream_are_modulo_2_to_the_32():
    x = cupy.ones(100)
    want = bernoulli(100, 0.5, seed=3, stream=(2**33 + 7, 0, 0), xp=np)
    for step in (2**33 + 7, cupy.asarray(np.int64(2**33 + 7)), np.int64(7)):
        np.testing.assert_array_equal(dropouts.forward(x, 0.5, 3, (step, 0, 0)).get() != 0, want)


def test_infinity_is_multiplied_not_masked_away():
    y = dropouts.forward(cupy.asarray(np.full(64, np.inf)), 0.5, 0, (0, 0, 0))
    mask = bernoulli(64, 0.5, seed=0, stream=(0, 0, 0), xp=np)
    np.testing.assert_array_equal(np.isnan(y.get()), ~mask)


def test_the_op_refuses_what_it_refuses_elsewhere():
    with pytest.raises(OptionError, match="rate"):
        ops.dropout(cupy.ones(3), rate=1.0)
    with pytest.raises(OptionError, match="seed"):
        ops.dropout(cupy.ones(3), seed=-1)
    assert ops.dropout(cupy.ones((0, 3)))[0].shape == (0, 3)
