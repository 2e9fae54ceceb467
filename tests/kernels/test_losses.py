"""The kernel of softmax and cross-entropy against the readable pair."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.kernels.truth import EPS, FLOOR, TIMES
from xcnn import ops
from xcnn.errors import DataError, Error

SHAPES = [(1, 2), (3, 10), (17, 3), (64, 10), (5, 1000)]
every_shape = pytest.mark.parametrize("shape", SHAPES)


def drawn(shape, dtype, scale=3.0):
    rng = np.random.default_rng(shape[0])
    z = (scale * rng.normal(size=shape)).astype("float32").astype(dtype)
    return z, rng.integers(0, shape[1], shape[0])


def both(z, labels, dy=1.0, **options):
    """Return (loss, dz) of the kernel and of the readable pair."""
    found = []
    for run in (lambda: ops.cross_entropy(z, labels, **options), None):
        if run is None:
            with xcnn.readable():
                loss, saved = ops.cross_entropy(z, labels, **options)
                found.append((loss, saved.backward(dy)[0]))
        else:
            loss, saved = run()
            found.append((loss, saved.backward(dy)[0]))
    return found


@every_shape
@pytest.mark.parametrize("scale", [0.01, 3.0, 200.0])
def test_loss_and_dz_are_as_near_to_the_truth_as_the_readable_ones(shape, scale, dtype):
    z, labels = drawn(shape, dtype, scale)
    with xcnn.readable():
        exact = z.astype("longdouble")
        e = np.exp(exact - exact.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        rows = np.arange(len(z))
        logs = exact - exact.max(axis=1, keepdims=True) - np.log(e.sum(axis=1, keepdims=True))
        loss = -np.mean(logs[rows, labels])
        p[rows, labels] -= 1.0
        dz = p / len(z)
    (got, got_dz), (plain, plain_dz) = both(z, labels)
    assert got_dz.dtype == got.dtype == dtype
    assert got.shape == ()
    floor = FLOOR * EPS[dtype]
    assert abs(got - loss) <= TIMES * abs(plain - loss) + floor * abs(loss)
    own = np.max(np.abs(plain_dz - dz))
    assert np.max(np.abs(got_dz - dz)) <= TIMES * own + floor * np.max(np.abs(dz))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_any_integer_dtype_are_taken(kind, dtype):
    z, labels = drawn((17, 10), dtype)
    want = ops.cross_entropy(z, labels)
    got = ops.cross_entropy(z, labels.astype(kind))
    assert float(got[0]) == float(want[0])
    np.testing.assert_array_equal(got[1].backward(1.0)[0], want[1].backward(1.0)[0])


def test_labels_and_logits_may_be_views(dtype):
    z, labels = drawn((64, 10), dtype)
    want = ops.cross_entropy(z[::2, 1:8].copy(), labels[::2] % 7)
    got = ops.cross_entropy(z[::2, 1:8], (labels % 7)[::2])
    assert float(got[0]) == float(want[0])


@pytest.mark.parametrize("dy", [0.5, -2.0])
def test_dz_is_scaled_by_dy(dy, dtype):
    z, labels = drawn((17, 10), dtype)
    (_, got), (_, want) = both(z, labels, dy)
    np.testing.assert_allclose(got, want, rtol=8 * EPS[dtype], atol=8 * EPS[dtype])
    (_, array), _ = both(z, labels, np.asarray(dy, dtype))
    np.testing.assert_array_equal(array, got)


def test_backward_twice_gives_the_same(dtype):
    z, labels = drawn((64, 1000), dtype)
    _, saved = ops.cross_entropy(z, labels)
    first = saved.backward(1.0)[0].copy()
    ops.cross_entropy(-z, labels)[1].backward(1.0)
    np.testing.assert_array_equal(saved.backward(2.0)[0], 2 * first)
    np.testing.assert_array_equal(saved.backward(1.0)[0], first)


def test_logits_and_labels_that_must_not_be_written_are_taken(dtype):
    """Such as come out of a file that is mapped into memory."""
    z, labels = drawn((17, 10), dtype)
    want = float(ops.cross_entropy(z, labels)[0])
    z.flags.writeable = False
    assert float(ops.cross_entropy(z, labels)[0]) == want
    labels.flags.writeable = False
    assert float(ops.cross_entropy(z, labels)[0]) == want
    assert float(ops.cross_entropy(z, labels.astype("int32").astype("int64"))[0]) == want


@pytest.mark.parametrize("bad", [-1, 10, 2**40, -(2**40)])
def test_labels_out_of_range_raise_what_the_readable_pair_raises(bad, dtype):
    z, labels = drawn((17, 10), dtype)
    labels[9] = bad
    messages = []
    for attempt in (lambda: ops.cross_entropy(z, labels), lambda: _readable(z, labels)):
        with pytest.raises(DataError) as error:
            attempt()
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_labels_that_wrap_around_in_int64_are_refused(dtype):
    z, labels = drawn((17, 10), dtype)
    labels = labels.astype("uint64")
    labels[3] = 2**64 - 1
    for attempt in (lambda: ops.cross_entropy(z, labels), lambda: _readable(z, labels)):
        with pytest.raises(Error):
            attempt()


@pytest.mark.parametrize("labels", [np.zeros(3, "int64"), np.zeros((17, 1), "int64")])
def test_labels_that_do_not_fit_raise_what_the_readable_pair_raises(labels, dtype):
    z, _ = drawn((17, 10), dtype)
    messages = []
    for attempt in (lambda: ops.cross_entropy(z, labels), lambda: _readable(z, labels)):
        with pytest.raises(Error) as error:
            attempt()
        messages.append((type(error.value), str(error.value)))
    assert messages[0] == messages[1]


def _readable(z, labels):
    with xcnn.readable():
        return ops.cross_entropy(z, labels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_logits_that_are_not_finite_give_what_the_readable_pair_gives(bad, dtype):
    for place in ((2, 0), (2, 9), (2, 4)):
        z, labels = drawn((17, 10), dtype)
        labels[2] = 4
        z[place] = bad
        (got, got_dz), (want, want_dz) = both(z, labels)
        np.testing.assert_array_equal(got, want) if not np.isfinite(want) else np.testing.assert_allclose(
            got, want
        )
        np.testing.assert_array_equal(np.isnan(got_dz), np.isnan(want_dz))
        np.testing.assert_allclose(got_dz, want_dz, rtol=1e-4, atol=1e-6)


def test_logits_far_apart_stay_finite(dtype):
    largest = float(np.finfo(dtype).max) / 4
    z = np.asarray([[largest, -largest], [-largest, largest], [0.0, 0.0]], dtype)
    (got, got_dz), (want, want_dz) = both(z, np.asarray([0, 0, 1]))
    assert np.isfinite(got) and np.isfinite(got_dz).all()  # noqa: PT018
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(got_dz, want_dz, rtol=1e-6, atol=EPS[dtype])


@pytest.mark.parametrize(
    "options",
    [{"label_smoothing": 0.1}, {"one_hot": True}, {"class_weights": True}],
    ids=["smoothing", "one-hot", "weights"],
)
def test_what_the_kernel_does_not_know_is_computed_by_the_readable_pair(options, dtype):
    z, labels = drawn((17, 10), dtype)
    options = dict(options)
    given = [np.eye(10, dtype=dtype)[labels] if options.pop("one_hot", False) else labels]
    if options.pop("class_weights", False):
        given.append(np.linspace(0.5, 2, 10).astype(dtype))
    got, saved = ops.cross_entropy(z, *given, **options)
    with xcnn.readable():
        want, readable = ops.cross_entropy(z, *given, **options)
    assert float(got) == float(want)
    np.testing.assert_array_equal(saved.backward(1.0)[0], readable.backward(1.0)[0])
