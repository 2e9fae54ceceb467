"""Arrays of plain Python numbers: NumPy's values and dtypes, the standard's promotion, IEEE's exceptions."""

from __future__ import annotations

import copy
import operator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import xcnn
from tests.ops.checks import says
from xcnn.errors import DTypeError
from xcnn_python import dtypes, ieee
from xcnn_python import namespace as xp

BACKEND = xcnn.get_backend("python")
FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
LIMITS = {"float32": 1e-6, "float64": 1e-14}  # of functions that another library rounds otherwise

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
filled = hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)
floats, integers = st.sampled_from(FLOATS), st.sampled_from(INTEGERS)
plain = st.floats(-5, 5, width=32).map(lambda v: round(v, 3))  # what functions do not overflow on


def ours(a):
    """Return a NumPy array, or several, as arrays of plain Python numbers."""
    return tuple(map(ours, a)) if isinstance(a, (tuple, list)) else BACKEND.asarray(a)


def check(got, want, rtol=0.0):
    """Fail unless `got` has the shape, the dtype and the numbers of `want`, NaN and signs of zeros too."""
    want = np.asarray(want)
    assert (got.shape, got.dtype.name) == (want.shape, want.dtype.name)
    assert len(got.data) == want.size
    assert {type(v) for v in got.data} <= {type(want.dtype.type(0).item())}
    numbers = BACKEND.to_numpy(got)
    np.testing.assert_allclose(numbers, want, rtol=rtol, atol=0)
    if want.dtype.kind == "f":
        known = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(numbers[known]), np.signbit(want[known]))


def quietly(function, *arrays, **options):
    """Return what NumPy gives, without its warnings of division by zero and the like."""
    with np.errstate(all="ignore"):
        return function(*arrays, **options)


@st.composite
def pairs(draw, dtype=floats, elements=None):
    """Return two arrays of one dtype that broadcast together."""
    found = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0))
    kind = draw(dtype)
    return tuple(draw(hnp.arrays(kind, shape, elements=elements)) for shape in found.input_shapes)


# Operators


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "lt", "le", "gt", "ge", "eq", "ne"])
def test_arithmetic_is_that_of_the_processor_to_the_bit(name):
    function = getattr(operator, name)

    @given(pairs())
    def compare(ab):
        check(function(*ours(ab)), quietly(function, *ab))

    compare()


@pytest.mark.parametrize("name", ["pow", "floordiv", "mod"])
def test_powers_and_remainders_are_numpys(name):
    function = getattr(operator, name)

    @given(pairs(dtype=st.just("float64"), elements=plain))
    def compare(ab):
        check(function(*ours(ab)), quietly(function, *ab), LIMITS["float64"])

    compare()


@pytest.mark.parametrize("name", ["add", "sub", "mul", "and_", "or_", "xor", "lt", "eq"])
def test_integers_wrap_around_and_promote_as_numpys(name):
    function = getattr(operator, name)

    @given(st.data())
    def compare(data):
        kinds = data.draw(st.tuples(integers, integers))
        if {k[0] for k in kinds} == {"i", "u"} and "uint64" in kinds:
            kinds = ("uint64", "uint64")  # NumPy makes these float64; the standard has no common dtype
        ab = [data.draw(hnp.arrays(kind, (3,))) for kind in kinds]
        check(function(*ours(ab)), quietly(function, *ab))

    compare()


