"""The two loops in which a network spends its time: everything else prepares them.

A convolution, its gradient with respect to the input, a dense layer and its gradient are all *sliding
products*: each output is a sum over taps of one weight times one input vector, and the taps are a table of
offsets. Kernel size, stride, dilation, groups, padding and direction are only other numbers in that table.

`sweep` computes such sums for a block of channels and pixels. A tile of up to 20 sums stays in registers
while the taps go by: each tap loads one vector per pixel and one weight per channel, and multiplies all with
all, so that the two multipliers of a core never wait for memory. `gather`, in gather.py, does the same for
the gradients of weights, where the sums run over pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from xcnn_numpy.compiler import compiled
from xcnn_numpy.simd import I64, REGISTERS, at, at_least, fused, loaded, of, splatted, stored, vector_type

__all__ = ["LIMITS", "address_in", "blocks", "for_each_size", "repeat", "sweep_address"]

# How many vectors a tile of so many rows may have: sums, one operand, and a register for the other.
LIMITS = {1: 6, 2: 6, 3: 6, 4: 5, 5: 4} if REGISTERS == 32 else {1: 6, 2: 5, 3: 4, 4: 3}
WEIGHTS = LIMITS[4]  # that `gather` sums at a time, for four channels


def blocks(channels: int, pixels: int, /) -> tuple[int, int]:
    """Return the tile (channels, pixels) that computes so many sums in the fewest cycles.

    For each tap, a tile costs half a cycle for each product or each load, whichever takes longer, at least
    the four cycles that a multiplication takes, and one for the rest.
    """

    def cycles(tile: tuple[int, int]) -> float:
        rows, columns = (_even(n, size) for n, size in zip((channels, pixels), tile, strict=True))
        return sum(
            count * times * (max(c * p / 2, (c + p) / 2, 4.0) + 1)
            for c, count in rows.items()
            for p, times in columns.items()
        )

    return min(((c, p) for c, most in LIMITS.items() for p in range(1, most + 1)), key=cycles)


def _even(n: int, size: int) -> dict[int, int]:
    """Return {length: how often} for n in as many pieces as needed, as even as possible."""
    pieces = -(-n // size)
    return {n // pieces + 1: n % pieces, n // pieces: pieces - n % pieces}


def repeat(b: Any, start: Any, stop: Any, carried: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Emit ``for i in range(start, stop): carried = body(i, carried)``, all in registers."""
    before, loop, after = b.block, b.append_basic_block("loop"), b.append_basic_block("after")
    b.cbranch(b.icmp_signed("<", start, stop), loop, after)
    b.position_at_end(loop)
    i = b.phi(I64)
    i.add_incoming(start, before)
    values = [b.phi(v.type) for v in carried]
    for value, first in zip(values, carried, strict=True):
        value.add_incoming(first, before)
    new = body(i, values)
    following = b.add(i, I64(1))
    i.add_incoming(following, b.block)
    for value, next_value in zip(values, new, strict=True):
        value.add_incoming(next_value, b.block)
    end = b.block
    b.cbranch(b.icmp_signed("<", following, stop), loop, after)
    b.position_at_end(after)
    results = [b.phi(v.type) for v in carried]
    for result, first, last in zip(results, carried, new, strict=True):
        result.add_incoming(first, before)
        result.add_incoming(last, end)
    return results


def for_each_size(b: Any, rows: Any, columns: Any, emit: Callable[[int, int], None]) -> None:
    """Emit a tile for each size, and the choice between them."""
    end = b.append_basic_block("end")
    switch = b.switch(b.add(b.mul(rows, I64(16)), columns), end)
    for c, most in LIMITS.items():
        for p in range(1, most + 1):
            block = b.append_basic_block(f"tile{c}x{p}")
            switch.add_case(I64(16 * c + p), block)
            b.position_at_end(block)
            emit(c, p)
            b.branch(end)
    b.position_at_end(end)


