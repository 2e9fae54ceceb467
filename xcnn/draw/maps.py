"""The feature maps of every layer for one picture, as bytes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from xcnn.draw.placed import placed
from xcnn.explain import ModelExplanation
from xcnn.layers import Sequential

__all__ = ["bytes_of", "look"]

_MOST = 4_194_304  # numbers of a layer's output; more are not sent


def bytes_of(a: np.ndarray, /) -> tuple[bytes, float | None, float | None]:
    """Return the numbers of `a` as bytes, from its smallest (0) to its largest (255).

    Parameters
    ----------
    a : array
        NaN and what is all the same are 0; infinity is as its largest finite number.

    Returns
    -------
    maps : bytes
        In row-major order.
    smallest, largest : float or None
        Of the finite numbers; None if there are none.
    """
    finite = np.isfinite(a)
    whole = bool(finite.all())
    if not a.size or not (whole or finite.any()):
        return bytes(a.size), None, None
    low, high = (float(f(a) if whole else f(a[finite])) for f in (np.min, np.max))
    if low == high:
        return bytes(a.size), low, high
    shares = (a.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(shares), 0, 255)).astype(np.uint8).tobytes(), low, high


def look(found: ModelExplanation, /) -> dict[str, Any]:
    """Return what every layer made of a picture.

    Parameters
    ----------
    found : ModelExplanation
        From `Model.explain`.

    Returns
    -------
    dict
        The maps of each layer of the flat list, in base64; `plain` makes JSON of it.
    """
    return {
        "layers": [{"id": layer.id, **_maps(layer.step.layer, layer.step.y)} for layer in placed(found.step)]
    }


def _maps(layer: Any, y: np.ndarray) -> dict[str, Any]:
    silent = np.flatnonzero(~np.any(y != 0, axis=tuple(range(1, y.ndim))))
    told: dict[str, Any] = {"shape": y.shape, "min": None, "max": None, "silent": silent, "maps": None}
    if type(layer) is Sequential and len(layer):
        return {**told, "left_out": "they are those of the last layer inside"}
    if y.size > _MOST:
        return {**told, "left_out": f"{y.size:,} numbers are more than the {_MOST:,} that are sent"}
    maps, low, high = bytes_of(y)
    return {**told, "min": low, "max": high, "maps": base64.b64encode(maps).decode("ascii")}
