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
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, RootModel, Tag, create_model

from xcnn import callbacks, initializers, layers, losses, optim, schedules
from xcnn.data import augment
from xcnn.io.refusals import refusal, shown
from xcnn.io.spec import Choice, Described, Spec, words_of
from xcnn.layers.activation import NAMES as ACTIVATIONS
from xcnn.layers.conv import CONVOLUTIONS

__all__ = [
    "SPECS",
    "AnyActivation",
    "AnyAugmentation",
    "AnyCallback",
    "AnyLayer",
    "AnyLoss",
    "AnyOptimizer",
    "AnySchedule",
    "spec_of",
]

_PAIR = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
_SIZE = {"anyOf": [{"type": "integer"}, _PAIR]}
_SIDES = {"type": "array", "items": _PAIR, "minItems": 2, "maxItems": 2}
_PADDING = {"anyOf": [*_SIZE["anyOf"], _SIDES, {"enum": ["valid", "same", "full"]}]}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_CHANNELS = {"anyOf": [{"type": "number"}, _NUMBERS]}
_EXTENTS = {"type": "array", "items": {"type": "integer"}}


def _inside(path: str) -> str:
    """Refuse a path that leads out of the folder of the run, on any system: others write configurations."""
    if any(p.anchor or ".." in p.parts for p in (PurePosixPath(path), PureWindowsPath(path))):
        raise refusal({"": f"got {shown(path)}; needed a path in the folder of the run"})
    return path


# Options whose annotation says too little, by name: their types, or for those that only the constructor can
# check, how the schema describes them.
_TYPES: dict[str, Any] = {
    "activation": "AnyActivation | None",
    "body": "AnyLayer",
    "layers": "list[AnyLayer]",
    "optimizer": "AnyOptimizer | None",
    "then": "AnySchedule | None",
    "init": Literal[tuple(initializers.NAMES)],
    "op": Literal[tuple(CONVOLUTIONS)],
    "path": Annotated[str, AfterValidator(_inside)],
    "class_weights": list[float] | None,
}
_SHAPES: dict[str, Any] = {
    **dict.fromkeys(("kernel_size", "size", "dilation", "output_padding", "factor"), _SIZE),
    **dict.fromkeys(("mean", "std"), _CHANNELS),
    "padding": _PADDING,
    "shape": _EXTENTS,
    "stride": {"anyOf": [*_SIZE["anyOf"], {"type": "null"}]},
}


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
    hints, words = typing.get_type_hints(kind.__init__), words_of(kind)
    fields: dict[str, Any] = {key: (Literal[name], Field())}
    for option, parameter in inspect.signature(kind).parameters.items():
        default = defaults.get(option, parameter.default)
        if default is parameter.empty:
            default = ...
        choices = words.get(option, ((), ""))[0]
        hint = hints.get(option, Any)
        if choices:
            hint = Literal[choices]
        elif option in _TYPES and not _is_plain(hint):
            hint = _TYPES[option]
        elif option in _SHAPES and not _is_plain(hint):
            hint = Annotated[Any, Described(_SHAPES[option])]
        fields[option] = (hint, Field(default))
    made = create_model(f"{group}_{name}", __base__=Spec, __module__=__name__, **fields)
    made.kind, made.key = kind, key
    return made


def _is_plain(hint: Any) -> bool:
    """Return whether an annotation can be checked as it stands."""
    if isinstance(hint, types.UnionType):
        return all(_is_plain(part) for part in typing.get_args(hint))
    return hint in (int, float, bool, str, type(None))


def _choice(group: str, kinds: Mapping[str, tuple[Any, Mapping[str, Any]]], key: str = "name") -> Any:
    """Return the configuration of one of several parts."""
    specs = {name: spec_of(group, name, kind, defaults, key) for name, (kind, defaults) in kinds.items()}
    SPECS.update({f"{group}:{name}": spec for name, spec in specs.items()})

    def tag(value: Any) -> str | None:
        name = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return None if name is None else f"{group}:{name}"

    tag.__name__ = group  # errors tell it
    tagged = [Annotated[spec, Tag(f"{group}:{name}")] for name, spec in specs.items()]
    union: Any = typing.Union[tuple(tagged)]  # noqa: UP007
    root: Any = Annotated[union, Discriminator(tag)]
    made = create_model(group, __base__=Choice, __module__=__name__, root=(root, ...))
    made.key = key
    made.names = tuple(name for name, spec in specs.items() if not spec.needs())
    return made


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _plain(kinds: Iterable[tuple[str, Any]]) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    return {name: (kind, {}) for name, kind in kinds}


def _classes(module: Any, *but: str) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    return _plain((_snake(name), getattr(module, name)) for name in module.__all__ if name not in but)


SPECS: dict[str, type[Spec]] = {}
_OPTIMIZERS = {name: optim.get(name) for name in (*optim.NAMES, *optim.PRESETS)}

AnyLayer = _choice("layer", _plain((n, getattr(layers, n)) for n in layers.__all__ if n != "Layer"), "type")
AnyOptimizer = _choice("optimizer", {name: (type(o), vars(o)) for name, o in _OPTIMIZERS.items()})
AnyLoss = _choice("loss", _plain(losses.NAMES.items()))
AnySchedule = _choice("schedule", _plain(schedules.NAMES.items()))
AnyAugmentation = _choice("augmentation", _classes(augment, "Compose"))
AnyCallback = _choice("callback", _classes(callbacks, "Callback", "LearningRateSchedule"))


_Name: Any = Annotated[Literal[tuple(ACTIVATIONS)], Tag("activation:name")]
_Object: Any = Annotated[AnyLayer, Tag("activation:layer")]
_NameOrLayer: Any = Annotated[
    _Name | _Object,
    Discriminator(lambda value: "activation:name" if isinstance(value, str) else "activation:layer"),
]


class AnyActivation(RootModel[Any]):
    """The name of an activation, or a layer as an object."""

    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)
    root: _NameOrLayer

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
