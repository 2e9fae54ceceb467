"""What is in a device's memory, and what running out of it says."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

import xcnn
from xcnn import memory
from xcnn.layers import Dense, Flatten

emulated = pytest.mark.skipif(os.environ.get("XCNN_EMULATE_CUDA") != "1", reason="needs XCNN_EMULATE_CUDA=1")
GPU = "cupy" in xcnn.available_backends()
gpu = pytest.mark.skipif(not GPU, reason="the backend cupy is not usable")


@pytest.mark.skipif(not memory.MACHINE.exists(), reason="the system has no /proc/meminfo")
def test_a_host_tells_of_the_process_and_the_machine():
    before = xcnn.memory_info("numpy")
    assert 0 < before.used == before.reserved < before.total
    assert 0 < before.free < before.total
    held = np.ones(2**26, np.uint8)
    assert xcnn.memory_info("numpy").used > before.used + held.nbytes // 2
    xcnn.free_memory("numpy")


def test_a_system_that_does_not_tell_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "nowhere")
    with pytest.raises(xcnn.BackendError, match="'numpy': does not tell how much memory is in use"):
        xcnn.memory_info("numpy")


def test_a_device_that_does_not_tell_is_an_error():
    if importlib.util.find_spec("array_api_strict") is None:
        pytest.skip("array-api-strict is not installed")
    with pytest.raises(xcnn.BackendError, match="does not tell how much memory"):
        xcnn.memory_info("strict")


@gpu
def test_arrays_of_a_gpu_are_used_then_reserved_then_free():
    backend = xcnn.get_backend("cupy")
    xcnn.free_memory(backend)
    before = xcnn.memory_info(backend)
    assert 0 <= before.used <= before.reserved <= before.total
    held = backend.asarray(np.ones(2**22, np.float32))
    within = xcnn.memory_info(backend)
    assert within.used >= before.used + held.nbytes
    del held
    after = xcnn.memory_info(backend)
    assert after.used == before.used
    assert after.reserved >= before.reserved + 2**24
    xcnn.free_memory(backend)
    assert xcnn.memory_info(backend).reserved == before.reserved


@gpu
def test_a_data_set_has_room_for_a_quarter_of_what_is_free():
    backend = xcnn.get_backend("cupy")
    used, reserved, free, _ = xcnn.memory_info(backend)
    assert backend.room() == (free + reserved - used) // 4


@gpu
def test_a_full_memory_says_what_is_in_it_and_what_to_try():
    import cupy

    backend, pool = xcnn.get_backend("cupy"), cupy.get_default_memory_pool()
    model = xcnn.Model([Flatten(), Dense(2)], (1, 64, 64), backend=backend)
    limit = pool.get_limit()
    x = np.zeros((64, 1, 64, 64), np.float32)
    try:
        xcnn.free_memory(backend)
        pool.set_limit(size=pool.used_bytes() + x.nbytes // 2)
        with pytest.raises(xcnn.BackendError) as error:
            model.predict(x, batch_size=64)
    finally:
        pool.set_limit(size=limit)
    told = str(error.value)
    assert told.startswith("cupy:0: Out of memory allocating ")
    assert 'needed: a smaller batch_size, precision="bfloat16", xcnn.free_memory(), or a GPU' in told
    assert model.predict(x, batch_size=64).shape == (64, 2)
