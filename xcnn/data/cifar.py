"""CIFAR-10 in its binary version: records of one label byte and 3 x 32 x 32 bytes, colour after colour."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from xcnn.data.dataset import Split
from xcnn.errors import FileError

__all__ = ["RECORD", "read_cifar10"]

RECORD = 1 + 3 * 32 * 32
"""Length of a record, in bytes."""


def read_cifar10(files: Iterable[tuple[str, bytes]], /) -> tuple[Split, Split]:
    """Read the batches of CIFAR-10.

    Parameters
    ----------
    files : iterable of (str, bytes)
        Names and contents: the test images are in those whose names begin with ``test``, the training images
        in the others, in the order of their names.

    Returns
    -------
    train : Split
        With x (N, 3, 32, 32), uint8, and y (N,), int64.
    test : Split
        Likewise.

    Raises
    ------
    FileError
        If a file is no whole number of records, or holds a label above 9.
    """
    batches = {}
    for name, data in files:
        if len(data) % RECORD:
            msg = f"has {len(data)} bytes; needed a multiple of {RECORD}, the length of a record"
            raise FileError(msg, where=name)
        batches[name] = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
        if np.any(batches[name][:, 0] > 9):
            msg = f"holds the label {batches[name][:, 0].max()}; needed 0 to 9"
            raise FileError(msg, where=name)

    def part(test: bool) -> Split:
        records = [batches.pop(name) for name in sorted(batches) if name.startswith("test") == test]
        n = sum(map(len, records))
        x, y = np.empty((n, 3, 32, 32), np.uint8), np.empty(n, np.int64)
        start = 0
        while records:
            record = records.pop(0)  # and let go of it: the set is large
            stop = start + len(record)
            x[start:stop] = record[:, 1:].reshape(-1, 3, 32, 32)
            y[start:stop] = record[:, 0]
            start = stop
        return Split(x, y)

    return part(test=False), part(test=True)