@given(hnp.arrays(integers, (4,)), st.integers(0, 7))
def test_shifts_and_inversions_are_numpys(a, n):
    check(ours(a) << n, a << n)
    check(ours(a) >> n, a >> n)
    check(~ours(a), ~a)
    check(ours(a) // 3, a // 3)
    check(ours(a) % 3, a % 3)


@given(hnp.arrays(floats, shapes), plain)
def test_a_python_scalar_takes_the_dtype_of_the_array(a, v):
    for function in (operator.add, operator.sub, operator.mul, operator.truediv, operator.gt):
        check(function(ours(a), v), quietly(function, a, v))
        check(function(v, ours(a)), quietly(function, v, a))
    check(ours(a) * 3, quietly(operator.mul, a, 3))


@given(hnp.arrays(floats, shapes, elements=st.floats(width=32) | st.sampled_from((np.nan, 0.0, -0.0))))
def test_signs_are_numpys(a):
    check(-ours(a), -a)
    check(+ours(a), +a)
    check(abs(ours(a)), abs(a))
    check(xp.sign(ours(a)), np.sign(a))
    check(xp.round(ours(a)), np.round(a))
    check(xp.round(ours(a) / 2), np.round(a / 2))


def test_nothing_that_is_no_array_is_multiplied_by_a_matrix():
    class Column:
        def __rmatmul__(self, other):
            return "asked"

    assert xp.ones(2) @ Column() == "asked"
    with pytest.raises(TypeError, match=says("unsupported operand", "@", "Array", "int")):
        xp.ones(2) @ 3


# Functions


@pytest.mark.parametrize("name", ["cos", "exp", "expm1", "log", "log1p", "sin", "sqrt", "tanh"])
def test_functions_are_numpys(name):
    @given(hnp.arrays(floats, shapes))
    def compare(a):
        check(getattr(xp, name)(ours(a)), quietly(getattr(np, name), a), LIMITS[a.dtype.name])

    compare()


@pytest.mark.parametrize("name", ["isfinite", "isnan"])
@given(a=hnp.arrays(floats, shapes))
def test_kinds_of_numbers_are_recognised(name, a):
    check(getattr(xp, name)(ours(a)), getattr(np, name)(a))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@given(ab=pairs(elements=st.sampled_from((np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0))))
def test_the_larger_and_the_smaller_keep_nan(name, ab):
    check(getattr(xp, name)(*ours(ab)), getattr(np, name)(*ab))


@given(pairs(), st.data())
def test_where_chooses(ab, data):
    condition = data.draw(hnp.arrays(bool, np.broadcast_shapes(*(a.shape for a in ab))))
    check(xp.where(ours(condition), *ours(ab)), np.where(condition, *ab))
    check(xp.where(ours(condition), ours(ab[0]), 0.5), np.where(condition, ab[0], ab[0].dtype.type(0.5)))


@st.composite
def along(draw, elements=plain, dtype=floats, several=True):
    """Return an array, the options axis and keepdims."""
    a = draw(hnp.arrays(draw(dtype), draw(filled), elements=elements))
    one = st.integers(-a.ndim, a.ndim - 1)
    many = hnp.valid_tuple_axes(a.ndim) if several else st.nothing()
    return a, {"axis": draw(st.none() | one | many), "keepdims": draw(st.booleans())}


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_sums_and_means_are_exact_but_for_one_rounding(name):
    @given(along())
    def compare(case):
        a, options = case
        want = getattr(np, name)(a.astype("longdouble"), **options).astype(a.dtype)
        check(getattr(xp, name)(ours(a), **options), want, {"float32": 1e-7, "float64": 1e-15}[a.dtype.name])

    compare()


@given(along(elements=None, dtype=integers))
def test_sums_of_small_integers_are_counted_in_64_bits(case):
    a, options = case
    check(xp.sum(ours(a), **options), np.sum(a, **options))


@pytest.mark.parametrize("name", ["max", "min", "all", "any"])
def test_extremes_and_truths_are_numpys_with_nan(name):
    @given(along(elements=st.floats(width=32) | st.just(np.nan)))
    def compare(case):
        a, options = case
        check(getattr(xp, name)(ours(a), **options), getattr(np, name)(a, **options))

    compare()


@given(along(elements=st.sampled_from((0.0, 1.0, 2.0, np.inf, np.nan)), several=False))
def test_argmax_finds_the_first(case):
    a, options = case
    check(xp.argmax(ours(a), **options), np.argmax(a, **options))


@given(st.data(), floats)
def test_products_of_matrices_are_numpys(data, kind):
    found = data.draw(
        hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3, min_side=0)
    )
    ab = [data.draw(hnp.arrays(kind, shape, elements=plain)) for shape in found.input_shapes]
    want = np.matmul(*[a.astype("float64") for a in ab]).astype(kind)
    got = ours(ab[0]) @ ours(ab[1])
    assert (got.shape, got.dtype.name) == (want.shape, kind)
    np.testing.assert_allclose(BACKEND.to_numpy(got), want, rtol=1e-5, atol=1e-5)


