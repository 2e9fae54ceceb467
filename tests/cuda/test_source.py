"""Sources are put together, read and launched as they were written."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from xcnn.errors import BackendError, DTypeError
from xcnn_cupy import source

TYPES = {"T", "REAL", "float", "double", "int", "index_t", "word_t", "byte_t", "bool", "void"}


class FakeModule:
    """What CuPy's RawModule does, as far as `launch` sees it: kernels note what they were given."""

    calls: ClassVar[list] = []

    def __init__(self, code, options):
        assert options == source.OPTIONS

    def get_function(self, name):
        if "refuse" in self.calls:
            raise RuntimeError("no compiler")
        return lambda grid, block, given: self.calls.append((name, grid, block, given))


@pytest.fixture
def calls(monkeypatch):
    """What was launched on a fake CuPy."""
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(RawModule=FakeModule))
    monkeypatch.setattr(FakeModule, "calls", [])
    monkeypatch.setattr(source, "on_compile", [])
    source._module.cache_clear()
    source._kernel.cache_clear()
    yield FakeModule.calls
    source._module.cache_clear()
    source._kernel.cache_clear()


def _array(dtype):
    return np.zeros(3, dtype)


@pytest.mark.parametrize("file", source.FILES)
def test_every_kernel_takes_known_types(file):
    found = source.signatures(file)
    assert found
    for name, types in found.items():
        bare = {type_.removeprefix("const ").removesuffix("*") for type_ in types}
        assert bare <= TYPES, f"{name}: {bare - TYPES}"


@pytest.mark.parametrize("file", source.FILES)
def test_every_kernel_of_a_file_is_found(file):
    text = source.text(file, "float32")
    assert text.count("KERNEL ") - text.count("#define KERNEL ") == len(source.signatures(file))


@pytest.mark.parametrize("file", source.FILES)
def test_nothing_is_included_atomic_or_printed(file):
    text = source.text(file, "float32")
    assert not [word for word in ("#include", "atomic", "printf") if word in text]


def test_bfloat16_is_kept_in_uint16():
    assert source.kind_of(_array("uint16")) == "bfloat16"
    for kind in ("float16", "float32", "float64", "int64"):
        assert source.kind_of(_array(kind)) == kind


def test_headers_stand_where_they_are_included():
    whole = source.text("statistics", "float32")
    assert whole.index("struct Words") < whole.index("struct Seat") < whole.index("KERNEL moments")


def test_arguments_come_as_the_types_of_the_parameters(calls):
    x, y = _array("uint16"), _array("float32")
    source.launch("layout", "bfloat16", "widen", 3, x, y, 3)
    ((name, grid, block, (a, b, n)),) = calls
    assert (name, grid, block) == ("widen", (1, 1), (source.BLOCK,))
    assert a is x
    assert b is y
    assert type(n) is np.int64


def test_none_is_a_null_pointer(calls):
    source.launch("layout", "float32", "widen", 3, None, _array("float32"), 3)
    null = calls[0][3][0]
    assert (type(null), int(null)) == (np.uint64, 0)


def test_real_is_double_for_float64(calls):
    a = _array("float64")
    source.launch("activation", "float64", "forward", 1, a, a, 3, 0, 0.5)
    assert type(calls[0][3][-1]) is np.float64


def test_blocks_are_limited_and_never_none(calls):
    x = _array("float32")
    source.launch("layout", "float32", "widen", 10**12, x, x, 3)
    source.launch("layout", "float32", "widen", 0, x, x, 0, block=64, rows=7)
    assert [call[1:3] for call in calls] == [((source.MOST, 1), (source.BLOCK,)), ((1, 7), (64,))]


@pytest.mark.parametrize("wrong", ["float64", "int32", "float16"])
def test_an_array_of_another_dtype_is_refused(calls, wrong):
    with pytest.raises(
        DTypeError, match=r"kernel widen of layout.cu: got .*; needed \(const T\*, REAL\*, index_t\)"
    ):
        source.launch("layout", "float32", "widen", 3, _array(wrong), _array("float32"), 3)
    assert not calls


def test_the_first_compilation_of_a_file_is_told_once(calls, monkeypatch):
    told = []
    monkeypatch.setattr(source, "on_compile", [lambda *what: told.append(what)])
    x = _array("float32")
    for _ in range(2):
        source.launch("layout", "float32", "widen", 3, x, x, 3)
        source.launch("layout", "float32", "narrow", 3, x, x, 3)
    assert told == [("layout", "float32")]


def test_what_does_not_compile_is_named(calls):
    calls.append("refuse")
    x = _array("float32")
    with pytest.raises(BackendError, match=r"kernels/layout.cu was not compiled for float32: no compiler"):
        source.launch("layout", "float32", "widen", 3, x, x, 3)
