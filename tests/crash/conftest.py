"""One zygote for all tests that kill."""

from __future__ import annotations

import os
import sys

import pytest

from tests.crash.zygote import zygote

WHOLE = os.environ.get("XCNN_TEST_WHOLE") == "1"


@pytest.fixture(scope="session")
def processes():
    """Yield what runs and kills processes."""
    if not hasattr(os, "fork") or sys.platform == "darwin":
        pytest.skip("kills forked processes; forking is safe on Linux alone")
    with zygote() as found:
        yield found
