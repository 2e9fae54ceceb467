"""Errors: one family, and messages that say where, what came and what was needed."""

from __future__ import annotations

import copy
from fractions import Fraction

import numpy as np
import pytest

import xcnn
from tests.nets import SHAPE
from xcnn import errors
from xcnn.errors import Error, suggest
from xcnn.layers import Conv2D, Dense, Flatten, Sequential

KINDS = {
    "ShapeError": ValueError,
    "OptionError": ValueError,
    "DataError": ValueError,
    "ConfigError": ValueError,
    "DTypeError": TypeError,
    "DeviceMismatchError": TypeError,
    "BackendError": RuntimeError,
    "OutOfMemoryError": MemoryError,
    "FileError": OSError,
    "GradientError": AssertionError,
    "NonFiniteError": ArithmeticError,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_error_is_an_error_and_what_python_would_raise(name):
    kind = getattr(errors, name)
    assert issubclass(kind, (Error, KINDS[name]))
    assert issubclass(kind, Error)
    assert getattr(xcnn, name) is kind


def test_there_are_no_others():
    assert {n for n in errors.__all__ if n[0].isupper()} == {"Error", *KINDS}


@pytest.mark.parametrize("name", ["Error", *KINDS])
def test_a_message_says_where_and_what(name):
    kind = getattr(errors, name)
    assert str(kind("x is 3; needed 4", where="Conv2D")) == "Conv2D: x is 3; needed 4"
    assert str(kind("x is 3; needed 4")) == "x is 3; needed 4"
    error = kind("what", where="where")
    assert (error.what, error.where) == ("what", "where")


@pytest.mark.parametrize("name", ["Error", *KINDS])
def test_errors_can_be_copied(name):
    """As for another process."""
    kind = getattr(errors, name)
    again = copy.copy(kind("what", where="where"))
    assert (type(again), str(again)) == (kind, "where: what")


def test_an_outer_layer_leaves_the_place_to_the_inner_one():
    error = Error("what", where="conv2d")
    inner, outer = Conv2D(1, 3, name="inner"), Sequential()
    inner.locate(error)
    outer.locate(error)
    assert str(error) == "Conv2D 'inner': what"


def test_a_layer_puts_its_label_over_the_ops():
    model = xcnn.Model([Flatten(), Dense(2)], SHAPE)
    with pytest.raises(xcnn.ShapeError) as caught:
        model.layers[1].forward(model.accept([[[[0.0] * 8] * 8]]))
    assert caught.value.where == "Dense (layers[1])"
    with pytest.raises(xcnn.ShapeError, match=r"^linear: x has shape"):
        xcnn.ops.linear(np.ones((2, 3)), np.ones((2, 4)))


def test_the_history_of_a_nonfinite_error_is_set_by_fit():
    assert errors.NonFiniteError("what").history is None


def test_a_message_can_be_printed_whatever_came():
    error = Error("has the name \udcff; needed Unicode", where="a\ud800.png")
    assert str(error).encode("utf-8") == rb"a\ud800.png: has the name \udcff; needed Unicode"


@pytest.mark.parametrize(
    ("name", "known", "end"),
    [
        ("rellu", ["relu", "elu"], "; did you mean 'relu'?"),
        ("RELU", ["relu", "elu"], "; did you mean 'relu'?"),
        ("conv2d", ["Conv2D", "Dense"], "; did you mean 'Conv2D'?"),
        ("xyz", ["relu", "elu"], "; known: elu, relu"),
        ("", ["b", "a"], "; known: a, b"),
        ("b", iter(["b2", "a"]), "; did you mean 'b2'?"),
    ],
)
def test_suggestions(name, known, end):
    assert suggest(name, known) == end


def test_what_came_is_shown_in_part_if_it_is_endless():
    message = str(Error(f"x is {'9' * 10**6}; needed less\nand so on", where="Model"))
    first, second = message.split("\n")
    assert len(first) < 1100
    assert first.startswith("Model: x is 999")
    assert first.endswith("999; needed less")
    assert second == "and so on"


def test_a_place_is_given_to_what_has_none():
    with pytest.raises(Error, match=r"^outer: what$"), errors.named("outer"):
        raise Error("what")
    with pytest.raises(Error, match=r"^inner: what$"), errors.named("outer"):
        raise Error("what", where="inner")


def test_a_lack_of_memory_is_an_error_that_says_where():
    refused = pytest.raises(errors.OutOfMemoryError, match=r"^fit: .*needed smaller arrays")
    with refused as caught, errors.named("fit"):
        np.empty(2**47)
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("value", [True, "1", None, np.nan, np.inf, 10**400, [1.0], np.ones(2), 1j, 3])
def test_what_is_no_number_of_the_range_is_refused(value):
    with pytest.raises(errors.OptionError, match="needed 0 to 2"):
        errors.number(value, "x", "0 to 2", lambda a: 0 <= a <= 2)


def test_numbers_and_flags_of_numpy_are_pythons():
    for half in (np.float32(0.5), np.asarray(0.5), Fraction(1, 2)):
        assert type(errors.number(half, "x", "a number", bool)) is float
    assert errors.flag(np.bool_(True), "x") is True
    with pytest.raises(errors.OptionError, match="x is 1; needed True or False"):
        errors.flag(1, "x")
