"""Random words on the device, in one launch where the readable rounds take some 150."""

from __future__ import annotations

from typing import Any

import cupy

from xcnn_cupy.source import launch

__all__ = ["philox"]


def philox(counter: tuple[Any, int, int, int], key: tuple[int, int], /) -> tuple[Any, Any, Any, Any]:
    """Return what `xcnn.random.philox` returns for counters that differ in their first word.

    Parameters
    ----------
    counter : tuple of four
        An array (n,) of int64, then integers.
    key : tuple of two int
        Words from 0 to 2**32 - 1.

    Returns
    -------
    tuple of four array (n,)
        Words from 0 to 2**32 - 1, int64.
    """
    index = cupy.ascontiguousarray(counter[0])
    words = cupy.empty((4, index.size), cupy.int64)
    if index.size:
        launch("draw", "float32", "draw", index.size, index, words, index.size, *counter[1:], *key)
    return words[0], words[1], words[2], words[3]
