"""What xcnn raises: one clear message that says where, what came and what was needed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from numbers import Real
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
    "OutOfMemoryError",
    "ShapeError",
    "flag",
    "lookup",
    "named",
    "number",
    "suggest",
]


T = TypeVar("T")
_LONG = 1000  # characters of a line of a message


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
        self.what = "\n".join([_shortened(line) for line in what.split("\n")])
        super().__init__(self.what)
        self.where = where
        self.located = False  # whether `where` is a layer's label, which outer layers leave alone

    def __str__(self) -> str:
        """Return "where: what", as it can be printed: names from files may hold what is no Unicode."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return text.encode("utf-8", "backslashreplace").decode()


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


class OutOfMemoryError(Error, MemoryError):
    """Arrays larger than what is free, on the host."""


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


def _shortened(line: str, /) -> str:
    """Return a line with its middle left out, if it is endless: what came may be of any size."""
    half = _LONG // 2
    return line if len(line) <= _LONG else f"{line[:half]} ... {line[-half:]}"


class named(ContextDecorator):
    """Give `where` as the place of what is refused inside the block and has none; a decorator, too.

    A `MemoryError` becomes an `OutOfMemoryError`.

    Parameters
    ----------
    where : str
        The function or class that was called.
    """

    def __init__(self, where: str, /) -> None:
        self.where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: Any, error: Any, traceback: Any, /) -> None:
        """Look at what was raised."""
        if isinstance(error, Error):
            error.where = error.where or self.where
        elif isinstance(error, MemoryError):
            msg = f"{str(error) or 'the memory is full'}; needed smaller arrays, or fewer at a time"
            raise OutOfMemoryError(msg, where=self.where) from error


def number(value: Any, name: str, needed: str, fits: Callable[[float], bool], /, where: str = "") -> float:
    """Return an option as a float.

    Parameters
    ----------
    value : float
        What came; numbers of NumPy's are fine, NaN and infinity are not.
    name : str
        Of the option.
    needed : str
        What is said of the range: ``"a positive number"``.
    fits : callable
        ``fits(value)``, whether it lies in the range.
    where : str
        Whose option it is.

    Returns
    -------
    float
        The number.

    Raises
    ------
    OptionError
        If it is no number, or does not fit.
    """
    plain = _scalar(value)
    try:
        fine = isinstance(plain, (float, int, Real)) and not isinstance(plain, bool)
        fine = fine and math.isfinite(plain) and fits(float(plain))
    except OverflowError:  # an integer of hundreds of digits
        fine = False
    if not fine:
        msg = f"{name} is {value!r}; needed {needed}"
        raise OptionError(msg, where=where)
    return float(plain)


def flag(value: Any, name: str, /, where: str = "") -> bool:
    """Return an option as a bool.

    Parameters
    ----------
    value : bool
        What came.
    name : str
        Of the option.
    where : str
        Whose option it is.

    Returns
    -------
    bool
        True or False.

    Raises
    ------
    OptionError
        If it is neither.
    """
    plain = _scalar(value)
    if not isinstance(plain, bool):
        msg = f"{name} is {value!r}; needed True or False"
        raise OptionError(msg, where=where)
    return plain


def _scalar(value: Any) -> Any:
    """Return the number in an array () of any library, or in a scalar of NumPy's; else what came."""
    if type(value) in (float, int, bool) or getattr(value, "shape", None) != ():
        return value
    return value.item() if hasattr(value, "item") else value


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
