"""Fewer classes, fewer images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xcnn.data.dataset import DataSet, Split
from xcnn.data.split import stratified
from xcnn.errors import OptionError, suggest

__all__ = ["pick_classes", "pick_images"]


def pick_images(part: Split, size: int | None, /, *, what: str, seed: int) -> Split:
    """Return some of the images, the same fraction of every class, in their order.

    Parameters
    ----------
    part : Split
        All images.
    size : int or None
        How many; None is all.
    what : str
        What the option is called, for errors.
    seed : int
        Decides which, from 0 to 2**64 - 1.

    Returns
    -------
    Split
        Copies, or `part` itself.

    Raises
    ------
    OptionError
        If there are not so many.
    """
    if size is None:
        return part
    n = len(part.y)
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 0 < size <= n:
        msg = f"{what} is {size!r}; needed an integer from 1 to {n}, the images there are"
        raise OptionError(msg, where="load")
    index = stratified(part.y, int(size), seed=seed, use=1)
    return Split(part.x[index], part.y[index])


def pick_classes(data: DataSet, classes: Sequence[str | int] | None, /) -> DataSet:
    """Return a data set with some of the classes, labelled 0, 1, ... in the order given.

    Parameters
    ----------
    data : DataSet
        All classes.
    classes : sequence of str or int, or None
        Names or labels; None is all.

    Returns
    -------
    DataSet
        With copies, or `data` itself.

    Raises
    ------
    OptionError
        If a class is unknown or named twice, or none is named.
    """
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
