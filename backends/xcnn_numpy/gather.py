"""The loop that gathers gradients of weights: products of dy and x, summed over pixels and images.

As in `sweep`, a tile of sums stays in registers: some filters' with some taps, while pixels go by.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from xcnn_numpy.across import folded
from xcnn_numpy.simd import I64, at, fused, loaded, of, vector_type
from xcnn_numpy.tile import WEIGHTS, address_in, for_each_size, repeat

__all__ = ["gather_address"]


@intrinsic
def _outer(tc, sizes, rows, columns, dy, ds, dr, dc, x, xs, xr, taps, g, gc):
    """g[c, tap] += sum over pixels and lanes of dy[c, pixel] x[pixel, tap]."""
    number = x.dtype

    def codegen(context, b, signature, args):
        sizes, rows, columns, dy, ds, dr, dc, x, xs, xr, taps, g, gc = args
        kind = vector_type(of(number))
        zero = ir.Constant(kind, None)

        def emit(c: int, t: int) -> None:
            table = [b.gep(taps, [I64(2 * k)]) for k in range(t)]
            places = [b.gep(x, [b.load(tap)]) for tap in table]

            def row(j: Any, sums: list[Any]) -> list[Any]:
                down, across = b.mul(j, dr), b.mul(j, xr)

                def pixel(i: Any, sums: list[Any]) -> list[Any]:
                    sums = list(sums)
                    d = b.gep(dy, [b.add(down, b.mul(i, ds))])
                    here = b.add(across, b.mul(i, xs))
                    kept = [loaded(b, kind, b.gep(d, [b.mul(dc, I64(k))])) for k in range(c)]
                    for n in range(t):
                        passing = loaded(b, kind, b.gep(places[n], [here]))
                        for k in range(c):
                            sums[k * t + n] = fused(b, kept[k], passing, sums[k * t + n])
                    return sums

                return repeat(b, I64(0), columns, sums, pixel)

            sums = folded(b, repeat(b, I64(0), rows, [zero] * (c * t), row))
            for n in range(t):
                w = b.load(b.gep(table[n], [I64(1)]))
                for k in range(c):
                    place = b.gep(g, [b.add(w, b.mul(gc, I64(k)))])
                    b.store(b.fadd(b.load(place), sums[k * t + n]), place)

        for_each_size(b, b.extract_value(sizes, 0), b.extract_value(sizes, 1), emit)
        return context.get_dummy_value()

    given = (sizes, rows, columns, dy, ds, dr, dc, x, xs, xr, taps, g, gc)
    return types.void(*given), codegen


def gather(channels, count, rows, columns, dy, ds, dr, dc, x, xs, xr, taps, g, gc):
    """Add the gradients of channels x count weights, summed over rows x columns pixels and all lanes."""
    for c in range(0, channels, 4):
        for t in range(0, count, WEIGHTS):
            size = (min(4, channels - c), min(WEIGHTS, count - t))
            _outer(
                size, rows, columns, at(dy, c * dc), ds, dr, dc, x, xs, xr, at(taps, 2 * t), at(g, c * gc), gc
            )


def gather_address(dtype: str, /) -> int:
    """Return where the machine code of `gather` is."""
    return address_in(gather, dtype, "iiiipiiipiilpi")
