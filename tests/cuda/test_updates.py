"""Optimizers, what comes of a step, and copies of many arrays, on the device."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import check, device, get, put
from xcnn import optim
from xcnn.errors import ShapeError
from xcnn.training import nonfinite
from xcnn.training.scaling import MOST, PATIENCE
from xcnn.training.segments import Segment, update_segments

cupy = device()

from xcnn_cupy import updates  # noqa: E402
from xcnn_cupy.table import Table  # noqa: E402

OPTIMIZERS = [
    optim.SGD(0.1),
    optim.SGD(0.1, momentum=0.9),
    optim.SGD(0.1, momentum=0.9, nesterov=True),
    optim.Adagrad(0.1),
    optim.RMSprop(0.1),
    optim.Adam(0.1),
    optim.AdamW(0.1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("n", [1, 1003])
def test_an_update_is_that_of_the_optimizer(optimizer, on_device, dtype, n):
    rng = np.random.default_rng(0)
    w, dw, *slots = (rng.normal(size=n) for _ in range(2 + optimizer.slots))
    slots = [np.abs(a) for a in slots]
    scalars = optimizer.scalars(3)
    want, want_slots = optimizer.update(w, dw, tuple(slots), scalars)
    given = tuple(cupy.asarray(a, dtype) for a in scalars) if on_device else scalars
    old = [put(a, dtype) for a in (w, dw, *slots)]
    before = [get(a) for a in old]
    got, got_slots = Table()[type(optimizer).__name__](optimizer, *old[:2], tuple(old[2:]), given)
    check(got, want, dtype, "w")
    assert len(got_slots) == len(want_slots)
    for one, other in zip(got_slots, want_slots, strict=True):
        check(one, other, dtype, "slot")
    for one, other in zip(old, before, strict=True):
        np.testing.assert_array_equal(get(one), other)


PENALTIES = [
    {},
    {"l2": 0.3},
    {"l1": 0.2, "l2": 0.1},
    {"weight_decay": 0.5},
    {"l1": 0.1, "l2": 0.2, "weight_decay": 0.3},
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adagrad, optim.RMSprop, optim.Adam, optim.AdamW])
def test_weights_are_penalized_and_decay_in_the_same_launch(kind, penalty, on_device, dtype, monkeypatch):
    optimizer, n = kind(0.1, **penalty), 1003
    decays = any((optimizer.l1, optimizer.l2, optimizer.weight_decay))
    segments = [Segment(0, 700, optimizer, True), Segment(700, n, optimizer, False)]
    segments = segments if decays else [Segment(0, n, optimizer, False)]
    rng = np.random.default_rng(0)
    w, dw, *slots = (rng.normal(size=n) for _ in range(2 + optimizer.slots))
    w[::10] = 0.0  # where l1 has no slope
    slots = tuple(np.abs(a) for a in slots)
    scalars = [segment.scalars(3, 0.5) for segment in segments]
    want, want_slots = update_segments(segments, w, dw, slots, scalars)
    given = [tuple(cupy.asarray(a, dtype) for a in part) for part in scalars] if on_device else scalars
    launched = []
    launch = updates.launch
    monkeypatch.setattr(updates, "launch", lambda *a, **k: (launched.append(a[2]), launch(*a, **k)))
    old = [put(a, dtype) for a in (w, dw, *slots)]
    got, got_slots = update_segments(segments, old[0], old[1], tuple(old[2:]), given)
    assert len(launched) == 1
    for one, other in zip((got, *got_slots), (want, *want_slots), strict=True):
        check(one, other, dtype)


class Backwards(optim.SGD):
    """A user's."""

    def update(self, w, dw, slots, scalars, /):
        return w + scalars[0] * dw, ()


@pytest.mark.parametrize(
    "segments",
    [
        [Segment(0, 4, optim.SGD(0.5), False), Segment(4, 9, optim.SGD(0.25), False)],
        [Segment(0, 4, None, False), Segment(4, 9, optim.SGD(0.5), False)],
        [Segment(0, 9, Backwards(0.5), False)],
    ],
    ids=["two optimizers", "a frozen layer", "an optimizer of a user's"],
)
def test_what_is_not_updated_alike_is_updated_piece_by_piece(segments):
    w, dw = np.arange(9.0), np.ones(9)
    scalars = [segment.scalars(1, 1.0) for segment in segments]
    want, _ = update_segments(segments, w, dw, (), scalars)
    assert (
        updates.update_segments(segments, put(w, "float64"), put(dw, "float64"), (), scalars)
        is NotImplemented
    )
    got, _ = update_segments(segments, put(w, "float64"), put(dw, "float64"), (), scalars)
    np.testing.assert_array_equal(get(got), want)


def test_a_segment_in_the_middle_is_updated():
    flat = cupy.asarray(np.arange(20, dtype="float32"))
    got, _ = updates.sgd(optim.SGD(), flat[3:10], flat[10:17], (), (0.5,))
    np.testing.assert_array_equal(get(got), np.arange(3, 10) - 0.5 * np.arange(10, 17))


