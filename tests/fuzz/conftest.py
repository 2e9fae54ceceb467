"""Limits of memory and time around each test that gives xcnn nonsense."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests.nets import SHAPE, full

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # /proc, RLIMIT_AS and SIGALRM are not everywhere

MINUTES = 60 if os.environ.get("XCNN_TEST_WHOLE") == "1" else 1


@pytest.fixture(scope="session")
def compiled() -> None:
    """Compile the kernels, where they aren't yet: this takes its own time."""
    full().predict(np.zeros((1, *SHAPE), np.float32))


@pytest.fixture(autouse=True)
def limits(compiled: None) -> Iterator[None]:
    """Fail a test that hangs, or wants more than 4 GiB."""
    from tests.fuzz.harness import limited

    def late(*_: object) -> None:
        pytest.fail(f"it takes more than {MINUTES} minutes")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60 * MINUTES)
    try:
        with limited():
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
