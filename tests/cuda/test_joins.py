"""Sums and stacks of branches, and fixed statistics, on the device against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import KINDS, REAL, check, device, get, put, rounded

cupy = device()

from xcnn_cupy.fixed import standardize  # noqa: E402
from xcnn_cupy.joins import add, split, stack  # noqa: E402
from xcnn_cupy.layout import is_nhwc  # noqa: E402

every_kind = pytest.mark.parametrize("kind", KINDS)


def draw(kind, *shape, seed=0):
    return rounded(np.random.default_rng(seed).normal(size=shape), kind)


@every_kind
@pytest.mark.parametrize("shape", [(2, 8, 3, 5), (3, 5, 3, 3), (1, 1, 1, 1), (2, 16, 1, 1)])
def test_sums_are_rectified_where_asked(kind, shape):
    a, b = draw(kind, *shape), draw(kind, *shape, seed=1)
    got = add(put(a, kind), put(b, kind))
    assert is_nhwc(got)
    check(got, a + b, kind)
    check(add(put(a, kind), put(b, kind), relu=True), np.maximum(a + b, 0.0), kind)


@every_kind
def test_a_rectified_sum_keeps_nan_and_infinity(kind):
    a = np.array([np.nan, np.inf, -np.inf, 1.0, -1.0, np.inf, 0.0, 2.0]).reshape(1, 8, 1, 1)
    b = np.array([1.0, 1.0, 1.0, np.nan, np.inf, -np.inf, 0.0, -3.0]).reshape(1, 8, 1, 1)
    got = get(add(put(a, kind), put(b, kind), relu=True)).reshape(-1)
    np.testing.assert_array_equal(got, [np.nan, np.inf, 0.0, np.nan, np.inf, np.nan, 0.0, 0.0])


@every_kind
@pytest.mark.parametrize("channels", [(8, 16), (8, 8, 24), (4, 8), (3, 5, 1), (7,), (8, 3)])
def test_stacks_are_split_into_what_they_were_made_of(kind, channels):
    parts = [draw(kind, 2, c, 3, 2, seed=c + i) for i, c in enumerate(channels)]
    whole = stack([put(part, kind) for part in parts])
    assert is_nhwc(whole)
    np.testing.assert_array_equal(get(whole), np.concatenate(parts, axis=1))
    for got, part in zip(split(whole, channels), parts, strict=True):
        assert is_nhwc(got)
        np.testing.assert_array_equal(get(got), part)


@every_kind
def test_fixed_statistics_shift_and_scale_each_channel(kind):
    x, real = draw(kind, 3, 5, 4, 2), REAL[kind]
    mean, std = draw(real, 5), rounded(np.linspace(0.5, 2, 5), real)
    channels = [a.reshape(1, 5, 1, 1) for a in (mean, std)]
    given = [cupy.asarray(a.astype(real)) for a in (mean, std)]
    check(standardize(put(x, kind), *given, kind), (x - channels[0]) / channels[1], kind)
    check(standardize(put(x, kind), None, given[1], kind), x / channels[1], kind)
    x = draw(real, 3, 5, 4, 2)  # not rounded before it is shifted
    check(standardize(put(x, real), *given, kind), (x - channels[0]) / channels[1], kind)
