"""The optimizers' kernels against `Optimizer.update`, and the search for what is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.truth import EPS, FLOOR, TIMES
from xcnn import optim
from xcnn.backend import find_kernel, plugin_of
from xcnn.types import Array

OPTIMIZERS = [
    optim.SGD(0.1),
    optim.SGD(0.1, momentum=0.9),
    optim.SGD(0.1, momentum=0.9, nesterov=True),
    optim.Adagrad(0.05),
    optim.RMSprop(0.01),
    optim.RMSprop(0.01, alpha=0.5, eps=1e-3),
    optim.Adam(0.01),
    optim.Adam(0.01, beta1=0.0, beta2=0.5, eps=1e-2),
    optim.AdamW(0.01, weight_decay=0.1),
]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=range(len(OPTIMIZERS)))
SIZES = (1, 2, 15, 16, 17, 1000, 40_000)


def kernel(name: str):
    found = find_kernel(name, plugin_of(np.zeros(1)))
    assert found is not None
    return found


def arrays(optimizer: optim.Optimizer, size: int, dtype: str) -> tuple[Array, Array, tuple[Array, ...]]:
    """Return w, dw and slots, the second moment positive."""
    rng = np.random.default_rng(size)
    w, dw, *slots = (rng.normal(size=size).astype("float32") for _ in range(2 + optimizer.slots))
    if optimizer.slots and not isinstance(optimizer, optim.SGD):
        slots[-1] = slots[-1] ** 2
    return w.astype(dtype), dw.astype(dtype), tuple([s.astype(dtype) for s in slots])


@every_optimizer
@pytest.mark.parametrize("t", [1, 2, 1000])
def test_an_update_is_as_near_to_the_truth_as_the_readable_one(optimizer, t, dtype):
    """In float64, where the truth is too costly, it is as near to the readable one as that allows."""
    scalars = optimizer.scalars(t, 0.5)
    for size in SIZES:
        w, dw, slots = arrays(optimizer, size, dtype)
        exact = [a.astype("longdouble") for a in (w, dw, *slots)]
        want = optimizer.update(exact[0], exact[1], tuple(exact[2:]), scalars)
        readable = optimizer.update(w, dw, slots, scalars)
        got = kernel(type(optimizer).__name__)(optimizer, w, dw, slots, scalars)
        assert len(got[1]) == optimizer.slots
        flat = [[a[0], *a[1]] for a in (got, readable, want)]
        for mine, plain, true in zip(*flat, strict=True):
            assert mine.dtype == dtype
            own = np.max(np.abs(plain - true))
            assert np.max(np.abs(mine - true)) <= TIMES * own + FLOOR * EPS[dtype] * np.max(np.abs(true))


@every_optimizer
def test_an_update_writes_only_new_arrays(optimizer, dtype):
    w, dw, slots = arrays(optimizer, 40_000, dtype)
    given = [w, dw, *slots]
    before = [a.copy() for a in given]
    update = kernel(type(optimizer).__name__)
    first = update(optimizer, w, dw, slots, optimizer.scalars(3))
    kept = [a.copy() for a in (first[0], *first[1])]
    second = update(optimizer, first[0], dw, first[1], optimizer.scalars(4))
    update(optimizer, second[0], -dw, second[1], optimizer.scalars(5))
    for a, b in zip((*given, first[0], *first[1]), (*before, *kept), strict=True):
        np.testing.assert_array_equal(a, b)
    for new in (first[0], *first[1]):
        assert not any(np.shares_memory(new, a) for a in given)


@every_optimizer
def test_an_update_takes_arrays_that_must_not_be_written(optimizer, dtype):
    """Such as come out of a file that is mapped into memory."""
    w, dw, slots = arrays(optimizer, 100, dtype)
    update = kernel(type(optimizer).__name__)
    want = update(optimizer, w, dw, slots, optimizer.scalars(2))
    for a in (w, dw, *slots):
        a.flags.writeable = False
    got = update(optimizer, w, dw, slots, optimizer.scalars(2))
    np.testing.assert_array_equal(got[0], want[0])


@every_optimizer
def test_an_update_takes_views(optimizer, dtype):
    w, dw, slots = arrays(optimizer, 1000, dtype)
    update, scalars = kernel(type(optimizer).__name__), optimizer.scalars(2)
    want = update(optimizer, w[::3].copy(), dw[::3].copy(), tuple([s[::3].copy() for s in slots]), scalars)
    got = update(optimizer, w[::3], dw[::3], tuple([s[::3] for s in slots]), scalars)
    for a, b in zip((got[0], *got[1]), (want[0], *want[1]), strict=True):
        np.testing.assert_array_equal(a, b)


@every_optimizer
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_goes_where_it_goes_in_the_readable_update(optimizer, dtype):
    w, dw, slots = arrays(optimizer, 40, dtype)
    dw[3], dw[17], w[20], dw[30] = np.nan, np.inf, np.nan, 0.0
    got = kernel(type(optimizer).__name__)(optimizer, w, dw, slots, optimizer.scalars(1))
    want = optimizer.update(w, dw, slots, optimizer.scalars(1))
    for a, b in zip((got[0], *got[1]), (want[0], *want[1]), strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", SIZES)
def test_one_number_that_is_not_finite_is_found_anywhere(size, bad, dtype):
    a = np.random.default_rng(0).normal(size=size).astype(dtype)
    assert kernel("all_finite")(a)
    for place in {0, size // 2, size - 1}:
        spoilt = a.copy()
        spoilt[place] = bad
        assert not kernel("all_finite")(spoilt)


def test_numbers_whose_squares_overflow_are_finite(dtype):
    largest = np.finfo(dtype).max
    assert kernel("all_finite")(np.full(100, largest, dtype))
    assert kernel("all_finite")(np.asarray([-largest, largest, 0.0], dtype))
