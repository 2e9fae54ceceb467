"""Weights alone, in and out: PyTorch's state_dicts, Keras's variables, safetensors files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xcnn.errors import DataError, OptionError, flag, suggest
from xcnn.files import write_atomically
from xcnn.io.conventions import CONVENTIONS, Convention, Slot, slots_of
from xcnn.io.weight_names import chosen, once, paired
from xcnn.io.weight_source import ORDER, read_weights, refuse_other_files
from xcnn.model import Model
from xcnn.state import Parameter

__all__ = ["LoadedWeights", "get_weights", "load_weights", "save_weights"]

Names: TypeAlias = Mapping[str, str | None] | Callable[[str], str | None] | None


class LoadedWeights(NamedTuple):
    """What `load_weights` did.

    Attributes
    ----------
    names : dict
        Place in the model -> name in the source; give it to `get_weights` to go back.
    missing : tuple of str
        Places that nothing was found for; they are as they were.
    unexpected : tuple of str
        Names in the source that were not used.
    """

    names: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def load_weights(
    model: Model, source: Any, /, *, names: Names = None, convention: str = "torch", strict: bool = True
) -> LoadedWeights:
    """Put weights and running statistics of another library into a model, all or none.

    Parameters
    ----------
    model : Model
        Is changed, once everything fits; optimizer slots stay.
    source : mapping, str or Path
        ``torch_model.state_dict()``, ``{v.path: v.numpy() for v in keras_model.weights}``, any other mapping
        from names to arrays, or the path of a safetensors file. float16, bfloat16, float32 and float64 are
        converted.
    names : mapping or callable, optional
        Place in the model -> name in the source: ``{"layers[0].w": "conv1.weight"}``, or for a whole layer
        ``{"layers[0]": "conv1"}``; None leaves it as it is. By default the names that `get_weights` gives,
        if these are there; else layers are paired by order, those of a kind with each other, unless the
        source has lost its order, as files do, and numbers in the names do not tell it.
    convention : {"torch", "keras", "xcnn"}
        Whose names and layouts. "keras": channels last, also where images are flattened; mind that Keras's
        batch norm has ``eps`` 1e-3 unless told otherwise.
    strict : bool
        Whether everything in the model and in the source must be used.

    Returns
    -------
    LoadedWeights
        Which name went to which place.

    Raises
    ------
    DataError
        If anything does not fit: all of it is listed, and the model is as it was.
    FileError
        If the path is no safetensors file; what PyTorch pickles is refused, with the line that converts it.
    OptionError
        If names or convention are unknown.
    """
    strict = flag(strict, "strict", "load_weights")
    slots, house = slots_of(model, convention), CONVENTIONS[convention]
    found, ordered = read_weights(source, house.ignored)
    where = "load_weights" if isinstance(source, Mapping) else str(source)
    if names is not None:
        wanted = chosen(names, slots, house)
    else:
        wanted = paired(slots, found, ordered, house, where=where)
    places = {slot.place: slot for slot in slots}
    named = {place: name for place, name in wanted.items() if name in found}
    missing = [place for place in places if place not in named and wanted.get(place, "") is not None]
    used = set(named.values())
    unexpected = [name for name in found if name not in used]
    values, faults = {}, []
    for place, name in named.items():
        try:
            values[place] = _fitted(places[place], found[name], convention, model.dtype)
        except DataError as error:
            faults.append(f"{place} from {name!r}: {error.what}")
    if strict:
        free = [place for place in places if place not in named]
        faults += [f"missing: {_missed(places[place], wanted.get(place), unexpected)}" for place in missing]
        faults += [
            f"unexpected: {name!r} {found[name].shape}{_near(name, free, house, places)}"
            for name in unexpected
        ]
    if faults:
        lines = "\n  ".join(["the weights do not fit the model, which is as it was:", *faults])
        raise DataError(lines, where=where)
    _write(model, places, values)
    return LoadedWeights(named, tuple(missing), tuple(unexpected))


def get_weights(model: Model, /, *, names: Names = None, convention: str = "torch") -> dict[str, np.ndarray]:
    """Return a model's weights and running statistics, as another library names them and lays them out.

    Parameters
    ----------
    model : Model
        Any.
    names : mapping or callable, optional
        Place in the model -> name, as for `load_weights`, whose result has such a mapping. By default the
        place as PyTorch's Sequential would write it, "0.weight"; names as Keras gives them, "conv2d/kernel".
    convention : {"torch", "keras", "xcnn"}
        Whose names and layouts.

    Returns
    -------
    dict
        Name -> array, contiguous, in the order of the forward pass; copies.

    Raises
    ------
    OptionError
        If names or convention are unknown, or a name is lacking or there twice.
    """
    slots, house = slots_of(model, convention), CONVENTIONS[convention]
    wanted = house.names(slots) if names is None else chosen(names, slots, house)
    lacking = [slot.place for slot in slots if slot.place not in wanted]
    if lacking:
        msg = f"names lacks {', '.join(lacking)}; needed a name for each, or None to leave it out"
        raise OptionError(msg, where="get_weights")
    once(wanted)
    found = {}
    for slot in slots:
        name = wanted[slot.place]
        if name is not None:
            a = np.asarray(model.backend.to_numpy(slot.holder.value)).reshape(slot.shape)
            found[name] = np.array(house.layouts(slot, a)[0], order="C")
    return found


def save_weights(
    model: Model, path: str | Path, /, *, names: Names = None, convention: str = "torch"
) -> None:
    """Write what `get_weights` returns to a safetensors file, whole or not at all.

    Parameters
    ----------
    model : Model
        Any.
    path : str or Path
        Ends in ``.safetensors`` by custom.
    names : mapping or callable, optional
        Place in the model -> name, see `get_weights`.
    convention : {"torch", "keras", "xcnn"}
        Whose names and layouts.

    Raises
    ------
    FileError
        If it cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    refuse_other_files(Path(path))
    found = get_weights(model, names=names, convention=convention)
    write_atomically(path, to_bytes(found, {ORDER: json.dumps(list(found))}))


