"""An object of a configuration: keys that are the arguments of a constructor."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, RootModel, model_validator

from xcnn.errors import Error
from xcnn.io.refusals import refusal, refuse

__all__ = ["Choice", "Described", "Spec", "words_of"]


class Spec(BaseModel):
    """An object of a configuration whose keys are the arguments of a constructor."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)
    kind: ClassVar[Any] = None  # what it calls
    key: ClassVar[str] = "name"  # which key holds the name

    @classmethod
    def needs(cls) -> list[str]:
        """Return the options that must be given.

        Returns
        -------
        list of str
            Their names.
        """
        return [name for name, field in cls.model_fields.items() if field.is_required() and name != cls.key]

    def options(self) -> dict[str, Any]:
        """Return the arguments, parts in them made.

        Returns
        -------
        dict
            By name.
        """
        return {name: _made(getattr(self, name)) for name in type(self).model_fields if name != self.key}

    def make(self) -> Any:
        """Return what the constructor gives.

        Returns
        -------
        object
            A new one at each call.
        """
        return self.call(self.options())

    def call(self, options: Mapping[str, Any], /) -> Any:
        """Return what the constructor gives for `options`."""
        named = dict(options)
        parameters = inspect.signature(self.kind).parameters.values()
        starred = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        return self.kind(*[child for name in starred for child in named.pop(name)], **named)

    @model_validator(mode="after")
    def _is_accepted(self) -> Spec:
        """Ask the constructor: it alone knows what it takes."""
        if self.kind is None:
            return self
        options, refused = self.options(), dict[str, str]()
        while True:
            try:
                self.call(options)
                break
            except (Error, TypeError, ValueError) as error:
                what = error.what if isinstance(error, Error) else str(error)
            option, text = refuse(what, {name: getattr(self, name) for name in options})
            if option in refused:
                break
            refused[option] = text
            if not option:
                break
            field = type(self).model_fields[option]
            options[option] = 1 if field.is_required() else field.default  # harmless: look on for more
        if refused:
            raise refusal(refused)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the keys in the words of the docstring."""
        schema = handler(core_schema)
        whole = handler.resolve_ref_schema(schema)
        words, documented = words_of(cls.kind or cls), cls.kind or cls
        whole["description"] = inspect.cleandoc(documented.__doc__ or "").partition("\n")[0]
        for name, described in whole.get("properties", {}).items():
            if name in words:
                described["description"] = words[name][1]
        return schema


def _made(value: Any) -> Any:
    if hasattr(value, "make"):
        return value.make()
    return tuple(map(_made, value)) if isinstance(value, (list, tuple)) else value


class Choice(RootModel[Any]):
    """One of several parts: a name, or an object with the name and options."""

    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)
    key: ClassVar[str] = "name"
    names: ClassVar[tuple[str, ...]] = ()  # of those that need no options

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {cls.key: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Allow the bare name."""
        schema = handler(core_schema)
        objects = handler.resolve_ref_schema(schema)
        branches = [{"enum": list(cls.names)}, *objects.pop("oneOf")]
        objects["anyOf"] = branches
        return schema

    def make(self) -> Any:
        """Return what the part describes.

        Returns
        -------
        object
            A layer, an optimizer, ...
        """
        return self.root.make()


class Described:
    """An annotation that says how the schema describes an option which only its constructor can check.

    Parameters
    ----------
    schema : dict
        JSON Schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Return a copy: pydantic writes into it."""
        return copy.deepcopy(self.schema)


def words_of(kind: type) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return for each documented argument of `kind` the choices, as in ``{"min", "max"}``, and the words."""
    found = {}
    for base in reversed(kind.__mro__):
        doc = inspect.cleandoc(vars(base).get("__doc__") or "")
        section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n[A-Z]\w+\n-+\n|\Z)", doc, re.S | re.M)
        entries = re.findall(
            r"^\*{0,2}(\w[\w, ]*?) : (.*)\n((?: {4}.*(?:\n|$))*)", section[1] if section else "", re.M
        )
        for names, type_, text in entries:
            braces = re.fullmatch(r"\{(.*)\}", type_.strip())
            choices = tuple(re.findall(r'"(\w+)"', braces[1])) if braces else ()
            for name in names.split(", "):
                found[name] = choices, " ".join(text.replace("`", "").split())
    return found