def test_an_empty_vector_is_updated_to_an_empty_one():
    none = cupy.zeros(0, "float32")
    got, (m, v) = updates.adam(optim.Adam(), none, none, (none, none), (0.1, 0.1, 0.1))
    assert got.shape == m.shape == v.shape == (0,)


def settled(dw, loss, scaling=(), dtype="float32"):
    """Return what the kernel and the readable function make of a step."""
    scaling = tuple(np.asarray(a, kind) for a, kind in zip(scaling, ("float32", "int32"), strict=False))
    dw, loss = np.asarray(dw, dtype), np.asarray(loss, dtype)
    found = updates.settle(cupy.asarray(dw), cupy.asarray(loss), tuple(map(cupy.asarray, scaling)))
    both = [[found[0], found[1], *found[2]]]
    found = nonfinite.settle(dw, loss, scaling)
    both.append([found[0], found[1], *found[2]])
    for a, b in zip(*both, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == ()
        np.testing.assert_array_equal(a.get(), b)
    return [a.item() for a in both[0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 1000, 5000, 600_000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_refuses_a_step(value, n, dtype):
    dw = np.full(n, np.finfo(dtype).max)
    assert settled(dw, 0.5, dtype=dtype) == [True, 0.5]
    for at in (0, n // 2, n - 1):
        dw[at] = value
        taken, loss = settled(dw, 0.5, dtype=dtype)
        assert not taken
        assert np.isnan(loss)
        dw[at] = 0
    assert not settled(dw, value, dtype=dtype)[0]


def test_nothing_is_finite():
    assert settled([], 2.0) == [True, 2.0]


@pytest.mark.parametrize("good", [0, PATIENCE - 2, PATIENCE - 1, PATIENCE])
@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0**16, MOST])
@pytest.mark.parametrize("loss", [0.5, np.inf])
@pytest.mark.parametrize("value", [1.0, np.inf])
def test_the_scale_that_follows_is_that_of_the_readable_function(value, loss, scale, good):
    taken, told, *_ = settled([1.0, value], loss, (scale, good))
    assert taken == (np.isfinite(value) and np.isfinite(loss))
    assert np.isnan(told) == (np.isinf(loss) or (np.isinf(value) and scale == 1))


def arrays(seed):
    rng = np.random.default_rng(seed)
    flat = [cupy.asarray(rng.normal(size=n).astype("float32")) for n in (1, 7, 64, 1001, 3, 5)]
    flat += [cupy.asarray(rng.normal(size=33)), cupy.asarray(np.int32(rng.integers(1000)))]
    flat += [put(rng.normal(size=(2, 3, 4, 5)), "float32"), cupy.zeros(0, "float32")]
    return [*flat, cupy.asarray(rng.integers(0, 256, 37).astype("uint8")), cupy.asarray(rng.normal(size=8))]


@pytest.mark.parametrize("fine", [True, False])
def test_the_new_arrays_are_kept_where_all_is_fine_else_the_old_numbers(fine):
    new, old = arrays(0), arrays(1)
    want = [a.get() for a in (new if fine else old)]
    before = [a.get() for a in old]
    got = updates.keep(cupy.asarray(fine), tuple(new), tuple(old))
    assert type(got) is tuple
    for one, other, where in zip(got, want, new, strict=True):
        assert one.dtype == other.dtype
        assert one is where
        np.testing.assert_array_equal(one.get(), other)
    for one, other in zip(old, before, strict=True):
        np.testing.assert_array_equal(one.get(), other)


@pytest.mark.parametrize("fine", [True, False])
def test_arrays_of_different_memory_order_are_kept_too(fine):
    a, b = np.random.default_rng(0).normal(size=(2, 2, 3, 4, 5))
    new, old = put(a, "float64"), put(b, "float64", channels_last=False)
    (got,) = updates.keep(cupy.asarray(fine), (new,), (old,))
    np.testing.assert_array_equal(got.get(), a if fine else b)


def test_an_unaligned_part_is_copied():
    target, source = cupy.zeros(50, "uint8"), cupy.asarray(np.arange(50, dtype="uint8"))
    updates.copy_all([target[3:41]], [source[5:43]])
    np.testing.assert_array_equal(target.get(), [0] * 3 + list(range(5, 43)) + [0] * 9)


def test_every_array_is_copied():
    targets, sources = arrays(0), arrays(1)
    targets[0], sources[3] = cupy.zeros((1,), "float32"), sources[3][::-1]
    updates.copy_all(targets, sources)
    for a, b in zip(targets, sources, strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


def test_a_source_that_does_not_fit_is_refused_before_anything_is_written():
    target = cupy.zeros(3)
    with pytest.raises(ShapeError, match="its target needs"):
        updates.copy_all([target, target], [cupy.ones(3), cupy.ones(4)])
    np.testing.assert_array_equal(get(target), 0)
