"""Which name in another library belongs to which place in a model."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from xcnn.errors import DataError, OptionError, suggest
from xcnn.io.conventions import Convention, Slot

__all__ = ["chosen", "in_order", "once", "paired"]


def _parts(name: str) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Return the parts of a layer's name without and with their numbers alone: "conv2d" is "conv2d_0"."""
    parts = [part if re.search(r"\d$", part) else f"{part}_0" for part in re.split(r"[./]", name)]
    return (
        tuple(re.sub(r"_?\d+", "#", part) for part in parts),
        tuple(tuple(map(int, re.findall(r"\d+", part))) for part in parts),
    )


def in_order(stems: list[str], /) -> list[str] | None:
    """Return names of layers in the order of their numbers, or None where these don't settle it.

    Parameters
    ----------
    stems : list of str
        Of layers of one kind: "layer1.0.conv1", ...

    Returns
    -------
    list of str or None
        None if two differ first in something else than numbers.
    """
    keyed = {stem: _parts(stem) for stem in stems}
    ordered = sorted(stems, key=lambda stem: list(zip(*keyed[stem], strict=True)))
    for a, b in itertools.pairwise(ordered):
        (words, numbers), (others, more) = keyed[a], keyed[b]
        differing = zip(words, others, numbers, more, strict=False)
        first = next((d for d in differing if (d[0], d[2]) != (d[1], d[3])), None)
        if first is None or first[0] != first[1]:
            return None
    return ordered


def chosen(names: Any, slots: list[Slot], house: Convention, /) -> dict[str, str | None]:
    """Return the name of each place that the caller names.

    Parameters
    ----------
    names : mapping or callable
        Place, of an array or of a layer, -> name.
    slots : list of Slot
        The model's.
    house : Convention
        Names the arrays of a layer.

    Returns
    -------
    dict
        Place -> name, or None where it is to be left out.

    Raises
    ------
    OptionError
        If a place is unknown, or a name is none or there twice.
    """
    if isinstance(names, Mapping):
        known = {key for slot in slots for key in (slot.place, slot.layer.path)}
        for key in names:
            if key not in known:
                msg = f"names has {key!r}, which the model has not{suggest(str(key), known)}"
                raise OptionError(msg, where="names")
        wanted = {}
        for slot in slots:
            if slot.place in names:
                wanted[slot.place] = names[slot.place]
            elif slot.layer.path in names:
                stem = names[slot.layer.path]
                wanted[slot.place] = house.join(stem, slot) if isinstance(stem, str) else stem
    elif callable(names):
        wanted = {slot.place: names(slot.place) for slot in slots}
    else:
        msg = f"names is {names!r}; needed a mapping from places to names, or a callable"
        raise OptionError(msg, where="names")
    for place, name in wanted.items():
        if name is not None and not isinstance(name, str):
            msg = f"the name of {place} is {name!r}; needed str, or None to leave it out"
            raise OptionError(msg, where="names")
    once(wanted)
    return wanted


def once(wanted: Mapping[str, str | None], /) -> None:
    """Refuse a name that is there twice.

    Parameters
    ----------
    wanted : mapping
        Place -> name.

    Raises
    ------
    OptionError
        With both places.
    """
    given: dict[str, str] = {}
    for place, name in wanted.items():
        if name is not None and given.setdefault(name, place) != place:
            msg = f"{given[name]} and {place} are both called {name!r}; needed a name for each"
            raise OptionError(msg, where="names")


def _kind(shapes: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Return what tells a layer's kind in any library: whether it keeps statistics, and its rank."""
    if "mean" in shapes:
        return ("batch norm",)
    rank = len(shapes["w"]) if "w" in shapes else 0
    if rank in (2, 4):
        return ("linear", str(rank))
    return ("norm",) if rank else tuple(sorted(shapes))


def _registered(groups: dict[str, dict[str, str]]) -> list[str]:
    """Return names as libraries register them, layer by layer, weights first; sorted names are others."""
    rank = {"w": 0, "b": 1, "mean": 2, "var": 3}
    return [names[key] for names in groups.values() for key in sorted(names, key=lambda k: rank.get(k, 4))]


def paired(
    slots: list[Slot], found: dict[str, np.ndarray], ordered: bool, house: Convention, /, *, where: str
) -> dict[str, str | None]:
    """Return a name for each place: the default ones if all are there, else by kind and order.

    Parameters
    ----------
    slots : list of Slot
        The model's.
    found : dict
        Name -> array.
    ordered : bool
        Whether the names come in the order of their network.
    house : Convention
        How names are made of a layer's and an array's.
    where : str
        The source, for the error.

    Returns
    -------
    dict
        Place -> name, where there is one.

    Raises
    ------
    DataError
        If the order isn't known, and numbers in the names don't tell it.
    """
    default = house.names(slots)
    if not house.keys or set(default.values()) == set(found):
        return {**default}
    ours: dict[tuple[str, ...], list[dict[str, str]]] = {}
    layers: dict[Any, list[Slot]] = {}
    for slot in slots:
        layers.setdefault(slot.layer, []).append(slot)
    for own in layers.values():
        kind = _kind({slot.key: slot.shape for slot in own})
        ours.setdefault(kind, []).append({slot.key: slot.place for slot in own})
    groups: dict[str, dict[str, str]] = {}
    for name in found:
        stem, key = house.split(name)
        groups.setdefault(stem, {})[key] = name
    ordered = ordered and list(found) == _registered(groups)
    theirs: dict[tuple[str, ...], list[str]] = {}
    for stem, names in groups.items():
        theirs.setdefault(_kind({key: found[name].shape for key, name in names.items()}), []).append(stem)
    wanted: dict[str, str | None] = {}
    for kind, stems in theirs.items():
        order = stems if ordered or kind not in ours else in_order(stems)
        if order is None:
            known = ", ".join(sorted(stems))
            msg = (
                f"the order of {known} is lost (a file keeps none), nor do their names tell it; needed names="
            )
            raise DataError(msg, where=where)
        for places, stem in zip(ours.get(kind, []), order, strict=False):
            wanted |= {place: groups[stem][key] for key, place in places.items() if key in groups[stem]}
    return wanted
