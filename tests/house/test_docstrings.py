"""Every public name says what it is, in numpydoc's form."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numpydoc.docscrape import FunctionDoc, get_doc_object
from numpydoc.validate import Validator, validate

import xcnn

ROOT = Path(__file__).parents[2]

IGNORED = {
    "GL01": "the summary starts on the line of the quotes, as in PEP 257",
    "SS05": "ruff's D401 judges the mood; this one takes every word that ends in s for a third person",
    "ES01": "an extended summary where there is more to say",
    "PR03": "arguments that share a description stand together",
    "PR08": "a description may begin with a symbol of the formula: `F; the channels C are inferred`",
    "RT02": "a returned array is named where the formula speaks of it",
    "RT04": "as PR08",
    "SA01": "See Also where there is something to see",
    "EX01": "Examples where one helps; the README and examples/ hold the long ones",
}

# Modules that the author of a layer or a backend meets, besides the rooms that xcnn.__all__ names.
FOR_AUTHORS = ("backend", "build", "layer", "optimizer", "random", "state", "training", "types")


def _modules() -> list[ModuleType]:
    tops = [xcnn, *map(importlib.import_module, [path.name for path in (ROOT / "backends").glob("xcnn_*")])]
    names = [
        found.name
        for top in tops
        for found in pkgutil.walk_packages(top.__path__, f"{top.__name__}.")
        if top is xcnn  # a backend has no public names but its Backend
        if not found.name.rpartition(".")[2].startswith("_")
    ]
    return sorted([*tops, *map(importlib.import_module, names)], key=lambda module: module.__name__)


def _is_written(value: Any) -> bool:
    """Whether `value` stands in a file of ours: not another library's, not made at run time."""
    if not value.__module__.startswith("xcnn"):
        return False
    return hasattr(importlib.import_module(value.__module__), value.__qualname__)


