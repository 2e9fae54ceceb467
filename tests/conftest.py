"""Fixtures of all tests: every backend that is usable here, and a plain word about those that are not.

``XCNN_TEST_BACKENDS="numpy,strict,torch"`` names the backends that must be present; a missing one fails.
``XCNN_EMULATE_CUDA=1`` puts an emulated CUDA device in the place of CuPy (tests/cuda/emulator/README.md).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "XCNN_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy comes: parallel workers would wait for each other

# Tests that give the program a home of its own shouldn't make it compile its kernels again.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("XCNN_CACHE_DIR", str(_CACHE / "xcnn" / "kernels"))

EMULATED = os.environ.get("XCNN_EMULATE_CUDA") == "1"
if EMULATED:  # a cupy made of NumPy and g++ comes before any real one
    sys.path.insert(0, str(Path(__file__).parent / "cuda" / "emulator"))

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from xcnn.backend import Backend, available_backends, backend_problems, get_backend  # noqa: E402
from xcnn.types import Namespace  # noqa: E402

BUILT_IN = ("numpy", "strict", "torch", "cupy", "python")
REQUIRED = tuple(name.strip() for name in os.environ.get("XCNN_TEST_BACKENDS", "").split(",") if name.strip())
USABLE = tuple(available_backends())
TESTED = tuple(name for name in dict.fromkeys((*BUILT_IN, *REQUIRED)) if name in (*USABLE, *REQUIRED))

hypothesis.settings.register_profile(
    "xcnn",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=15,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("xcnn")


def pytest_configure() -> None:
    """Refuse to leave the compiled kernels untested where NumPy's backend must be tested."""
    if "numpy" in REQUIRED and importlib.util.find_spec("numba") is None:
        msg = "XCNN_TEST_BACKENDS names numpy, but Numba is not installed: its kernels would not be tested"
        raise pytest.UsageError(msg)


def _left_out() -> list[str]:
    """Return one line for each thing that this run does not test, and why."""
    problems = backend_problems()
    lines = [f"backend {name} is NOT tested: {problems[name]}" for name in BUILT_IN if name not in USABLE]
    if EMULATED:
        lines.insert(0, "backend cupy is EMULATED by NumPy and g++: no GPU runs (tests/cuda/emulator)")
    if importlib.util.find_spec("numba") is None:
        lines.append("compiled kernels are NOT tested: numba is not installed (pip install numba)")
    if importlib.util.find_spec("torch") is None:
        lines.append("comparisons with PyTorch are NOT run: torch is not installed (pip install torch)")
    return lines


def pytest_report_header() -> list[str]:
    """Say which backends are tested."""
    return [f"backends: {', '.join(TESTED)}", *_left_out()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the outside suites' cases, and say again, where nobody overlooks it, what was not tested."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    if counts := sorted({value for key, value in properties if key == "conformance"}):
        terminalreporter.section("conformance", sep="-")
        for line in counts:
            terminalreporter.write_line(line)
    lines = _left_out()
    if lines:
        terminalreporter.section("left out", sep="-")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", params=TESTED)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; one that is required and missing fails here."""
    return get_backend(request.param)


@pytest.fixture(scope="session")
def xp(backend: Backend) -> Namespace:
    """The array API namespace of `backend`."""
    return backend.xp


@pytest.fixture(scope="session", params=("float32", "float64"))
def dtype(request: pytest.FixtureRequest) -> str:
    """Each floating dtype in turn."""
    return request.param


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch, to compare with; the tests that need it are skipped, and the summary says so, without it."""
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