# Shapes and order


@given(hnp.arrays("int64", shapes), st.data())
def test_axes_are_moved_mirrored_added_and_repeated(a, data):
    x = ours(a)
    order = data.draw(st.permutations(range(a.ndim)))
    check(xp.permute_dims(x, order), np.transpose(a, order))
    if a.ndim > 1:
        check(xp.matrix_transpose(x), np.swapaxes(a, -1, -2))
    axes = data.draw(st.none() | hnp.valid_tuple_axes(a.ndim))
    check(xp.flip(x, axis=axes), np.flip(a, axes))
    at = data.draw(st.integers(-a.ndim - 1, a.ndim))
    check(xp.expand_dims(x, axis=at), np.expand_dims(a, at))
    check(xp.reshape(x, (-1,)), a.reshape(-1))
    wide = (2, *a.shape)
    check(xp.broadcast_to(x, wide), np.broadcast_to(a, wide))
    times = tuple(data.draw(st.lists(st.integers(0, 2), max_size=4)))
    check(xp.tile(x, times), np.tile(a, times))
    axis = data.draw(st.none() | st.integers(-a.ndim, a.ndim - 1)) if a.ndim else None
    check(xp.repeat(x, 2, axis=axis), np.repeat(a, 2, axis))


@given(hnp.arrays("float32", filled, elements=plain), st.data())
def test_arrays_are_joined_and_taken_apart(a, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    parts = [a, 2 * a, a.take([0], axis)]
    check(xp.concat(ours(parts), axis=axis), np.concatenate(parts, axis))
    check(xp.concat(ours(parts), axis=None), np.concatenate(parts, None))
    check(xp.stack(ours(parts[:2]), axis=axis), np.stack(parts[:2], axis))
    index = np.asarray(data.draw(st.lists(st.integers(0, a.shape[axis] - 1), min_size=1)))
    check(xp.take(ours(a), ours(index), axis=axis), np.take(a, index, axis))
    index = np.argsort(a, axis=axis)
    check(xp.take_along_axis(ours(a), ours(index), axis=axis), np.take_along_axis(a, index, axis))


@given(hnp.arrays("int64", shapes), st.data())
def test_indices_read_and_write_what_numpys_do(a, data):
    key = data.draw(hnp.basic_indices(a.shape, allow_newaxis=True))
    x = ours(a)
    check(x[key], a[key])
    part = x[key]
    x[key], a[key] = 7, 7
    check(x, a)
    x[key] = part  # a copy: it did not become 7
    a[key] = BACKEND.to_numpy(part)
    check(x, a)


@given(hnp.arrays("int64", filled), st.data())
def test_an_array_is_written_to_itself_as_it_was(a, data):
    mirrored = tuple(slice(None, None, data.draw(st.sampled_from((1, -1)))) for _ in a.shape)
    x = ours(a)
    x[mirrored] = x
    want = np.empty_like(a)
    want[mirrored] = a
    check(x, want)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: +x,
        lambda x: x + 0.0,
        abs,
        lambda x: x[...],
        lambda x: x[:, :],
        lambda x: x.T.T,
        lambda x: xp.reshape(x, (2, 2)),
        lambda x: xp.expand_dims(x, axis=0),
        lambda x: xp.broadcast_to(x, (2, 2)),
        lambda x: xp.permute_dims(x, (0, 1)),
        lambda x: xp.flip(x, axis=()),
        lambda x: xp.astype(x, x.dtype),
        lambda x: xp.asarray(x, copy=True),
        lambda x: xp.concat([x]),
        lambda x: xp.stack([x]),
        lambda x: xp.tile(x, (1, 1)),
        lambda x: xp.repeat(x, 1, axis=0),
        lambda x: xp.take(x, xp.arange(2), axis=0),
        lambda x: xp.where(xp.ones((2, 2), dtype=xp.bool), x, 0.0),
        lambda x: xp.maximum(x, x),
        lambda x: xp.sum(x, axis=()),
        copy.deepcopy,
    ],
)
def test_no_two_arrays_share_what_is_written_to_one(function):
    x = xp.ones((2, 2))
    y = function(x)
    before = copy.deepcopy(y.data)
    x[...] = 7.0
    assert y.data == before
    y[...] = 3.0
    assert x.data == [7.0] * 4


