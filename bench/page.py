"""``python -m bench.page``: from the end of a stroke to its answer on the drawing pad, in a real browser."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import xcnn
from bench import environment, load, ours, report, serve
from bench.nets import NETS

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["chromium", "everything", "rows", "strokes", "text"]

MODELS = ("B", "F")
WARM = 10  # strokes before those that are measured
TOGETHER = 5  # strokes before the pad is cleared
LEGEND = """\
Milliseconds from the event that ends a stroke (the browser's own time of it) until its answer is on the page,
and until a frame with it was painted, at the latest. compared: a second model answers, too, and a number of
the first layer is worked out. The mouse moves as fast as the browser takes its events; browser and server
share the processors, and there is no graphics processor."""

# After each answer a frame is awaited, and the task after it.
PAINTED = """() => {
    window.painted = [];
    new PerformanceObserver((list) => {
        for (const { name, startTime } of list.getEntries()) {
            if (name !== "answer") continue;
            requestAnimationFrame(() => setTimeout(() => window.painted.push(performance.now() - startTime)));
        }
    }).observe({ type: "measure" });
}"""


def chromium() -> str:
    """Return where Chromium is, or end this process and say how to get it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        sys.exit("Chromium is not installed: apt-get install chromium, or CHROMIUM=path")
    return found


def strokes(count: int, /) -> list[list[tuple[float, float]]]:
    """Return strokes across the pad, no two alike.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    list of list of (float, float)
        Points of each, in fractions of the pad's sides.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        start, end, bend = rng.uniform(0.15, 0.85, (3, 2))
        t = np.linspace(0.0, 1.0, 16)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        found.append([(float(x), float(y)) for x, y in curve])
    return found


def everything(given: Mapping[str, Any], /) -> dict[str, Any]:
    """Return all figures.

    Parameters
    ----------
    given : mapping
        ``strokes``.

    Returns
    -------
    dict
        ``machine``, ``threads``, ``browser``, ``runs``: ``work``, ``shown`` and ``painted``, milliseconds of
        each stroke.
    """
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        paths = [Path(folder) / f"{name}.xcnn" for name in MODELS]
        for name, path in zip(MODELS, paths, strict=True):
            net = NETS[name]
            xcnn.Model(ours.layers(net.parts), input_shape=net.image, seed=0, backend="numpy").save(path)
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        arguments = ["--no-sandbox"] if root else []
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        with load.serving(serve.launch(*paths)) as server:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(server.address)
            page.wait_for_function("() => document.body.dataset.state === 'idle'")
            page.evaluate(PAINTED)
            runs = [{"work": "drawing"} | _measure(page, given["strokes"])]
            page.locator("#model-b").select_option(index=2)
            page.locator('.layer[data-id="0"] .map[data-channel="0"]').click()
            runs.append({"work": "compared"} | _measure(page, given["strokes"]))
        version = browser.version
        browser.close()
    machine = {"machine": report.machine(), "threads": environment.processors()}
    return machine | {"browser": f"Chromium {version}", "runs": runs}


def _measure(page: Page, count: int) -> dict[str, list[float]]:
    """Draw strokes, each when the last is answered."""
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    for k, points in enumerate(strokes(WARM + count)):
        if k == WARM:
            page.wait_for_function("() => document.body.dataset.state === 'idle'")
            page.evaluate("() => { performance.clearMeasures(); window.painted.length = 0; }")
        if k % TOGETHER == 0 and k:
            page.keyboard.press("Delete")
        path = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        page.mouse.move(*path[0])
        page.mouse.down()
        for point in path[1:]:
            page.mouse.move(*point)
        page.mouse.up()
        answers = k - WARM + 1 if k >= WARM else k + 1
        page.wait_for_function("count => window.painted.length >= count", arg=answers)
    shown = page.evaluate("() => performance.getEntriesByName('answer').map((entry) => entry.duration)")
    return {"shown": shown, "painted": page.evaluate("() => window.painted")}


def rows(runs: Sequence[Mapping[str, Any]], /) -> list[tuple[str, ...]]:
    """Return the table's lines.

    Parameters
    ----------
    runs : sequence of mapping
        Of `everything`.

    Returns
    -------
    list of tuple of str
        The heading first.
    """
    found = [("work", "strokes", *2 * ("p50", "p90", "p99", "max"))]
    for run in runs:
        cells = [run["work"], str(len(run["shown"]))]
        for name in ("shown", "painted"):
            at = np.percentile(run[name], [50, 90, 99, 100], method="inverted_cdf")
            cells += [f"{value:.1f}" for value in at]
        found.append(tuple(cells))
    return found


def text(found: Mapping[str, Any], /) -> str:
    """Return the machine and the table.

    Parameters
    ----------
    found : mapping
        From `everything`.

    Returns
    -------
    str
        To be printed.
    """
    table = report.align(rows(found["runs"]), {2: "shown, ms", 6: "painted, ms"})
    return f"{report.heading(found)}, {found['browser']}\n{LEGEND}\n\n{table}"


def main() -> None:
    """Measure, print the table, write the figures."""
    what = "From the end of a stroke to its answer, in a real browser."
    parser = argparse.ArgumentParser("python -m bench.page", description=what)
    parser.add_argument("--strokes", type=int, default=100, help="to measure (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    if options.strokes < 1:
        parser.error(f"--strokes is {options.strokes}; needed at least 1")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}")
    if importlib.util.find_spec("playwright") is None:
        sys.exit("Playwright is not installed: pip install playwright")
    os.environ.pop(environment.PIN, None)
    found = everything({"strokes": options.strokes})
    print(text(found), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
