"""Products in fewer digits: what tensor cores compute, in the array API standard.

A model's precision says what happens inside products (convolutions, linear maps) and nowhere else: x, w and
dy are rounded to it, to the nearest, their products are summed in float32, and in bfloat16 and float16 the
results y, their biases added, and dx are rounded too. The first layer's x is an image, behind `Normalize`
where that comes first. Biases, gradients of parameters, and all other layers compute in float32. Arrays are
float32 throughout: rounded numbers are held in them, by PyTorch's backend too.

So it is where layers run as they are written. A compiled run, for which a backend declares its precisions
(xcnn_cupy does), may round more. In bfloat16 and float16 it stores what enters it, every layer's output, and
their gradients so: batch norms, poolings, activations, dropout and residual sums round theirs as products do.
It also rounds biases before they are added, and dw, once it is summed in float32, before it becomes float32
again. In tf32 the GPU cuts x, w and dy to ten binary digits behind the point, not always to the nearest.

Everywhere sums are float32 (of products, of batch statistics and averages, of the gradients of biases), and
so are parameters, running statistics, the optimizer's state, softmax, losses, and what enters and leaves a
model. Arrays of float64 are never rounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from xcnn.errors import OptionError, lookup

__all__ = ["FORMATS", "PRECISIONS", "Format", "check_precision", "current_format", "in_precision", "rounded"]


class Format(NamedTuple):
    """Which numbers there are.

    Attributes
    ----------
    digits : int
        Significant binary digits, the leading one included.
    least : float
        The smallest positive number, by which those around zero differ.
    edge : float
        From here on a number is rounded to infinity: half a unit above the largest.
    stored : bool
        Whether results are kept in it, too.
    """

    digits: int
    least: float
    edge: float
    stored: bool


FORMATS = {
    "tf32": Format(11, 2.0**-136, (2.0 - 2.0**-11) * 2.0**127, stored=False),
    "bfloat16": Format(8, 2.0**-133, (2.0 - 2.0**-8) * 2.0**127, stored=True),
    "float16": Format(11, 2.0**-24, (2.0 - 2.0**-11) * 2.0**15, stored=True),
}
PRECISIONS = ("float32", *FORMATS)

_BY_NAME: dict[str, Format | None] = {"float32": None} | FORMATS
_format: ContextVar[Format | None] = ContextVar("format", default=None)
current_format = _format.get  # of products; None is float32


def check_precision(precision: Any, dtype: str, /) -> str:
    """Return `precision`, after refusing what is none, or does not go with `dtype`.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`.
    dtype : str
        Of the model.

    Returns
    -------
    str
        The precision.

    Raises
    ------
    OptionError
        If there is none of that name, or it is not "float32" and the dtype isn't, either.
    """
    lookup(precision, _BY_NAME, "precision")
    if precision != "float32" and dtype != "float32":
        msg = (
            f"precision is {precision!r} and dtype {dtype!r}; needed dtype 'float32', or precision 'float32'"
        )
        raise OptionError(msg, where="Model")
    return precision


@contextmanager
def in_precision(precision: str, /) -> Iterator[None]:
    """Compute products in `precision` inside the block, and backward what was computed forward there.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    token = _format.set(lookup(precision, _BY_NAME, "precision"))
    try:
        yield
    finally:
        _format.reset(token)


def rounded(x: Any, to: Format, /) -> Any:
    """Return float32 numbers rounded to the nearest of another format, ties to even.

    Parameters
    ----------
    x : array
        Of any shape; of another dtype than float32 it is returned as it is. NaN and infinity stay.
    to : Format
        One of `FORMATS`.

    Returns
    -------
    array
        Float32, each element a number of the format.

    Notes
    -----
    q = (2^23 + 1) x, then |q - (1 - 2^-24) q|, is the power of two at which x begins (Rump, Ogita and Oishi,
    "Accurate floating-point summation", part I, 2008, algorithm 3.5). Times 2^(1 - digits) it is the unit u
    to which x is to be rounded, and adding 3/2 2^23 u leaves no digits below that.
    """
    xp = array_namespace(x)
    if x.dtype != xp.float32:
        return x
    fine, one = xp.abs(x) < to.edge, xp.ones_like(x)
    v = xp.where(fine, x, one)
    large = xp.abs(v) > 2.0**40
    v = xp.where(large, v * 2.0**-64, v)  # so that nothing overflows
    q = (2.0**23 + 1.0) * v
    unit = xp.abs(q - (1.0 - 2.0**-24) * q) * 2.0 ** (1 - to.digits)
    shift = 1.5 * 2.0**23 * xp.maximum(unit, to.least)
    v = (v + shift) - shift
    v = xp.where(large, v * 2.0**64, v)
    return xp.where(fine, v, xp.where(fine, one, x) * math.inf)
