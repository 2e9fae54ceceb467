"""Parameters go to a run's kernels, and gradients come back, number for number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.cuda import kinds

cupy = kinds.device()

from xcnn_cupy.packing import ALIGNED, PIECE, Packing  # noqa: E402
from xcnn_cupy.source import kind_of  # noqa: E402

# In the order of a run, which need not be that of the values; nobody owns 30060 to 30100.
ENTRIES = [
    (10, (4, 3, 5, 5), "kernel"),
    (310, (7,), "vector"),
    (30100, (1, 1, 1, 1), "kernel"),
    (317, (33, 100, 3, 3), "kernel"),
    (30017, (43,), "vector"),
    (30101, (9, 11), "kernel"),
]
STRETCHES = [(10, 30060), (30100, 30200)]
CASES = [(kind, kinds.REAL[kind]) for kind in kinds.KINDS]


def _values(dtype, size=30300):
    return np.random.default_rng(0).standard_normal(size).astype(dtype)


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_parameters_are_packed_with_channels_last(kind, dtype):
    packing = Packing(ENTRIES, dtype, kind)
    values = _values(dtype)
    packed = packing.pack(cupy.asarray(values))
    for (start, shape, role), got in zip(ENTRIES, packed.arrays, strict=True):
        want = values[start : start + math.prod(shape)].reshape(shape)
        assert kind_of(got) == (kind if role == "kernel" else dtype)
        np.testing.assert_array_equal(kinds.get(got), kinds.rounded(want, kind_of(got)))
        assert got.data.ptr % ALIGNED == 0
        if len(shape) == 4:
            assert got.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_gradients_come_back_in_the_order_of_the_values(kind, dtype):
    packing = Packing(ENTRIES, dtype, kind)
    gradients, want = packing.gradients(), _values(dtype)
    for (start, shape, role), room in zip(ENTRIES, gradients.arrays, strict=True):
        part = want[start : start + math.prod(shape)]
        stored = dtype if role == "vector" else kind
        assert kind_of(room) == stored
        part[...] = kinds.rounded(part, stored)
        room[...] = kinds.put(part.reshape(shape), stored, channels_last=False)
    for start, stop, flat in packing.unpack(gradients):
        assert kind_of(flat) == dtype
        np.testing.assert_array_equal(flat.get(), want[start:stop])


def test_stretches_are_ranges_of_neighbours():
    assert Packing(ENTRIES, "float32", "float32").stretches == STRETCHES


def test_one_stretch_is_one_array_and_a_piece_never_too_long():
    size = 2 * PIECE + 1
    packing = Packing([(0, (1, size, 1, 1), "kernel"), (size, (3,), "vector")], "float32", "float16")
    values = cupy.asarray(_values("float32", size + 3))
    packed, gradients = packing.pack(values), packing.gradients()
    assert kinds.get(packed.arrays[0]).shape == (1, size, 1, 1)
    gradients.kernels[:size], gradients.arrays[1][...] = values[:size].astype("float16"), values[size:]
    ((start, stop, flat),) = packing.unpack(gradients)
    assert (start, stop) == (0, size + 3)
    want = np.concatenate([kinds.rounded(values[:size].get(), "float16"), values[size:].get()])
    np.testing.assert_array_equal(flat.get(), want)


def test_packing_starts_one_kernel(monkeypatch):
    from xcnn_cupy import packing as module

    started = []
    monkeypatch.setattr(module, "launch", lambda *a, **k: started.append(a[2]))
    packing = Packing(ENTRIES, "float32", "bfloat16")
    packing.pack(cupy.asarray(_values("float32")))
    packing.unpack(packing.gradients())
    assert started == ["pack", "unpack"]


def test_a_run_without_kernels_or_vectors_is_packed_too():
    for role in ("kernel", "vector"):
        packing = Packing([(2, (3, 4), role)], "float32", "bfloat16")
        packed = packing.pack(cupy.asarray(np.arange(20, dtype=np.float32)))
        np.testing.assert_array_equal(kinds.get(packed.arrays[0]).reshape(-1), np.arange(2.0, 14))