def test_a_list_of_an_arrays_numbers_is_a_copy():
    x = xp.ones(3)
    x.tolist()[0] = 7.0
    assert x.data == [1.0, 1.0, 1.0]


def test_an_array_is_a_row_of_its_parts():
    rows = list(xp.asarray([[1, 2], [3, 4]]))
    assert [row.tolist() for row in rows] == [[1, 2], [3, 4]]
    assert list(xp.zeros((0, 2))) == []
    with pytest.raises(TypeError, match=says("shape ()", "no axis")):
        list(xp.asarray(1.0))


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", ">u8"])
def test_numbers_of_another_order_of_bytes_are_the_same(kind):
    a = np.asarray([1, 2, 300], dtype=kind)
    for got in (BACKEND.asarray(a), xp.asarray(a)):
        check(got, a.astype(a.dtype.newbyteorder("=")))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: xp.asarray([1, 300], dtype=xp.uint8),
        lambda: xp.full(2, 300, dtype=xp.uint8),
        lambda: xp.arange(299, 302, dtype=xp.uint8),
        lambda: xp.ones(2, dtype=xp.uint8) + 300,
        lambda: xp.maximum(xp.ones(2, dtype=xp.uint8), 300),
        lambda: operator.setitem(xp.ones(2, dtype=xp.uint8), 0, 300),
    ],
)
def test_an_integer_that_does_not_fit_is_refused_where_it_is_given(wrong):
    with pytest.raises(OverflowError, match=says("does not fit uint8")):
        wrong()


def test_what_integers_come_to_wraps_around():
    check(xp.asarray([200], dtype=xp.uint8) + 100, np.asarray([44], "uint8"))
    check(xp.astype(xp.asarray([300, -1]), xp.uint8), np.asarray([44, 255], "uint8"))
    check(xp.asarray(np.asarray([300]), dtype=xp.uint8), np.asarray([44], "uint8"))


def test_arrays_are_made_as_numpys():
    for kind in ("float32", "int64", "uint8", "bool"):
        dtype = getattr(xp, kind)
        for name in ("zeros", "ones"):
            check(getattr(xp, name)((2, 3), dtype=dtype), getattr(np, name)((2, 3), kind))
            like = getattr(xp, f"{name}_like")(xp.zeros((2, 1)), dtype=dtype)
            check(like, getattr(np, name)((2, 1), kind))
    check(xp.full(3, 2), np.full(3, 2))
    check(xp.full_like(xp.zeros(2, dtype=xp.float32), 0.1), np.full(2, 0.1, "float32"))
    for arguments in ((5,), (2, 9, 3), (5, 0, -2), (0.0, 1.0, 0.25), (3, 1)):
        check(xp.arange(*arguments), np.arange(*arguments))
    check(xp.asarray([[1, 2], [3, 4.5]]), np.asarray([[1, 2], [3, 4.5]]))
    check(xp.asarray([True, False]), np.asarray([True, False]))
    check(xp.asarray(np.arange(6, dtype="int16").reshape(2, 3)), np.arange(6, dtype="int16").reshape(2, 3))
    assert xp.zeros((2, 0, 3)).tolist() == [[], []]


@given(hnp.arrays(st.sampled_from((*INTEGERS, *FLOATS, "bool")), shapes, elements=st.integers(0, 1)))
def test_dtypes_convert_as_numpys(a):
    for kind in (*INTEGERS, *FLOATS, "bool"):
        check(xp.astype(ours(a), getattr(xp, kind)), a.astype(kind))


def test_dtypes_have_numpys_limits_and_families():
    families = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric")
    for kind in (*INTEGERS, *FLOATS, "bool"):
        for family in (*families, "complex floating"):
            assert xp.isdtype(getattr(xp, kind), family) == np.isdtype(np.dtype(kind), family)
    for kind in FLOATS:
        for name in ("max", "min", "eps", "smallest_normal", "bits"):
            assert getattr(xp.finfo(getattr(xp, kind)), name) == getattr(np.finfo(kind), name)


