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


# Of the package, not of the session: while Playwright is open, an event loop runs in this thread.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium."""
    for name in ("playwright", "starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            _without(
                f"drives the page in a browser: {name} is not installed (pip install xcnn[draw,browser])"
            )
    from playwright.sync_api import sync_playwright

    from tests.draw.browser.served import chromium

    path = chromium()
    if path is None:
        _without("drives the page in a browser: Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        arguments = ["--no-sandbox"] if root else []
        found = playwright.chromium.launch(executable_path=path, args=arguments)
        yield found
        found.close()


@pytest.fixture(scope="package")
def made(browser: Any) -> Any:
    """Two models after a moment of training, and their data."""
    from tests.draw.browser.served import trained

    return trained()


@pytest.fixture(scope="package")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where corrected answers are saved."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="package")
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
