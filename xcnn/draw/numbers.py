"""Numbers as JSON has them: six significant digits, and null for what is not finite."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

__all__ = ["plain", "to_json"]

_DIGITS = 6


def plain(value: Any, /) -> Any:
    """Return `value` in lists, dicts and Python numbers that JSON can tell.

    Parameters
    ----------
    value : object
        Arrays, NumPy scalars and what JSON knows, in lists, tuples and dicts.

    Returns
    -------
    object
        Floats have six significant digits; NaN and infinity are None.
    """
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return _rounded(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist()) if isinstance(value, np.floating) else value.tolist()
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if abs(value) < float("inf") else None
    return value


def _rounded(a: np.ndarray) -> Any:
    """Return the array `a` as nested lists, rounded as a whole, which is much faster."""
    a = a.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        places = _DIGITS - 1 - np.floor(np.log10(np.abs(a)))
        places = np.where(np.isfinite(places), np.clip(places, 0, 300), 0)
        scale = 10.0**places  # up to 22 places it is exact, and the quotient is the very decimal
        near = np.rint(a * scale) / scale
    if np.isfinite(near).all():
        return near.tolist()
    told = near.astype(object)
    told[~np.isfinite(near)] = None
    return told.tolist()


def to_json(value: Any, /) -> bytes:
    """Return `value`, whose numbers are plain, as compact JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        errors="replace"
    )
