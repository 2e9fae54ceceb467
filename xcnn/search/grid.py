"""Paths into a configuration, the values that they are to take, and the points of their grid."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xcnn.errors import ConfigError, OptionError
from xcnn.io.specs import SPECS

__all__ = ["Point", "expand", "parse", "place", "told", "told_value"]

Point = dict[str, Any]  # path to value

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_DIGITS = 6  # significant ones of the values of a range


def parse(text: str, /) -> tuple[str, list[Any]]:
    r"""Return the path and the values of one axis of a grid, as the command line has it.

    Values stand between commas. What is JSON is taken as that, a number in another spelling (``.5``, ``+2``)
    as a number, anything else as a string. ``log:a:b:n``
    stands for n values from a to b of equal ratios, ``lin:a:b:n`` for n of equal distances, rounded to 6
    digits; they are integers where a and b are written as integers and the value is one.

    Parameters
    ----------
    text : str
        For example ``optimizer.lr=1e-3,1e-2``, ``layers[0].filters=lin:4:16:4``.

    Returns
    -------
    path : str
        What is set.
    values : list
        What it is set to, in turn.

    Raises
    ------
    OptionError
        If it has no path, no value or a range that is none.

    Examples
    --------
    >>> parse("optimizer.lr=log:1e-3:1e-1:3")
    ('optimizer.lr', [0.001, 0.01, 0.1])
    >>> parse('layers[0].activation=relu,null,{"type": "LeakyReLU", "slope": 0.1}')
    ('layers[0].activation', ['relu', None, {'type': 'LeakyReLU', 'slope': 0.1}])
    """
    path, equals, rest = text.partition("=")
    if not equals or not path.strip():
        msg = f"got {text!r}; needed PATH=VALUE,VALUE, as in optimizer.lr=1e-3,1e-2"
        raise OptionError(msg, where="grid")
    return path.strip(), [value for item in _items(path, rest) for value in _values(path, item)]


def _items(path: str, text: str) -> list[Any]:
    """Return what stands between commas; those inside JSON divide nothing."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    found: list[Any] = []
    while True:
        text = text.strip()
        try:
            value, end = decoder.raw_decode(text)
            rest = text[end:].lstrip()
        except ValueError:
            value, rest = None, None
        if rest is None or (rest and not rest.startswith(",")):
            word, comma, rest = text.partition(",")
            value, rest = _word(path, word.strip()), comma + rest
        if value == "" and not text.startswith('"'):
            msg = f"{path}: there is no value before or after a comma or at the end; needed VALUE,VALUE"
            raise OptionError(msg, where="grid")
        found.append(value)
        if not rest:
            return found
        text = rest[1:]


def _word(path: str, text: str) -> Any:
    """Return what is no JSON: a number in another spelling, or a string."""
    if text in _PYTHON:
        msg = f'{path}: got {text}; needed {_PYTHON[text]}, or "{text}" for the word'
        raise OptionError(msg, where="grid")
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _no_constant(name: str) -> Any:
    """Take NaN and Infinity, which Python reads but JSON does not have, for the strings that they are."""
    raise ValueError(name)


def _values(path: str, item: Any) -> list[Any]:
    """Return the values of a range, or the item itself."""
    kind, colon, rest = item.partition(":") if isinstance(item, str) else ("", "", "")
    if not colon or kind not in ("log", "lin"):
        return [item]
    try:
        low, high, count = map(json.loads, rest.split(":"))
        numbers = all(type(end) in (int, float) for end in (low, high)) and type(count) is int
    except ValueError:
        numbers = False
    if not numbers or count < 2 or low == high or (kind == "log" and min(low, high) <= 0):
        positive = "positive " if kind == "log" else ""
        msg = f"{path}: got {item!r}; needed {kind}:a:b:n with two different {positive}numbers and n from 2"
        raise OptionError(msg, where="grid")
    space = np.geomspace if kind == "log" else np.linspace
    values = [float(f"{value:.{_DIGITS}g}") for value in space(low, high, count)]
    whole = type(low) is type(high) is int
    return [int(value) if whole and value.is_integer() else value for value in values]


