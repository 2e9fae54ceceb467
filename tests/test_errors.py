"""Errors: one family, and messages that say where, what came and what was needed."""

from __future__ import annotations

import copy

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
    assert {n for n in errors.__all__ if n not in ("lookup", "suggest")} == {"Error", *KINDS}


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
