"""What works across the lanes of vectors: sums of a vector's numbers, transposes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from xcnn_numpy.simd import I32, I64, emit, loaded, of, stored, vector_type

__all__ = ["folded", "total", "transpose"]


def folded(b: ir.IRBuilder, vectors: list[Any], /) -> list[Any]:
    """Emit the sums over the lanes of each vector: pairs are folded into one vector until one is left."""
    count = vectors[0].type.count
    sums: list[Any] = []
    for first in range(0, len(vectors), count):
        group = vectors[first : first + count]
        level = group + [ir.Constant(group[0].type, None)] * (count - len(group))
        half = count // 2
        while half:  # lanes [0, half) of a pair's sums come from one vector, [half, 2 half) from the other
            low = [k if k // half % 2 == 0 else count + k - half for k in range(count)]
            high = [k + half if k // half % 2 == 0 else count + k for k in range(count)]
            mask = ir.VectorType(I32, count)
            level = [
                b.fadd(
                    b.shuffle_vector(x, y, ir.Constant(mask, low)),
                    b.shuffle_vector(x, y, ir.Constant(mask, high)),
                )
                for x, y in zip(level[: len(level) // 2], level[len(level) // 2 :], strict=True)
            ]
            half //= 2
        sums += [b.extract_element(level[0], I32(k)) for k in range(len(group))]
    return sums


@intrinsic
def total(tc, x):
    """Return the sum over the lanes."""
    return emit(lambda x: x.dtype, lambda b, s, x: folded(b, [x])[0])(x)


@intrinsic
def transpose(tc, source, step, target, stride):
    """Write the square of vectors at source + i step as its transpose at target + i stride."""

    def generate(b, s, source, step, target, stride):
        kind = vector_type(of(s.args[0].dtype))
        n = kind.count
        rows = [loaded(b, kind, b.gep(source, [b.mul(step, I64(i))])) for i in range(n)]
        half = n // 2
        while half:
            low = ir.Constant(
                ir.VectorType(I32, n), [k if k // half % 2 == 0 else n + k - half for k in range(n)]
            )
            high = ir.Constant(
                ir.VectorType(I32, n), [k + half if k // half % 2 == 0 else n + k for k in range(n)]
            )
            for i in range(n):
                if i // half % 2 == 0:
                    x, y = rows[i], rows[i + half]
                    rows[i], rows[i + half] = b.shuffle_vector(x, y, low), b.shuffle_vector(x, y, high)
            half //= 2
        for i, row in enumerate(rows):
            stored(b, row, b.gep(target, [b.mul(stride, I64(i))]))

    return emit(lambda *given: types.void, generate)(source, step, target, stride)
