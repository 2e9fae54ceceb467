"""Backends: which array library holds an array, which one new models use, and which kernels it offers."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from xcnn.errors import BackendError, DTypeError, suggest
from xcnn.plugin import Backend, Kernel, find_kernel, is_readable, readable, refuse_other_arithmetic

__all__ = [
    "Backend",
    "Kernel",
    "available_backends",
    "backend_of",
    "backend_problems",
    "find_kernel",
    "get_backend",
    "is_readable",
    "move",
    "plugin_of",
    "readable",
    "set_backend",
    "use_backend",
]


_BUILT_IN = {
    "numpy": "numpy",
    "cupy": "cupy",
    "torch": "torch",
    "array_api_strict": "strict",
    "xcnn_python": "python",
}  # owner -> name
_plugins: dict[str, type[Backend]] = {}
_opened: dict[str, Backend] = {}
_by_type: dict[type, type[Backend]] = {}
_default: str | None = None
_scoped: ContextVar[str | None] = ContextVar("backend", default=None)


def _entry_points() -> dict[str, Any]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group="xcnn.backends")}


def _known() -> list[str]:
    return list(dict.fromkeys([*_BUILT_IN.values(), *_entry_points(), *_plugins]))


def _plugin(root: str) -> type[Backend]:
    """Return the plug-in called `root`: a built-in, an entry point, or any importable ``xcnn_<root>``."""
    if root not in _plugins:
        entry = None if root in _BUILT_IN.values() else _entry_points().get(root)
        if entry is None and not root.isidentifier():
            raise BackendError(f"unknown backend {root!r}{suggest(root, ['auto', *_known()])}")
        try:
            plugin = entry.load() if entry else importlib.import_module(f"xcnn_{root}").Backend
        except ModuleNotFoundError as error:
            if error.name != f"xcnn_{root}":
                raise BackendError(f"cannot be imported: {error}", where=f"backend {root!r}") from error
            msg = f"unknown backend {root!r}{suggest(root, ['auto', *_known()])}"
            raise BackendError(msg) from None
        except Exception as error:  # a third party's module may fail in any way
            msg = f"cannot be imported: {type(error).__name__}: {error}"
            raise BackendError(msg, where=f"backend {root!r}") from error
        if not (isinstance(plugin, type) and issubclass(plugin, Backend)):
            msg = f"gives {plugin!r}; needed a subclass of xcnn.Backend"
            raise BackendError(msg, where=f"backend {root!r}")
        _plugins[root] = plugin
    return _plugins[root]


def _choose() -> Backend:
    """Return the fastest usable backend, and say on stderr which and why."""
    reasons = []
    for name in ("cupy", "torch:cuda"):
        try:
            chosen = get_backend(name)
            break
        except BackendError as error:
            reasons.append(str(error))
    else:
        chosen = get_backend("numpy")
    why = f" ({'; '.join(reasons)})" if reasons else ""
    print(f'xcnn: backend "auto" is {chosen.name}{why}', file=sys.stderr)
    return chosen


def get_backend(name: str | Backend | None = None, /) -> Backend:
    """Return the backend called `name`, opened and tried.

    Parameters
    ----------
    name : str, Backend or None
        ``"numpy"``, ``"cupy"``, ``"cupy:1"``, ``"torch"``, ``"torch:cuda"``, ``"strict"``, ``"python"``,
        ``"auto"`` or a third party's; None: what new models use, by `use_backend`, else `set_backend`, else
        the environment variable ``XCNN_BACKEND``, else NumPy.

    Returns
    -------
    Backend
        The same object for the same library and device.

    Raises
    ------
    BackendError
        If the name is unknown, or the library, the device or its first kernel fails.
    """
    if isinstance(name, Backend):
        _plugins.setdefault(name.root, type(name))
        return _opened.setdefault(name.name, name)
    if name is not None and not isinstance(name, str):
        msg = f"got {name!r}; needed the name of a backend, such as 'numpy'"
        raise BackendError(msg)
    name = name or _scoped.get() or _default or os.environ.get("XCNN_BACKEND") or "numpy"
    if name not in _opened:
        if name == "auto":
            return _opened.setdefault(name, _choose())
        root, _, device = name.partition(":")
        plugin = _plugin(root)
        try:
            backend = plugin(device)
            backend = _opened.get(backend.name, backend)
            backend.probe()
        except BackendError:
            raise
        except Exception as error:  # a driver may fail in any way
            msg = f"cannot be used here: {type(error).__name__}: {error}"
            raise BackendError(msg, where=f"backend {name!r}") from error
        _opened[name] = _opened.setdefault(backend.name, backend)  # another thread may have been first
    return _opened[name]


def set_backend(name: str | Backend, /) -> None:
    """Make `name` the backend of what is created from now on; existing models keep theirs.

    Parameters
    ----------
    name : str or Backend
        See `get_backend`.

    Raises
    ------
    BackendError
        If it cannot be used; the default stays as it was.
    """
    global _default
    _default = get_backend(name).name


@contextmanager
def use_backend(name: str | Backend, /) -> Iterator[Backend]:
    """Use `name` for what is created inside the block, in this thread or task only.

    Parameters
    ----------
    name : str or Backend
        See `get_backend`.

    Yields
    ------
    Backend
        The backend in use.

    Raises
    ------
    BackendError
        If it cannot be used.
    """
    backend = get_backend(name)
    token = _scoped.set(backend.name)
    try:
        yield backend
    finally:
        _scoped.reset(token)


def backend_problems() -> dict[str, str]:
    """Return the backends that cannot be used here.

    Returns
    -------
    dict
        Name to the reason, with the line that mends it where one is known.
    """
    problems = {}
    for name in _known():
        try:
            get_backend(name)
        except BackendError as error:
            problems[name] = str(error)
    return problems


def available_backends() -> list[str]:
    """Return the names of the backends whose device answered and ran a kernel.

    Returns
    -------
    list of str
        For example ``["numpy", "torch"]``.
    """
    problems = backend_problems()
    return [name for name in _known() if name not in problems]


def _owners(package: str, /) -> list[type[Backend]]:
    """Return the plug-ins that own the array types of a root package, loading third parties' if need be."""
    found = [p for p in _plugins.values() if package in p.owns]
    if not found and package in _BUILT_IN:
        return [_plugin(_BUILT_IN[package])]
    if not found and package != "builtins":
        for name in set(_entry_points()) - set(_plugins):
            with suppress(BackendError):  # a broken one is its own problem
                found += [p for p in [_plugin(name)] if package in p.owns]
    return found


