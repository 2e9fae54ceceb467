"""The exponential function of vectors, and what is made from it."""

from __future__ import annotations

import math

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from xcnn_numpy.simd import (
    I32,
    I64,
    above,
    add,
    at_least,
    choose,
    div,
    emit,
    fill_like,
    fused,
    mul,
    splatted,
    sub,
    zeros,
)

__all__ = ["sigmoid_of", "tanh_of"]


@intrinsic
def absolute(tc, x):
    """Return |x|."""

    def generate(b, s, x):
        bits = 32 if x.type.element == ir.FloatType() else 64
        name = f"llvm.fabs.v{x.type.count}f{bits}"
        return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(x.type, [x.type]), name), [x])

    return emit(lambda x: x, generate)(x)


@intrinsic
def copysign(tc, x, y):
    """Return |x| with the sign of y; NaN where y is."""

    def generate(b, s, x, y):
        bits = 32 if x.type.element == ir.FloatType() else 64
        kind = ir.FunctionType(x.type, [x.type] * 2)
        name = f"llvm.copysign.v{x.type.count}f{bits}"
        return b.call(cgutils.get_or_insert_function(b.module, kind, name), [x, y])

    return emit(lambda x, y: x, generate)(x, y)


@intrinsic
def exp_of_negative(tc, x):
    """Return exp(x) for x at most 0: 2^n exp(r), r at most half of log 2, by its Taylor series.

    0 where the result would be below the smallest normal number.
    """

    def generate(b, s, x):
        kind = x.type
        single = kind.element == ir.FloatType()
        bits, least, magic, terms = (
            (23, -87.3, 1.5 * 2.0**23, 8) if single else (52, -708.3, 1.5 * 2.0**52, 14)
        )

        def number(value: float) -> ir.Value:
            return splatted(b, ir.Constant(kind.element, value), kind.count)

        high = 0.693145751953125  # of log 2, few enough bits that n times it is exact
        low = math.log(2) - high
        if not single:
            high, low = 6.93145751953125e-1, 1.42860682030941723212e-6
        vanishes = b.fcmp_ordered("<", x, number(least))
        x = at_least(b, x, number(least))
        shifted = fused(b, x, number(1 / math.log(2)), number(magic))  # n, in the last bits
        n = b.fsub(shifted, number(magic))
        r = fused(b, n, number(-low), fused(b, n, number(-high), x))
        series = number(1 / math.factorial(terms - 1))
        for k in reversed(range(terms - 1)):
            series = fused(b, series, r, number(1 / math.factorial(k)))
        whole = I32 if single else I64
        integers = ir.VectorType(whole, kind.count)
        shift = splatted(b, whole(bits), kind.count)
        one = b.bitcast(number(1.0), integers)
        power = b.add(b.shl(b.bitcast(shifted, integers), shift), one)
        value = b.fmul(series, b.bitcast(power, kind))
        return b.select(vanishes, ir.Constant(kind, None), value)

    return emit(lambda x: x, generate)(x)


@register_jitable
def sigmoid_of(p, x):
    """Return 1 / (1 + exp(-x)); p points to numbers of the kind of x."""
    none, one = zeros(p), fill_like(p, 1.0)
    e = exp_of_negative(sub(none, absolute(x)))
    return div(choose(above(none, x), e, one), add(one, e))


@register_jitable
def tanh_of(p, x):
    """Return tanh x: by a fraction of polynomials where |x| is below 5/8, else by exp(-2 |x|).

    The fraction is that of Moshier's Cephes library.
    """
    one, size = fill_like(p, 1.0), absolute(x)
    e = exp_of_negative(mul(fill_like(p, -2.0), size))
    far = copysign(div(sub(one, e), add(one, e)), x)
    z = mul(x, x)
    top = add(mul(fill_like(p, -9.64399179425052238628e-1), z), fill_like(p, -9.92877231001918586564e1))
    top = add(mul(top, z), fill_like(p, -1.61468768441708447952e3))
    low = add(z, fill_like(p, 1.12811678491632931402e2))
    low = add(mul(low, z), fill_like(p, 2.23548839060100448583e3))
    low = add(mul(low, z), fill_like(p, 4.84406305325125486048e3))
    near = add(x, mul(x, mul(z, div(top, low))))
    return choose(above(size, fill_like(p, 0.625)), far, near)
