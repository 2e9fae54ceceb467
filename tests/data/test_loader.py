"""Batches: every image once, in an order that follows from seed and epoch, from whatever can be indexed."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import tracemalloc

import numpy as np
import pytest

from xcnn.backend import backend_of
from xcnn.data import Compose, Loader, RandomCrop, RandomFlip, Rows
from xcnn.errors import DataError, DTypeError, OptionError
from xcnn.random import permutation

N = 23
X = np.arange(N * 2 * 3 * 3, dtype=np.float32).reshape(N, 2, 3, 3)
Y = np.arange(N)


class Foreign:
    """Like an HDF5 data set: rows by slices and by rising lists, nothing else; counts what it reads."""

    shape, dtype = X.shape, X.dtype

    def __init__(self) -> None:
        self.most = 0

    def __len__(self) -> int:
        return N

    def __getitem__(self, key):
        if isinstance(key, np.ndarray) and np.any(np.diff(key) <= 0):
            raise TypeError("Indexing elements must be in increasing order")
        rows = X[key]
        self.most = max(self.most, len(rows))
        return rows


class OneByOne:
    """No shape, no slices, no arrays: one row at a time."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, key):
        if not isinstance(key, int):
            raise TypeError(f"{type(key).__name__} is no integer")
        return X[key]


def memory_map(folder):
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "xcnn-loader"]


def test_an_epoch_holds_every_image_once_with_its_label():
    loader = Loader(X, Y, batch_size=5, seed=3)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 5
    assert [len(x) for x, _ in batches] == [5, 5, 5, 5, 3]
    y = np.concatenate([y for _, y in batches])
    assert sorted(y) == list(range(N))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), X[y])


def test_the_order_is_a_function_of_seed_and_epoch():
    order = [np.concatenate([y for _, y in Loader(X, Y, batch_size=4, seed=3).epoch(e)]) for e in (0, 1, 0)]
    np.testing.assert_array_equal(order[0], permutation(N, seed=3, step=0))
    np.testing.assert_array_equal(order[1], permutation(N, seed=3, step=1))
    np.testing.assert_array_equal(order[0], order[2])
    other = np.concatenate([y for _, y in Loader(X, Y, batch_size=4, seed=4).epoch(0)])
    assert not np.array_equal(order[0], other)


def test_iterating_counts_the_epochs():
    loader = Loader(X, Y, batch_size=N)
    for epoch in range(3):
        ((_, y),) = loader
        np.testing.assert_array_equal(y, permutation(N, seed=0, step=epoch))


def test_without_shuffling_batches_are_views_in_order():
    batches = list(Loader(X, Y, batch_size=10, shuffle=False))
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), Y)
    assert all(np.shares_memory(x, X) for x, _ in batches)


def test_the_last_batch_can_be_dropped():
    loader = Loader(X, Y, batch_size=5, drop_last=True)
    assert [len(x) for x, _ in loader] == [5] * len(loader) == [5] * 4


def test_labels_are_optional():
    assert all(y is None for _, y in Loader(X))
    assert Loader(X).labels is None


def test_a_loader_knows_all_its_labels():
    assert Loader(X, Y).labels is Y


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("prefetch", [None, False, True, 1, 7])
@pytest.mark.parametrize("kind", ["array", "strided", "memmap", "foreign", "one by one", "list", "rows"])
def test_every_source_gives_the_same_batches(kind, prefetch, shuffle, tmp_path):
    sources = {
        "array": lambda: X,
        "strided": lambda: np.asfortranarray(X),
        "memmap": lambda: memory_map(tmp_path),
        "foreign": Foreign,
        "one by one": OneByOne,
        "list": lambda: list(X),
        "rows": lambda: Rows(np.concatenate([X[:5], X]), np.arange(5, 5 + N)),
    }
    labels = Y.tolist() if kind == "list" else Y
    loader = Loader(sources[kind](), labels, batch_size=6, seed=1, prefetch=prefetch, shuffle=shuffle)
    for (x, y), (_, index) in zip(loader, Loader(X, Y, batch_size=6, seed=1, shuffle=shuffle), strict=True):
        assert type(x) is np.ndarray
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, X[index])
        np.testing.assert_array_equal(y, index)
    assert not loader_threads()


