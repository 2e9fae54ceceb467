"""Handwritten digits of 8 x 8 pixels: scikit-learn's copy, and the original text files of the UCI repository.

Both count the ink pixels in blocks of 4 x 4, 0 to 16, which is divided by 16 here. Scikit-learn's 1,797
digits are the test half of the original, row for row: a model trained on them must not be tested on it.
"""

from __future__ import annotations

import io

import numpy as np

from xcnn.data.dataset import Split
from xcnn.data.split import split
from xcnn.errors import Error, FileError

__all__ = ["HELD_OUT", "read_digits", "read_optdigits"]

HELD_OUT = 0.25
"""Fraction that becomes the test images where a data set has none; the same ones for every seed."""


def read_digits() -> tuple[Split, Split]:
    """Return the 1,797 digits that come with scikit-learn, a quarter of each class held out.

    Returns
    -------
    train : Split
        With x (N, 1, 8, 8), float32 in [0, 1], and y (N,), int64.
    test : Split
        Likewise.

    Raises
    ------
    Error
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        msg = 'these digits come with scikit-learn, which is not installed; needed: pip install "xcnn[app]"'
        raise Error(msg, where="digits") from error
    x, y = load_digits(return_X_y=True)
    return split((x / 16).astype(np.float32).reshape(-1, 1, 8, 8), y.astype(np.int64), HELD_OUT)


def read_optdigits(name: str, text: bytes, /) -> Split:
    """Read ``optdigits.tra`` or ``optdigits.tes``: 64 counts and a label in each line, separated by commas.

    Parameters
    ----------
    name : str
        Of the file, for errors.
    text : bytes
        Its contents.

    Returns
    -------
    Split
        With x (N, 1, 8, 8), float32 in [0, 1], and y (N,), int64.

    Raises
    ------
    FileError
        If a line is not of this form, a count is above 16 or a label above 9.
    """
    if not text.strip():
        raise FileError("has no lines; needed 65 integers in each line", where=name)
    try:
        rows = np.loadtxt(io.BytesIO(text), np.int64, delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        raise FileError(f"{error}; needed 65 integers in each line", where=name) from error
    if rows.shape[1] != 65 or rows.min() < 0 or rows[:, :64].max() > 16 or rows[:, 64].max() > 9:
        came = f"{rows.shape[1]} columns of {rows.min()} to {rows.max()}"
        msg = f"has {came}; needed 64 of 0 to 16 and one of 0 to 9"
        raise FileError(msg, where=name)
    return Split((rows[:, :64] / 16).astype(np.float32).reshape(-1, 1, 8, 8), rows[:, 64].copy())
