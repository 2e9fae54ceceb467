"""Data sets as pairs of arrays, and the parts they are divided into, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import array_api_compat
import numpy as np

from xcnn.errors import DataError, OptionError, suggest
from xcnn.random import SPLIT, permutation

__all__ = ["DataSet", "Rows", "Split", "split"]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and their labels; ``x, y = data.train`` takes them apart.

    Parameters
    ----------
    x : array
        Shape (N, C, H, W), uint8 or float32 in [0, 1].
    y : array
        Shape (N,), int64: the number of each image's class.
    """

    x: Any
    y: Any

    def __iter__(self) -> Iterator[Any]:
        """Yield x, then y."""
        return iter((self.x, self.y))

    def __repr__(self) -> str:
        x, y = (f"{tuple(a.shape)} {a.dtype}" for a in self)
        return f"Split(x: {x}, y: {y})"


@dataclass(frozen=True, eq=False)
class DataSet:
    """A named data set.

    Parameters
    ----------
    name : str
        What `load` was asked for.
    train, test : Split
        Images to learn from, and images that were held out.
    classes : tuple of str
        Name of each class, by label.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]


class Rows:
    """Some rows of an array that is not read before they are asked for: a memory map, an HDF5 data set.

    Parameters
    ----------
    base : array_like
        Has a shape and can be indexed along its first axis by a rising integer array.
    index : numpy.ndarray
        Shape (n,), the rows, rising.
    """

    def __init__(self, base: Any, index: np.ndarray, /) -> None:
        self.base, self.index = base, index
        self.shape: tuple[int, ...] = (len(index), *base.shape[1:])
        self.dtype = base.dtype

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.index)

    def __getitem__(self, key: Any, /) -> np.ndarray:
        """Read the rows that `key` (an integer, a slice or an integer array) picks out of these."""
        return np.asarray(self.base[self.index[key]])


def take(a: Any, index: np.ndarray, /) -> Any:
    """Return rows of `a`: a copy of an array in memory, on its device; `Rows` of anything else."""
    if isinstance(a, np.ndarray) and not isinstance(a, np.memmap):
        return a[index]
    if array_api_compat.is_array_api_obj(a) and not isinstance(a, np.memmap):
        xp = array_api_compat.array_namespace(a)
        return xp.take(a, xp.asarray(index, device=array_api_compat.device(a)), axis=0)
    return Rows(a, index) if hasattr(a, "shape") else [a[i] for i in index.tolist()]


def stratified(y: np.ndarray, n: int, /, *, seed: int, use: int = 0) -> np.ndarray:
    """Return `n` indices in rising order, each class in proportion.

    Class c with n_c of N labels gets ``floor(n n_c / N)`` of them, and the classes with the largest remainders one
    more (the first of equals first), chosen by `permutation` of the class on the stream ``(class, SPLIT, use)``.
    """
    values, counts = np.unique(y, return_counts=True)
    share, remainder = np.divmod(n * counts, len(y))
    most = np.argsort(-remainder, kind="stable")[: n - share.sum()]
    share[most] += 1
    chosen = [
        np.flatnonzero(y == value)[permutation(count, seed=seed, step=int(value), layer=SPLIT, use=use)[:k]]
        for value, count, k in zip(values, counts.tolist(), share, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _strata(y: Any) -> np.ndarray | None:
    """Return integer labels on the host, or None where `y` holds none."""
    if isinstance(y, np.ndarray) or not array_api_compat.is_array_api_obj(y):
        y = np.asarray(y)
    elif array_api_compat.array_namespace(y).isdtype(y.dtype, "integral"):
        from xcnn.backend import plugin_of

        y = plugin_of(y).to_numpy(y)
    else:
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return y if y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else None


def split(x: Any, y: Any, fraction: float, /, *, seed: int = 0) -> tuple[Split, Split]:
    """Hold out a fraction of the images, the same of every class.

    ``round(fraction N)`` images, at least one, are held out; each class gives its share to within one image. Both
    parts keep the order of the original. Labels that are no integers (targets of a regression, one-hot rows) are held
    out evenly at random.

    Parameters
    ----------
    x : array_like
        Shape (N, ...). Arrays in memory are copied where they are; anything else (a memory map) is not read: its
        parts are `Rows`.
    y : array_like
        Shape (N,), or (N, 1), integers; or (N, ...).
    fraction : float
        How much is held out, above 0 and below 1.
    seed : int
        Decides which images, from 0 to 2**64 - 1.

    Returns
    -------
    train, validation : Split
        What is left, and what was held out.

    Raises
    ------
    DataError
        If there are fewer than two images, or `x` and `y` differ in length.
    OptionError
        If `fraction` or `seed` is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> train, validation = split(np.zeros((10, 1, 8, 8)), np.arange(10) % 2, 0.2)
    >>> validation.y
    array([0, 1])
    """
    if not 0 < fraction < 1:
        msg = f"fraction is {fraction!r}; needed a number above 0 and below 1"
        raise OptionError(msg, where="split")
    n = len(x)
    if len(y) != n:
        msg = f"x has {n} images and y {len(y)} labels; needed as many"
        raise DataError(msg, where="split")
    if n < 2:
        msg = f"got {n} image{'' if n == 1 else 's'}; needed at least 2, one for each part"
        raise DataError(msg, where="split")
    labels = _strata(y)
    held = min(max(round(fraction * n), 1), n - 1)
    index = stratified(np.zeros(n, np.int64) if labels is None else labels, held, seed=seed)
    rest = np.setdiff1d(np.arange(n), index, assume_unique=True)
    return Split(take(x, rest), take(y, rest)), Split(take(x, index), take(y, index))


def subset(part: Split, size: int | None, /, *, what: str, seed: int) -> Split:
    """Return `size` images, the same fraction of every class; `what` names the option in errors."""
    if size is None:
        return part
    n = len(part.y)
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 0 < size <= n:
        msg = f"{what} is {size!r}; needed an integer from 1 to {n}, the images there are"
        raise OptionError(msg, where="load")
    index = stratified(part.y, int(size), seed=seed, use=1)
    return Split(part.x[index], part.y[index])


def pick_classes(data: DataSet, classes: Sequence[str | int] | None, /) -> DataSet:
    """Return `data` with the named or numbered classes alone, labelled 0, 1, ... in the order given."""
    if classes is None:
        return data
    labels = [_label(c, data.classes) for c in ([classes] if isinstance(classes, (str, int)) else classes)]
    if not labels or len(set(labels)) < len(labels):
        msg = f"classes is {classes!r}; needed at least one class, each once"
        raise OptionError(msg, where="load")
    new = np.full(len(data.classes), -1, np.int64)
    new[labels] = np.arange(len(labels))

    def keep(part: Split) -> Split:
        index = np.flatnonzero(new[part.y] >= 0)
        return Split(part.x[index], new[part.y[index]])

    names = tuple(data.classes[label] for label in labels)
    return replace(data, train=keep(data.train), test=keep(data.test), classes=names)


def _label(wanted: str | int, names: tuple[str, ...]) -> int:
    """Return the label of a class given by its name or its label."""
    if isinstance(wanted, str):
        if wanted in names:
            return names.index(wanted)
        msg = f"unknown class {wanted!r}{suggest(wanted, names)}"
        raise OptionError(msg, where="load")
    if isinstance(wanted, bool) or not isinstance(wanted, (int, np.integer)) or not 0 <= wanted < len(names):
        msg = f"class is {wanted!r}; needed a name, or a label from 0 to {len(names) - 1}"
        raise OptionError(msg, where="load")
    return int(wanted)
