"""Convolution in several ways: one result, and a kernel that is rotated."""

from __future__ import annotations

import copy
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest

from tests.ops.cases import for_random_cases
from tests.ops.checks import backward, forward, upstream
from tests.tolerances import assert_close
from xcnn import ops

READABLE = ("conv2d_loops", "conv2d_indices")
ROTATED = np.s_[:, :, ::-1, ::-1]


@pytest.mark.parametrize("name", READABLE)
def test_forward_and_every_gradient_equal_those_of_conv2d(name, backend, dtype):
    def check(case):
        case = case.astype(dtype)
        (want, saved), (got, other) = forward(backend, "conv2d", case), forward(backend, name, case)
        assert_close(got[0], want[0], dtype, repr(case))
        dy = upstream(want[0])
        for a, b in zip(backward(backend, other, dy), backward(backend, saved, dy), strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                assert a.shape == b.shape
                assert_close(a, b, dtype, repr(case), source=dy)

    for_random_cases(name, check, examples=40)


@pytest.mark.parametrize("name", [*READABLE, "true_conv2d"])
def test_every_way_has_the_signature_of_conv2d(name):
    assert signature(getattr(ops, name)) == signature(ops.conv2d)


def convolved(f, g):
    """Return (f * g)[i, j], the sum over m and n of f[m, n] g[i - m, j - n], wherever it is not zero."""
    y = np.zeros((f.shape[0] + g.shape[0] - 1, f.shape[1] + g.shape[1] - 1))
    for i, j in np.ndindex(y.shape):
        for m, n in np.ndindex(f.shape):
            if 0 <= i - m < g.shape[0] and 0 <= j - n < g.shape[1]:
                y[i, j] += f[m, n] * g[i - m, j - n]
    return y


def test_true_convolution_is_that_of_the_definition(backend, dtype):
    rng = np.random.default_rng(0)
    f, g = rng.normal(size=(5, 6)), rng.normal(size=(3, 2))
    images, kernels = (backend.asarray(a[None, None], dtype) for a in (f, g))
    y, _ = ops.true_conv2d(images, kernels, padding=((2, 2), (1, 1)))  # every window that touches the image
    assert_close(backend.to_numpy(y)[0, 0], convolved(f, g), dtype)


def test_true_convolution_commutes(backend):
    rng = np.random.default_rng(0)
    f, g = (backend.asarray(rng.normal(size=(1, 1, *shape))) for shape in ((4, 5), (3, 2)))
    one, _ = ops.true_conv2d(f, g, padding=((2, 2), (1, 1)))
    other, _ = ops.true_conv2d(g, f, padding=((3, 3), (4, 4)))
    assert_close(backend.to_numpy(one), backend.to_numpy(other), "float64")


def test_true_convolution_is_conv2d_with_rotated_kernels_and_its_dw_rotated_back(backend):
    def check(case):
        x, w, b = case.arrays
        (got,), saved = forward(backend, "true_conv2d", case)
        (want,), other = forward(backend, "conv2d", replace(case, arrays=(x, w[ROTATED], b)))
        assert_close(got, want, "float64", repr(case))
        dy = upstream(want)
        (dx, dw, db), of_rotated = backward(backend, saved, dy), backward(backend, other, dy)
        assert_close(dx, of_rotated[0], "float64", repr(case), source=dy)
        assert_close(dw, of_rotated[1][ROTATED], "float64", repr(case), source=dy)
        np.testing.assert_array_equal(db, of_rotated[2])

    for_random_cases("true_conv2d", check)


def test_a_kernel_that_is_its_own_rotation_tells_no_difference(backend):
    def check(case):
        x, w, b = case.arrays
        case = replace(case, arrays=(x, w + w[ROTATED], b))
        ((got,), _), ((want,), _) = (forward(backend, name, case) for name in ("true_conv2d", "conv2d"))
        assert_close(got, want, "float64", repr(case))

    for_random_cases("true_conv2d", check)


def test_a_copy_of_an_op_is_the_op():
    assert copy.copy(ops.conv2d) is copy.deepcopy(ops.conv2d) is ops.conv2d
    assert ops.conv2d.__reduce__() == "conv2d"
