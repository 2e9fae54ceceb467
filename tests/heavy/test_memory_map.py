"""Training on a memory map of 1.2 times the machine's memory, a sparse file that nothing reads whole.

Large images by default, few in number; with ``XCNN_TEST_WHOLE=1`` small ones, tens of millions of them, so
that what is kept for each image (its place in the order, its label) counts.
"""

from __future__ import annotations

import mmap
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import xcnn
from tests.heavy.measure import NO_PROC, STATUS, WHOLE, status
from xcnn.data import Loader, Rows, channel_statistics, split
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU
from xcnn.random import permutation

pytestmark = pytest.mark.skipif(not STATUS.exists(), reason=NO_PROC)

SHAPE = (1, 32, 32) if WHOLE else (3, 64, 64)
STEPS, BATCH = (300, 32) if WHOLE else (60, 16)
WRITTEN = 64  # images that are not zeros
SLACK = 64 * 2**20  # bytes for batches, networks, compiled kernels
# What is kept for each image: int64 order and labels, of both parts of a split, and the keys that are sorted.
EACH = 72  # bytes


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "images.u1"
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    size = int(np.prod(SHAPE))
    n = int(1.2 * total) // size
    try:
        with path.open("wb") as file:
            file.truncate(n * size)
        if path.stat().st_blocks:
            pytest.skip(f"needs a file system with sparse files; {path.parent} has none")
        whole = np.memmap(path, np.uint8, "r+", shape=(n, *SHAPE))
    except OSError as error:
        pytest.skip(f"needs room for a sparse file of {n * size / 2**30:.0f} GB: {error}")
    # The system reads what follows a page, too: in a hole of this size that takes ext4 milliseconds a page.
    whole._mmap.madvise(mmap.MADV_RANDOM)
    rng = np.random.default_rng(0)
    whole[rng.integers(0, n, WRITTEN)] = rng.integers(0, 256, (WRITTEN, *SHAPE), dtype=np.uint8)
    whole.flush()
    assert whole.nbytes > total
    yield whole
    blocks = path.stat().st_blocks * 512
    del whole
    path.unlink()
    assert blocks < 2**22, f"{blocks} bytes of the disk: something wrote to the map"


@pytest.fixture(scope="module")
def labels(images):
    return np.arange(len(images)) % 10


@contextmanager
def few_bytes(images, each=EACH, what=""):
    """Refuse a block that takes more memory than some bytes for each image."""
    most, start, done = 0, status("RssAnon"), threading.Event()

    def look():
        nonlocal most
        while not done.wait(0.002):
            most = max(most, status("RssAnon"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    taken = most - start
    print(f"{what}: {taken / 2**20:.0f} MB, {taken / len(images):.0f} bytes an image of {images[0].nbytes}")
    assert taken < each * len(images) + SLACK


def net():
    layers = [Conv2D(4, 3, stride=2), ReLU(), MaxPool2D(4), Flatten(), Dense(10)]
    return xcnn.Model(layers, SHAPE)


class Ctrl(xcnn.callbacks.Callback):
    """Press Ctrl-C after some steps: an epoch of the whole map would take hours."""

    def __init__(self, steps):
        self.left = steps

    def on_step_end(self, trainer, loss, images):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_order_of_all_images_takes_few_bytes_each(images):
    with few_bytes(images, 28, "permutation"):
        order = permutation(len(images), seed=3)
    assert np.array_equal(np.bincount(order // 2**16), np.bincount(np.arange(len(order)) // 2**16))


def test_a_loader_serves_the_rows_of_its_order(images, labels):
    order = permutation(len(images), seed=3)
    with few_bytes(images, what="loader"):
        for k, (x, y) in zip(range(20), Loader(images, labels, batch_size=BATCH, seed=3), strict=False):
            rows = order[k * BATCH : (k + 1) * BATCH]
            np.testing.assert_array_equal(y, rows % 10)
            np.testing.assert_array_equal(x, np.asarray(images)[rows])


@pytest.mark.parametrize("compile", [True, False])
def test_a_trainer_takes_steps_at_random_places(images, labels, compile):
    with few_bytes(images, what="steps"):
        trainer = xcnn.Trainer(net())
        for _, (x, y) in zip(range(STEPS), Loader(images, labels, batch_size=BATCH), strict=False):
            loss = float(trainer.step(x, y))
    assert np.isfinite(loss)
    assert trainer.t == STEPS


def test_fit_holds_out_a_fraction_and_trains_without_copying_either_part(images, labels):
    with few_bytes(images, what="fit"):
        history = net().fit(
            images, labels, batch_size=BATCH, validation=0.1, callbacks=[Ctrl(STEPS)], progress=False
        )
    assert history.interrupted
    assert np.isfinite(history["loss"][-1])


def test_fit_looks_at_labels_on_a_map_batch_by_batch(images, tmp_path):
    n = len(images)
    path = tmp_path / "labels.i8"
    with path.open("wb") as file:
        file.truncate(8 * n)
    labels = np.memmap(path, np.int64, "r", shape=(n,))
    labels._mmap.madvise(mmap.MADV_RANDOM)
    with few_bytes(images, what="labels on a map"):
        net().fit(images, labels, batch_size=BATCH, callbacks=[Ctrl(STEPS)], progress=False)


def test_rows_of_it_are_trained_on_and_measured_to_the_end_of_an_epoch(images, labels):
    some = np.random.default_rng(1).integers(0, len(images), STEPS * BATCH)
    with few_bytes(images, 16, "rows"):
        x = Rows(images, some)
        model = net()
        history = model.fit(x, labels[some], batch_size=BATCH, validation=0.2, progress=False)
        logs = model.evaluate(x, labels[some])
        part = model.predict(images[1000:1300])
    assert {"loss", "val_loss", "accuracy"} <= history.keys()
    assert np.isfinite(logs["loss"])
    assert part.shape == (300, 10)


def test_a_split_keeps_two_numbers_an_image(images, labels):
    with few_bytes(images, what="split"):
        train, held = split(images, labels, 0.1)
    assert type(train.x) is type(held.x) is Rows
    assert len(train.x) + len(held.x) == len(images)
    assert abs(len(held.x) - len(images) / 10) <= 10
    row = len(held.x) // 3
    np.testing.assert_array_equal(held.x[row], np.asarray(images)[held.x._index[row]])


def test_statistics_are_computed_piece_by_piece(images):
    places = np.arange(0, len(images), len(images) // 1000)
    with few_bytes(images, 16, "statistics"):
        by_rows = channel_statistics(Rows(images, places), chunk=100)
    at_once = channel_statistics(np.asarray(images)[places], chunk=len(places))
    np.testing.assert_allclose(by_rows, at_once, rtol=1e-9)


def test_the_bound_would_refuse_a_copy(images):
    rows = 2 * (EACH * len(images) + SLACK) // images[0].nbytes
    assert rows < len(images) // 5
    with pytest.raises(AssertionError), few_bytes(images, what="a planted copy"):
        np.ones((rows, *SHAPE), np.uint8)
