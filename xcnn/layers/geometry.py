"""What the constructors of layers accept: integers, pairs, padding."""

from __future__ import annotations

import operator
from typing import Any

from xcnn.errors import OptionError, ShapeError, named, suggest
from xcnn.ops.window import LONGEST
from xcnn.types import Pair, Sides

__all__ = ["check_padding", "image_shape", "integer", "numbers", "pair", "sides"]

MODES = ("valid", "same", "full")


def integer(value: Any, name: str, /, least: int | None = 1) -> int:
    """Return `value` as an int, of at least `least`; `name` is for the error."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        msg = f"{name} is {value!r}; needed an integer{'' if least is None else f' of at least {least}'}"
        raise OptionError(msg)
    return number


def numbers(value: Any, name: str, /) -> tuple[float, ...]:
    """Return a sequence of numbers as floats; `name` is for the error."""
    try:
        return tuple(map(float, value))
    except (TypeError, ValueError) as error:
        msg = f"{name} is {value!r}; needed numbers"
        raise OptionError(msg) from error


def pair(value: Any, name: str, /, least: int = 1) -> Pair:
    """Return (rows, columns) for an integer or a pair."""
    if not isinstance(value, (list, tuple)):
        value = (value, value)
    if len(value) != 2:
        msg = f"{name} is {value!r}; needed an integer or two (rows, columns)"
        raise OptionError(msg)
    found = integer(value[0], name, least), integer(value[1], name, least)
    if max(found) > LONGEST:
        msg = f"{name} is {value!r}; needed {LONGEST} pixels at most"
        raise OptionError(msg)
    return found


def check_padding(padding: Any, where: str, /) -> None:
    """Refuse what `sides` would refuse for any image."""
    if isinstance(padding, str) and padding not in MODES:
        msg = f"padding is {padding!r}{suggest(padding, MODES)}"
        raise OptionError(msg, where=where)
    with named(where):
        sides(padding, (1, 1), (1, 1), (1, 1), (1, 1))


def sides(padding: Any, image: Pair, size: Pair, stride: Pair, dilation: Pair, /) -> Sides:
    """Return ((top, bottom), (left, right)) pixels.

    Parameters
    ----------
    padding : int, pair, per-side pairs or str
        ``"valid"`` none; ``"same"`` gives ceil(H / stride) outputs, an odd pixel at bottom and right;
        ``"full"`` every window that touches the image.
    image, size, stride, dilation : (rows, columns)
        Of the image and of its windows.

    Returns
    -------
    ((top, bottom), (left, right))
        Pixels.
    """
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str) and padding == "full":
        rows, columns = (d * (k - 1) for k, d in zip(size, dilation, strict=True))
        return (rows, rows), (columns, columns)
    if isinstance(padding, str) and padding == "same":
        rows, columns = (
            max((-(-h // s) - 1) * s + d * (k - 1) + 1 - h, 0)
            for h, k, s, d in zip(image, size, stride, dilation, strict=True)
        )
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
    if not isinstance(padding, (list, tuple)):
        padding = (padding, padding)
    if len(padding) != 2:
        msg = f"padding is {padding!r}; needed an integer, (rows, columns) or ((top, bottom), (left, right))"
        raise OptionError(msg)
    return pair(padding[0], "padding", 0), pair(padding[1], "padding", 0)


def image_shape(input_shape: tuple[int, ...], /) -> tuple[int, int, int]:
    """Return (C, H, W), or refuse."""
    if len(input_shape) != 3:
        msg = f"x has shape (N, {', '.join(map(str, input_shape))}); needed images (N, C, H, W)"
        raise ShapeError(msg)
    c, h, w = input_shape
    return c, h, w
