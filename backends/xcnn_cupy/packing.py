"""All parameters of a run in one launch: flat values to kernels with channels last, packed gradients back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import cupy
import numpy as np

from xcnn_cupy.layout import empty
from xcnn_cupy.source import BLOCK, launch

__all__ = ["Entry", "Packed", "Packing"]

ALIGNED = 256  # bytes at whose multiples packed arrays begin
PIECE = 4096  # numbers that a block moves


class Entry(NamedTuple):
    """One parameter.

    Attributes
    ----------
    start : int
        Where it begins in the state's values.
    shape : tuple of int
        (F, C, KH, KW) or (F, C) of a kernel.
    role : {"kernel", "vector"}
        A kernel is kept in the kind that is computed with, a vector in the state's dtype.
    """

    start: int
    shape: tuple[int, ...]
    role: str


class Packed(NamedTuple):
    """Parameters of a run, or their gradients.

    Attributes
    ----------
    kernels, vectors : array
        The two buffers.
    arrays : list of array
        One view for each entry: kernels (F, C, KH, KW) with strides of F, KH, KW, C; vectors of one axis.
    """

    kernels: Any
    vectors: Any
    arrays: list[Any]


class Packing:
    """Where each parameter lies in the values and in the packed buffers.

    Parameters
    ----------
    entries : sequence of Entry
        Parameters in the order in which their arrays are wanted.
    dtype : {"float32", "float64"}
        Of the state's values.
    kind : str
        Of packed kernels: `dtype`, or ``"float16"`` or ``"bfloat16"`` where that is float32.

    Attributes
    ----------
    stretches : list of (start, stop)
        Ranges of the values that the parameters cover, in order.
    """

    def __init__(
        self, entries: Sequence[Entry | tuple[int, tuple[int, ...], str]], dtype: str, kind: str
    ) -> None:
        self.entries = [Entry(*entry) for entry in entries]
        self.dtype, self.kind = dtype, kind
        self.stretches, within = _stretches(self.entries)
        step = {
            "kernel": ALIGNED // empty((0,), kind).itemsize,
            "vector": ALIGNED // np.dtype(dtype).itemsize,
        }
        self.sizes, self.starts = {"kernel": 0, "vector": 0}, list[int]()
        for _, shape, role in self.entries:
            self.starts.append(self.sizes[role])
            self.sizes[role] += -(-math.prod(shape) // step[role]) * step[role]
        self._rows = [
            (entry.start, within[entry.start], start, *piece)
            for entry, start in zip(self.entries, self.starts, strict=True)
            for piece in _pieces(entry)
        ]

    @cached_property
    def _table(self) -> Any:
        """The pieces, on the device from the first use on: a captured graph reads them there."""
        return cupy.asarray(np.asarray(self._rows, np.int64))

    def _room(self) -> Packed:
        kernels = empty((max(self.sizes["kernel"], 1),), self.kind)
        vectors = empty((max(self.sizes["vector"], 1),), self.dtype)
        arrays = []
        for entry, start in zip(self.entries, self.starts, strict=True):
            size = math.prod(entry.shape)
            if entry.role == "vector":
                arrays.append(vectors[start : start + size])
            elif len(entry.shape) == 2:
                arrays.append(kernels[start : start + size].reshape(entry.shape))
            else:
                f, c, h, w = entry.shape
                arrays.append(kernels[start : start + size].reshape(f, h, w, c).transpose(0, 3, 1, 2))
        return Packed(kernels, vectors, arrays)

    def pack(self, values: Any, /) -> Packed:
        """Return the parameters as kernels of runs take them.

        Parameters
        ----------
        values : array
            All of the state's, flat.

        Returns
        -------
        Packed
            Fresh buffers.
        """
        room, pieces = self._room(), len(self._rows)
        to = room.kernels, room.vectors
        launch("pack", self.kind, "pack", pieces * BLOCK, values, *to, self._table, pieces)
        return room

    def gradients(self) -> Packed:
        """Return arrays to write gradients into, for `unpack`.

        Returns
        -------
        Packed
            Buffers whose numbers are not set.
        """
        return self._room()

    def unpack(self, gradients: Packed, /) -> list[tuple[int, int, Any]]:
        """Return gradients as the state takes them.

        Parameters
        ----------
        gradients : Packed
            From `gradients`, written.

        Returns
        -------
        list of (start, stop, flat)
            For each of `stretches`, in the state's dtype.
        """
        flat = empty((sum(stop - start for start, stop in self.stretches),), self.dtype)
        given, pieces = (gradients.kernels, gradients.vectors), len(self._rows)
        launch("pack", self.kind, "unpack", pieces * BLOCK, *given, flat, self._table, pieces)
        if len(self.stretches) == 1:
            return [(*self.stretches[0], flat)]
        found, at = [], 0
        for start, stop in self.stretches:
            found.append((start, stop, flat[at : at + stop - start]))
            at += stop - start
        return found


def _stretches(entries: list[Entry]) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """Return the ranges of neighbours, and from where a parameter starts to where its gradient does."""
    stretches, within, at = list[tuple[int, int]](), dict[int, int](), 0
    for start, shape, _ in sorted(entries):
        stop, within[start] = start + math.prod(shape), at
        at += stop - start
        if stretches and stretches[-1][1] == start:
            stretches[-1] = stretches[-1][0], stop
        else:
            stretches.append((start, stop))
    return stretches, within


def _pieces(entry: Entry) -> list[tuple[int, ...]]:
    """Return what follows the three starts in each row of the table in kernels/pack.cu."""
    size, vector = math.prod(entry.shape), entry.role == "vector"
    if vector or len(entry.shape) == 2:
        channels = taps = 1
    else:
        channels, taps = entry.shape[1], math.prod(entry.shape[2:])
    return [(at, min(PIECE, size - at), channels, taps, int(vector)) for at in range(0, size, PIECE)]
