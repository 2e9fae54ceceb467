"""JSON as text: read strictly, written to be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xcnn.errors import ConfigError, FileError

__all__ = ["format_json", "read_json"]


def read_json(path: str | Path, /) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : str or Path
        In UTF-8.

    Returns
    -------
    object
        What it holds.

    Raises
    ------
    FileError
        If there is no such file.
    ConfigError
        If it is no JSON, with line and column; if a key stands twice in an object, or a number is not finite.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"no text in UTF-8 (byte {error.start}); needed a JSON file"
        raise ConfigError(msg, where=str(path)) from error
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise FileError(msg, where=str(path)) from error
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        msg = f"line {error.lineno}, column {error.colno}: no valid JSON: {error.msg}"
        raise ConfigError(msg, where=str(path)) from error
    except ConfigError as error:
        error.where = str(path)
        raise
    except ValueError as error:  # an integer of thousands of digits: Python does not convert it
        msg = f"no valid JSON: {error}; needed shorter numbers"
        raise ConfigError(msg, where=str(path)) from error
    except RecursionError as error:
        raise ConfigError("is nested too deep", where=str(path)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"key {twice!r} stands twice in one object; needed each once"
        raise ConfigError(msg)
    return found


def _refuse(constant: str) -> Any:
    msg = f"{constant} is no JSON number; needed a finite one"
    raise ConfigError(msg)


def format_json(content: Any, /, *, width: int = 100) -> str:
    """Return JSON in which whatever fits on a line stands on one.

    Parameters
    ----------
    content : object
        Of dicts, lists, strings, numbers, booleans and None.
    width : int
        Characters of a line.

    Returns
    -------
    str
        Ends in a newline.
    """
    return _format(content, width, "", 0) + "\n"


def _format(value: Any, width: int, indent: str, before: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list, tuple)) or not value or len(indent) + before + len(flat) < width:
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        keys = [f"{json.dumps(key, ensure_ascii=False)}: " for key in value]
        items = [
            key + _format(v, width, inner, len(key)) for key, v in zip(keys, value.values(), strict=True)
        ]
        opening, closing = "{}"
    else:
        items = [_format(item, width, inner, 0) for item in value]
        opening, closing = "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{closing}"
