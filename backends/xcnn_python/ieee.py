"""What IEEE 754 answers where Python raises: 1/0, log(0), sqrt(-1), exp(1000)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

__all__ = [
    "divide", "exp", "expm1", "floor_divide", "larger", "log", "log1p", "power", "remainder", "smaller",
    "sqrt", "total",
]  # fmt: skip

Compute = Callable[..., list[Any]]  # lists of equal length in, one list out


def _where_defined(function: Callable[..., float], answer: Callable[..., float]) -> Compute:
    """Return `function` of the elements of lists, `answer` where it raises.

    Most lists hold no such element, and are done at the speed of `map`.
    """

    def careful(*numbers: float) -> float:
        try:
            return function(*numbers)
        except (ArithmeticError, ValueError):
            return answer(*numbers)

    def compute(*data: Any) -> list[float]:
        try:
            return list(map(function, *data))
        except (ArithmeticError, ValueError):
            return list(map(careful, *data))

    return compute


def _infinity(x: float) -> float:
    return math.inf


def _nan(*numbers: float) -> float:
    return math.nan


def _by_zero(a: float, b: float) -> float:
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _beyond(a: float, b: float) -> float:
    """Return a^b that is too large, has a pole at 0, or a root of a negative number."""
    if a < 0 and b % 1:
        return math.nan
    return math.copysign(math.inf, a) if b % 2 == 1 else math.inf


def larger(a: Any, b: Any, /) -> Any:
    """Return the larger number, or the first NaN."""
    return a if a >= b or a != a else b


def smaller(a: Any, b: Any, /) -> Any:
    """Return the smaller number, or the first NaN."""
    return a if a <= b or a != a else b


def total(run: list[float], /) -> float:
    """Return the sum, rounded once; in order where it is infinite or NaN."""
    try:
        return math.fsum(run)
    except (OverflowError, ValueError):
        return sum(run)


divide = _where_defined(operator.truediv, _by_zero)
floor_divide = _where_defined(operator.floordiv, _by_zero)
remainder = _where_defined(operator.mod, _nan)
power = _where_defined(math.pow, _beyond)
exp = _where_defined(math.exp, _infinity)
expm1 = _where_defined(math.expm1, _infinity)
sqrt = _where_defined(math.sqrt, _nan)
log = _where_defined(math.log, lambda x: -math.inf if x == 0 else math.nan)
log1p = _where_defined(math.log1p, lambda x: -math.inf if x == -1 else math.nan)
