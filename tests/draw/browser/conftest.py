"""A browser, a server with two models, and the page.

Without Playwright or Chromium these tests are skipped; ``XCNN_TEST_BROWSER=1`` makes that a failure.
``XCNN_TEST_WHOLE=1`` takes ten images of each class where a few stand for them otherwise.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WHOLE = os.environ.get("XCNN_TEST_WHOLE") == "1"


def _without(reason: str) -> None:
    if os.environ.get("XCNN_TEST_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; all that these tests need is installed."""
    for name in ("playwright", "starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            _without(
                f"drives the page in a browser: {name} is not installed (pip install xcnn[draw,browser])"
            )
    from tests.draw.browser import served

    path = served.chromium()
    if path is None:
        _without("drives the page in a browser: Chromium is not installed (apt-get install chromium)")
    return path


# Not of the session: while Playwright is open, an event loop runs in this thread, and others can have none.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if root else [])
        yield found
        found.close()


@pytest.fixture(scope="session")
def made(chromium: str) -> Any:
    """Two models after a moment of training, and their data."""
    from tests.draw.browser.served import trained

    return trained()


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where corrected answers are saved."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="session")
def address(made: Any, examples: Path) -> Iterator[str]:
    """The page's."""
    from tests.draw.browser.served import serving

    with serving(made, examples) as found:
        yield found.url


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A visitor who has never been here."""
    found = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    found.set_default_timeout(10_000)
    yield found
    found.close()


@pytest.fixture
def pad(context: Any, address: str) -> Iterator[Any]:
    """The page; whatever a test does, nothing is asked of another machine, and nothing is complained of."""
    from tests.draw.browser.pad import Pad

    found = Pad(context.new_page(), address).open()
    yield found
    others = [r.url for r in found.requests if not r.url.startswith((address, "blob:" + address, "data:"))]
    assert others == []
    assert found.faults == []
