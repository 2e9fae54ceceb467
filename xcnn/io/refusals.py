"""What is wrong with a configuration, in lines that name the path in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from xcnn.errors import suggest

__all__ = ["lines", "refusal", "refuse"]

_NEEDED = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_from_float": "an integer",
    "int_type": "an integer",
    "list_type": "a list",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "string_type": "a string",
}
_BOUNDS = {
    "greater_than": ("gt", "a number above {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "a number below {}"),
    "less_than_equal": ("le", "at most {}"),
    "too_short": ("min_length", "at least {} of them"),
    "too_long": ("max_length", "at most {} of them"),
}


def shown(value: Any) -> str:
    """Return a value as it stands in the file, shortened."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pydantic made a float of it
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def refuse(what: str, options: Mapping[str, Any], /) -> tuple[str, str]:
    """Return which option a constructor refused, and why.

    Parameters
    ----------
    what : str
        Its message: "Conv2D: filters is -1; needed ...", "got Cosine(floor=2); needed 0 <= floor <= 1".
    options : mapping
        What it was given.

    Returns
    -------
    option : str
        Empty if the message doesn't say.
    text : str
        "got -1; needed ...".
    """
    _, semicolon, needed = what.partition(";")
    named = [name for name in options if re.search(rf"\b{name} (is|has) ", what)]
    named = named or [name for name in options if re.search(rf"\b{name}\b", needed)]
    if len(named) != 1 or not semicolon:
        return "", what
    return named[0], f"got {shown(options[named[0]])};{needed}"


def refusal(refused: Mapping[str, str], /) -> PydanticCustomError:
    """Return an error for a validator of a whole object to raise.

    Parameters
    ----------
    refused : mapping
        Path within the object, for example "callbacks[0].monitor", to what is wrong.

    Returns
    -------
    PydanticCustomError
        To be raised.
    """
    return PydanticCustomError("refused", "refused", {"refused": dict(refused)})


def lines(error: ValidationError, content: Any, root: Any, specs: Mapping[str, Any], /) -> list[str]:
    """Return one line for each thing that is wrong.

    Parameters
    ----------
    error : ValidationError
        From pydantic.
    content : object
        What was validated.
    root : type
        The model that was validated.
    specs : mapping
        Tag of a union's member, as in "layer:Conv2D", to its model.

    Returns
    -------
    list of str
        "layers[2].kernel_size: got -1; needed ...".
    """
    found = []
    for problem in error.errors():
        path, owner = _walk(problem["loc"], root, specs)
        for inner, text in _texts(problem, owner, bare=isinstance(_at(content, problem["loc"]), str)):
            place = ".".join(filter(None, (path, inner)))
            found.append(f"{place}: {text}" if place else text)
    return found


def _walk(loc: Sequence[str | int], root: Any, specs: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the path in the file, and the model that has its last key."""
    path, owner, inner = "", root, None
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif ":" in part:  # the tag of a union's member: not in the file
            inner = specs.get(part)
        else:
            owner = inner or owner
            field = owner.model_fields.get(part)
            inner = field.annotation if field and hasattr(field.annotation, "model_fields") else None
            path += f".{part}" if path else part
    return path, owner


def _at(content: Any, loc: Sequence[str | int]) -> Any:
    """Return what stands at a place of the file, or None."""
    for part in loc:
        if isinstance(part, int):
            content = content[part] if isinstance(content, list) and part < len(content) else None
        elif ":" not in part:
            content = content.get(part) if isinstance(content, dict) else None
    return content


def _texts(problem: Mapping[str, Any], owner: Any, *, bare: bool) -> list[tuple[str, str]]:
    """Return what is wrong, each with the rest of its path; `bare` for a name in place of an object."""
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "refused":
        return list(context["refused"].items())
    if kind == "missing":
        return [("", f"is missing; needed by {_called(owner)}")]
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in owner.model_fields.items()]
        return [("", f"unknown key{suggest(str(problem['loc'][-1]), known)}")]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _misnamed(value, context, bare)
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        ending = suggest(value, known) if isinstance(value, str) else f"; needed one of {', '.join(known)}"
        return [("", f"got {shown(value)}{ending}")]
    if kind in _BOUNDS:
        name, needed = _BOUNDS[kind]
        return [("", f"got {shown(value)}; needed {needed.format(context[name])}")]
    ending = f"needed {_NEEDED[kind]}" if kind in _NEEDED else problem["msg"]
    return [("", f"got {shown(value)}; {ending}")]


def _called(owner: Any) -> str:
    """Return what a user calls the object: its name in the file."""
    return owner.__name__.partition("_")[2] or "a run"


def _misnamed(value: Any, context: Mapping[str, Any], bare: bool) -> list[tuple[str, str]]:
    """Return what is wrong where one of several parts was needed."""
    group = context["discriminator"].removesuffix("()")
    key = "type" if group == "layer" else "name"
    if not isinstance(value, dict):
        return [("", f"got {shown(value)}; needed a name, or an object with {key!r} and options")]
    if value.get(key) is None:
        article = "an" if group[0] in "aeiou" else "a"
        return [(key, f"is missing; needed the name of {article} {group}")]
    known = [name for _, name in re.findall(r"'(\w+):([^']+)'", context["expected_tags"])]
    name = value[key]
    ending = suggest(name, known) if isinstance(name, str) else "; needed a name"
    return [("" if bare else key, f"unknown {group} {shown(name)}{ending}")]
