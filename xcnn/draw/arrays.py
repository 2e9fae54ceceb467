"""Pictures as arrays in JSON, read strictly."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import numpy as np

from xcnn.draw.refusals import Refused

__all__ = ["read_arrays"]

_DEEPEST = 8  # lists in lists
_ROOM = 65_536  # numbers, and lists, over what would fit: so much of what doesn't is read to say what came

_TOO_DEEP = "is nested too deep; needed an array of numbers"


def read_arrays(body: bytes, shape: tuple[int, ...], /, *, most: int) -> np.ndarray:
    """Return pictures from JSON: an array, or ``{"images": array}``.

    If all numbers are whole and one is over 1, they are bytes, 0 to 255, and divided by 255; else they are
    taken as they are.

    Parameters
    ----------
    body : bytes
        In UTF-8.
    shape : tuple of int
        Of one picture, (C, H, W) or any other. An array may have it, or (N, *shape), or (H, W) where C is 1.
    most : int
        How many pictures may come.

    Returns
    -------
    numpy.ndarray
        Shape (N, *shape), float32.

    Raises
    ------
    Refused
        413 for more than `most` pictures, 400 for anything else than such arrays of finite numbers.
    """
    numbers = most * int(np.prod(shape)) + _ROOM
    lists = most * sum(int(np.prod(shape[:i])) for i in range(len(shape))) + _ROOM
    if body.count(b",") > numbers or body.count(b"[") > lists:
        msg = f"holds far more numbers or lists than {most:,} pictures of shape {shape}"
        raise Refused(413, msg, "the body")
    flat, came = _flatten(_parse(body))
    x = _as_floats(flat)
    plane = len(shape) == 3 and shape[0] == 1 and came == shape[1:]
    if not plane and came != shape and came[1:] != shape:
        raise Refused(400, f"the array has shape {came}; needed {_needed(shape)}", "the body")
    x = x.reshape(-1, *shape)
    if len(x) > most:
        msg = f"holds {len(x):,} pictures; needed at most {most:,} in one request"
        raise Refused(413, msg, "the body")
    return x


def _needed(shape: tuple[int, ...]) -> str:
    one = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    plane = f"({shape[1]}, {shape[2]}), " if len(shape) == 3 and shape[0] == 1 else ""
    return f"{plane}({one}) or (N, {one.rstrip(',')})"


def _parse(body: bytes) -> Any:
    """Return what JSON holds: the array, if it is wrapped."""
    try:
        content = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_wrapped, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        msg = f"no text in UTF-8 (byte {error.start}); needed JSON"
        raise Refused(400, msg, "the body") from error
    except json.JSONDecodeError as error:
        msg = f"no valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise Refused(400, msg, "the body") from error
    except RecursionError as error:
        raise Refused(400, _TOO_DEEP, "the body") from error
    except ValueError as error:  # an integer of thousands of digits
        raise Refused(400, "holds a number that is too large; needed finite ones", "the body") from error
    return content.array if isinstance(content, _Wrapped) else content


class _Wrapped:
    """An object ``{"images": array}``."""

    def __init__(self, array: Any) -> None:
        self.array = array


def _wrapped(pairs: list[tuple[str, Any]]) -> _Wrapped:
    names = [name for name, _ in pairs]
    if names != ["images"]:
        told = ", ".join(repr(name[:40]) for name in names[:3]) + (", ..." if len(names) > 3 else "")
        msg = f"holds an object with the keys {told or '(none)'}; needed an array, or one key 'images', once"
        raise Refused(400, msg, "the body")
    return _Wrapped(pairs[0][1])


def _refuse(constant: str) -> Any:
    raise Refused(400, f"holds {constant}; needed finite numbers", "the body")


def _flatten(value: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Return the numbers of nested lists, and their shape."""
    level, shape = [value], []
    while True:
        kinds = set(map(type, level))
        if kinds <= {int, float}:
            break
        if kinds != {list}:
            strange = next((v for v in level if type(v) not in (int, float, list)), None)
            came = "numbers beside lists" if strange is None and None not in level else _told(strange)
            raise Refused(400, f"holds {came}; needed a regular array of numbers", "the body")
        lengths = set(map(len, level))
        if len(lengths) > 1:
            msg = f"is ragged: lists of lengths {min(lengths)} and {max(lengths)} side by side"
            raise Refused(400, msg, "the body")
        shape.append(lengths.pop())
        if len(shape) > _DEEPEST:
            raise Refused(400, _TOO_DEEP, "the body")
        level = list(chain.from_iterable(level))
        if not level:
            raise Refused(400, f"the array is empty, its shape {tuple(shape)}", "the body")
    if not shape:
        raise Refused(400, "is a single number; needed an array", "the body")
    return level, tuple(shape)


def _told(value: Any) -> str:
    kinds = {bool: "true or false", str: "text", type(None): "null", _Wrapped: "an object inside the array"}
    return kinds[type(value)]


def _as_floats(flat: list[Any]) -> np.ndarray:
    """Return numbers as float32, bytes divided by 255."""
    try:
        x = np.array(flat, np.float64)
    except OverflowError as error:
        raise Refused(400, "holds a number that is too large; needed finite ones", "the body") from error
    if x.max() > 1 and (x == np.floor(x)).all():
        if x.min() < 0 or x.max() > 255:
            msg = f"holds whole numbers from {x.min():g} to {x.max():g}; needed bytes, 0 to 255, or fractions"
            raise Refused(400, msg, "the body")
        return x.astype(np.float32) / np.float32(255)
    if np.abs(x).max() > np.finfo(np.float32).max:
        raise Refused(400, "holds a number that is too large; needed finite ones", "the body")
    return x.astype(np.float32)
