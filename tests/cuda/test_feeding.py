"""Batches that are copied ahead arrive whole, in order, and in memory of their own."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.cuda.kinds import device
from tests.nets import assert_same, full, host, stripes
from xcnn.data import Loader
from xcnn.errors import DataError

cupy = device()

from xcnn_cupy import feeding  # noqa: E402

X, Y = stripes(40)


def fed(batches):
    """Return an iterator over batches on the device."""
    return xcnn.get_backend("cupy").feed(batches)


def numbered(n, size=1000):
    """Yield n batches of which every element is its number, all in one host array that is written again."""
    x = np.empty((4, size), np.float32)
    for i in range(n):
        x[...] = i
        yield x, np.full(4, i)


def test_every_batch_arrives_whole_and_in_order():
    kept = list(fed(numbered(9)))
    for i, (x, y) in enumerate(kept):
        assert isinstance(x, cupy.ndarray)
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        np.testing.assert_array_equal(x.get(), np.full((4, 1000), i))
        np.testing.assert_array_equal(y.get(), np.full(4, i))


def test_a_batch_can_be_used_as_soon_as_it_is_yielded():
    sums = [float(cupy.sum(x)) for x, _ in fed(numbered(5))]
    assert sums == [4000.0 * i for i in range(5)]


@pytest.mark.parametrize("sizes", [(8, 3, 8), (1, 200, 7, 3000)])
def test_batches_may_differ_in_size(sizes):
    batches = [(np.random.default_rng(n).random((n, 3)), np.arange(n)) for n in sizes]
    for (x, y), (want_x, want_y) in zip(fed(batches), batches, strict=True):
        np.testing.assert_array_equal(x.get(), want_x)
        np.testing.assert_array_equal(y.get(), want_y)


def test_what_is_no_plain_numpy_array_passes_through():
    on_device, text = cupy.ones(3), np.array(["a"])
    foreign = np.arange(3, dtype=">i4")
    for given in ((on_device, None), (text, foreign), ([1, 2], np.empty((0, 2)))):
        ((x, y),) = fed([given])
        assert x is given[0]
        assert y is given[1]


def test_strided_arrays_and_every_dtype_arrive_as_they_are():
    x = np.arange(60).reshape(3, 4, 5)
    for dtype in ("uint8", "bool", "float16", "float64", "int32"):
        view = x.astype(dtype).transpose(2, 0, 1)[::-1]
        ((got, _),) = fed([(view, None)])
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.get(), view)


def test_one_batch_is_made_ahead_and_no_more():
    made = []

    def batches():
        for i in range(5):
            made.append(i)
            yield np.full(2, i), None

    feed = fed(batches())
    assert made == []
    for i in range(5):
        next(feed)
        assert made == list(range(min(i + 2, 5)))
    assert list(feed) == []


def test_an_error_comes_after_the_batches_before_it():
    def batches():
        yield from numbered(3)
        raise ZeroDivisionError("batch 3")

    feed = fed(batches())
    assert [int(next(feed)[1][0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="batch 3"):
        next(feed)


def test_leaving_early_closes_the_source_and_waits_for_the_copy(monkeypatch):
    closed = []

    def batches():
        try:
            yield from numbered(5)
        finally:
            closed.append(True)

    streams = []
    make = cupy.cuda.Stream
    monkeypatch.setattr(cupy.cuda, "Stream", lambda **o: streams.append(make(**o)) or streams[-1])
    feed = fed(batches())
    next(feed)
    feed.close()
    assert closed == [True]
    assert streams[0].done


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("augment", [None, xcnn.data.RandomCrop(1)])
def test_fit_learns_the_same_from_batches_that_are_fed(monkeypatch, augment, dtype):
    x = (X * 250).astype("uint8") if dtype == "uint8" else X
    models = []
    for feeds in (True, False):
        backend = xcnn.get_backend("cupy")
        monkeypatch.setattr(type(backend), "room", lambda self: 0)
        if not feeds:
            monkeypatch.setattr(type(backend), "feed", lambda self, batches: iter(batches))
        model = full(backend="cupy")
        model.fit(x, Y, epochs=2, batch_size=16, augment=augment)
        models.append(host(model))
    assert_same(*models)


def test_a_wrong_label_stops_fit_after_the_steps_before_it():
    class Mislabelled(Loader):
        def epoch(self, number):
            for i, (x, y) in enumerate(super().epoch(number)):
                yield x, y + 9 if i == 2 else y

    model = full(backend="cupy")
    steps = []

    class Watch(xcnn.callbacks.Callback):
        def on_train_end(self, trainer, history):
            steps.append(trainer.t)

    with pytest.raises(DataError, match="label"):
        model.fit(Mislabelled(X, Y, batch_size=8), callbacks=[Watch()])
    assert steps == [2]


def test_the_stream_that_waits_for_a_copy_is_that_of_its_gpu(monkeypatch):
    """The null stream has the same number on all of them: the current one decides whose it is."""
    backend, waits = xcnn.get_backend("cupy:1"), []
    wait = cupy.cuda.Stream.wait_event

    def noted(stream, event):
        waits.append(cupy.cuda.Device().id)
        wait(stream, event)

    monkeypatch.setattr(cupy.cuda.Stream, "wait_event", noted)
    assert [x.device.id for x, _ in backend.feed(numbered(3))] == [1, 1, 1]
    assert cupy.cuda.Device().id == 0
    assert waits == [1] * 6


def test_a_room_is_as_large_as_its_largest_batch():
    room, stream = feeding.Room(), cupy.cuda.Stream(non_blocking=True)
    sizes = []
    for n in (10, 5000, 10):
        room.send((np.ones(n), None), stream)
        sizes.append(room._size)
    assert sizes == [512, 40448, 40448]
    stream.synchronize()