def test_dtypes_promote_as_the_standard_says():
    for one in (*INTEGERS, *FLOATS):
        for other in (*INTEGERS, *FLOATS):
            a, b = getattr(xp, one), getattr(xp, other)
            if (a.kind == "f") != (b.kind == "f") or ("uint64" in (one, other) and "i" in (a.kind, b.kind)):
                with pytest.raises(TypeError, match=says(one, other, "no common dtype")):
                    xp.result_type(a, b)
            else:
                assert xp.result_type(a, b).name == np.result_type(one, other).name


# What Python would raise


@pytest.mark.parametrize("kind", FLOATS)
def test_ieee_answers_where_python_raises(kind):
    x = xp.asarray([0.0, -0.0, 1.0, -1.0, 2.5, 1e3, -1e3, np.inf, -np.inf, np.nan], dtype=getattr(xp, kind))
    a = BACKEND.to_numpy(x)
    for function in (operator.truediv, operator.mod, operator.pow):
        got = function(xp.expand_dims(x, axis=1), x)
        check(got, quietly(function, a[:, None], a), LIMITS[kind])
    for name in ("exp", "expm1", "log", "log1p", "sqrt"):
        check(getattr(xp, name)(x), quietly(getattr(np, name), a), LIMITS[kind])
    assert np.signbit(BACKEND.to_numpy(1.0 / xp.asarray([-0.0]))).all()
    largest = xp.finfo(x.dtype).max
    big = xp.asarray([largest, largest], dtype=x.dtype)
    assert (big * 2.0).tolist() == [np.inf, np.inf]
    assert float(xp.sum(xp.asarray([np.inf, 1.0, largest]))) == np.inf
    assert np.isnan(float(xp.sum(xp.asarray([np.inf, -np.inf]))))
    assert ieee.total([1e308, 1e308]) == np.inf


def test_single_precision_overflows_to_infinity_and_rounds_to_even():
    numbers = [1e39, -1e39, 0.1, 16777217.0, 16777219.0, 1e-46]
    check(xp.asarray(numbers, dtype=xp.float32), quietly(np.asarray, numbers, dtype="float32"))


def test_division_of_integers_by_zero_is_an_error():
    with pytest.raises(ZeroDivisionError):
        xp.asarray([1]) // 0


