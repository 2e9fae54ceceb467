"""Linear maps: what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.checks import says
from xcnn import ops
from xcnn.errors import DataError, DTypeError, ShapeError


def ones(backend, *shape, dtype="float32"):
    return backend.asarray(np.ones(shape), dtype)


@pytest.mark.parametrize("shape", [(4,), (2, 1, 2, 2), ()])
def test_inputs_need_two_axes(backend, shape):
    with pytest.raises(ShapeError, match=says("linear: x", str(shape), "(N, features)")):
        ops.linear(ones(backend, *shape), ones(backend, 3, 4))


def test_features_must_match(backend):
    with pytest.raises(ShapeError, match=says("linear: x", "(2, 5)", "(3, 4)", "(units, features)")):
        ops.linear(ones(backend, 2, 5), ones(backend, 3, 4))


@pytest.mark.parametrize("shape", [(4,), (1,), (3, 1), ()])
def test_there_is_one_bias_for_each_unit(backend, shape):
    with pytest.raises(ShapeError, match=says("linear: b", str(shape), "(3,)")):
        ops.linear(ones(backend, 2, 4), ones(backend, 3, 4), ones(backend, *shape))


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)])
def test_empty_inputs_are_refused(backend, shape):
    with pytest.raises((DataError, ShapeError), match=says("linear: x is empty", str(shape))):
        ops.linear(ones(backend, *shape), ones(backend, 3, shape[1]))


def test_mixed_dtypes_are_named(backend):
    with pytest.raises(DTypeError, match=says("linear: x", "float32", "w", "float64", "same")):
        ops.linear(ones(backend, 2, 4), ones(backend, 3, 4, dtype="float64"))
