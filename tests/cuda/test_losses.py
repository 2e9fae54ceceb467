"""Cross-entropy on the device against the readable pair on NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import check, device, get
from xcnn import ops
from xcnn.backend import readable

cupy = device()

from xcnn_cupy import losses  # noqa: E402

DTYPES = ("float32", "float64")


def draw(n, k, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, k)) * 3).astype(dtype), rng.integers(0, k, n)


def truth(z, labels, smoothing=0.0):
    with readable(), np.errstate(all="ignore"):
        loss, saved = ops.cross_entropy(z, labels, label_smoothing=smoothing)
        return loss, saved.backward(1.0)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 2), (64, 10), (3, 31), (5, 33), (300, 5), (2, 10000)])
def test_loss_and_gradient_are_those_of_the_readable_pair(n, k, smoothing, dtype):
    z, labels = draw(n, k, dtype)
    loss, dz = truth(z.astype("float64"), labels, smoothing)
    got, found = losses.cross_entropy(cupy.asarray(z), cupy.asarray(labels), label_smoothing=smoothing)
    assert got.shape == ()
    assert got.dtype == found.dtype == dtype
    check(got, loss, dtype, "loss")
    check(found, dz, dtype, "dz", source=1 / n)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_labels_are_any_integers(dtype):
    z, labels = draw(12, 10, "float32")
    want = losses.cross_entropy(cupy.asarray(z), cupy.asarray(labels))
    got = losses.cross_entropy(cupy.asarray(z), cupy.asarray(labels.astype(dtype)))
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(get(one), get(other))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_a_label_out_of_range_makes_its_row_and_the_loss_nan(label, dtype):
    z, labels = draw(6, 10, dtype)
    labels[4] = label
    loss, dz = losses.cross_entropy(cupy.asarray(z), cupy.asarray(labels))
    assert np.isnan(get(loss))
    np.testing.assert_array_equal(np.isnan(get(dz)).all(axis=1), np.arange(6) == 4)
    assert not np.isnan(np.delete(get(dz), 4, axis=0)).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 40])
def test_what_is_not_finite_spreads_as_in_the_readable_pair(at, value, dtype):
    z, labels = draw(5, 50, dtype)
    z[2, at], labels[:] = value, 0
    loss, dz = truth(z, labels)
    got, found = losses.cross_entropy(cupy.asarray(z), cupy.asarray(labels))
    np.testing.assert_array_equal(np.isfinite(get(got)), np.isfinite(loss))
    np.testing.assert_array_equal(np.isnan(get(found)), np.isnan(dz))


def test_a_row_of_minus_infinity_is_nan():
    z, labels = draw(3, 4, "float32")
    z[1] = -np.inf
    dz = losses.cross_entropy(cupy.asarray(z), cupy.asarray(labels))[1]
    np.testing.assert_array_equal(np.isnan(get(dz)).all(axis=1), [False, True, False])


@pytest.mark.parametrize("dtype", DTYPES)
def test_finite_logits_give_a_finite_loss(dtype):
    top = np.finfo(dtype).max
    z = np.array([[top, -top, 0], [-top, top, 1]], dtype)
    loss, dz = losses.cross_entropy(cupy.asarray(z), cupy.asarray([1, 2]))
    assert np.isfinite(get(loss))
    np.testing.assert_allclose(get(dz), [[0.5, -0.5, 0], [0, 0.5, -0.5]])


def test_the_gradient_is_scaled_by_a_number_or_by_an_array_on_the_device():
    _, dz = losses.cross_entropy(*map(cupy.asarray, draw(4, 3, "float32")))
    assert losses.cross_entropy_gradient(1.0, dz, (True,))[0] is dz
    for dy in (8.0, cupy.asarray(np.float32(8))):
        found = losses.cross_entropy_gradient(dy, dz, (True, False, False))
        assert found[0].dtype == "float32"
        np.testing.assert_array_equal(get(found[0]), 8 * get(dz))


def test_what_is_not_covered_is_left_to_the_readable_pair():
    z, labels = map(cupy.asarray, draw(4, 3, "float32"))
    assert losses.cross_entropy(z, labels, cupy.ones(3, "float32")) is NotImplemented
    assert losses.cross_entropy(z, z) is NotImplemented
    assert losses.cross_entropy(z, labels[:2]) is NotImplemented
    assert losses.cross_entropy(z[:0], labels[:0]) is NotImplemented
    assert losses.cross_entropy(z.astype("float16"), labels) is NotImplemented
    assert losses.cross_entropy(z, labels, label_smoothing=1.0) is NotImplemented