def test_arrays_of_every_library_stay_on_their_device(backend):
    x, y = backend.asarray(X), backend.asarray(Y)
    for shuffle in (True, False):
        batches = list(Loader(x, y, batch_size=6, seed=1, shuffle=shuffle))
        want = list(Loader(X, Y, batch_size=6, seed=1, shuffle=shuffle))
        for (got_x, got_y), (want_x, want_y) in zip(batches, want, strict=True):
            assert backend_of(got_x) is backend_of(got_y) is backend_of(x)
            np.testing.assert_array_equal(backend.to_numpy(got_x), want_x)
            np.testing.assert_array_equal(backend.to_numpy(got_y), want_y)


@pytest.mark.parametrize("shuffle", [True, False])
def test_arrays_of_every_library_are_augmented_on_their_device(backend, shuffle):
    x = np.arange(N * 2 * 6 * 5, dtype="float32").reshape(N, 2, 6, 5)
    options = {
        "batch_size": 5,
        "seed": 1,
        "augment": Compose([RandomCrop(2), RandomFlip()]),
        "shuffle": shuffle,
    }
    want = list(Loader(x, Y, **options).epoch(2))
    loader = Loader(backend.asarray(x), backend.asarray(Y), **options)
    batches = loader.epoch(2)
    first = next(batches)
    assert bool(loader_threads()) == (backend.root == "numpy")  # nothing waits for a device
    for (got_x, got_y), (want_x, want_y) in zip([first, *batches], want, strict=True):
        assert backend_of(got_x) is backend_of(got_y) is backend
        np.testing.assert_array_equal(backend.to_numpy(got_x), want_x)
        np.testing.assert_array_equal(backend.to_numpy(got_y), want_y)


def test_a_source_is_read_batch_by_batch():
    source = Foreign()
    for _ in Loader(source, Y, batch_size=4):
        pass
    assert source.most <= 4


