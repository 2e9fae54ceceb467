"""Batches of a data set, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xcnn.backend import find_kernel, plugin_of
from xcnn.data.rows import count, from_list, from_rows, in_memory, on_device, row_reader, whole
from xcnn.errors import DataError, DTypeError, OptionError, flag, named
from xcnn.random import permutation, seed_key

__all__ = ["Loader"]

Batch = tuple[Any, Any]


class Loader:
    """Serve a data set in batches.

    Batch b of epoch e holds the images ``p[b batch_size : (b + 1) batch_size]``, where p is
    ``permutation(N, seed=seed, step=e)``, or 0, 1, ..., N - 1 without shuffling. Iterating serves epoch 0,
    then epoch 1 and so on; `epoch` serves any.

    Parameters
    ----------
    x : array_like
        Shape (N, ...): an array of any library (its batches stay on its device), a memory map (read batch by
        batch), a list, or anything else with a length and rows, such as an HDF5 data set.
    y : array_like, optional
        Shape (N, ...): labels.
    batch_size : int
        Images in a batch; the last may be smaller.
    shuffle : bool
        Whether each epoch has a random order of its own. Without, batches of arrays are views.
    seed : int
        Decides order and augmentation, from 0 to 2**64 - 1.
    augment : callable, optional
        ``augment(x, seed=, epoch=, index=) -> x`` for a batch and the numbers of its images: NumPy arrays, or
        those of any library where it has an attribute ``array_api = True``, see `xcnn.data`.
    prefetch : bool or int, optional
        How many batches a thread prepares in advance; True is 2, False or 0 none. By default 2 where there is
        something to read or to augment on the host, none for arrays in memory.
    drop_last : bool
        Whether to leave out a last batch that is smaller.

    Raises
    ------
    DataError
        If there are no images, or `x` and `y` differ in length.
    DTypeError
        If arrays of another library than NumPy are to be augmented by what does not take them.
    OptionError
        If an option is out of its range.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        /,
        *,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        augment: Callable[..., Any] | None = None,
        prefetch: bool | int | None = None,
        drop_last: bool = False,
    ) -> None:
        x = from_rows(x, "x", "Loader")
        y = None if y is None else from_list(from_rows(y, "y", "Loader"), "Loader")
        n = count(x)
        if n == 0:
            raise DataError("x has no images; needed at least one", where="Loader")
        if y is not None and count(y) != n:
            msg = f"x has {n} images and y has {count(y)} labels; needed one label for each image"
            raise DataError(msg, where="Loader")
        size = whole(batch_size)
        if size < 1:
            msg = f"batch_size is {batch_size!r}; needed an integer of at least 1"
            raise OptionError(msg, where="Loader")
        drop_last = flag(drop_last, "drop_last", "Loader")
        shuffle = flag(shuffle, "shuffle", "Loader")
        if augment is not None and not callable(augment):
            msg = f"augment is {augment!r}; needed a function augment(x, seed=, epoch=, index=)"
            raise OptionError(msg, where="Loader")
        if drop_last and n < size:
            msg = f"drop_last leaves no batch: batch_size is {batch_size} and there are {n} images"
            raise OptionError(msg, where="Loader")
        elsewhere = in_memory(x) and not isinstance(x, np.ndarray)  # on a device, perhaps
        if augment is not None and elsewhere and not getattr(augment, "array_api", False):
            msg = f"x is a {type(x).__module__}.{type(x).__qualname__}; augmentation needs a NumPy array"
            raise DTypeError(msg, where="Loader")
        if prefetch is None:
            augments = augment is not None and not elsewhere
            prefetch = augments or not in_memory(x) or not (y is None or in_memory(y))
        depth = 2 if prefetch is True else whole(prefetch)
        if depth < 0:
            msg = f"prefetch is {prefetch!r}; needed None, a bool or a number of batches"
            raise OptionError(msg, where="Loader")
        with named("Loader"):
            seed_key(seed)  # refuses a seed out of its range here, and not in a thread
        self.batch_size, self.shuffle, self.seed, self.augment = size, shuffle, seed, augment
        self._x, self._y, self._n, self._depth = x, y, n, depth
        self._stop = n - n % size if drop_last else n
        self._begun = 0

    def __len__(self) -> int:
        """Return how many batches an epoch has."""
        return -(-self._stop // self.batch_size)

    @property
    def images(self) -> int:
        """How many images an epoch has."""
        return self._stop

    @property
    def labels(self) -> Any:
        """All labels in the order of the data, or None."""
        return self._y

    def __iter__(self) -> Iterator[Batch]:
        """Serve the next epoch."""
        self._begun += 1
        return self.epoch(self._begun - 1)

    def epoch(self, number: int, /, *, start: int = 0) -> Iterator[Batch]:
        """Serve one epoch.

        Parameters
        ----------
        number : int
            Which, from 0; the same number gives the same batches.
        start : int
            The batch to begin with, from 0.

        Returns
        -------
        iterator of (x, y)
            Batches of shapes (batch, ...); y is None if the loader has none.
        """
        batches = self._batches(number, start)
        return _ahead(batches, self._depth) if self._depth else batches

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        with named("Loader"):
            order = permutation(self._n, seed=self.seed, step=epoch) if self.shuffle else np.arange(self._n)
            read_x, read_y = self._images(order, epoch), self._reader(self._y, order)
        for start in range(first * self.batch_size, self._stop, self.batch_size):
            rows = slice(start, min(start + self.batch_size, self._stop))
            with named("Loader"):
                batch = read_x(rows), read_y(rows)
            yield batch

    def _images(self, order: Any, epoch: int) -> Callable[[slice], Any]:
        """Return a function from a slice of `order` to those images, augmented."""
        if not (self.shuffle or self.augment):
            return self._reader(self._x, order)
        index, now = on_device(order, self._x), {"seed": self.seed, "epoch": epoch}
        read = self._reader(self._x, index)
        kernel = find_kernel("augmented", plugin_of(self._x)) if in_memory(self._x) else None

        def images(rows: slice) -> Any:
            x = kernel(self._x, index[rows], self.augment, **now) if kernel else NotImplemented
            if x is not NotImplemented:
                return x
            x = read(rows)
            return x if self.augment is None else self.augment(x, **now, index=index[rows])

        return images

    def _reader(self, a: Any, order: Any) -> Callable[[slice], Any]:
        """Return a function from a slice of `order` to those rows of `a`."""
        if a is None:
            return lambda rows: None
        if not self.shuffle and in_memory(a):
            return lambda rows: a[rows, ...]
        read, where = row_reader(a), on_device(order, a)  # the order goes to the device once
        if in_memory(a) and a.ndim == 1:  # labels: a few bytes each
            a = read(where)
            return lambda rows: a[rows]
        return lambda rows: read(where[rows])


def _ahead(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Yield `batches`, of which a thread prepares up to `depth` in advance.

    What the thread raises is raised here. When this iterator is closed or forgotten, the thread ends with the
    batch that it is at.
    """
    ready: queue.Queue[tuple[Batch | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        try:
            for batch in batches:
                ready.put((batch, None))
                if stop.is_set():
                    return
            ready.put((None, None))
        except BaseException as error:
            ready.put((None, error))

    thread = threading.Thread(target=work, name="xcnn-loader", daemon=True)
    try:
        thread.start()
        while True:
            batch, error = ready.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
    finally:
        stop.set()
        while not ready.empty():  # make room: the thread may wait to put its batch
            ready.get_nowait()
        if thread is not threading.current_thread():  # there, too, the garbage collector may close this
            _join(thread)


def _join(thread: threading.Thread) -> None:
    """Wait for the end of a thread, also of one whose start Ctrl-C interrupted: it may be about to begin."""
    for _ in range(100):
        try:
            thread.join()
            return
        except RuntimeError:
            time.sleep(0.001)
