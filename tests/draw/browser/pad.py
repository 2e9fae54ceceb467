"""The page as a visitor has it: what one does with it, and what it then shows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request, Response

__all__ = ["STROKES", "Pad", "png", "runs"]

# Digits as a hand draws them, in fractions of the pad's sides.
STROKES = {
    "1": [[(0.5, 0.15), (0.5, 0.85)]],
    "0": [[(0.5 + 0.2 * np.sin(t), 0.5 - 0.32 * np.cos(t)) for t in np.linspace(0, 2 * np.pi, 25)]],
    "7": [[(0.28, 0.2), (0.72, 0.2), (0.45, 0.85)]],
    "4": [[(0.35, 0.15), (0.3, 0.5), (0.72, 0.5)], [(0.66, 0.15), (0.66, 0.88)]],
}

SETTLED = """answered => document.body.dataset.state === "idle"
    && (answered === null || Number(document.body.dataset.answered) > answered)"""

# A stroke for each line of points, without waiting for anything between them.
TRACE = """([lines, kind]) => {
    const canvas = document.getElementById("pad");
    const box = canvas.getBoundingClientRect();
    const [left, top] = [box.left + canvas.clientLeft, box.top + canvas.clientTop];
    canvas.setPointerCapture = () => {};  // there is no such pointer
    const tell = (type, [x, y, pressure], buttons) => canvas.dispatchEvent(new PointerEvent(type, {
        pointerId: 7, pointerType: kind, isPrimary: true, bubbles: true, cancelable: true, buttons, pressure,
        button: type === "pointermove" ? -1 : 0,
        clientX: left + x * canvas.clientWidth, clientY: top + y * canvas.clientHeight,
    }));
    for (const line of lines) {
        tell("pointerdown", line[0], 1);
        for (const point of line.slice(1)) tell("pointermove", point, 1);
        tell("pointerup", [...line.at(-1).slice(0, 2), 0], 0);
    }
    delete canvas.setPointerCapture;
}"""

# The bytes of a canvas, from a copy: one that is read is no longer drawn by the graphics processor.
BYTES = """canvas => {
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, width, height);
    %s
}"""
PIXELS = BYTES % "return [height, width, [...data]];"
INK = BYTES % "return data.reduce((count, value, k) => count + (k % 4 === 3 && value > 0), 0);"

DROP = """([bytes, name, type]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
    const target = document.getElementById("pad");
    for (const kind of ["dragenter", "dragover", "drop"]) {
        const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
        target.dispatchEvent(event);
    }
}"""

PASTE = """([bytes, name, type]) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([new Uint8Array(bytes)], name, { type }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


def png(picture: np.ndarray, /) -> bytes:
    """Return bytes (C, H, W) or (H, W) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture if picture.ndim == 2 else picture[0]).save(file, "PNG")
    return file.getvalue()


def runs(picture: np.ndarray, /, dark: int = 128) -> Iterator[list[tuple[float, float, float]]]:
    """Yield, row by row, a line through each run of pixels that are at least as light as `dark`.

    Each goes from the centre of the run's first pixel to that of its last, in fractions of the sides.
    """
    rows, columns = picture.shape
    for i, row in enumerate(picture >= dark):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        for first, stop in edges.reshape(-1, 2):
            yield [((j + 0.5) / columns, (i + 0.5) / rows, 0.5) for j in sorted({first, stop - 1})]


class Pad:
    """The page in a browser.

    Parameters
    ----------
    page : Page
        Nothing has been opened in it.
    address : str
        Of the server.
    """

    def __init__(self, page: Page, address: str, /) -> None:
        self.page, self.address = page, address
        self.requests: list[Request] = []
        self.faults: list[str] = []
        self._replies: list[Response] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("response", lambda response: self._replies.append(response))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def open(self) -> Pad:
        """Open the page, and wait until it knows its model."""
        self.page.goto(self.address)
        self.settle()
        return self

    @property
    def answered(self) -> int:
        """How many answers were shown."""
        return int(self.page.evaluate("document.body.dataset.answered"))

    def settle(self, answered: int | None = None) -> None:
        """Wait until nothing is asked any more, and more answers than `answered` were shown."""
        self.page.wait_for_function(SETTLED, arg=answered)

    def until(self, said: str, given: Any = None) -> None:
        """Wait until an expression of `$`, which finds an element, and of `given` is true."""
        found = f"given => {{ const $ = (selector) => document.querySelector(selector); return {said}; }}"
        self.page.wait_for_function(found, arg=given)

    @contextmanager
    def answer_follows(self) -> Iterator[None]:
        """Wait for the answer to what is done in this block."""
        before = self.answered
        yield
        self.settle(before)

    @property
    def answer(self) -> str:
        """The winner."""
        return self.page.locator("#answer").inner_text().strip()

    def reply(self, path: str, chosen: Callable[[str], bool] = bool) -> Any:
        """Return what the server said last to a POST of `path`."""
        for reply in reversed(self._replies):
            url = reply.url.removeprefix(self.address.rstrip("/"))
            if reply.request.method == "POST" and url.partition("?")[0] == path and chosen(url):
                return reply.json()
        msg = f"nothing was sent to {path}"
        raise AssertionError(msg)

    def saw(self) -> np.ndarray:
        """Return the picture (C, H, W) that the network saw, as the server tells it."""
        return np.asarray(self.reply("/predict")["inputs"][0], np.float32)

    def pixels(self, canvas: str) -> np.ndarray:
        """Return the bytes (rows, columns, RGBA) of a canvas."""
        height, width, data = self.page.locator(canvas).evaluate(PIXELS)
        return np.asarray(data, np.uint8).reshape(height, width, 4)

    def shown(self, canvas: str = "#seen") -> np.ndarray:
        """Return the grey pixels (rows, columns) of the picture that the page says the network sees."""
        return self.pixels(canvas)[..., 0]

    def ink(self) -> int:
        """Return how many pixels of the pad are drawn on."""
        return int(self.page.locator("#pad").evaluate(INK))

    def bars(self, suffix: str = "") -> dict[str, float]:
        """Return the class and the width of each bar, as a share of its track."""
        script = """bars => bars.map(bar => [bar.dataset.class,
            Number(getComputedStyle(bar.querySelector(".bar")).getPropertyValue("--share"))])"""
        return dict(self.page.locator(f"#bars{suffix} li").evaluate_all(script))

    def stroke(self, points: Sequence[tuple[float, float]], *, lift: bool = True, steps: int = 2) -> None:
        """Draw with the mouse, through points in fractions of the pad's sides."""
        self.page.locator("#pad").scroll_into_view_if_needed()
        box = self.page.locator("#pad").bounding_box()
        assert box is not None
        path = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*path[0])
        self.page.mouse.down()
        for point in path[1:]:
            self.page.mouse.move(*point, steps=steps)
        if lift:
            self.page.mouse.up()

    def draw(self, digit: str) -> None:
        """Draw a digit with the mouse, and wait for its answer."""
        with self.answer_follows():
            for points in STROKES[digit]:
                self.stroke(points)

    def trace(
        self, lines: Sequence[Sequence[tuple[float, float, float]]], kind: str = "mouse", *, wait: bool = True
    ) -> None:
        """Draw lines of (x, y, pressure) by pointer events of the page's own, and wait for the answer."""
        before = self.answered
        self.page.evaluate(TRACE, [[list(map(list, line)) for line in lines], kind])
        if wait:
            self.settle(before)

    def give(self, script: str, content: bytes, name: str = "digit.png", kind: str = "image/png") -> None:
        """Drop or paste a file."""
        self.page.evaluate(script, [list(content), name, kind])

    def drop(self, picture: np.ndarray) -> None:
        """Drop a picture as a PNG file, and wait for its answer."""
        with self.answer_follows():
            self.give(DROP, png(picture))

    def inspect(self, layer: int = 0, channel: int = 0) -> None:
        """Click a map, and wait until one of its numbers is worked out."""
        self.page.locator(f'.layer[data-id="{layer}"] .map[data-channel="{channel}"]').click()
        self.page.locator("#inspect .total").wait_for()

    def clear(self) -> None:
        """Empty the pad."""
        self.page.locator("#clear").click()
        self.settle()