def expand(grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]], /) -> list[Point]:
    """Return the points of a grid, the last path varying fastest.

    Parameters
    ----------
    grid : dict or list
        Path to values, or the points themselves: dicts of path to value.

    Returns
    -------
    list of dict
        Path to value, in plain Python numbers.

    Raises
    ------
    OptionError
        If a path has no values, or a point comes twice.
    """
    if isinstance(grid, Mapping):
        for path, values in grid.items():
            if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__") or not len(values):
                msg = f"{path}: got {values!r}; needed a list of values, at least one"
                raise OptionError(msg, where="grid")
        product = itertools.product(*grid.values())
        points = [dict(zip(grid, values, strict=True)) for values in product]
    else:
        points = [dict(point) for point in grid]
    plain = [{path: _plain(value) for path, value in point.items()} for point in points]
    seen = set()
    for point in plain:
        key = json.dumps(_alike(point), sort_keys=True)
        if key in seen:
            msg = f"the point {told(point)} comes twice; needed each once"
            raise OptionError(msg, where="grid")
        seen.add(key)
    if not plain:
        msg = "there are no points; needed at least one"
        raise OptionError(msg, where="grid")
    return plain


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it."""
    return json.loads(json.dumps(value, default=lambda a: a.tolist()))


def _alike(value: Any) -> Any:
    """Return `value` with 1.0 as 1, which sets the same."""
    if isinstance(value, dict):
        return {key: _alike(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [*map(_alike, value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def told(point: Mapping[str, Any], /) -> str:
    """Return a point in words: "optimizer.lr=0.01, layers[0].filters=4"."""
    return ", ".join(f"{path}={told_value(value)}" for path, value in point.items())


def told_value(value: Any, /) -> str:
    """Return a value as the command line has it, every digit of it."""
    return value if isinstance(value, str) else json.dumps(value)


def place(content: Mapping[str, Any], point: Mapping[str, Any], /) -> dict[str, Any]:
    """Return a configuration with the values of a point in their places.

    Parameters
    ----------
    content : dict
        As in a file; a part may be a bare name, which becomes an object where an option of it is set.
    point : dict
        Path to value. Of two paths the shorter is set first. A new name of a part takes with it the options
        that the new part does not know, where they were the old one's defaults.

    Returns
    -------
    dict
        A copy.

    Raises
    ------
    ConfigError
        If a path is none, or leads through a number, or beyond the end of a list.
    """
    made = _plain(content)
    for path, steps in sorted(((path, _steps(path)) for path in point), key=lambda found: len(found[1])):
        _put(made, path, steps, point[path])
    return made


def _steps(path: str) -> list[str | int]:
    """Return the keys and indices on the way: ["layers", 0, "filters"]."""
    steps, at = [], 0
    while at < len(path) and (found := _STEP.match(path, at)):
        steps.append(found[1] or int(found[2]))
        at = found.end()
    if at < len(path) or not steps or path.startswith((".", "[")):
        msg = "is no path into a configuration; needed one as layers[0].filters"
        raise ConfigError(msg, where=path)
    return steps


def _put(content: Any, path: str, steps: list[str | int], value: Any) -> None:
    for depth, (step, following) in enumerate(itertools.pairwise(steps)):
        _check(content, path, step)
        child = content.get(step) if isinstance(content, dict) else content[step]
        if isinstance(child, str) and isinstance(following, str):
            child = _opened(child, path, in_layer=steps[0] == "layers" and depth > 0)
        content[step] = child = {} if child is None and isinstance(following, str) else child
        content = child
    _check(content, path, steps[-1])
    if steps[-1] in ("name", "type"):
        _forget_defaults(content, str(steps[-1]), value)
    content[steps[-1]] = value


def _opened(name: str, path: str, *, in_layer: bool) -> dict[str, Any]:
    """Return the object that a bare name stands for, to set an option of it."""
    if not in_layer:
        return {"path" if path.startswith("data.") and ("/" in name or os.sep in name) else "name": name}
    if f"layer:{name}" not in SPECS:
        msg = f'there is the bare name {name!r}; needed a layer that has options, as {{"type": "LeakyReLU"}}'
        raise ConfigError(msg, where=path)
    return {"type": name}


def _check(content: Any, path: str, step: str | int) -> None:
    """Refuse a step that leads nowhere."""
    if isinstance(step, str):
        fits, needed = isinstance(content, dict), f"an object, for its key {step!r}"
    else:
        fits = isinstance(content, list) and -len(content) <= step < len(content)
        needed = f"a list with an element [{step}], counted from 0"
    if not fits:
        came = f"a list of {len(content)}" if isinstance(content, list) else json.dumps(content)
        msg = f"there is {came}; needed {needed}"
        raise ConfigError(msg, where=path)


def _forget_defaults(part: dict[str, Any], key: str, name: Any) -> None:
    """Remove the defaults of a part that is to become another one, which does not have them."""
    group = next((tag.partition(":")[0] for tag in SPECS if tag.endswith(f":{part.get(key)}")), "")
    old, new = SPECS.get(f"{group}:{part.get(key)}"), SPECS.get(f"{group}:{name}")
    if old is None or new is None:
        return
    for option in [option for option in part if option not in new.model_fields]:
        if option in old.model_fields and part[option] == old.model_fields[option].default:
            del part[option]
