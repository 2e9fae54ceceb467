"""What stands behind the question mark of an address."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from xcnn.draw.refusals import Refused
from xcnn.errors import suggest

__all__ = ["read_query"]

_MOST = 16  # parameters


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("needed true or false")
    return text == "true"


def _position(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,9}(,\d{1,9}){0,3}", text, re.ASCII):
        raise ValueError("needed whole numbers: channel,row,column or feature")
    return tuple(map(int, text.split(",")))


def _label(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("needed the number of a class, from 0")
    return int(text)


_READERS: dict[str, Callable[[str], Any]] = {
    "model": str,
    "centre": str,
    "invert": str,
    "inputs": _flag,
    "at": _position,
    "label": _label,
}


def read_query(query: bytes, known: tuple[str, ...], /) -> dict[str, Any]:
    """Return the parameters of a query, read.

    Parameters
    ----------
    query : bytes
        As it came: ``b"model=b&centre=true"``.
    known : tuple of str
        The parameters that mean something here.

    Returns
    -------
    dict
        Those that were given: model, centre and invert (str), inputs (bool), at (tuple of int), label (int).

    Raises
    ------
    Refused
        If one is unknown, is there twice, or has no such value.
    """
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST)
    except ValueError:
        raise Refused(400, f"has over {_MOST} parameters; needed at most those it knows", "query") from None
    read: dict[str, Any] = {}
    for name, text in pairs:
        if name not in known:
            what = suggest(name[:40], known) if known else "; none is known here"
            raise Refused(400, f"unknown parameter {name[:40]!r}{what}", "query")
        if name in read:
            raise Refused(400, "is there twice; needed it once", name)
        try:
            read[name] = _READERS[name](text)
        except ValueError as error:
            raise Refused(400, f"got {text[:40]!r}; {error}", name) from None
    return read
