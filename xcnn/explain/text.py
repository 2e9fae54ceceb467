"""Numbers as text: grids that stand side by side, and pictures made of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["WIDTH", "beside", "grid", "number", "picture", "share", "shown", "titled"]

WIDTH = 96  # columns
_SHADES = " ░▒▓█"

Block = list[str]


def number(value: float, /) -> str:
    """Return `value` with four significant digits."""
    if value == 0:
        return "0"
    return f"{value:.2e}" if abs(value) < 1e-4 else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def share(part: int, whole: int, /) -> str:
    """Return "`part` of `whole` (per cent)"."""
    percent = 100 * part / max(whole, 1)
    return f"{part:,} of {whole:,} ({'under 1' if 0 < percent < 1 else f'{percent:.0f}'} %)"


def _power(values: np.ndarray) -> int:
    """Return the power of ten that is taken out of `values`, so that their digits are legible."""
    largest = float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))
    if largest == 0 or 1e-2 <= largest < 1e4:
        return 0
    return math.floor(math.log10(largest))


def shown(values: np.ndarray, /, digits: int = 3, like: np.ndarray | None = None) -> tuple[list[str], int]:
    """Return `values` as text of one width, `digits` of the largest of `like`, and the power taken out."""
    like = values if like is None else like
    power = _power(like)
    scaled, measure = np.asarray(values, np.float64) / 10.0**power, np.asarray(like, np.float64) / 10.0**power
    largest = float(np.max(np.abs(measure), initial=0.0, where=np.isfinite(measure)))
    places = max(0, min(digits + 1, digits - 1 - math.floor(math.log10(largest or 1.0) - 1e-9)))
    if np.all(measure == np.rint(measure)) and np.all(scaled == np.rint(scaled)):
        places = 0
    cells = [f"{0.0 if abs(v) < 0.5 * 10.0**-places else v:.{places}f}" for v in scaled.ravel()]
    if digits < 3 and places:  # room for five columns
        cells = [cell.replace("0.", ".", 1) if abs(float(cell)) < 1 else cell for cell in cells]
    width = max(map(len, cells), default=0)
    return [cell.rjust(width) for cell in cells], power


def grid(
    values: np.ndarray, /, *, inside: np.ndarray | None = None, mark: tuple[int, int] | None = None
) -> Block:
    """Return a matrix as lines; what is not `inside` is a dot, and brackets stand around `mark`.

    The first line says which power of ten was taken out, if any.
    """
    rows, columns = values.shape
    cells, power = shown(values, 3 if columns < 5 else 2)
    width = len(cells[0])
    lines = []
    for r in range(rows):
        line = ""
        for c in range(columns):
            cell = cells[r * columns + c]
            if inside is not None and not inside[r, c]:
                cell = "·".rjust(width)
            left = "[" if (r, c) == mark else "]" if (r, c - 1) == mark else " "
            line += left + cell
        lines.append("│" + line + ("]" if (r, columns - 1) == mark else " ") + "│")
    return [*lines, f"× 1e{power}".rjust(len(lines[0]))] if power else lines


def titled(title: str, block: Block, /) -> Block:
    """Return `block` under `title`, all lines of one width."""
    lines = [f" {title}", *block]
    width = max(map(len, lines))
    return [line.ljust(width) for line in lines]


def beside(*blocks: Block, signs: Sequence[str] = (), width: int = WIDTH) -> Block:
    """Return blocks side by side, with `signs` between them; what doesn't fit goes below."""
    rows: list[Block] = []
    line: Block = []
    for i, block in enumerate(blocks):
        sign = f" {signs[i - 1]} " if i and i <= len(signs) else "   " if i else ""
        extent = max(map(len, block))
        if line and len(line[0]) + len(sign) + extent > width:
            rows.append(line)
            line = []
        if not line:
            middle = len(block) // 2 if rows else -1
            indent = " " * len(sign) if rows else ""
            line = [(sign if r == middle else indent) + part.ljust(extent) for r, part in enumerate(block)]
            continue
        height = max(len(line), len(block))
        middle = min(len(block), len(line)) // 2
        line = [
            (line[r] if r < len(line) else " " * len(line[0]))
            + (sign if r == middle else " " * len(sign))
            + (block[r].ljust(extent) if r < len(block) else " " * extent)
            for r in range(height)
        ]
    return [part.rstrip() for row in (*rows, line) for part in row]


def picture(image: np.ndarray, /, largest: float | None = None) -> Block:
    """Return a matrix of numbers that are not negative as shades, dark to light, in the right proportions."""
    rows, columns = image.shape
    image = np.nan_to_num(image, posinf=0.0)
    step = max(1, -(-columns // 44))
    tall = min(step, rows)
    image = image[: rows - rows % tall, : columns - columns % step]
    if step > 1:
        image = image.reshape(len(image) // tall, tall, image.shape[1] // step, step).max(axis=(1, 3))
    wide = (
        image.shape[1] <= 20
    )  # a character is twice as high as wide: two make a pixel, or one stands for two
    if wide:
        image = np.repeat(image, 2, axis=1)
    else:
        image = np.stack([image[:-1:2], image[1::2]]).mean(axis=0) if len(image) > 1 else image
    top = largest or float(np.max(image, initial=0.0)) or 1.0
    levels = np.clip(image / top * len(_SHADES), 0, len(_SHADES) - 1).astype(int)
    lines = ["".join(_SHADES[level] for level in row) for row in levels]
    edge = "─" * levels.shape[1]
    return [f"┌{edge}┐", *[f"│{line}│" for line in lines], f"└{edge}┘"]
