"""First values of parameters, drawn on the host in float64 by a NumPy generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.errors import OptionError, lookup

__all__ = ["Constant", "Scaled", "Uniform", "fans", "get"]

Shape = tuple[int, ...]
Initializer = Callable[[np.random.Generator, Shape, tuple[int, int]], np.ndarray]


def fans(shape: Shape, /) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight (F, C, KH, KW) or (units, features).

    Parameters
    ----------
    shape : tuple of int
        Shape of the weight.

    Returns
    -------
    (fan_in, fan_out)
        C KH KW and F KH KW; for a vector, its length twice.
    """
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


@dataclass(frozen=True)
class Constant:
    """Fill with one value.

    Parameters
    ----------
    value : float
        The value.
    """

    value: float = 0.0

    def __call__(self, rng: np.random.Generator, shape: Shape, fans: tuple[int, int], /) -> np.ndarray:
        """Return the first values."""
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Uniform:
    """Draw from [low, high).

    Parameters
    ----------
    low, high : float
        The ends; by default those of a common teaching example.
    """

    low: float = -0.5
    high: float = 0.5

    def __call__(self, rng: np.random.Generator, shape: Shape, fans: tuple[int, int], /) -> np.ndarray:
        """Return the first values."""
        return rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Scaled:
    r"""Draw with variance gain/n: :math:`\sigma = \sqrt{g/n}`, or uniformly on :math:`\pm\sqrt{3 g/n}`.

    Parameters
    ----------
    gain : float
        g: 2 for rectifiers (He), 1 otherwise.
    mode : {"in", "average"}
        n: fan_in, or the mean of fan_in and fan_out (Glorot).
    normal : bool
        A normal rather than a uniform distribution.

    References
    ----------
    Glorot and Bengio 2010, equation 16; He et al. 2015, equation 10; LeCun et al. 1998, section 4.6.
    """

    gain: float = 2.0
    mode: str = "in"
    normal: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.gain < math.inf:
            msg = f"gain is {self.gain!r}; needed a positive number"
            raise OptionError(msg, where="Scaled")
        if self.mode not in ("in", "average"):
            msg = f"mode is {self.mode!r}; needed 'in' or 'average'"
            raise OptionError(msg, where="Scaled")

    def __call__(self, rng: np.random.Generator, shape: Shape, fans: tuple[int, int], /) -> np.ndarray:
        """Return the first values."""
        std = math.sqrt(self.gain / (fans[0] if self.mode == "in" else sum(fans) / 2))
        if self.normal:
            return rng.normal(0.0, std, shape)
        return rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)


NAMES: dict[str, Initializer] = {
    "he_normal": Scaled(2.0),
    "he_uniform": Scaled(2.0, normal=False),
    "glorot_normal": Scaled(1.0, "average"),
    "glorot_uniform": Scaled(1.0, "average", normal=False),
    "lecun_normal": Scaled(1.0),
    "lecun_uniform": Scaled(1.0, normal=False),
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
    "uniform": Uniform(),
}


def get(init: Any, /) -> Initializer:
    """Return the initialiser called `init`, or `init` itself if it can be called.

    Parameters
    ----------
    init : str or callable
        ``"he_normal"``, ``"glorot_uniform"``, ``"zeros"``, ... or ``init(rng, shape, fans)``.

    Returns
    -------
    callable
        The initialiser.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if callable(init):
        return init
    return lookup(init, NAMES, "initialiser")
