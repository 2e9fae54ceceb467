"""``python -m tests.draw.browser.screenshots FOLDER``: pictures of the page, of all widths and both themes.

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
README = 1440
IMAGES = 30_000  # for models that are right as a rule


def _curve(*points: tuple[float, float]) -> list[tuple[float, float]]:
    """Return many points of the smooth curve through a few (Catmull-Rom)."""
    a = np.asarray([points[0], *points, points[-1]])
    t = np.linspace(0.0, 1.0, 12, endpoint=False)[:, None]
    parts = [
        p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
        for p0, p1, p2, p3 in zip(a, a[1:], a[2:], a[3:], strict=False)
    ]
    return [(float(x), float(y)) for x, y in [*np.concatenate(parts), points[-1]]]


FIVE = [
    _curve(
        (0.4, 0.22),
        (0.375, 0.33),
        (0.36, 0.45),
        (0.47, 0.41),
        (0.6, 0.46),
        (0.65, 0.59),
        (0.6, 0.72),
        (0.48, 0.79),
        (0.34, 0.76),
    ),
    _curve((0.4, 0.22), (0.52, 0.21), (0.66, 0.18)),
]


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
    stage : {"empty", "drawn", "inspected", "readme"}
        Nothing is on it; a digit; a digit, two models, and a pixel worked out; the same without what follows.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
    )
    pad = Pad(context.new_page(), address).open()
    if stage != "empty":
        for points in FIVE:
            pad.stroke(points, steps=1)
        pad.settle(0)
    if stage in ("inspected", "readme"):
        pad.page.locator("#model-b").select_option(index=2)
        pad.inspect(0, 3)
    if stage != "empty":
        pad.page.locator("#why").scroll_into_view_if_needed()
        pad.page.locator("#why-occlusion").wait_for()
    pad.page.wait_for_load_state("networkidle")
    pad.page.locator("h1").scroll_into_view_if_needed()
    pad.page.evaluate("document.activeElement.blur()")
    options = {"full_page": True}
    if stage == "readme":
        options["clip"] = {
            "x": 0,
            "y": 0,
            "width": width,
            "height": pad.page.locator("#why").bounding_box()["y"],
        }
    picture = pad.page.screenshot(**options)
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
            with Image.open(io.BytesIO(shoot(browser, server.url, README, "light", "readme"))) as image:
                image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(
                    options.readme, optimize=True
                )
        browser.close()


if __name__ == "__main__":
    main()
