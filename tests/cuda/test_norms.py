"""Batch normalisation on the device against the readable pair in float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import KINDS, REAL, check, device, get, put, rounded
from xcnn import ops
from xcnn.backend import readable

cupy = device()

from xcnn_cupy import norms  # noqa: E402

SHAPES = [
    (4, 8, 5, 3),
    (2, 1, 7, 7),
    (3, 3, 9, 5),
    (5, 24, 2, 2),
    (2, 300, 3, 2),
    (7, 2056),
    (37, 16),
    (1, 7),
]
CASES = [(shape, kind) for shape in SHAPES[:4] for kind in KINDS] + [
    (shape, kind) for shape in SHAPES[4:] for kind in ("float32", "bfloat16")
]
EPS = 1e-5


def draw(shape, kind, seed=0):
    rng = np.random.default_rng(seed)
    c = shape[1]
    x = rounded(rng.normal(size=shape) * 2 + 0.5, kind)
    w, b = rng.normal(size=c) + 0.1, rng.normal(size=c)
    return x, *(rounded(a, REAL[kind]) for a in (w, b))


def axes(x):
    return (0, 2, 3)[: x.ndim - 1]


def across(a, x):
    return a.reshape(1, -1, *[1] * (x.ndim - 2))


@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_statistics_are_those_of_the_numbers(shape, kind):
    x, _, _ = draw(shape, kind)
    mean, var, inv_std = norms.statistics(put(x, kind), EPS)
    real = REAL[kind]
    check(mean, x.mean(axes(x)), real, "mean", source=x)
    check(var, x.var(axes(x)), real, "var", source=x.var(axes(x)))
    check(inv_std, 1 / np.sqrt(x.var(axes(x)) + EPS), real, "inv_std")


@pytest.mark.parametrize("shape", [(64, 8, 33, 17), (40, 3, 31, 29), (2000, 5)])
def test_large_means_leave_the_variance_right(shape):
    x = rounded(np.random.default_rng(1).normal(size=shape) + 1e4, "float32")
    _, var, _ = norms.statistics(put(x, "float32"), EPS)
    np.testing.assert_allclose(get(var), x.var(axes(x)), rtol=2e-6)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_images_that_begin_anywhere_in_memory_are_read(kind):
    x, w, b = draw((3, 8, 4, 5), kind)
    flat = cupy.zeros(x.size + 1, "uint16" if kind == "bfloat16" else kind)
    moved = cupy.transpose(flat[1:].reshape(3, 4, 5, 8), (0, 3, 1, 2))
    moved[...] = put(x, kind)
    vectors = [put(a, "float32") for a in (w, b)]
    for got, want in zip(norms.statistics(moved, EPS), norms.statistics(put(x, kind), EPS), strict=True):
        check(got, get(want), "float32", source=x)
    mean, _, inv_std = norms.statistics(put(x, kind), EPS)
    got = norms.apply(moved, mean, inv_std, *vectors, residual=put(x, kind, channels_last=False))
    want = norms.apply(put(x, kind), mean, inv_std, *vectors, residual=put(x, kind))
    np.testing.assert_array_equal(get(got), get(want))


def test_statistics_are_the_same_again():
    x = put(draw((64, 8, 20, 20), "float32")[0], "float32")
    first, second = (norms.statistics(x, EPS) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(get(a), get(b))


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_running_statistics_move_as_batch_norm_2d_moves_them(kind, count):
    x, mean, var = draw((count, 8), kind)
    real, m = REAL[kind], 0.1
    old = [put(a, real) for a in (mean, np.abs(var))]
    kept = [get(a) for a in old]
    got = norms.move(put(x, kind), *old, momentum=m, eps=EPS)
    unbiased = x.var(0) * count / max(count - 1, 1)
    check(got.running_mean, (1 - m) * mean + m * x.mean(0), real, source=x)
    check(got.running_var, (1 - m) * np.abs(var) + m * unbiased, real)
    for a, b in zip(old, kept, strict=True):
        np.testing.assert_array_equal(get(a), b)


def truth(x, w, b, residual, relu, dy, fixed=None):
    mean, var = (x.mean(axes(x)), x.var(axes(x))) if fixed is None else fixed
    statistics = () if fixed is None else fixed
    with readable():
        (y, _, _), saved = ops.batch_norm(x, w, b, *statistics, eps=EPS)
        y = y + (0 if residual is None else residual)
        g = dy * (y > 0) if relu else dy
        dx, dw, db = saved.backward(g)[:3]
    return (np.maximum(y, 0) if relu else y), mean, var, (dx, dw, db, g)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_forward_and_backward_are_those_of_the_readable_pair(shape, kind, joined, relu):
    x, w, b = draw(shape, kind)
    rng = np.random.default_rng(2)
    residual, dy = (rounded(rng.normal(size=shape), kind) for _ in range(2))
    residual = residual if joined else None
    y, mean, var, gradients = truth(x, w, b, residual, relu, dy)
    real = REAL[kind]
    on = put(x, kind), *(put(a, real) for a in (mean, 1 / np.sqrt(var + EPS)))
    parameters = [put(a, real) for a in (w, b)]
    got = norms.apply(*on, *parameters, residual=put(residual, kind) if joined else None, relu=relu)
    check(got, y, kind, "y", source=np.abs(x).max() + np.abs(w).max())
    stored = put(
        np.maximum(y, 0) if relu else y, kind
    )  # the same mask, whatever rounding does to a sum near 0
    found = norms.backward(put(dy, kind), on[0], stored, *on[1:], parameters[0], relu=relu, residual=joined)
    dx, dw, db, g = gradients
    check(found[0], dx, kind, "dx", source=8 * np.abs(dx).max() + np.abs(w / np.sqrt(var + EPS)).max())
    for one, want, name in zip(found[1:3], (dw, db), ("dw", "db"), strict=True):
        check(one, want, real, name, source=np.abs(dy).sum(axes(x)))
    assert (found[3] is None) == (not joined)
    if joined:
        check(found[3], g, kind, "dresidual")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 8, 5, 5), (3, 5, 4, 3)])
def test_the_mask_is_the_same_whether_y_is_read_or_computed_again(shape, kind):
    x, w, b = draw(shape, kind)
    dy = put(rounded(np.random.default_rng(3).normal(size=shape), kind), kind)
    x, (w, b) = put(x, kind), (put(a, REAL[kind]) for a in (w, b))
    mean, _, inv_std = norms.statistics(x, EPS)
    y = norms.apply(x, mean, inv_std, w, b, relu=True)
    read = norms.backward(dy, x, y, mean, inv_std, w, relu=True)
    again = norms.backward(dy, x, None, mean, inv_std, w, b=b, relu=True)
    for one, other in zip(read[:3], again[:3], strict=True):
        np.testing.assert_array_equal(get(one), get(other))


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_statistics_pass_no_gradient(kind):
    x, w, b = draw((3, 8, 4, 5), kind)
    dy = rounded(np.random.default_rng(4).normal(size=x.shape), kind)
    real = REAL[kind]
    mean, var = (rounded(a, real) for a in (x.mean((0, 2, 3)) + 0.3, x.var((0, 2, 3)) * 1.7))
    y, _, _, (dx, dw, db, _) = truth(x, w, b, None, False, dy, (mean, var))
    on = put(x, kind), put(mean, real)
    inverse, scale = put(1 / np.sqrt(var + EPS), real), put(w, real)
    check(norms.infer(*on, put(var, real), scale, put(b, real), eps=EPS), y, kind, "y", source=x)
    found = norms.backward(put(dy, kind), on[0], None, on[1], inverse, scale, training=False)
    check(found[0], dx, kind, "dx")
    for one, want in zip(found[1:3], (dw, db), strict=True):
        check(one, want, real, source=np.abs(dy).sum((0, 2, 3)))
    again = norms.backward(put(dy, kind), on[0], None, on[1], put(var, real), scale, eps=EPS, training=False)
    check(again[0], dx, kind, "dx")
    check(again[1], dw, real, "dw", source=np.abs(dy).sum((0, 2, 3)))


def test_gradients_are_written_where_they_are_asked_for():
    x, w, _ = draw((2, 4, 3, 3), "float32")
    dy, x, w = put(x[::-1], "float32"), put(x, "float32"), put(w, "float32")
    mean, _, inv_std = norms.statistics(x, EPS)
    flat = cupy.zeros(11, "float32")
    _, dw, db, _ = norms.backward(dy, x, None, mean, inv_std, w)
    norms.backward(dy, x, None, mean, inv_std, w, into=(flat[1:5], flat[6:10]))
    np.testing.assert_array_equal(get(flat), [0, *get(dw), 0, *get(db), 0])


def test_nan_stays_and_infinity_is_not_masked_away():
    x = np.zeros((2, 4, 2, 2))
    x[0, 1, 0, 0] = np.nan
    ones, zeros = (put(np.full(4, a), "float32") for a in (1.0, 0.0))
    y = norms.apply(put(x, "float32"), zeros, ones, ones, zeros, relu=True)
    np.testing.assert_array_equal(get(y), x)
    dy = np.zeros_like(x)
    dy[0, 0, 0, 0] = np.inf
    dx = norms.backward(
        put(dy, "float32"), put(x, "float32"), y, zeros, ones, ones, relu=True, training=False
    )[0]
    assert np.isnan(get(dx)[0, 0, 0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("training", [True, False])
def test_the_op_takes_images_in_any_memory_order(dtype, training):
    x, w, b = draw((3, 5, 4, 6), dtype)
    fixed = () if training else (rounded(w + 2, dtype), rounded(np.abs(b) + 1, dtype))
    dy = rounded(np.random.default_rng(5).normal(size=x.shape), dtype)
    y, mean, var, (dx, dw, db, _) = truth(x, w, b, None, False, dy, fixed or None)
    for channels_last in (True, False):
        on = [put(a, dtype, channels_last=channels_last) for a in (x, w, b, *fixed)]
        (got, got_mean, got_var), values = norms.BATCH_NORM.forward(*on, eps=EPS)
        found = norms.BATCH_NORM.backward(
            put(dy, dtype, channels_last=not channels_last), values, (True,) * 3
        )
        for one, want in zip((got, got_mean, got_var, *found[:3]), (y, mean, var, dx, dw, db), strict=True):
            check(one, want, dtype, source=np.abs(dy).sum((0, 2, 3)).max())
        assert found[3:] == (None, None)


def test_what_the_op_does_not_cover_is_left_to_the_readable_pair():
    x, w, b = (put(a, "float32") for a in draw((3, 5), "float32"))
    assert norms.BATCH_NORM.forward(x, w[:4], b) is NotImplemented
    assert norms.BATCH_NORM.forward(x[:0], w, b) is NotImplemented
    assert norms.BATCH_NORM.forward(x, w, b, w) is NotImplemented
    assert norms.BATCH_NORM.forward(x.astype("float16"), w, b) is NotImplemented
