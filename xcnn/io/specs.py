"""Parts of a configuration, each derived from the constructor that it calls.

A layer, optimizer, loss, schedule, augmentation or callback is known here by what its constructor takes:
names, annotations, defaults, and the words of its docstring. There is no second list to keep in step.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    WithJsonSchema,
    create_model,
    model_validator,
)

from xcnn import callbacks, initializers, layers, losses, optim, schedules
from xcnn.data import augment
from xcnn.errors import Error
from xcnn.io.refusals import refusal, refuse
from xcnn.layers.activation import NAMES as ACTIVATIONS

__all__ = ["AnyActivation", "AnyAugmentation", "AnyCallback", "AnyLayer", "AnyLoss", "AnyOptimizer"]
__all__ += ["AnySchedule", "Choice", "Spec", "spec_of"]


class Spec(BaseModel):
    """An object of a configuration whose keys are the arguments of a constructor."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True
    )
    kind: ClassVar[Any] = None  # what it calls
    key: ClassVar[str] = "name"  # which key holds the name

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
        words, documented = _words(cls.kind or cls), cls.kind or cls
        whole["description"] = inspect.cleandoc(documented.__doc__ or "").partition("\n")[0]
        for name, described in whole.get("properties", {}).items():
            if name in words:
                described["description"] = words[name][1]
        return schema


def _made(value: Any) -> Any:
    if isinstance(value, (Spec, Choice)):
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


_PAIR = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
_SIZE = {"anyOf": [{"type": "integer"}, _PAIR]}
_SIDES = {"type": "array", "items": _PAIR, "minItems": 2, "maxItems": 2}
_PADDING = {"anyOf": [*_SIZE["anyOf"], _SIDES, {"enum": ["valid", "same", "full"]}]}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_CHANNELS = {"anyOf": [{"type": "number"}, _NUMBERS]}
_EXTENTS = {"type": "array", "items": {"type": "integer"}}

# Options whose annotation says too little, by name. What is only described here, the constructor checks.
_OPTIONS: dict[str, Any] = {
    "activation": "AnyActivation | None",
    "body": "AnyLayer",
    "layers": "list[AnyLayer]",
    "optimizer": "AnyOptimizer | None",
    "then": "AnySchedule | None",
    "init": Literal[tuple(initializers.NAMES)],
    "path": str,
    "class_weights": list[float] | None,
    **{name: Annotated[Any, WithJsonSchema(_CHANNELS)] for name in ("mean", "std")},
    "padding": Annotated[Any, WithJsonSchema(_PADDING)],
    "shape": Annotated[Any, WithJsonSchema(_EXTENTS)],
    "stride": Annotated[Any, WithJsonSchema({"anyOf": [*_SIZE["anyOf"], {"type": "null"}]})],
}
_SIZES = ("kernel_size", "size", "dilation", "output_padding", "factor")  # where annotated as Any


def spec_of(group: str, name: str, kind: Any, defaults: Mapping[str, Any], key: str, /) -> type[Spec]:
    """Return the configuration of one constructor.

    Parameters
    ----------
    group, name : str
        For example "optimizer" and "adam".
    kind : type
        What is called.
    defaults : mapping
        Defaults other than the constructor's.
    key : str
        The key that holds the name.

    Returns
    -------
    type
        A subclass of `Spec`.
    """
    hints, words = typing.get_type_hints(kind.__init__), _words(kind)
    fields: dict[str, Any] = {key: (Literal[name], Field())}
    for option, parameter in inspect.signature(kind).parameters.items():
        default = defaults.get(option, parameter.default)
        if default is parameter.empty:
            default = ...
        choices = words.get(option, ((), ""))[0]
        hint = hints.get(option, Any)
        if choices:
            hint = Literal[choices]
        elif not _is_plain(hint) or option in ("body", "layers"):
            if option in _SIZES:
                hint = Annotated[Any, WithJsonSchema(_SIZE)]
            hint = _OPTIONS.get(option, hint)
        fields[option] = (hint, Field(default))
    made = create_model(f"{group}_{name}", __base__=Spec, __module__=__name__, **fields)
    made.kind, made.key = kind, key
    return made


def _is_plain(hint: Any) -> bool:
    """Return whether an annotation can be checked as it stands."""
    if isinstance(hint, types.UnionType):
        return all(_is_plain(part) for part in typing.get_args(hint))
    return hint in (int, float, bool, str, type(None))


def _words(kind: type) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return for each documented argument the choices, as in ``{"min", "max"}``, and the description."""
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


def _choice(group: str, kinds: Mapping[str, tuple[Any, Mapping[str, Any]]], key: str = "name") -> Any:
    """Return the configuration of one of several parts."""
    specs = {name: spec_of(group, name, kind, defaults, key) for name, (kind, defaults) in kinds.items()}
    SPECS.update({f"{group}:{name}": spec for name, spec in specs.items()})

    def tag(value: Any) -> str | None:
        name = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return None if name is None else f"{group}:{name}"

    tag.__name__ = group  # errors tell it
    tagged = [Annotated[spec, Tag(f"{group}:{name}")] for name, spec in specs.items()]
    union = Annotated[typing.Union[tuple(tagged)], Discriminator(tag)]  # noqa: UP007
    made = create_model(group, __base__=Choice, __module__=__name__, root=(union, ...))
    made.key = key
    made.names = tuple(n for n, s in specs.items() if not any(s.model_fields[f].is_required() for f in s.model_fields if f != key))
    return made


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _plain(kinds: Iterable[tuple[str, Any]]) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    return {name: (kind, {}) for name, kind in kinds}


def _classes(module: Any, *but: str) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    return _plain((_snake(name), getattr(module, name)) for name in module.__all__ if name not in but)


SPECS: dict[str, type[Spec]] = {}
_OPTIMIZERS = {name: optim.get(name) for name in (*optim.NAMES, *optim._PRESETS)}

AnyLayer = _choice("layer", _plain((n, getattr(layers, n)) for n in layers.__all__ if n != "Layer"), "type")
AnyOptimizer = _choice("optimizer", {name: (type(o), vars(o)) for name, o in _OPTIMIZERS.items()})
AnyLoss = _choice("loss", _plain(losses.NAMES.items()))
AnySchedule = _choice("schedule", _plain(schedules.NAMES.items()))
AnyAugmentation = _choice("augmentation", _classes(augment, "Compose"))
AnyCallback = _choice("callback", _classes(callbacks, "Callback", "LearningRateSchedule"))


class AnyActivation(RootModel[Any]):
    """The name of an activation, or a layer as an object."""

    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)
    root: Annotated[
        Annotated[Literal[tuple(ACTIVATIONS)], Tag("activation:name")]
        | Annotated[AnyLayer, Tag("activation:layer")],
        Discriminator(lambda value: "activation:name" if isinstance(value, str) else "activation:layer"),
    ]

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Tell a name of an activation from that of a layer."""
        schema = handler(core_schema)
        whole = handler.resolve_ref_schema(schema)
        name, layer = whole.pop("oneOf")
        whole["anyOf"] = [name, {"type": "object", **layer}]
        return schema

    def make(self) -> Any:
        """Return the name or the layer.

        Returns
        -------
        str or Layer
            What `activation=` takes.
        """
        return self.root if isinstance(self.root, str) else self.root.make()