def _found_in(modules: list[ModuleType]) -> dict[str, Any]:
    """Return the classes and functions of each ``__all__``, by the module that defines them."""
    found = {}
    for module in modules:
        for name in module.__all__:
            value = getattr(module, name)
            value = inspect.unwrap(value) if isinstance(value, xcnn.ops.Op) else value
            if (inspect.isclass(value) or inspect.isfunction(value)) and _is_written(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return dict(sorted(found.items()))


def _public() -> dict[str, Any]:
    """Return what a user of xcnn, or the author of a layer or a backend, meets."""
    rooms = [value for name in xcnn.__all__ if inspect.ismodule(value := getattr(xcnn, name))]
    rooms += [importlib.import_module(f"xcnn.{name}") for name in FOR_AUTHORS]
    rooms += [module for module in _modules() if not module.__name__.startswith("xcnn.")]
    return _found_in(rooms)


def _methods() -> dict[str, tuple[type, str, Any]]:
    """Return what public classes define under a public name: functions and properties."""
    found = {}
    for label, owner in PUBLIC.items():
        for name, value in vars(owner).items() if inspect.isclass(owner) else ():
            if isinstance(value, (classmethod, staticmethod)):
                value = value.__func__
            elif isinstance(value, (property, functools.cached_property)):
                value = value.fget if isinstance(value, property) else value.func
            if (
                inspect.isfunction(value)
                and not name.startswith("_")
                and value.__module__ == owner.__module__
            ):
                found[f"{label}.{name}"] = (owner, name, value)
    return found


PUBLIC = _public()
SHARED = {label: value for label, value in _found_in(_modules()).items() if label not in PUBLIC}
METHODS = _methods()


def _documented_by_bases(owner: type) -> set[str]:
    """Return the constructor arguments that the docstrings of `owner`'s bases describe."""
    names = set()
    for base in owner.__mro__[1:]:
        if base.__module__.startswith("xcnn") and "__doc__" in vars(base):
            rows = FunctionDoc(None, doc=inspect.cleandoc(base.__doc__ or ""))["Parameters"]
            names |= {name for row in rows for name in row.name.split(", ")}
    return names


def _constructor_is_ours(owner: type) -> bool:
    makers = [next(base for base in owner.__mro__ if name in vars(base)) for name in ("__init__", "__new__")]
    return any(base.__module__.startswith("xcnn") for base in makers)


class _House(Validator):
    """numpydoc's checks, for arguments that a base class or the fields of a tuple may describe."""

    def __init__(self, obj_name: str, obj: Any) -> None:
        self._label = obj_name
        super().__init__(get_doc_object(obj))

    @property
    def name(self) -> str:
        return self._label

    @property
    def signature_parameters(self) -> tuple[str, ...]:
        names = super().signature_parameters
        if not inspect.isclass(self.obj):
            return names
        if hasattr(self.obj, "model_fields"):  # pydantic's
            return tuple(self.obj.model_fields)
        if getattr(self.obj, "_is_protocol", False) or not _constructor_is_ours(self.obj):
            return ()
        elsewhere = _documented_by_bases(self.obj)
        if issubclass(self.obj, tuple):  # a named tuple's arguments are its attributes
            elsewhere |= {name for row in self.doc["Attributes"] for name in row.name.split(", ")}
        stated = {name for name in self.doc_all_parameters if name.startswith("**")}  # "**options: see Base"
        kept = tuple(name for name in names if name not in elsewhere - {*self.doc_all_parameters})
        return kept + tuple(stated - {*kept} if elsewhere else ())


def _faults(label: str, value: Any) -> list[str]:
    house = _House(label, value)
    pardoned = {
        f'Parameter "{name}" has no type'
        for name, (_, text) in house.doc_all_parameters.items()
        if text and text[0].startswith("See `")
    }
    found = []
    for code, text in validate(label, validator_cls=_House, obj=value)["errors"]:
        if code in IGNORED or text in pardoned:
            continue
        if code == "RT01" and house.yields:  # it returns an iterator
            continue
        if (
            code == "SS02" and house.summary.split()[0] in house.doc_all_parameters
        ):  # it starts with a formula
            continue
        found.append(f"{code} {text}")
    return found


def _is_one_line(value: Any) -> bool:
    return bool(value.__doc__) and "\n" not in value.__doc__.strip()


def _faults_of_one_line(value: Any) -> list[str]:
    """Return what one line in place of sections fails to say: it is a sentence that names each argument."""
    text = value.__doc__.strip()
    names = [name for name in inspect.signature(value).parameters if name not in ("self", "cls")]
    quoted = " ".join(re.findall(r"`+([^`]+)`+", text))
    faults = [f"argument `{name}` isn't named" for name in names if not re.search(rf"\b{name}\b", quoted)]
    if not re.match(r"[A-Z].*\.$", text):
        faults.append("needed a sentence: a capital first, a period last")
    return faults


@pytest.mark.parametrize("module", _modules(), ids=lambda module: module.__name__)
def test_module_says_what_it_is_and_what_is_public(module):
    assert re.match(r"\S.*[.:]$", (module.__doc__ or "").strip().split("\n")[0])
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("label", PUBLIC)
def test_docstring_is_complete(label):
    value = PUBLIC[label]
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert own, f"{label} has no docstring"
    assert not own.startswith(f"{value.__name__}("), f"{label} has no docstring but the one dataclass writes"
    faults = _faults(label, value)
    if not inspect.isclass(value) and not inspect.signature(value).parameters and _is_one_line(value):
        faults = _faults_of_one_line(value)
    assert not faults, "\n".join([label, *faults])


@pytest.mark.parametrize("label", SHARED)
def test_what_modules_share_is_described(label):
    value = SHARED[label]
    assert value.__doc__, f"{label} has no docstring"
    if _is_one_line(value):
        assert re.match(r"\S.*\.$", value.__doc__.strip())
    else:
        faults = [fault for fault in _faults(label, value) if not fault.startswith(("PR01", "RT01"))]
        assert not faults, "\n".join([label, *faults])


@pytest.mark.parametrize("label", METHODS)
def test_method_is_described(label):
    owner, name, value = METHODS[label]
    base = next((base for base in owner.__mro__[1:] if name in vars(base)), None)
    if not value.__doc__:
        assert base, f"{label} has no docstring"
        assert inspect.getdoc(vars(base)[name]), f"neither {label} nor {base.__name__}.{name} has a docstring"
        return
    faults = _faults_of_one_line(value) if _is_one_line(value) else _faults(label, value)
    if base and _is_one_line(value):
        faults = []  # an override says what differs
    assert not faults, "\n".join([label, *faults])


@pytest.mark.parametrize("name", sorted({*xcnn.ops.__all__} & {*xcnn.ops.Op.registry}))
def test_op_states_its_formula(name):
    text = xcnn.ops.Op.registry[name].__doc__
    assert re.search(r"math:|\b[yz]\w* (=|is) ", text), f"{name}: neither a formula nor a definition"
