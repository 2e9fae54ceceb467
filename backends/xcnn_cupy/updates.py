"""The updates of the optimizers on flat vectors, one launch each; what comes of a step; copies of arrays.

The numbers of a step (`scalars`) may be Python numbers or 0-d arrays on the device, of w's dtype; no value is
read on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cupy

from xcnn.errors import ShapeError
from xcnn_cupy.source import BLOCK, kind_of, launch

__all__ = ["adagrad", "adam", "copy_all", "keep", "rmsprop", "settle", "sgd", "update_segments"]

_TOGETHER = 8  # arrays that one launch copies
_FLAGS = 1024  # blocks that look for what is not finite
_COPIERS = 256  # blocks for each array that is copied


def _scalar(a: Any) -> tuple[Any, Any]:
    """Return a number as a kernel takes it: by value, or where it is."""
    return (a, None) if isinstance(a, (int, float)) else (0.0, a)


class Penalty(NamedTuple):
    """What applies to weights alone, the first numbers of a vector: none of it by default.

    Attributes
    ----------
    weights : int
        How many there are.
    l1, l2 : float
        See `xcnn.optimizer.Optimizer`.
    kept : float or array ()
        What their decay leaves of them.
    """

    weights: int = 0
    l1: float = 0.0
    l2: float = 0.0
    kept: Any = 1.0


NONE = Penalty()


def _update(
    name: str, w: Any, dw: Any, slots: Any, penalty: Penalty, *numbers: Any
) -> tuple[Any, tuple[Any, ...]]:
    old = [cupy.ascontiguousarray(a) for a in (w, dw, *slots)]
    new = [cupy.empty(w.shape, w.dtype) for _ in range(1 + len(slots))]
    if w.size:
        given = *penalty[:3], *_scalar(penalty.kept), *numbers
        launch("optimizer", kind_of(w), name, w.size, *old, *new, w.size, *given)
    return new[0], tuple(new[1:])


def sgd(self: Any, w: Any, dw: Any, slots: Any, scalars: Any, /, penalty: Penalty = NONE) -> Any:
    """Return what `xcnn.optim.SGD.update` returns."""
    (lr,) = scalars
    if not self.momentum:
        return _update("sgd", w, dw, (), penalty, *_scalar(lr))
    return _update("momentum", w, dw, slots, penalty, *_scalar(lr), self.momentum, int(self.nesterov))


def adagrad(self: Any, w: Any, dw: Any, slots: Any, scalars: Any, /, penalty: Penalty = NONE) -> Any:
    """Return what `xcnn.optim.Adagrad.update` returns."""
    return _update("adagrad", w, dw, slots, penalty, *_scalar(scalars[0]), self.eps)


def rmsprop(self: Any, w: Any, dw: Any, slots: Any, scalars: Any, /, penalty: Penalty = NONE) -> Any:
    """Return what `xcnn.optim.RMSprop.update` returns."""
    constants = self.alpha, 1 - self.alpha, self.eps
    return _update("rmsprop", w, dw, slots, penalty, *_scalar(scalars[0]), *constants)


def adam(self: Any, w: Any, dw: Any, slots: Any, scalars: Any, /, penalty: Penalty = NONE) -> Any:
    """Return what `xcnn.optim.Adam.update` returns."""
    numbers = [part for a in scalars for part in _scalar(a)]
    constants = self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, self.eps
    return _update("adam", w, dw, slots, penalty, *numbers, *constants)


UPDATES = {"SGD": sgd, "Adagrad": adagrad, "RMSprop": rmsprop, "Adam": adam, "AdamW": adam}


def update_segments(segments: Sequence[Any], w: Any, dw: Any, slots: Any, scalars: Any, /) -> Any:
    """Return what `xcnn.training.segments.update_segments` returns, in one launch.

    ``NotImplemented`` for layers with optimizers of their own, frozen ones, and optimizers of a user's.
    """
    optimizer: Any = segments[0].optimizer if segments else None
    update = UPDATES.get(type(optimizer).__name__) if type(optimizer).__module__ == "xcnn.optim" else None
    if update is None or any(s.optimizer != optimizer for s in segments) or optimizer.slots != len(slots):
        return NotImplemented
    weights = [s.weights for s in segments]
    if weights != sorted(weights, reverse=True):
        return NotImplemented
    size, given, kept = max((s.stop for s in segments if s.weights), default=0), scalars[0], 1.0
    if size and optimizer.weight_decay:
        *given, kept = given
    return update(optimizer, w, dw, slots, given, Penalty(size, optimizer.l1, optimizer.l2, kept))


def _is_whole(a: Any) -> bool:
    """Return whether the elements of `a` fill their memory, in whatever order."""
    last_first = sorted(zip(a.strides, a.shape, strict=True))
    dense = a.dtype.itemsize
    for stride, extent in last_first:
        if extent != 1 and stride != dense:
            return False
        dense *= extent
    return True


def settle(dw: Any, loss: Any, scaling: tuple[Any, ...], /) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return what `xcnn.training.nonfinite.settle` returns, in two launches."""
    dw, kind = cupy.ascontiguousarray(dw), kind_of(loss)
    blocks = max(1, min(-(-dw.size // (8 * BLOCK)), _FLAGS))
    flags, taken, told = cupy.empty(blocks, bool), cupy.empty((), bool), cupy.empty_like(loss)
    following = tuple([cupy.empty_like(a) for a in scaling])
    launch("optimizer", kind_of(dw), "finite_blocks", blocks * BLOCK, dw, dw.size, flags)
    scales = (*scaling, *following) if scaling else (None,) * 4
    launch("optimizer", kind, "settle", BLOCK, flags, blocks, loss, taken, told, *scales)
    return taken, told, following


def _copy(pairs: Sequence[tuple[Any, Any]], flag: Any = None, wanted: bool = True) -> None:
    """Copy into each first array the second, eight in a launch; with a flag, only where it is `wanted`."""
    pairs = [(a, b) for a, b in pairs if a.size and a.data.ptr != b.data.ptr]
    for i in range(0, len(pairs), _TOGETHER):
        group = pairs[i : i + _TOGETHER]
        args = [part for a, b in group for part in (a, b, a.nbytes)]
        args += [None, None, 0] * (_TOGETHER - len(group))
        longest = max(a.nbytes for a, _ in group)
        threads = min(-(-longest // 16), _COPIERS * BLOCK)
        launch("optimizer", "float32", "copy", threads, flag, int(wanted), *args, rows=len(group))


def _same_layout(a: Any, b: Any) -> bool:
    """Return whether `b` lies in its memory as `a` does, so that bytes can be copied."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.flags.c_contiguous and b.flags.c_contiguous:
        return True
    return a.strides == b.strides and _is_whole(a)


def keep(taken: Any, new: Sequence[Any], old: Sequence[Any], /) -> tuple[Any, ...]:
    """Return `new` where a flag on the device is true, else the numbers of `old`, without reading the flag.

    The arrays that are returned are those of `new`, which take the numbers of `old` where they must; but
    while a graph is recorded they are those of `old`, its own buffers, which it overwrites in the end anyway.

    Parameters
    ----------
    taken : array ()
        A bool.
    new, old : sequence of array
        Of equal shapes and dtypes. The arrays of `new` must be nobody else's.

    Returns
    -------
    tuple of array
        One of each pair.
    """
    records = bool(cupy.cuda.get_current_stream().is_capturing())
    targets, sources = (old, new) if records else (new, old)
    alike = [_same_layout(a, b) for a, b in zip(new, old, strict=True)]
    _copy([(a, b) for a, b, same in zip(targets, sources, alike, strict=True) if same], taken, records)
    rest = zip(targets, new, old, alike, strict=True)
    return tuple([to if same else cupy.where(taken, a, b) for to, a, b, same in rest])


def copy_all(targets: Sequence[Any], sources: Sequence[Any], /) -> None:
    """Write each source into its target, eight arrays in a launch.

    Parameters
    ----------
    targets : sequence of array
        Arrays that keep their place, such as those a CUDA graph reads.
    sources : sequence of array
        Of the same shapes and dtypes, on the same device.

    Raises
    ------
    ShapeError
        If a shape or dtype differs.
    """
    alike, others = list[Any](), list[Any]()
    for a, b in zip(targets, sources, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            msg = f"a source is {b.shape} {b.dtype}; its target needs {a.shape} {a.dtype}"
            raise ShapeError(msg, where="copy_all")
        (alike if _same_layout(a, b) else others).append((a, b))
    _copy(alike)
    for a, b in others:
        a[...] = b
