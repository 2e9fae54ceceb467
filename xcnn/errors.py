"""What xcnn raises: one clear message that says where, what came and what was needed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

__all__ = [
    "BackendError",
    "ConfigError",
    "DTypeError",
    "DataError",
    "DeviceMismatchError",
    "Error",
    "FileError",
    "GradientError",
    "NonFiniteError",
    "OptionError",
    "ShapeError",
    "lookup",
    "suggest",
]


T = TypeVar("T")


class Error(Exception):
    """Anything that xcnn refuses.

    Parameters
    ----------
    what : str
        What came and what was needed.
    where : str, optional
        The function, layer or file that refuses; a layer puts its own label over that of the op it called.
    """

    def __init__(self, what: str, /, where: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.located = False  # whether `where` is a layer's label, which outer layers leave alone

    def __str__(self) -> str:
        """Return "where: what"."""
        return f"{self.where}: {self.what}" if self.where else self.what


class ShapeError(Error, ValueError):
    """A rank, an extent or a window that does not fit."""


class OptionError(Error, ValueError):
    """A hyperparameter out of its range, or an unknown name."""


class DataError(Error, ValueError):
    """Data that cannot be learned from: an empty batch, labels out of range, NaN."""


class DTypeError(Error, TypeError):
    """An array of the wrong dtype, or no array at all."""


class DeviceMismatchError(Error, TypeError):
    """Arrays of two backends, or of two devices, in one operation."""


class BackendError(Error, RuntimeError):
    """A backend that is unknown or cannot be used on this machine."""


class FileError(Error, OSError):
    """A file that is missing, truncated, altered or not what it says."""


class ConfigError(Error, ValueError):
    """A run configuration that is not valid; the message names the path in the file."""


class GradientError(Error, AssertionError):
    """A gradient that disagrees with finite differences."""


class NonFiniteError(Error, ArithmeticError):
    """NaN or infinity during training.

    Parameters
    ----------
    what : str
        What was found.
    where : str, optional
        Label of the layer in which NaN or infinity first appeared.
    """

    history: Any = None  # what was recorded until then; `fit` sets it


def suggest(name: str, known: Iterable[str], /) -> str:
    """Return the end of a message about an unknown name.

    Parameters
    ----------
    name : str
        What came.
    known : iterable of str
        What would have been right.

    Returns
    -------
    str
        ``"; did you mean 'x'?"`` for a near miss, else ``"; known: a, b, c"``.
    """
    names = sorted(known)
    folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]!r}?" if near else f"; known: {', '.join(names)}"


def lookup(name: Any, known: dict[str, T], kind: str, /) -> T:
    """Return what is known by a name.

    Parameters
    ----------
    name : str
        What came.
    known : dict
        Name to thing.
    kind : str
        What the things are, for the error.

    Returns
    -------
    object
        ``known[name]``.

    Raises
    ------
    OptionError
        If the name is unknown, or no name.
    """
    if not isinstance(name, str) or name not in known:
        msg = f"unknown {kind} {name!r}{suggest(str(name), known)}"
        raise OptionError(msg)
    return known[name]
