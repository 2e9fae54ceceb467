"""Published tolerances: how far two computations of the same numbers may differ.

An element may differ by ``rtol`` times its own size plus ``atol`` times the largest size in its array, or in
the array that it was computed from: a sum of many terms is no better than its largest ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """Relative to each element, and relative to the largest element."""

    rtol: float
    atol: float


# A forward pass or a gradient against the same formula in float64: a loop, another backend, PyTorch.
EXACT = {"float32": Tolerance(1e-4, 2e-6), "float64": Tolerance(1e-10, 1e-12)}

# A gradient in float64 against central differences of fourth order (see tests/ops/checks.py).
DIFFERENCES = Tolerance(1e-7, 1e-9)

# Losses of the first twenty steps on two backends, relative to each: rounding grows from step to step.
LOSSES = {"float32": 2e-4, "float64": 1e-9}

# A net in a low precision against the readable layers in the same one: the length of the difference, in units
# of what rounding an operand loses, of the length of what is wanted. All gradients are one vector.
UNITS = {"outputs": 4, "gradients": 8}


def assert_close(got: object, want: object, dtype: str, what: str = "", *, source: object = 0.0) -> None:
    """Fail unless `got` has the shape of `want` and its numbers, within the tolerance of `dtype`.

    Parameters
    ----------
    got, want : array
        Results.
    dtype : str
        Key of `EXACT`.
    what : str
        Told on failure.
    source : array
        What the results were computed from, if its terms may cancel: dy for a gradient.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}; needed {want.shape}"
    rtol, atol = EXACT[dtype]
    scale = max(float(np.max(np.abs(a), initial=0.0)) for a in (want, source))
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol * scale, err_msg=what)
