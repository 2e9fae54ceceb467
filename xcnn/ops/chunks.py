"""Ops in parts of the batch, so that their windows stay below a budget of memory.

A readable pair gathers the windows of all images into one array, KH KW times as large as they are, and keeps
it until backward. Here it runs on as many images at a time as fit, keeps what it was given instead of the
windows, and gathers them again in backward.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import Error
from xcnn.ops.op import Op
from xcnn.ops.window import output_size
from xcnn.plugin import Kernel
from xcnn.types import Array

__all__ = ["chunked"]

KEPT = 16  # where all windows take no more than one part in so many of the budget, they are kept
AT_ONCE = 8  # arrays that are joined by one call: a captured step takes no more


def _gathered(op: Op[...], x: Array, w: Array | None, options: dict[str, Any]) -> int:
    """Return how many numbers the windows of one image hold."""
    if op.name == "conv_transpose2d" and w is not None:  # a window of y for each pixel of x
        return math.prod((w.shape[1], options["groups"], *w.shape[2:], *x.shape[2:]))
    size: Any = options["size"] if w is None else w.shape[2:]
    names = ("stride", "padding", "dilation", "ceil")
    out = output_size(x.shape[2:], size=size, **{name: options[name] for name in names if name in options})
    return math.prod((x.shape[1], *size, *out))


def _rows(x: Array, n: int) -> list[slice]:
    return [slice(i, min(i + n, x.shape[0])) for i in range(0, x.shape[0], n)]


def _joined(parts: Sequence[Any]) -> Any:
    """Return arrays one behind the other, few at a time."""
    xp = array_namespace(parts[0])
    while len(parts) > 1:
        parts = [xp.concat(parts[i : i + AT_ONCE], axis=0) for i in range(0, len(parts), AT_ONCE)]
    return parts[0]


def _sum(total: Any, a: Any) -> Any:
    return a if total is None or a is None else total + a


def chunked(op: Op[...], budget: Callable[[], int], /) -> Kernel:
    """Return a kernel that runs the readable pair of an op on parts of the batch.

    Parameters
    ----------
    op : Op
        `conv2d`, `conv_transpose2d`, `max_pool2d` or `avg_pool2d`.
    budget : callable
        Returns how many bytes the windows may take; those of one image are taken in any case.

    Returns
    -------
    Kernel
        Its forward returns ``NotImplemented`` where the windows are so few that many layers may keep theirs,
        and for what the op refuses: the readable pair then runs, or says what is wrong. Gradients of what
        all images share (w, b) are summed.
    """
    readable, gradient = op.__wrapped__, op.backward  # type: ignore[attr-defined]
    assert gradient is not None
    keywords = inspect.signature(readable).parameters.values()
    defaults = {p.name: p.default for p in keywords if p.kind is p.KEYWORD_ONLY}

    def images_at_once(x: Any, *shared: Any, **options: Any) -> int:
        """Return how many; 0 where that is not to be asked."""
        xp, given = array_namespace(x), [a for a in (x, *shared) if a is not None]
        fits = all(a.ndim == 4 for a in given[:2]) and not any(0 in a.shape for a in given)
        if not fits or not xp.isdtype(x.dtype, "real floating"):
            return 0
        numbers = _gathered(op, x, shared[0] if shared else None, {**defaults, **options})
        size, most = numbers * xp.finfo(x.dtype).bits // 8, budget()
        return max(1, most // size) if size * x.shape[0] * KEPT > most else 0

    def forward(x: Any, *shared: Any, **options: Any) -> Any:
        try:
            n = images_at_once(x, *shared, **options)
            if not n:
                return NotImplemented
            parts = [readable(x[rows, ...], *shared, **options)[0] for rows in _rows(x, n)]
        except (Error, TypeError):
            return NotImplemented
        return _joined(parts), (x, shared, options, n)

    def backward(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, shared, options, n = values
        dxs, totals = list[Any](), [None] * (len(needs) - 1)
        for rows in _rows(x, n):
            _, kept = readable(x[rows, ...], *shared, **options)
            dx, *rest = gradient(dy[rows, ...], kept, needs)
            dxs.append(dx)
            totals = [_sum(total, a) for total, a in zip(totals, rest, strict=True)]
        return _joined(dxs) if needs[0] else None, *totals

    return Kernel(forward, backward)