@pytest.mark.parametrize("view", ["whole", "strided", "transposed"])
def test_a_memory_map_is_not_copied_as_a_whole(tmp_path, view):
    shape = (512, 1, 512, 512)  # 128 MiB, of which the disk holds nothing
    whole = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, shape)
    x = {"whole": whole, "strided": whole[::2], "transposed": whole.transpose(0, 1, 3, 2)}[view]
    tracemalloc.start()
    batch, _ = next(Loader(x, batch_size=2, prefetch=False).epoch(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.shape == (2, 1, 512, 512)
    assert peak < 4 * batch.nbytes


def test_a_thread_reads_ahead_by_default_only_where_it_pays(tmp_path):
    seen = {}
    augment = lambda x, **_: x  # noqa: E731
    for kind, loader in {
        "array": Loader(X, Y, batch_size=5),
        "memmap": Loader(memory_map(tmp_path), Y, batch_size=5),
        "list of labels": Loader(X, Y.tolist(), batch_size=5),
        "labels": Loader(X, Foreign(), batch_size=5),
        "foreign": Loader(Foreign(), Y, batch_size=5),
        "augment": Loader(X, Y, batch_size=5, augment=augment),
    }.items():
        batches = loader.epoch(0)
        next(batches)
        seen[kind] = bool(loader_threads())
        batches.close()
    assert [kind for kind, ahead in seen.items() if not ahead] == ["array", "list of labels"]


def test_the_thread_does_not_run_further_ahead_than_it_may():
    served = []

    def augment(x, *, index, **_):
        served.append(len(index))
        return x

    batches = Loader(X, Y, batch_size=1, augment=augment, prefetch=3).epoch(0)
    next(batches)
    time.sleep(0.1)
    assert len(served) <= 1 + 3 + 1  # taken, waiting, and in the thread's hand
    batches.close()


def test_what_the_thread_raises_surfaces_in_order():
    def augment(x, *, index, **_):
        if 7 in index:
            raise ZeroDivisionError("image 7")
        return x

    place = permutation(N, seed=0, step=0).tolist().index(7)
    batches = Loader(X, Y, batch_size=1, augment=augment, prefetch=2).epoch(0)
    for _ in range(place):
        next(batches)
    with pytest.raises(ZeroDivisionError, match="image 7"):
        next(batches)
    assert not loader_threads()


@pytest.mark.parametrize("end", ["close", "break", "forget", "raise"])
def test_leaving_early_ends_the_thread(end):
    loader = Loader(X, Y, batch_size=1, prefetch=2)
    if end == "close":
        batches = loader.epoch(0)
        next(batches)
        assert loader_threads()
        batches.close()
    elif end == "break":
        for _ in loader:
            break
    elif end == "forget":
        batches = loader.epoch(0)
        next(batches)
        del batches
    else:
        with contextlib.suppress(KeyError):
            for _ in loader:
                raise KeyError
    gc.collect()
    assert not loader_threads()


def test_an_epoch_that_is_not_begun_starts_no_thread():
    batches = Loader(X, Y, prefetch=2).epoch(0)
    assert not loader_threads()
    del batches


def test_two_epochs_can_run_side_by_side():
    loader = Loader(X, Y, batch_size=4, prefetch=2)
    for (_, a), (_, b) in zip(loader.epoch(0), loader.epoch(0), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[:0],), {}, DataError, "Loader: x has no images; needed at least one"),
        ((X, Y[:-1]), {}, DataError, "x has 23 images and y has 22 labels; needed one label for each image"),
        ((X, Y), {"batch_size": 0}, OptionError, "batch_size is 0; needed an integer of at least 1"),
        ((X, Y), {"batch_size": 2.5}, OptionError, "batch_size is 2.5"),
        ((X, Y), {"batch_size": 24, "drop_last": True}, OptionError, "drop_last leaves no batch"),
        ((X, Y), {"prefetch": -1}, OptionError, "prefetch is -1; needed None, a bool or a number of batches"),
        ((X, Y), {"prefetch": "yes"}, OptionError, "prefetch is 'yes'"),
        ((X, Y), {"seed": -1}, OptionError, "seed is -1"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(arguments, options, error, message):
    with pytest.raises(error, match=message):
        Loader(*arguments, **options)


def test_images_that_differ_in_shape_are_refused():
    loader = Loader([np.zeros((1, 4, 4)), np.zeros((1, 5, 4))], batch_size=2)
    with pytest.raises(DataError, match=r"list: rows of shapes \(1, 4, 4\) and \(1, 5, 4\) in one batch"):
        next(loader.epoch(0))


def test_augmentation_needs_arrays_on_the_host(backend):
    if backend.root == "numpy":
        Loader(backend.asarray(X), augment=lambda x, **_: x)
        return
    with pytest.raises(DTypeError, match="augmentation needs a NumPy array"):
        Loader(backend.asarray(X), augment=lambda x, **_: x)


@pytest.mark.parametrize(
    "x", [(row for row in [1.0]), 3, "xyz", {0: 1.0}, None, np.float32(1)], ids=lambda x: type(x).__name__
)
def test_what_has_no_rows_is_refused(x):
    with pytest.raises(DTypeError, match=r"Loader: x is a .* without rows"):
        Loader(x)


@pytest.mark.parametrize(
    "options", [{"drop_last": "no"}, {"shuffle": None}, {"augment": "flip"}, {"seed": -1}, {"prefetch": "x"}]
)
def test_options_that_are_anything_are_refused(options):
    with pytest.raises(OptionError, match=rf"Loader: {next(iter(options))} is"):
        Loader(np.ones((4, 1)), **options)


def test_uneven_labels_are_refused():
    with pytest.raises(DataError, match="Loader: a list whose rows differ"):
        Loader(np.ones((2, 1)), [[1], [2, 3]])


def test_a_batch_size_of_numpys_counts_as_pythons_do():
    assert len(Loader(np.ones((9, 1)), batch_size=np.uint8(2))) == 5
