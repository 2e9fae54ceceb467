"""``python -m tests.draw.browser.screenshots FOLDER``: pictures of the page, at all widths and in both themes.

``--readme FILE.png`` takes the one of the README, too.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.draw.browser.pad import Pad
from tests.draw.browser.served import chromium, serving, trained

WIDTHS = (360, 768, 1280, 1440, 2560)
THEMES = ("light", "dark")
README = 1280
IMAGES = 30_000  # for models that are right as a rule

_BOWL = [(0.47 + 0.19 * np.sin(t), 0.6 - 0.19 * np.cos(t)) for t in np.linspace(-0.75, 3.9, 24)]
FIVE = [[(0.37, 0.2), (0.35, 0.35), (0.34, 0.46), *_BOWL], [(0.37, 0.2), (0.5, 0.2), (0.66, 0.19)]]


def shoot(browser: Browser, address: str, width: int, theme: str, stage: str) -> bytes:
    """Return a picture of the whole page, as PNG.

    Parameters
    ----------
    browser : Browser
        Chromium.
    address : str
        Of the page.
    width : int
        Of its window.
    theme : {"light", "dark"}
        Which colours.
    stage : {"empty", "drawn", "inspected"}
        Nothing is on it; a digit; a digit, a pixel worked out, and two models.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
    )
    pad = Pad(context.new_page(), address).open()
    if stage != "empty":
        for points in FIVE:
            pad.stroke(points)
        pad.settle(0)
    if stage == "inspected":
        pad.page.locator("#model-b").select_option(index=2)
        pad.inspect(0, 3)
    if stage != "empty":
        pad.page.locator("#why").scroll_into_view_if_needed()
        pad.page.locator("#why-occlusion").wait_for()
    pad.page.locator("h1").scroll_into_view_if_needed()
    pad.page.evaluate("document.activeElement.blur()")
    picture = pad.page.screenshot(full_page=True)
    context.close()
    assert pad.faults == [], pad.faults
    return picture


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser("python -m tests.draw.browser.screenshots")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    made = trained(IMAGES)
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as examples,
        serving(made, Path(examples)) as server,
        sync_playwright() as p,
    ):
        browser = p.chromium.launch(executable_path=chromium(), args=arguments)
        for width in WIDTHS:
            for theme in THEMES:
                for stage in ("empty", "drawn", "inspected"):
                    picture = shoot(browser, server.url, width, theme, stage)
                    (options.folder / f"{width}-{theme}-{stage}.png").write_bytes(picture)
        if options.readme:
            with Image.open(io.BytesIO(shoot(browser, server.url, README, "light", "inspected"))) as image:
                image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(
                    options.readme, optimize=True
                )
        browser.close()


if __name__ == "__main__":
    main()