def _fitted(slot: Slot, a: np.ndarray, convention: str, dtype: str) -> np.ndarray:
    """Return an array of a source in xcnn's layout and in the model's dtype."""
    if a.dtype.kind != "f":
        msg = f"it has dtype {a.dtype}; needed a floating one"
        raise DataError(msg)
    indices = np.arange(math.prod(slot.shape)).reshape(slot.shape)
    known = {name: house.layouts(slot, indices) for name, house in CONVENTIONS.items()}
    layout = next((i for i in known[convention] if i.shape == a.shape), None)
    if layout is None:
        other = next((name for name, found in known.items() if a.shape in {i.shape for i in found}), None)
        hint = f"; that is how convention {other!r} lays it out" if other else ""
        msg = f"it has shape {a.shape}; needed {known[convention][0].shape}{hint}"
        raise DataError(msg)
    values = np.empty(slot.shape, dtype)
    with np.errstate(over="ignore"):
        values.reshape(-1)[layout.ravel()] = a.ravel()
    if not np.isfinite(values).all():
        msg = f"it has NaN or infinity, as it came or in {dtype}; needed finite numbers"
        raise DataError(msg)
    if slot.key == "var" and (values < 0).any():
        msg = f"it has {values.min()}; a variance is not negative"
        raise DataError(msg)
    return values


def _missed(slot: Slot, name: str | None, unexpected: list[str]) -> str:
    what = f"{slot.place} {slot.shape}"
    if name is None:
        return what
    return f"{what}, called {name!r}{suggest(name, unexpected) if unexpected else ''}"


def _near(name: str, free: list[str], house: Convention, places: dict[str, Slot]) -> str:
    """Return a hint at the one free place of that kind of array."""
    fits = [place for place in free if places[place].key == house.split(name)[1]]
    return f"; {fits[0]} is free" if len(fits) == 1 else ""


def _write(model: Model, places: dict[str, Slot], values: dict[str, np.ndarray]) -> None:
    """Replace the arrays of a model in one assignment."""
    old, backend = model.state.arrays, model.backend
    flat, buffers = np.array(backend.to_numpy(old.values)), list(old.buffers)
    with backend.active():
        for place, a in values.items():
            holder = places[place].holder
            if isinstance(holder, Parameter):
                flat[holder.start : holder.stop] = a.ravel()
            else:
                buffers[holder.index] = backend.asarray(a, model.dtype)
        model.state.arrays = old._replace(values=backend.asarray(flat, model.dtype), buffers=tuple(buffers))