def plugin_of(a: Any, /) -> type[Backend]:
    """Return the plug-in whose library made `a`.

    Parameters
    ----------
    a : array
        An array of any library that a backend owns.

    Returns
    -------
    type
        A subclass of `Backend`.

    Raises
    ------
    DTypeError
        If no backend owns the type of `a`.
    """
    kind = type(a)
    if kind not in _by_type:
        refuse_other_arithmetic(kind)
        for base in kind.__mro__:  # numpy.memmap, torch.nn.Parameter
            found = _owners(base.__module__.partition(".")[0])
            if found:
                break
        else:
            msg = f"got a {kind.__module__}.{kind.__qualname__}; needed an array of {', '.join(_known())}"
            raise DTypeError(msg)
        _by_type[kind] = found[0]
    return _by_type[kind]


def backend_of(a: Any, /) -> Backend:
    """Return the backend, with its device, that holds `a`.

    Parameters
    ----------
    a : array
        An array of any library that a backend owns.

    Returns
    -------
    Backend
        The same object that `get_backend` returns.

    Raises
    ------
    DTypeError
        If no backend owns the type of `a`.
    """
    plugin = plugin_of(a)
    device = plugin.device(a)
    return get_backend(f"{plugin.root}:{device}" if device else plugin.root)


def move(a: Any, backend: Backend, /, dtype: str | None = None) -> Any:
    """Return `a`, an array of any backend or a list, on `backend`.

    Parameters
    ----------
    a : array or sequence of numbers
        What to move.
    backend : Backend
        Where to.
    dtype : str, optional
        For example ``"float32"``; None keeps it.

    Returns
    -------
    array
        Itself where nothing is to be done.
    """
    if isinstance(a, (list, tuple, int, float)):
        return backend.asarray(a, dtype)
    plugin = plugin_of(a)
    return backend.asarray(a if isinstance(backend, plugin) else plugin.to_numpy(a), dtype)
