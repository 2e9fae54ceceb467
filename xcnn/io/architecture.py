"""Layers as JSON: their type and what their constructor takes, and back."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from xcnn import initializers, layers, ops
from xcnn.errors import Error, FileError, suggest
from xcnn.layer import Layer
from xcnn.layers.conv import CONVOLUTIONS
from xcnn.ops import Op

__all__ = ["layer_from_json", "layer_to_json"]

_SKIPPED = ("optimizer",)  # training's, not the model's


def _options(layer: Layer) -> dict[str, Any]:
    """Return what the constructor was given, but for defaults."""
    found = {}
    for name, parameter in inspect.signature(type(layer).__init__).parameters.items():
        if name == "self" or name in _SKIPPED or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if not hasattr(layer, name):
            msg = (
                f"{type(layer).__name__} keeps no attribute {name!r}; needed one of each constructor argument"
            )
            raise FileError(msg)
        value = getattr(layer, name)
        if value is not parameter.default:
            found[name] = value
    return found


def _named_init(init: Any) -> str:
    """Return the name of an initialiser, or any: the values are in the file, how they began is not needed."""
    return next((name for name, known in initializers.NAMES.items() if known == init), "zeros")


def _plain(value: Any, seen: dict[int, int]) -> Any:
    if isinstance(value, Layer):
        return layer_to_json(value, seen)
    if isinstance(value, Op):
        return {"op": value.name}
    if isinstance(value, (list, tuple)):
        return [_plain(v, seen) for v in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a NumPy scalar
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    msg = f"{value!r} cannot be written as JSON; needed numbers, strings, lists, layers or ops"
    raise FileError(msg)


def layer_to_json(layer: Layer, seen: dict[int, int] | None = None, /) -> dict[str, Any]:
    """Return a layer as JSON.

    Parameters
    ----------
    layer : Layer
        Built or not.
    seen : dict, optional
        Numbers of the layers written so far: one that comes again is written as ``{"shared": number}``.

    Returns
    -------
    dict
        ``{"type": "Conv2D", "filters": 6, ...}`` without defaults.

    Raises
    ------
    FileError
        If an option is neither a number, a string, a list, a layer nor an op.
    """
    seen = {} if seen is None else seen
    if id(layer) in seen:
        return {"shared": seen[id(layer)]}
    seen[id(layer)] = len(seen)
    plain: dict[str, Any] = {"type": type(layer).__name__}
    if isinstance(layer, layers.Sequential):
        plain["layers"] = [layer_to_json(child, seen) for child in layer.layers]
    for name, value in _options(layer).items():
        if name == "init" and callable(value) and not isinstance(value, Layer):
            value = _named_init(value)
        plain[name] = _plain(value, seen)
    return plain


def layer_from_json(
    plain: Any, /, custom: Sequence[type[Layer] | Op[...]] = (), *, made: list[Any] | None = None
) -> Layer:
    """Return the layer that `layer_to_json` wrote.

    Parameters
    ----------
    plain : dict
        Its JSON.
    custom : sequence of type or Op
        Layers and ops of your own that may occur in it.
    made : list, optional
        The layers made so far, for shared ones.

    Returns
    -------
    Layer
        Not built.

    Raises
    ------
    FileError
        If the type or an op is unknown, or the options do not fit.
    """
    made = [] if made is None else made
    kinds = {name: getattr(layers, name) for name in layers.__all__} | {
        kind.__name__: kind for kind in custom if not isinstance(kind, Op)
    }
    if not isinstance(plain, dict):
        msg = f"got {plain!r}; needed a layer as a JSON object"
        raise FileError(msg)
    if set(plain) == {"shared"}:
        number = plain["shared"]
        if not isinstance(number, int) or not 0 <= number < len(made) or made[number] is None:
            msg = f"shared layer {number!r} does not stand before; there are {len(made)}"
            raise FileError(msg)
        return made[number]
    options = dict(plain)
    name = options.pop("type", None)
    if name not in kinds or name == "Layer":
        known = suggest(str(name), kinds)
        msg = f"unknown layer {name!r}{known}; a layer of your own: load(path, custom=[{name}])"
        raise FileError(msg)
    number = len(made)
    made.append(None)
    inner = [layer_from_json(child, custom, made=made) for child in options.pop("layers", [])]
    options = {key: _from_plain(value, custom, made) for key, value in options.items()}
    try:
        made[number] = kinds[name](*inner, **options)
    except (TypeError, Error) as error:
        msg = f"layer {name} cannot be made from {options}: {error}"
        raise FileError(msg) from error
    return made[number]


def _from_plain(value: Any, custom: Sequence[type[Layer] | Op[...]], made: list[Any]) -> Any:
    """Return what `_plain` wrote: lists as tuples, and layers and ops, also in them, as what they are."""
    if isinstance(value, list):
        return tuple(_from_plain(v, custom, made) for v in value)
    if not isinstance(value, dict):
        return value
    if set(value) != {"op"}:
        return layer_from_json(value, custom, made=made)
    own = {op.name: op for op in custom if isinstance(op, Op)}
    name = value["op"]
    found = own.get(name) or (getattr(ops, name) if name in ops.__all__ else None)
    if not isinstance(found, Op):
        near = suggest(str(name), [*CONVOLUTIONS, *own])
        msg = f"unknown op {name!r}{near}; an op of your own: load(path, custom=[{name}])"
        raise FileError(msg)
    return found
