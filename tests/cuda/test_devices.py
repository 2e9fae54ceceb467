"""Two GPUs: what is asked of the second runs there, whatever the current one is."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D

try:
    SECOND = xcnn.get_backend("cupy:1")
except xcnn.BackendError:
    pytest.skip("there is no second GPU: XCNN_EMULATE_CUDA=1 emulates two", allow_module_level=True)

import cupy

X = np.random.default_rng(0).random((24, 1, 8, 8)).astype(np.float32)
Y = np.arange(24) % 3


def _fit(backend):
    layers = [Conv2D(4, 3, activation="relu"), BatchNorm2D(), MaxPool2D(2), Flatten(), Dropout(0.2), Dense(3)]
    model = xcnn.Model(layers, (1, 8, 8), backend=backend)
    history = model.fit(X, Y, epochs=2, batch_size=8, optimizer="adam", progress=False)
    return model, history["loss"], model.predict(X)


def test_a_device_is_named_and_opened_once():
    assert SECOND.name == "cupy:1"
    assert xcnn.get_backend("cupy:1") is SECOND
    assert xcnn.get_backend("cupy") is not SECOND


def test_inside_active_the_device_is_the_current_one():
    before = cupy.cuda.Device().id
    with SECOND.active():
        assert cupy.cuda.Device().id == 1
        with xcnn.get_backend("cupy:0").active(), SECOND.active():
            assert cupy.cuda.Device().id == 1
        assert cupy.cuda.Device().id == 1
    assert cupy.cuda.Device().id == before


def test_a_model_on_the_second_gpu_lives_and_learns_there():
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        model, losses, z = _fit("cupy:1")
    assert pool.total_bytes() == 0  # of the current GPU, the first
    with SECOND.active():
        assert pool.total_bytes() > 0
    assert cupy.cuda.Device().id == 0
    assert {p.value.device.id for p in model.parameters().values()} == {1}
    assert {SECOND.device(a) for a in model.state.arrays.buffers} <= {"1"}
    _, expected, logits = _fit("cupy:0")
    assert losses == expected
    np.testing.assert_array_equal(z, logits)


def test_every_launch_of_a_model_is_on_its_gpu(monkeypatch):
    from xcnn_cupy import source

    launched, launch = [], source._kernel

    def noted(*which):
        launched.append((which[0], cupy.cuda.Device().id))
        return launch(*which)

    monkeypatch.setattr(source, "_kernel", noted)
    _fit("cupy:1")
    assert launched
    assert {device for _, device in launched} == {1}


def test_an_array_of_another_gpu_is_copied_over():
    a = xcnn.get_backend("cupy:0").asarray([1.0, 2.0], "float32")
    b = SECOND.asarray(a)
    assert b.device.id == 1
    assert SECOND.to_numpy(b).tolist() == [1.0, 2.0]


def test_doctor_lists_every_gpu():
    facts = dict(SECOND.facts())
    assert "compute capability" in facts["cupy:0"]
    assert "GB free" in facts["cupy:1"]
    assert "NVRTC" in facts["cupy versions"]
    assert "CUPY_CACHE_DIR" in facts["cupy kernels"]


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(xcnn.BackendError, match="GPU 77 asked for; "):
        xcnn.get_backend("cupy:77")
    with pytest.raises(xcnn.BackendError, match="needed the number of a GPU, as in 'cupy:1'"):
        xcnn.get_backend("cupy:one")


def test_compiling_is_announced_once_and_not_again(monkeypatch, capsys, tmp_path):
    from xcnn_cupy import devices, source

    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))
    devices._said.cache_clear()
    for file in source.FILES[:2]:
        devices.announce(file, "float32")
    said = f"xcnn: compiling CUDA kernels, once for this GPU; they are kept in {tmp_path / 'kernels'}\n"
    assert capsys.readouterr().err == said
    devices._said.cache_clear()
    devices.announce(source.FILES[0], "float32")
    assert capsys.readouterr().err == ""
