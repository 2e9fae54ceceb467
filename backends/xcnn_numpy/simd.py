"""SIMD vectors inside Numba: a vector type, what can be done with it, and pointers to load it from.

A Numba loop over the lanes of a vector is not vectorised well enough (8 GFLOP/s); a value of LLVM's vector
type in a register is (250 GFLOP/s a core). Functions here emit one LLVM instruction each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, register_model

__all__ = ["BITS", "I32", "I64", "REGISTERS", "Vector", "lanes", "scalar_type", "splatted", "vector_type"]

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


def _features() -> set[str]:
    """Return the names of what the processor has, as Numba compiles for it."""
    if config.CPU_NAME and config.CPU_FEATURES is not None:
        return {name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+")}
    return {name for name, has in binding.get_host_cpu_features().items() if has}


def _vector_unit() -> tuple[int, int]:
    """Return the bits of a vector register, and how many registers there are."""
    features = _features()
    if "avx512f" in features:
        return 512, 32
    if "avx2" in features:
        return 256, 16
    return 128, 32 if "neon" in features else 16


BITS, REGISTERS = _vector_unit()


def lanes(dtype: str, /) -> int:
    """Return how many numbers of `dtype` a vector holds."""
    return BITS // (32 if dtype == "float32" else 64)


class Vector(types.Type):
    """A vector of as many numbers as a register holds; of as many bytes for the indices beside them."""

    def __init__(self, dtype: Any, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(name=f"vector<{count} x {dtype.name}>")


def scalar_type(dtype: Any, /) -> ir.Type:
    """Return LLVM's type of a Numba scalar type."""
    return {"float32": ir.FloatType(), "float64": ir.DoubleType(), "int8": I8, "bool": I1}[dtype.name]


def vector_type(vector: Vector, /) -> ir.Type:
    """Return LLVM's type of a vector."""
    return ir.VectorType(scalar_type(vector.dtype), vector.count)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, vector_type(kind))


def of(dtype: Any, /) -> Vector:
    """Return the vector type that goes with numbers of `dtype`."""
    return Vector(dtype, lanes(dtype.name))


def splatted(b: ir.IRBuilder, x: Any, count: int, /) -> Any:
    """Emit a vector whose lanes are all x."""
    kind = ir.VectorType(x.type, count)
    undefined = ir.Constant(kind, ir.Undefined)
    first = b.insert_element(undefined, x, I32(0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, count), [0] * count))


def loaded(b: ir.IRBuilder, kind: ir.Type, pointer: Any, /) -> Any:
    """Emit the load of a vector from anywhere."""
    value = b.load(b.bitcast(pointer, kind.as_pointer()))
    value.align = 1 if kind.element == I8 else 4
    return value


def stored(b: ir.IRBuilder, value: Any, pointer: Any, /) -> None:
    """Emit the store of a vector to anywhere."""
    b.store(value, b.bitcast(pointer, value.type.as_pointer())).align = 1 if value.type.element == I8 else 4


def fused(b: ir.IRBuilder, x: Any, y: Any, z: Any, /) -> Any:
    """Emit x y + z, rounded once."""
    bits = 32 if x.type.element == ir.FloatType() else 64
    kind = ir.FunctionType(x.type, [x.type] * 3)
    return b.call(
        cgutils.get_or_insert_function(b.module, kind, f"llvm.fma.v{x.type.count}f{bits}"), [x, y, z]
    )


def at_least(b: ir.IRBuilder, x: Any, floor: Any, /) -> Any:
    """Emit max(x, floor), NaN where x is."""
    return b.select(b.fcmp_ordered("<", x, floor), floor, x)


