"""Loss scaling: gradients in float16 are multiplied out of the range where they would vanish.

Half-precision numbers below 2^-25 are zero, and many gradients are that small. So the gradient of the loss
begins as a multiple of itself, and what arrives at the parameters is divided by the same power of two, in
float32. Where that was too much, a gradient is infinite: the step is skipped, and the next scales by half.

References
----------
Micikevicius et al., "Mixed precision training", 2018, section 3.2; the constants are those of PyTorch.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from xcnn.backend import Backend

__all__ = ["LEAST", "MOST", "PATIENCE", "START", "first_scaling", "next_scaling"]

START = 2.0**16
LEAST, MOST = 1.0, 2.0**24
PATIENCE = 2000  # good steps after which twice as much is tried


def first_scaling(precision: str, backend: Backend, /) -> tuple[Any, ...]:
    """Return what `Arrays.scaling` begins with.

    Parameters
    ----------
    precision : str
        Of the model.
    backend : Backend
        Where the arrays live.

    Returns
    -------
    tuple of array ()
        The scale, float32, and the number of good steps with it, int32; nothing unless for "float16".
    """
    if precision != "float16":
        return ()
    return backend.asarray(START, "float32"), backend.asarray(0, "int32")


def next_scaling(scaling: tuple[Any, ...], fine: Any, /) -> tuple[Any, ...]:
    """Return the scaling after a step, without waiting for a device.

    Parameters
    ----------
    scaling : tuple of array ()
        In the step.
    fine : array ()
        Whether its gradients were finite.

    Returns
    -------
    tuple of array ()
        Half the scale if they were not, at least 1; twice, at most 2^24, after 2000 steps that were.
    """
    scale, good = scaling
    xp = array_namespace(scale)
    good = xp.where(fine, good + 1, xp.zeros_like(good))
    due = good >= PATIENCE
    grown = xp.where(due, xp.minimum(scale * 2.0, MOST), scale)
    return xp.where(fine, grown, xp.maximum(scale * 0.5, LEAST)), xp.where(due, xp.zeros_like(good), good)
