"""NaN and infinity: noticed in a step, then traced to the layer where they first appeared."""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from xcnn.backend import readable
from xcnn.layer import Layer, Pass, watch
from xcnn.layers import Identity
from xcnn.training.scaling import LEAST, next_scaling

__all__ = ["all_finite", "find_nonfinite", "keep", "settle"]


def all_finite(a: Any, /) -> Any:
    """Return whether all elements are finite, as an array ().

    Parameters
    ----------
    a : array
        Any.

    Returns
    -------
    array ()
        A bool.
    """
    xp = array_namespace(a)
    return xp.all(xp.isfinite(a))


def keep(fine: Any, new: tuple[Any, ...], old: tuple[Any, ...], /) -> tuple[Any, ...]:
    """Return the new arrays where all is well, else the old ones' numbers; nothing waits for a device.

    Parameters
    ----------
    fine : array ()
        A bool.
    new, old : tuple of array
        Of equal shapes, pair by pair. A kernel may write into the new ones that are not the old; into
        the old, while a step is recorded that overwrites them.

    Returns
    -------
    tuple of array
        One of each pair.
    """
    xp = array_namespace(fine)
    return tuple([xp.where(fine, a, b) for a, b in zip(new, old, strict=True)])


def settle(dw: Any, loss: Any, scaling: tuple[Any, ...], /) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return what comes of a step; nothing waits for a device.

    Parameters
    ----------
    dw : array (size,)
        The whole gradient.
    loss : array ()
        Of the batch.
    scaling : tuple of array ()
        In the step, see `xcnn.training.scaling`; empty if nothing is scaled.

    Returns
    -------
    taken : array ()
        Whether loss and gradient are finite.
    loss : array ()
        NaN if the step is refused: if it is not taken, and a smaller scale is of no use.
    scaling : tuple of array ()
        Of the next step.
    """
    xp = array_namespace(loss)
    fine, finite = all_finite(dw), xp.isfinite(loss)
    taken = fine & finite
    refused = ~taken
    if scaling:
        refused = ~finite | (~fine & (scaling[0] <= LEAST))
        scaling = keep(refused, scaling, next_scaling(scaling, fine))
    return taken, xp.where(refused, loss * math.nan, loss), scaling


class _Found(Exception):
    pass


def find_nonfinite(trainer: Any, x: Any, y: Any, t: int, /) -> tuple[str, str]:
    """Run a refused batch again, uncompiled, and return where NaN or infinity first appeared.

    Parameters
    ----------
    trainer : Trainer
        Whose step was refused.
    x, y : array
        The batch.
    t : int
        The step's number.

    Returns
    -------
    where : str
        Label of a layer, "the input" or the loss.
    what : str
        What was found there.
    """
    model, state = trainer.model, trainer.model.state
    before = state.held

    def look(layer: Layer, half: str, a: Any) -> None:
        named = layer.maker is not None and not isinstance(layer, Identity)
        if named and a is not None and not bool(all_finite(a)):
            result = "its output is" if half == "forward" else "the gradient that it hands back is"
            raise _Found(layer.label, result)

    xp = array_namespace(x)
    bad = xp.reshape(~xp.isfinite(x), (x.shape[0], -1))
    if bool(xp.any(bad)):
        first = int(xp.argmax(xp.astype(xp.any(bad, axis=1), xp.int64)))
        return "the input", f"image {first} of the batch already holds NaN or infinity"
    try:
        with readable(), watch(look), model.backend.active():
            head, probabilities = model.head(trainer.loss)
            z, saved = head.forward(x, train=Pass(trainer.seed, t))
            loss, of_loss = trainer.loss(z, y, probabilities=probabilities)
            if not bool(xp.isfinite(loss)):
                return f"loss {trainer.loss.name}", "it is not finite for finite outputs"
            dz = of_loss.backward(1.0)[0]
            if not bool(all_finite(dz)):
                return f"loss {trainer.loss.name}", "its gradient is not finite"
            head.backward(dz, saved, need_dx=False)
            for place, p in model.parameters().items():
                g = p.gradient
                if g is not None and not bool(all_finite(g)):
                    return p.owners[0].label, f"the gradient of {place} is not finite"
    except _Found as found:
        where, what = found.args
        return where, f"{what} not finite for finite inputs"
    finally:
        state.held = before
        state.drop_gradient()
    return "the step", "it did not appear again when the batch was repeated"