@intrinsic
def _tile(tc, sizes, x, xs, w, wc, taps, first, last, bias, bc, y, ys, yc, r, rs, rc, floor):
    """y[c, i] = max(floor, bias[c] + sum over taps of w[c, tap] x[i, tap] + r[c, i]); no r if rs is 0."""
    number = x.dtype

    def codegen(context, b, signature, args):
        sizes, x, xs, w, wc, taps, first, last, bias, bc, y, ys, yc, r, rs, rc, floor = args
        kind = vector_type(of(number))
        rows, columns = b.extract_value(sizes, 0), b.extract_value(sizes, 1)
        lowest = splatted(b, floor, kind.count)

        def place(p: Any, step: Any, i: int) -> Any:
            return b.gep(p, [b.mul(step, I64(i))])

        def emit(c: int, p: int) -> None:
            def product(q: Any, sums: list[Any]) -> list[Any]:
                tap = b.gep(taps, [b.shl(q, I64(1))])
                here, weight = b.gep(x, [b.load(tap)]), b.gep(w, [b.load(b.gep(tap, [I64(1)]))])
                pixels = [lambda i=i: loaded(b, kind, place(here, xs, i)) for i in range(p)]
                weights = [
                    lambda k=k: splatted(b, b.load(place(weight, wc, k)), kind.count) for k in range(c)
                ]
                sums = list(sums)
                if p <= c:  # the shorter operand stays in registers, the longer one passes through one
                    kept = [load() for load in pixels]
                    for k in range(c):
                        passing = weights[k]()
                        for i in range(p):
                            sums[k * p + i] = fused(b, passing, kept[i], sums[k * p + i])
                else:
                    kept = [load() for load in weights]
                    for i in range(p):
                        passing = pixels[i]()
                        for k in range(c):
                            sums[k * p + i] = fused(b, kept[k], passing, sums[k * p + i])
                return sums

            start = [splatted(b, b.load(place(bias, bc, k)), kind.count) for k in range(c) for _ in range(p)]
            sums = repeat(b, first, last, start, product)
            before, more, write = b.block, b.append_basic_block("more"), b.append_basic_block("write")
            b.cbranch(b.icmp_signed("!=", rs, I64(0)), more, write)
            b.position_at_end(more)
            added = [
                b.fadd(sums[k * p + i], loaded(b, kind, place(place(r, rc, k), rs, i)))
                for k in range(c)
                for i in range(p)
            ]
            b.branch(write)
            b.position_at_end(write)
            for k, (alone, both) in enumerate(zip(sums, added, strict=True)):
                sums[k] = b.phi(kind)
                sums[k].add_incoming(alone, before)
                sums[k].add_incoming(both, more)
            for k in range(c):
                row = place(y, yc, k)
                for i in range(p):
                    stored(b, at_least(b, sums[k * p + i], lowest), place(row, ys, i))

        for_each_size(b, rows, columns, emit)
        return context.get_dummy_value()

    given = (sizes, x, xs, w, wc, taps, first, last, bias, bc, y, ys, yc, r, rs, rc, floor)
    return types.void(*given), codegen


def sweep(
    channels,
    rows,
    columns,
    c_most,
    p_most,
    x,
    xs,
    xr,
    w,
    wc,
    taps,
    spans,
    bias,
    bc,
    y,
    ys,
    yr,
    yc,
    r,
    rs,
    rr,
    rc,
    floor,
):
    """Compute channels x rows x columns sums, in tiles of c_most channels and p_most pixels or fewer.

    x, y and r (which is added) step by xs, ys, rs from pixel to pixel, by xr, yr, rr from row to row; y and r
    by yc, rc from channel to channel; weights by wc. Row j uses the taps spans[2j] to spans[2j + 1].
    """
    c_pieces = (channels + c_most - 1) // c_most
    p_pieces = (columns + p_most - 1) // p_most
    for cp in range(c_pieces):
        c = channels * cp // c_pieces
        c_size = channels * (cp + 1) // c_pieces - c
        for j in range(rows):
            for pp in range(p_pieces):
                i = columns * pp // p_pieces
                size = (c_size, columns * (pp + 1) // p_pieces - i)
                _tile(
                    size,
                    at(x, j * xr + i * xs),
                    xs,
                    at(w, c * wc),
                    wc,
                    taps,
                    spans[2 * j],
                    spans[2 * j + 1],
                    at(bias, c * bc),
                    bc,
                    at(y, c * yc + j * yr + i * ys),
                    ys,
                    yc,
                    at(r, c * rc + j * rr + i * rs),
                    rs,
                    rc,
                    floor,
                )


_ADDRESSES: dict[tuple[str, str], Any] = {}


def address_in(function: Callable[..., None], dtype: str, letters: str) -> int:
    """Return where the machine code of `function` is; its arguments are pointers, integers, numbers."""
    key = function.__name__, dtype
    if key not in _ADDRESSES:
        number = getattr(types, dtype)
        kinds = {
            "p": types.CPointer(number),
            "l": types.CPointer(types.int64),
            "i": types.int64,
            "f": number,
        }
        _ADDRESSES[key] = compiled(function, types.void(*[kinds[letter] for letter in letters]))
    return int(_ADDRESSES[key].address)


def sweep_address(dtype: str, /) -> int:
    """Return where the machine code of `sweep` is."""
    return address_in(sweep, dtype, "iiiiipiipillpipiiipiiif")