# What is refused


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (lambda: xp.ones(2) + xp.arange(2), ("float64", "int64", "no common dtype", "astype")),
        (lambda: xp.arange(2) + 0.5, ("int64", "0.5", "int")),
        (lambda: xp.arange(2) / 2, ("/ of int64", "floating numbers")),
        (lambda: xp.ones(2, dtype=xp.bool) + True, ("+ of bool", "real numbers")),
        (lambda: xp.asarray([1.0, 1j]), ("complex", "real Python numbers")),
        (lambda: xp.asarray(np.ones(2, "complex64")), ("complex64", "float32")),
        (lambda: xp.exp(xp.arange(2)), ("exp of int64", "floating")),
        (lambda: xp.mean(xp.arange(2)), ("mean of int64", "floating")),
        (lambda: xp.maximum(xp.ones(2), np.ones(2)), ("plain Python numbers",)),
        (lambda: xp.asarray(np.ones(2, "float16")), ("float16", "float32")),
        (lambda: xp.asarray(["one"]), ("str", "Python numbers")),
        (lambda: float(xp.ones(2)), ("(2,)", "single element")),
        (lambda: np.ones(2) - xp.ones(2), ("unsupported operand", "ndarray", "Array")),
        (lambda: xp.take(xp.ones(2), xp.ones(2)), ("float64", "integers")),
        (lambda: range(3)[xp.asarray(True)], ("bool", "integers")),
    ],
)
def test_what_is_of_the_wrong_type_is_named(wrong, parts):
    with pytest.raises(TypeError, match=says(*parts)):
        wrong()


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (lambda: xp.ones(2) + xp.ones(3), ("(2,)", "(3,)", "broadcast")),
        (lambda: xp.ones((2, 3)) @ xp.ones((2, 3)), ("(2, 3)", "3 columns", "2 rows")),
        (lambda: xp.reshape(xp.ones(6), (4, -1)), ("(6,)", "(4, -1)")),
        (lambda: xp.concat([xp.ones((2, 3)), xp.ones((2, 4))]), ("(2, 3)", "(2, 4)", "axis 0")),
        (lambda: xp.asarray([[1, 2], [3]]), ("(1,)", "(2,)", "one shape")),
        (lambda: xp.zeros(2, device="cuda"), ("cuda", "cpu")),
        (lambda: xp.ones(3).T, ("(3,)", "two axes")),
        (lambda: xp.matrix_transpose(xp.ones(3)), ("(3,)", "two axes")),
        (lambda: xp.zeros((-1, -2)), ("(-1, -2)", "0 or more")),
        (lambda: xp.full(-3, 1.0), ("(-3,)", "0 or more")),
    ],
)
def test_what_is_of_the_wrong_shape_is_named(wrong, parts):
    with pytest.raises(ValueError, match=says(*parts)):
        wrong()


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        (5, ("index is 5; needed -2 to 1",)),
        ((0, 0, 0), ("3 indices", "(2, 3)")),
        ("a", ("'a'", "integers")),
        ([0, 1], ("[0, 1]", "xp.take")),
        ((slice(None), 2.0), ("2.0", "integers")),
        (True, ("True", "integers")),
        (xp.asarray(True), ("True", "integers")),
        (xp.asarray([0, 1]), ("array([0, 1], int64)", "xp.take")),
    ],
)
def test_what_is_no_index_is_refused(key, parts):
    with pytest.raises(IndexError, match=says(*parts)):
        xp.ones((2, 3))[key]


def test_an_index_may_be_an_array_of_one_integer():
    assert xp.asarray([[1, 2], [3, 4]])[xp.asarray(1), xp.asarray(-1)].tolist() == 4


@pytest.mark.parametrize("index", [3, -4])
def test_what_is_taken_from_beyond_an_axis_is_refused(index):
    for take in (xp.take, xp.take_along_axis):
        indices = xp.asarray([0, index])
        indices = indices if take is xp.take else xp.reshape(indices, (1, 2))
        with pytest.raises(IndexError, match=says(f"index is {index}", "-3 to 2")):
            take(xp.ones((2, 3)), indices, axis=1)


def test_what_the_namespace_lacks_it_says():
    with pytest.raises(AttributeError, match=says("'fft'", "the part of the array API standard")):
        xp.fft  # noqa: B018


# At the boundary


def test_a_copy_keeps_the_dtype_that_there_is_one_of():
    x = xp.asarray([1.5, 2.5], dtype=xp.float32)
    other = copy.deepcopy(x)
    assert other.dtype is xp.float32
    other[0] = 3.5
    assert x.tolist() == [1.5, 2.5]


def test_an_array_shows_its_numbers():
    assert repr(xp.asarray([[0.1, 2.0]], dtype=xp.float32)) == "array([[0.1, 2.0]], float32)"
    assert repr(xp.asarray([0.1 + 0.2, 1e-320])) == f"array([{0.1 + 0.2}, 1e-320], float64)"
    assert repr(xp.arange(3)) == "array([0, 1, 2], int64)"
    assert repr(xp.zeros((40, 50))) == "<array of shape (40, 50), float64>"


def test_complex_numbers_are_refused():
    x = np.ones((1, 1, 4, 4), "complex64")
    with pytest.raises(DTypeError, match=says("backend 'python'", "complex64", "float32")):
        BACKEND.asarray(x)
    model = xcnn.Model([xcnn.layers.Conv2D(1, 3)], (1, 4, 4), backend="python")
    with pytest.raises(DTypeError, match=says("x has dtype complex64; needed a floating dtype")):
        model.predict(x)


def test_only_the_boundary_imports_numpy():
    folder = Path(dtypes.__file__).parent
    importers = {path.name for path in folder.glob("*.py") if "numpy as" in path.read_text(encoding="utf-8")}
    assert importers == {"__init__.py"}
