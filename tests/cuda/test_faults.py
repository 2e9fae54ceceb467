"""Every known fault of an installation, faked: `xcnn doctor` names it, with the line that mends it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import pytest
from typer.testing import CliRunner

import xcnn
from xcnn.cli.app import app
from xcnn_cupy import cautions, faults, machine

FRONTEND = "nvidia-cudnn-frontend"


class Machine:
    """One GPU, a driver for CUDA 13.0, and what is installed; tests take from it."""

    def __init__(self) -> None:
        self.driver: int | None = 13000
        self.packages = {"cupy-cuda13x": "14.2.0", FRONTEND: "1.23.0", "nvidia-cudnn-cu13": "9.19.0.56"}
        self.cuda, self.capability, self.cudnn = 13020, "90", 91900
        self.counted: int | Exception = 1
        self.probed: Exception | None = None
        self.imported: Exception | None = None

    def count(self) -> int:
        if isinstance(self.counted, Exception):
            raise self.counted
        return self.counted

    def fail(self, *args: object) -> None:
        raise self.probed or RuntimeError("nothing runs here")

    def backend_version(self) -> int:
        if not self.cudnn:
            raise RuntimeError("Unable to dlopen libcudnn")
        return self.cudnn


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


@pytest.fixture
def gpu(monkeypatch):
    """Return a machine whose CUDA, CuPy and packages are fakes."""
    made = Machine()
    load, version = ctypes.CDLL, importlib.metadata.version

    def fake_load(name, *args, **options):
        if name not in ("libcuda.so.1", "nvcuda.dll"):
            return load(name, *args, **options)
        if made.driver is None:
            raise OSError(f"{name}: cannot open shared object file")

        def ask(pointer):
            pointer._obj.value = made.driver
            return 0

        return SimpleNamespace(cuDriverGetVersion=ask)

    def fake_version(name):
        if name not in machine.PACKAGES and not name.startswith("nvidia-cudnn"):
            return version(name)
        if name not in made.packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return made.packages[name]

    runtime = SimpleNamespace(getDeviceCount=made.count, runtimeGetVersion=lambda: made.cuda)

    class Device(nullcontext):
        def __init__(self, k):
            super().__init__()
            self.id, self.compute_capability = k, made.capability

    def fake_import(name):
        if made.imported:
            raise made.imported
        return SimpleNamespace(runtime=runtime, Device=Device)

    cupy, compat, cudnn = ModuleType("cupy"), ModuleType("array_api_compat.cupy"), ModuleType("cudnn")
    cupy.__getattr__ = fake_import
    compat.ndarray, compat.asarray = Machine, made.fail
    cudnn.backend_version = made.backend_version
    monkeypatch.setattr(ctypes, "CDLL", fake_load)
    monkeypatch.setattr(importlib.metadata, "version", fake_version)
    for name, module in {"cupy": cupy, "array_api_compat.cupy": compat, "cudnn": cudnn}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("array_api_compat.cupy", compat, raising=False)
    kept = {name: opened for name, opened in xcnn.backend._opened.items() if not name.startswith("cupy")}
    monkeypatch.setattr("xcnn.backend._opened", kept)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "CUPY_ACCELERATORS", *cautions.VARIABLES):
        monkeypatch.delenv(name, raising=False)
    return made


def _missing(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    gpu.packages.clear()


def _missing_for_twelve(gpu, monkeypatch):
    _missing(gpu, monkeypatch)
    gpu.driver = 12080


def _missing_and_no_gpu(gpu, monkeypatch):
    _missing(gpu, monkeypatch)
    gpu.driver = None


def _twice(gpu, monkeypatch):
    gpu.packages["cupy-cuda12x"] = "14.2.0"
    gpu.imported = ImportError("cannot import name '_core'")


def _old_cupy(gpu, monkeypatch):
    gpu.packages["cupy-cuda13x"], gpu.imported = "13.6.0", AttributeError("no attribute 'RawModule'")


def _no_driver(gpu, monkeypatch):
    gpu.driver, gpu.counted = (
        None,
        CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is ..."),
    )


def _hidden(gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpu.counted = CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")


def _old_driver(gpu, monkeypatch):
    gpu.driver, gpu.counted = (
        12040,
        CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is ..."),
    )


def _ancient_driver(gpu, monkeypatch):
    _old_driver(gpu, monkeypatch)
    gpu.driver = 11040


def _no_gpu(gpu, monkeypatch):
    gpu.counted = 0


def _mixed_driver(gpu, monkeypatch):
    gpu.counted = CUDARuntimeError(
        "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda"
    )


def _no_switches(gpu, monkeypatch):
    gpu.counted = CUDARuntimeError("cudaErrorSystemNotReady: system not yet initialized")


def _exclusive(gpu, monkeypatch):
    gpu.probed = CUDARuntimeError(
        "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"
    )


def _old_gpu(gpu, monkeypatch):
    gpu.capability, gpu.probed = (
        "70",
        RuntimeError("nvrtc: error: invalid value for --gpu-architecture (-arch)"),
    )


def _no_nvrtc(gpu, monkeypatch):
    gpu.probed = RuntimeError('Failure finding "libnvrtc.so": No such file: libnvrtc.so*')


def _no_cublas(gpu, monkeypatch):
    gpu.probed = ImportError("libcublas.so.13: cannot open shared object file: No such file or directory")


def _no_headers(gpu, monkeypatch):
    gpu.probed = RuntimeError('catastrophic error: cannot open source file "cuda_fp16.h"')


def _minor(gpu, monkeypatch):
    gpu.probed = RuntimeError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with ...")


def _full(gpu, monkeypatch):
    gpu.probed = CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")


def _path(gpu, monkeypatch):
    monkeypatch.setenv("CUDA_PATH", "/nowhere/cuda")
    gpu.probed = RuntimeError("something odd")


def _broken(gpu, monkeypatch):
    gpu.imported = ImportError(
        "Failed to import CuPy.\n\nOriginal error:\n  ImportError: numpy is too old\n====="
    )


FATAL = [
    (_missing, 'CuPy is not installed; the driver knows CUDA 13.0; needed: pip install "xcnn[cuda13]"'),
    (_missing_for_twelve, 'the driver knows CUDA 12.8; needed: pip install "xcnn[cuda12]"'),
    (
        _missing_and_no_gpu,
        'CuPy is not installed; needed: pip install "xcnn[cuda13]" (or "xcnn[cuda12]" for a CUDA 12 driver)',
    ),
    (_twice, "cupy-cuda12x and cupy-cuda13x are installed together and overwrite each other"),
    (_twice, 'needed: pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install "xcnn[cuda13]"'),
    (_old_cupy, "cupy-cuda13x 13.6.0 is too old"),
    (_old_cupy, 'needed: pip install -U "cupy-cuda13x[ctk]>=14"'),
    (_no_driver, "no NVIDIA driver: libcuda.so.1 cannot be loaded; needed: a driver"),
    (_no_driver, "needed: a driver (https://www.nvidia.com/drivers); in a container: docker run --gpus all"),
    (_hidden, "CUDA_VISIBLE_DEVICES='' hides every GPU"),
    (_hidden, "needed: unset CUDA_VISIBLE_DEVICES"),
    (_old_driver, "the driver knows CUDA 12.4; this CuPy needs CUDA 13"),
    (
        _old_driver,
        'needed: pip uninstall -y cupy-cuda13x && pip install "xcnn[cuda12]" (or a driver of 580 or',
    ),
    (_ancient_driver, "needed: a driver of 525 or newer"),
    (
        _no_gpu,
        "the driver shows no GPU (RuntimeError: no CUDA-capable device is detected); needed: one that `nvi",
    ),
    (_mixed_driver, "are of two versions (CUDARuntimeError: cudaErrorSystemDriverMismatch"),
    (_mixed_driver, "needed: a reboot"),
    (_no_switches, "needed: sudo systemctl start nvidia-fabricmanager"),
    (_exclusive, "needed: end that process (nvidia-smi lists it)"),
    (_old_gpu, "GPU 0 has compute capability 7.0; CUDA 13 needs 7.5"),
    (_old_gpu, 'needed: pip uninstall -y cupy-cuda13x && pip install "xcnn[cuda12]"'),
    (_no_nvrtc, "nvrtc, a library of CUDA's toolkit, is not found"),
    (_no_nvrtc, 'needed: pip install "cupy-cuda13x[ctk]"'),
    (_no_cublas, "cublas, a library of CUDA's toolkit, is not found"),
    (_no_headers, "the headers of CUDA's toolkit are not found"),
    (_minor, 'needed: pip install "cupy-cuda13x[ctk]" "cuda-toolkit==13.0.*", or a newer driver'),
    (_full, "the GPU's memory is taken"),
    (_path, "CUDA_PATH=/nowhere/cuda is no CUDA toolkit"),
    (
        _broken,
        "CuPy cannot be imported (ImportError: ImportError: numpy is too old); needed: pip uninstall -y cupy",
    ),
]


def doctor():
    """Return what `xcnn doctor` prints, without the places where lines break."""
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    return "".join(done.output.split())


@pytest.mark.parametrize(("breaking", "expected"), FATAL, ids=lambda value: getattr(value, "__name__", ""))
def test_doctor_names_what_mends(breaking, expected, gpu, monkeypatch):
    breaking(gpu, monkeypatch)
    told = doctor()
    assert "notusable:backend'cupy':" in told
    assert "".join(expected.split()) in told


def test_every_fatal_fault_is_tested_here():
    tested = {breaking.__name__.strip("_") for breaking, _ in FATAL}
    names = {check.__name__ for check in faults.FATAL}
    others = {"state", "no_library", "new_compiler", "no_memory", "bad_path"}  # tested by what they look like
    assert names - others <= tested


def test_a_failure_that_is_not_known_is_told_as_it_came(gpu):
    gpu.probed = RuntimeError("the moon is full")
    with pytest.raises(xcnn.BackendError, match=r"cannot be used here: RuntimeError: the moon is full$"):
        xcnn.get_backend("cupy")


def test_a_machine_in_order_is_not_warned(gpu):
    assert cautions.cautions() == []


def _unset(name, value):
    return lambda gpu, monkeypatch: monkeypatch.setenv(name, value)


def _no_frontend(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", None)


def _set(**changes):
    return lambda gpu, monkeypatch: [setattr(gpu, name, value) for name, value in changes.items()]


def _installed(**packages):
    return lambda gpu, monkeypatch: gpu.packages.update({k.replace("_", "-"): v for k, v in packages.items()})


LAMING = [
    (
        _no_frontend,
        'convolutions take the generic path, several times slower; needed: pip install "xcnn[cuda13]"',
    ),
    (
        _installed(nvidia_cudnn_frontend="1.9.0"),
        "nvidia-cudnn-frontend 1.9.0 is too old; needed: pip install -U",
    ),
    (
        _set(cudnn=0),
        "cuDNN's library cannot be loaded: convolutions take the generic path; needed: pip install -U nv",
    ),
    (_set(cudnn=8907), "cuDNN 8907 is too old; needed: pip install -U nvidia-cudnn-cu13"),
    (
        _installed(nvidia_cudnn_cu12="9.10.2.21"),
        "needed: pip uninstall -y nvidia-cudnn-cu12 && pip install --force",
    ),
    (_installed(cupy_cuda12x="14.2.0"), "cupy-cuda12x and cupy-cuda13x are installed together"),
    (
        _unset("CUPY_TF32", "1"),
        "CUPY_TF32=1 makes CuPy's own matrix products round to TF32; needed: unset CUPY_TF32",
    ),
    (_unset("NVIDIA_TF32_OVERRIDE", "0"), "NVIDIA_TF32_OVERRIDE=0 overrides which products use TF32"),
    (_unset("CUDA_LAUNCH_BLOCKING", "1"), "CUDA_LAUNCH_BLOCKING=1 waits for each kernel"),
    (_unset("CUPY_ACCELERATORS", ""), "CUPY_ACCELERATORS= makes CuPy's sums slow"),
    (
        _unset("CUDA_PATH", "/nowhere/cuda"),
        "CUDA_PATH=/nowhere/cuda is no CUDA toolkit; needed: unset CUDA_PATH",
    ),
]


@pytest.mark.parametrize(("laming", "expected"), LAMING, ids=[expected for _, expected in LAMING])
def test_what_lames_is_told_with_what_mends(laming, expected, gpu, monkeypatch):
    laming(gpu, monkeypatch)
    (told,) = cautions.cautions()
    assert expected in told


def test_doctor_warns_of_what_lames_a_backend(gpu, monkeypatch):
    monkeypatch.setattr("xcnn_numpy.Backend.cautions", classmethod(lambda cls: ["it limps; needed: a rest"]))
    assert "warning:itlimps;needed:arest" in doctor()


def test_doctor_names_the_gpu_that_is_used(gpu, monkeypatch):
    monkeypatch.setattr("xcnn_cupy.Backend.probe", lambda self: None)
    monkeypatch.setattr("xcnn_cupy.Backend.facts", classmethod(lambda cls: []))
    assert "cupyusable:cupy:0" in doctor()
