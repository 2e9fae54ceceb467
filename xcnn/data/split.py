"""The parts that a data set is divided into, class by class."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from xcnn.data.dataset import Split
from xcnn.data.rows import count, from_list, from_rows, in_memory, read_rows, take, to_host
from xcnn.errors import DataError, named, number
from xcnn.random import SPLIT, permutation, seed_key

__all__ = ["split", "stratified"]


def stratified(y: np.ndarray, n: int, /, *, seed: int, use: int = 0) -> np.ndarray:
    """Return the indices of `n` labels, each class in proportion.

    Class c with n_c of N labels gets ``floor(n n_c / N)``, and those with the largest remainders one more (of
    equals the first). Which ones is a `permutation` of the class on the stream ``(c, SPLIT, use)``.

    Parameters
    ----------
    y : numpy.ndarray
        Shape (N,), integer labels.
    n : int
        How many, from 0 to N.
    seed : int
        From 0 to 2**64 - 1.
    use : int
        Tells selections with the same seed apart.

    Returns
    -------
    numpy.ndarray
        Shape (n,), int64, rising.
    """
    values, counts = np.unique(y, return_counts=True)
    share, remainder = np.divmod(n * counts, len(y))
    share[np.argsort(-remainder, kind="stable")[: n - share.sum()]] += 1
    chosen = [
        np.flatnonzero(y == c)[permutation(count, seed=seed, step=int(c), layer=SPLIT, use=use)[:k]]
        for c, count, k in zip(values, counts.tolist(), share, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _labels(y: Any) -> np.ndarray | None:
    """Return integer labels on the host as (N,), or None if `y` holds something else."""
    if len(y.shape) != 1 and tuple(y.shape[1:]) != (1,):
        return None
    if array_api_compat.is_array_api_obj(y):
        integers = array_api_compat.array_namespace(y).isdtype(y.dtype, "integral")
    else:
        integers = np.issubdtype(y.dtype, np.integer)
    return to_host(y).reshape(-1) if integers else None


@named("split")
def split(x: Any, y: Any, fraction: float, /, *, seed: int = 0) -> tuple[Split, Split]:
    """Hold out a fraction of the images, the same of every class.

    ``round(fraction N)`` images, at least one, are held out; each class gives its share to within one image.
    Both parts keep the order of the original. Where labels are no integers (targets of a regression, one-hot
    rows), images are held out at random.

    Parameters
    ----------
    x : array_like
        Shape (N, ...). Arrays in memory are copied where they are; anything else (a memory map) is not read:
        its parts are `Rows`.
    y : array_like
        Shape (N,) or (N, 1) for integers, else (N, ...).
    fraction : float
        How much is held out, above 0 and below 1.
    seed : int
        Decides which images, from 0 to 2**64 - 1.

    Returns
    -------
    train : Split
        What is left.
    validation : Split
        What is held out.

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
    fraction = number(fraction, "fraction", "a number above 0 and below 1", lambda a: 0 < a < 1, "split")
    seed_key(seed)
    x, y = from_rows(x, "x", "split"), from_list(from_rows(y, "y", "split"), "split")
    y = y if hasattr(y, "shape") else read_rows(y, np.arange(count(y)))
    n = count(x)
    if count(y) != n:
        msg = f"x has {n} images and y has {count(y)} labels; needed one label for each image"
        raise DataError(msg, where="split")
    if n < 2:
        msg = f"x has {n} image{'' if n == 1 else 's'}; needed at least 2, one for each part"
        raise DataError(msg, where="split")
    labels = _labels(y)
    y = labels if labels is not None and not in_memory(y) else y
    held = min(max(round(fraction * n), 1), n - 1)
    index = stratified(np.zeros(n, np.int64) if labels is None else labels, held, seed=seed)
    rest = np.setdiff1d(np.arange(n), index, assume_unique=True)
    return Split(take(x, rest), take(y, rest)), Split(take(x, index), take(y, index))
