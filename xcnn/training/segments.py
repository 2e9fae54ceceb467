"""Segments: stretches of the flat values that one optimizer updates alike."""

from __future__ import annotations

from typing import Any, NamedTuple

from xcnn import optim
from xcnn.backend import find_kernel, plugin_of
from xcnn.optimizer import Optimizer
from xcnn.state import State, join

__all__ = ["Segment", "find_segments", "only_trained", "update_segments"]


class Segment(NamedTuple):
    """A stretch of the values.

    Attributes
    ----------
    start, stop : int
        Its range.
    optimizer : Optimizer or None
        None holds it as it is (frozen).
    weights : bool
        Whether penalties and decay apply.
    """

    start: int
    stop: int
    optimizer: Optimizer | None
    weights: bool

    def scalars(self, t: int, scale: float, /) -> tuple[float, ...]:
        """Return what `apply` needs at step t.

        Parameters
        ----------
        t, scale
            See `Optimizer.scalars`.

        Returns
        -------
        tuple of float
            The optimizer's; then, where weights decay, what they are multiplied by: on the host, in float64.
        """
        optimizer = self.optimizer
        if optimizer is None:
            return ()
        scalars = optimizer.scalars(t, scale)
        if not (self.weights and optimizer.weight_decay):
            return scalars
        return *scalars, 1.0 - scalars[0] * optimizer.weight_decay

    def apply(self, w: Any, dw: Any, slots: tuple[Any, ...], scalars: Any, /) -> Any:
        """Return the new values and slots of this stretch.

        Parameters
        ----------
        w, dw, slots
            See `Optimizer.update`.
        scalars : tuple of float, or of array ()
            From `scalars`.

        Returns
        -------
        (array, tuple of array)
            See `Optimizer.apply`.
        """
        optimizer, decay = self.optimizer, None
        assert optimizer is not None
        if self.weights and optimizer.weight_decay:
            scalars, decay = scalars[:-1], scalars[-1]
        return optimizer.apply(w, dw, slots, scalars, self.weights, decay)


def find_segments(state: State, default: Optimizer, /) -> list[Segment]:
    """Return the segments of `state`, neighbours that are updated alike merged.

    Parameters
    ----------
    state : State
        A model's.
    default : Optimizer
        For layers without their own.

    Returns
    -------
    list of Segment
        They cover all values, in order.
    """
    found: list[Segment] = []
    for p in state.parameters:
        own = optim.get(next((lay.optimizer for lay in p.owners if lay.optimizer is not None), default))
        optimizer = own if all(layer.trainable for layer in p.owners) else None
        decays = optimizer is not None and (optimizer.l1 or optimizer.l2 or optimizer.weight_decay)
        weights = bool(p.is_weight and decays)
        if found and found[-1][2:] == (optimizer, weights):
            found[-1] = found[-1]._replace(stop=p.stop)
        else:
            found.append(Segment(p.start, p.stop, optimizer, weights))
    return found


def only_trained(segments: list[Segment], dw: Any, /) -> Any:
    """Return the gradient with zeros for what is frozen.

    Parameters
    ----------
    segments : list of Segment
        From `find_segments`.
    dw : array (size,)
        The gradient.

    Returns
    -------
    array (size,)
        Itself if nothing is frozen.
    """
    if all(s.optimizer for s in segments):
        return dw
    return join([dw[s.start : s.stop] * (1.0 if s.optimizer else 0.0) for s in segments])


def update_segments(segments: list[Segment], w: Any, dw: Any, slots: tuple[Any, ...], scalars: Any, /) -> Any:
    """Return the new values and slots, segment by segment.

    Parameters
    ----------
    segments : list of Segment
        From `find_segments`.
    w, dw : array (size,)
        Values and gradient.
    slots : tuple of array (size,)
        As many as any optimizer needs.
    scalars : sequence
        From `Segment.scalars`, of each.

    Returns
    -------
    w : array (size,)
        New values.
    slots : tuple of array
        New slots.
    """
    kernel = find_kernel("update_segments", plugin_of(w))
    found = NotImplemented if kernel is None else kernel(segments, w, dw, slots, scalars)
    if found is not NotImplemented:
        return found
    if len(segments) == 1 and segments[0].optimizer is not None:
        return segments[0].apply(w, dw, slots, scalars[0])
    new = []
    for segment, given in zip(segments, scalars, strict=True):
        start, stop, optimizer, _ = segment
        v, old = w[start:stop], [a[start:stop] for a in slots]
        if optimizer is None:
            new.append((v, *old))
            continue
        count = optimizer.slots
        v, own = segment.apply(v, dw[start:stop], tuple(old[:count]), given)
        new.append((v, *own, *old[count:]))
    values, *rest = [join(parts) for parts in zip(*new, strict=True)] if new else [w, *slots]
    return values, tuple(rest)
