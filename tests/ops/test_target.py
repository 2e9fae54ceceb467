"""Labels of the losses: which kinds are understood, which are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import DataError, DTypeError, ShapeError

CROSS = ["cross_entropy", "cross_entropy_probabilities"]
BINARY = ["binary_cross_entropy", "binary_cross_entropy_probabilities"]
REGRESSION = ["mse", "mae", "huber"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def outputs(*shape, dtype="float64"):
    """Return numbers that are logits and probabilities."""
    return np.random.default_rng(0).uniform(0.1, 0.9, size=shape).astype(dtype)


def loss_of(backend, name, z, labels):
    """Return the loss on the host."""
    loss, _ = getattr(ops, name)(backend.asarray(z), backend.asarray(labels))
    return backend.to_numpy(loss)


@pytest.mark.parametrize("name", [*CROSS, *BINARY])
@pytest.mark.parametrize("kind", INTEGERS)
def test_labels_are_any_integer_dtype(backend, dtype, name, kind):
    z, labels = outputs(5, 4, dtype=dtype), np.array([0, 3, 1, 2, 3])
    loss = loss_of(backend, name, z, labels.astype(kind))
    assert loss.dtype == dtype
    assert loss == loss_of(backend, name, z, labels)


@pytest.mark.parametrize("kind", INTEGERS)
def test_there_may_be_more_classes_than_the_labels_can_count(backend, kind):
    z, labels = outputs(3, 70000), np.array([0, 100, 5])
    want = loss_of(backend, "cross_entropy", z, labels)
    assert loss_of(backend, "cross_entropy", z, labels.astype(kind)) == want


@pytest.mark.parametrize("name", [*CROSS, *BINARY, *REGRESSION])
def test_one_hot_labels_mean_what_integers_mean(backend, dtype, name):
    z, labels = outputs(5, 4, dtype=dtype), np.array([0, 3, 1, 2, 3])
    one_hot = loss_of(backend, name, z, np.eye(4, dtype=dtype)[labels])
    assert_close(loss_of(backend, name, z, labels), one_hot, dtype)


@pytest.mark.parametrize("name", [*BINARY, *REGRESSION])
@pytest.mark.parametrize("outer", [(6,), (6, 1)], ids=str)
@pytest.mark.parametrize("inner", [(6,), (6, 1)], ids=str)
@pytest.mark.parametrize("kind", ["int64", "uint8", "bool", "float64"])
def test_one_output_takes_labels_with_and_without_a_second_axis(backend, name, outer, inner, kind):
    z, labels = outputs(6), np.array([0, 1, 1, 0, 1, 0])
    want = loss_of(backend, name, z, labels.astype("float64"))
    got = loss_of(backend, name, z.reshape(outer), labels.reshape(inner).astype(kind))
    assert_close(got, want, "float64")


@pytest.mark.parametrize("name", [*CROSS, *BINARY])
@pytest.mark.parametrize("wrong", [-1, 3, 200])
def test_labels_out_of_range_are_refused_or_make_the_loss_nan(backend, name, wrong):
    z, labels = outputs(4, 3), np.array([0, 1, wrong, 2])
    if backend.host:
        with pytest.raises(DataError, match=says(f"{name}: labels", str(wrong), "0 to 2")):
            loss_of(backend, name, z, labels)
    else:  # reading the labels would wait for the device; NaN is found by the trainer
        assert np.isnan(loss_of(backend, name, z, labels))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_of_one_output_are_zero_and_one(backend, name, shape):
    z, labels = outputs(*shape), np.array([0, 1, 2, 0])
    if backend.host:
        with pytest.raises(DataError, match=says(f"{name}: labels", "2", "0 to 1")):
            loss_of(backend, name, z, labels)
    else:
        assert np.isnan(loss_of(backend, name, z, labels))


@pytest.mark.parametrize("name", [*CROSS, *BINARY, *REGRESSION])
@pytest.mark.parametrize("shape", [(3,), (5,), (4, 2), (3, 3), (1,), (), (4, 3, 1)], ids=str)
def test_the_number_of_labels_must_be_that_of_the_outputs(backend, name, shape):
    kind = "float64" if len(shape) == 2 else "int64"
    with pytest.raises(ShapeError, match=says(f"{name}: labels", str(shape), "(4, 3)", "(4,)")):
        loss_of(backend, name, outputs(4, 3), np.zeros(shape, dtype=kind))


@pytest.mark.parametrize("name", CROSS)
def test_integers_are_no_one_hot_labels(backend, name):
    with pytest.raises((ShapeError, DTypeError), match=says(f"{name}: labels", "int64", "(4, 3)", "float64")):
        loss_of(backend, name, outputs(4, 3), np.eye(3, dtype="int64")[[0, 1, 2, 0]])


@pytest.mark.parametrize("name", [*CROSS, *BINARY])
def test_floating_numbers_name_no_classes(backend, name):
    with pytest.raises((ShapeError, DTypeError), match=says(f"{name}: labels", "float64", "(4,)", "integer")):
        loss_of(backend, name, outputs(4, 3), np.array([0.0, 1.0, 2.0, 0.0]))


@pytest.mark.parametrize("name", [*CROSS, *BINARY, *REGRESSION])
def test_one_hot_labels_have_the_dtype_of_the_outputs(backend, name):
    with pytest.raises(DTypeError, match=says(f"{name}: labels", "float32", "float64")):
        loss_of(backend, name, outputs(4, 3), np.eye(3, dtype="float32")[[0, 1, 2, 0]])


@pytest.mark.parametrize("name", [*CROSS, *BINARY, *REGRESSION])
def test_complex_labels_are_refused(backend, name):
    """By the op, or by a backend that has none."""
    with pytest.raises(DTypeError, match=f"({name}: labels have|backend 'python': got) dtype .*complex128"):
        loss_of(backend, name, outputs(4, 3), np.zeros((4, 3), dtype="complex128"))


@pytest.mark.parametrize("name", [*BINARY, *REGRESSION])
def test_a_single_number_is_no_batch(backend, name):
    with pytest.raises(ShapeError, match=says(f"{name}: ", "()", "(N")):
        loss_of(backend, name, np.asarray(0.5), np.asarray(1.0))