def emit(result: Callable[..., Any], generate: Callable[..., Any]) -> Callable[..., Any]:
    """Return what Numba's `intrinsic` wants: types to (signature, code)."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        value = generate(b, signature, *args)
        return context.get_dummy_value() if value is None else value

    return lambda *given: (result(*given)(*given), codegen)


@intrinsic
def at(tc, p, i):
    """Return the pointer i numbers further on."""
    return emit(lambda p, i: p, lambda b, s, p, i: b.gep(p, [i]))(p, i)


@intrinsic
def width(tc, p):
    """Return how many numbers of the kind that p points to a vector holds."""
    return emit(lambda p: types.int64, lambda b, s, p: I64(lanes(s.args[0].dtype.name)))(p)


@intrinsic
def load(tc, p, i):
    """Return the vector at p + i."""
    return emit(
        lambda p, i: of(p.dtype), lambda b, s, p, i: loaded(b, vector_type(s.return_type), b.gep(p, [i]))
    )(p, i)


@intrinsic
def store(tc, p, i, v):
    """Write the vector v at p + i."""
    return emit(lambda p, i, v: types.void, lambda b, s, p, i, v: stored(b, v, b.gep(p, [i])))(p, i, v)


@intrinsic
def store_index(tc, p, i, v):
    """Write the bytes v at p + i."""
    return emit(lambda p, i, v: types.void, lambda b, s, p, i, v: stored(b, v, b.gep(p, [i])))(p, i, v)


@intrinsic
def load_index(tc, p, i, like):
    """Return the bytes at p + i, one for each lane of `like`."""
    return emit(
        lambda p, i, like: Vector(types.int8, like.count),
        lambda b, s, p, i, like: loaded(b, vector_type(s.return_type), b.gep(p, [i])),
    )(p, i, like)


@intrinsic
def splat(tc, p, i):
    """Return a vector of the one number at p + i."""
    return emit(
        lambda p, i: of(p.dtype),
        lambda b, s, p, i: splatted(b, b.load(b.gep(p, [i])), s.return_type.count),
    )(p, i)


@intrinsic
def fill(tc, x):
    """Return a vector of the one number x."""
    return emit(lambda x: of(x), lambda b, s, x: splatted(b, x, s.return_type.count))(x)


@intrinsic
def fill_like(tc, p, x):
    """Return a vector of the one float64 x, of the kind that p points to."""

    def generate(b, s, p, x):
        kind = vector_type(s.return_type)
        return splatted(b, b.fptrunc(x, kind.element) if kind.element == ir.FloatType() else x, kind.count)

    return emit(lambda p, x: of(p.dtype), generate)(p, x)


@intrinsic
def zeros(tc, p):
    """Return a vector of zeros, of the kind that p points to."""
    return emit(lambda p: of(p.dtype), lambda b, s, p: ir.Constant(vector_type(s.return_type), None))(p)


@intrinsic
def fill_index(tc, k, like):
    """Return bytes of the one integer k, one for each lane of `like`."""
    return emit(
        lambda k, like: Vector(types.int8, like.count),
        lambda b, s, k, like: splatted(b, b.trunc(k, I8), s.return_type.count),
    )(k, like)


@intrinsic
def ordered(tc, x):
    """Return where x is a number, not NaN."""
    return emit(lambda x: Vector(types.boolean, x.count), lambda b, s, x: b.fcmp_ordered("ord", x, x))(x)


@intrinsic
def times_mask(tc, x, mask):
    """Return x times 1 where the mask is, times 0 elsewhere: NaN stays NaN, as in the readable pairs."""

    def generate(b, s, x, mask):
        one = splatted(b, ir.Constant(x.type.element, 1.0), x.type.count)
        return b.fmul(x, b.select(mask, one, ir.Constant(x.type, None)))

    return emit(lambda x, mask: x, generate)(x, mask)


def _binary(name: str, doc: str) -> Any:
    @intrinsic
    def function(tc, x, y):
        return emit(lambda x, y: x, lambda b, s, x, y: getattr(b, name)(x, y))(x, y)

    function.__doc__ = doc
    return function


add = _binary("fadd", "Return x + y.")
sub = _binary("fsub", "Return x - y.")
mul = _binary("fmul", "Return x y.")
div = _binary("fdiv", "Return x / y.")


@intrinsic
def fma(tc, x, y, z):
    """Return x y + z, rounded once."""
    return emit(lambda x, y, z: x, lambda b, s, x, y, z: fused(b, x, y, z))(x, y, z)


@intrinsic
def floor_at(tc, x, floor):
    """Return max(x, floor); NaN where x is."""
    return emit(lambda x, floor: x, lambda b, s, x, floor: at_least(b, x, floor))(x, floor)


@intrinsic
def wins(tc, x, m):
    """Return where x is larger than m, or NaN: where a maximum so far gives way."""

    def generate(b, s, x, m):
        return b.or_(b.fcmp_ordered(">", x, m), b.fcmp_unordered("uno", x, x))

    return emit(lambda x, m: Vector(types.boolean, x.count), generate)(x, m)


@intrinsic
def above(tc, x, y):
    """Return where x > y; nowhere where either is NaN."""
    return emit(lambda x, y: Vector(types.boolean, x.count), lambda b, s, x, y: b.fcmp_ordered(">", x, y))(
        x, y
    )


@intrinsic
def equal(tc, x, y):
    """Return where the bytes x and y are equal."""
    return emit(lambda x, y: Vector(types.boolean, x.count), lambda b, s, x, y: b.icmp_signed("==", x, y))(
        x, y
    )


@intrinsic
def first_lanes(tc, n, like):
    """Return a mask of the lanes below n."""

    def generate(b, s, n, like):
        count = s.return_type.count
        index = ir.Constant(ir.VectorType(I32, count), list(range(count)))
        return b.icmp_signed("<", index, splatted(b, b.trunc(n, I32), count))

    return emit(lambda n, like: Vector(types.boolean, like.count), generate)(n, like)


@intrinsic
def choose(tc, mask, x, y):
    """Return x where the mask is, else y."""
    return emit(lambda mask, x, y: x, lambda b, s, mask, x, y: b.select(mask, x, y))(mask, x, y)
