"""Programs: lists of kernels with their arguments, run in one go on several threads."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from xcnn_numpy.compiler import Kernel
from xcnn_numpy.team import MOST, TEAM
from xcnn_numpy.threads import get_num_threads, set_num_threads

__all__ = ["Program", "View", "get_num_threads", "set_num_threads"]

GRAIN = 25_000  # multiplications of vectors that are worth another thread (about 3 us)


class View(NamedTuple):
    """Images in lanes: where the first pixel of the first channel is, and the steps from there, in numbers.

    Attributes
    ----------
    a : array or str
        Memory, or a name that stands for it.
    first : int
        Place of the first pixel.
    n, c, r, s : int
        Steps from block to block of images, channel to channel, row to row, pixel to pixel.
    """

    a: Any
    first: int = 0
    n: int = 0
    c: int = 0
    r: int = 0
    s: int = 0


class Program:
    """Kernels and their arguments.

    Parameters
    ----------
    dtype : str
        Of the numbers.
    threads : int
        How many parts there may be.
    """

    def __init__(self, dtype: str, threads: int) -> None:
        self.dtype, self.threads = dtype, threads
        self.rows: list[tuple[int, int, int]] = []
        self.records: list[tuple[str, int, int]] = []  # kernel, tasks, parts
        self._words: list[int] = []
        self._names: dict[str, list[tuple[int, int]]] = {}
        self._kept: list[Any] = []
        self.code: np.ndarray | None = None

    def add(self, kernel: Kernel, *arguments: Any, tasks: int = 1, work: float = 0.0) -> int:
        """Append a kernel.

        Parameters
        ----------
        kernel : Kernel
            What to run.
        *arguments
            Integers, floats, arrays, (array, offset), names and (name, offset): a name stands for an array
            that `run` gets, an offset counts numbers.
        tasks : int
            Into how many pieces the work can be cut.
        work : float
            Vector operations, for the choice of how many threads it is worth.

        Returns
        -------
        int
            How many parts it runs in.
        """
        parts = max(1, min(self.threads, MOST, tasks, int(work / GRAIN) + 1))
        self.rows.append((kernel.address(self.dtype), len(self._words), parts))
        self.records.append((kernel.name, tasks, parts))
        for argument in arguments:
            if isinstance(argument, View):
                self._words.append(self._word((argument.a, argument.first)))
                self._words += argument[2:]
            else:
                self._words.append(self._word(argument))
        return parts

    def _word(self, argument: Any) -> int:
        a, offset = argument if isinstance(argument, tuple) else (argument, 0)
        if isinstance(a, str):
            self._names.setdefault(a, []).append((len(self._words), offset * np.dtype(self.dtype).itemsize))
            return 0
        if isinstance(a, np.ndarray):
            self._kept.append(a)
            return address_of(a) + offset * a.itemsize
        if isinstance(a, float):
            return int(struct.unpack("<q", struct.pack("<d", a))[0])
        return int(a)

    def finish(self) -> Program:
        """Lay out the code; nothing is added any more."""
        self._data = np.array(self._words or [0], np.int64)
        start = address_of(self._data)
        rows = [(kernel, start + 8 * first, parts) for kernel, first, parts in self.rows]
        self.code = np.array(rows, np.int64).reshape(-1, 3)
        self._bind = {
            name: (np.array([p for p, _ in places]), np.array([o for _, o in places], np.int64))
            for name, places in self._names.items()
        }
        self._most = max((parts for *_, parts in rows), default=1)
        return self

    def run(self, **arrays: Any) -> None:
        """Run the kernels.

        Parameters
        ----------
        **arrays
            For each name an array, or an integer.
        """
        for name, (places, offsets) in self._bind.items():
            a = arrays[name]
            self._data[places] = offsets + (address_of(a) if isinstance(a, np.ndarray) else a)
        assert self.code is not None
        TEAM.run(self.code, self._most)


def address_of(a: np.ndarray, /) -> int:
    """Return where the numbers of `a` are."""
    return int(a.__array_interface__["data"][0])
