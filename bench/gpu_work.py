"""How much work a net is, and how much of it this GPU can do in a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bench import nets
from bench.gpu_clock import once

__all__ = ["BYTES", "Work", "peaks", "work"]

BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}  # of one number of an image
SIZE = {"float32": 4096, "tf32": 8192, "bfloat16": 8192, "float16": 8192}  # of the product that is timed
COPIED = 2**30  # bytes


class Work(NamedTuple):
    """What one call must do at least.

    Attributes
    ----------
    flops : int
        Multiplications and additions of convolutions and dense layers.
    bytes : int
        Read and written on the device, if every layer's outputs went there once, with norm and activation in
        the pass that makes them.
    """

    flops: int
    bytes: int


def work(net: nets.Net, size: int, precision: str, /, *, training: bool) -> Work:
    """Return the work of a training step or of a prediction.

    Parameters
    ----------
    net : Net
        Of `nets.NETS` or `nets.LARGE`.
    size : int
        Images in the batch.
    precision : str
        See `xcnn.Model`.
    training : bool
        Whether with gradients (the first layer needs none of its inputs) and Adam.

    Returns
    -------
    Work
        A lower bound.
    """
    found: list[tuple[int, int, int]] = []  # flops, numbers in and out, weights of each layer, for one image
    _walk(net.parts, net.image, found)
    moved = sum(numbers for _, numbers, _ in found)
    weights = sum(count for *_, count in found)
    flops = sum(flops for flops, _, _ in found)
    number = BYTES[precision]
    if not training:
        return Work(size * flops, size * moved * number + 4 * weights)
    first, inputs, _ = found[0]
    inputs = math.prod(net.image)
    return Work(size * (3 * flops - first), size * (3 * moved - inputs) * number + 9 * 4 * weights)


def _walk(parts: nets.Parts, shape: tuple[int, ...], found: list[tuple[int, int, int]]) -> tuple[int, ...]:
    """Add each layer, and return the shape that comes out."""
    for part in parts:
        before = math.prod(shape)
        if isinstance(part, nets.Residual):
            if part.shortcut:
                _walk(part.shortcut, shape, found)
            shape = _walk(part.body, shape, found)
            continue
        if isinstance(part, nets.Conv):
            c = shape[0] // part.groups
            h, w = ((n + 2 * part.padding - part.size) // part.stride + 1 for n in shape[1:])
            shape = part.filters, h, w
            weights = part.filters * c * part.size**2
            found.append((2 * weights * h * w, before + math.prod(shape), weights))
            if part.norm:  # statistics first: its inputs are read once more
                found.append((0, 2 * math.prod(shape), 2 * part.filters))
        elif isinstance(part, nets.Pool):
            shape = shape[0], shape[1] // part.size, shape[2] // part.size
            found.append((0, before + math.prod(shape), 0))
        elif isinstance(part, nets.GlobalPool):
            shape = (shape[0],)
            found.append((0, before + shape[0], 0))
        else:
            weights = before * part.units
            shape = (part.units,)
            found.append((2 * weights, before + part.units, weights))
    return shape


def peaks(sizes: dict[str, int], copied: int, seconds: float, /) -> Iterator[dict[str, float | None]]:
    """Give what this GPU reaches: flops per second of a large product in each precision, bytes of a copy.

    Parameters
    ----------
    sizes : dict
        Precision to rows and columns of the product.
    copied : int
        Bytes of the copy.
    seconds : float
        For each.

    Yields
    ------
    dict
        "bytes", and precisions, to a rate per second, one more each time; None where nothing here multiplies
        in it. A copy of n bytes counts as 2n: they are read and written.
    """
    import cupy

    a = cupy.arange(copied // 4, dtype="int32")  # zeros may be faster
    b = cupy.empty_like(a)
    copy = (lambda: cupy.copyto(b, a)), cupy.cuda.Device().synchronize
    found: dict[str, float | None] = {"bytes": 2 * a.nbytes / once(*copy, seconds)}
    yield found
    for precision, n in sizes.items():
        product = _product(precision, n)
        found[precision] = product and 2 * n**3 / once(*product, seconds)
        yield found


def _product(precision: str, n: int) -> tuple[Callable[[], Any], Callable[[], None]] | None:
    """Return a product of n x n matrices and what waits for it, through PyTorch where it is, else CuPy."""
    from bench import gpu_peer

    if gpu_peer.available():
        return gpu_peer.product(precision, n)
    if precision not in ("float32", "float16"):  # CuPy has no bfloat16; TF32 is a setting of the process
        return None
    import cupy

    a = cupy.sin(cupy.arange(n * n, dtype="float32")).reshape(n, n).astype(precision)
    return (lambda: cupy.matmul(a, a)), cupy.cuda.Device().synchronize
