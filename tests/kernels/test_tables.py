"""The tables behind the kernels: tiles, spans of taps, and the way into lanes and out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.truth import parts
from xcnn_numpy import tile
from xcnn_numpy.layout import from_lanes, to_lanes
from xcnn_numpy.memory import LINE, aligned, fresh
from xcnn_numpy.program import Program, View, address_of
from xcnn_numpy.simd import REGISTERS, lanes
from xcnn_numpy.workspace import Value, Workspace


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=200)
def test_a_tile_stays_within_the_limits(channels, pixels):
    rows, columns = tile.blocks(channels, pixels)
    assert 1 <= rows <= max(tile.LIMITS)
    assert 1 <= columns <= tile.LIMITS[rows]


def test_the_sums_of_a_tile_fit_into_the_registers():
    """Besides them, the shorter operand and one vector that passes."""
    for rows, columns in tile.LIMITS.items():
        assert rows * columns + min(rows, columns) + 1 <= REGISTERS


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=200)
def test_pieces_as_even_as_possible_are_those_of_the_kernels(n, size):
    count = -(-n // size)
    pieces = [n * (k + 1) // count - n * k // count for k in range(count)]
    assert max(pieces) <= size
    found = tile._even(n, size)
    assert {k: pieces.count(k) for k in set(pieces)} == {k: times for k, times in found.items() if times}


def moved(x, border, count, dtype):
    """Return the images after the way into lanes and out of them, and the lanes."""
    n, c, h, w = x.shape
    width = lanes(dtype)
    value = Value(c, h, w)
    value.want(*border)
    with parts(count):
        ws = Workspace(dtype, width, -(-n // width), count, False)
        view, scratch, y = ws.view(value), ws.scratch(width**2), np.full_like(x, np.nan)
        view.a[:] = np.nan
        tasks = ws.blocks * c
        there, back = Program(dtype, count), Program(dtype, count)
        there.add(to_lanes, x, view, scratch, n, c, h, w, tasks=tasks, work=1e9)
        back.add(from_lanes, view, y, scratch, n, c, h, w, tasks=tasks, work=1e9)
        there.finish().run()
        back.finish().run()
    return y, view.a


@given(st.data())
@settings(max_examples=60)
def test_images_come_out_of_lanes_as_they_went_in(data):
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 9), st.integers(1, 20)))
    border = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    dtype, count = data.draw(st.sampled_from(("float32", "float64"))), data.draw(st.sampled_from((1, 2, 3)))
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    y, filled = moved(x, border, count, dtype)
    np.testing.assert_array_equal(y, x)
    n, c, h, w = shape
    top, bottom, left, right = border
    width = lanes(dtype)
    images = filled.reshape(-1, c, top + h + bottom, left + w + right, width)
    inside = images[:, :, top : top + h, left : left + w]
    here = np.moveaxis(inside, -1, 1).reshape(-1, c, h, w)
    np.testing.assert_array_equal(here[:n], x)
    assert (here[n:] == 0).all(), "lanes of no image are zero"
    assert np.isnan(images).sum() == images.size - inside.size, "the border is not written"


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_buffers_start_on_a_cache_line_and_are_zero(size, dtype):
    for _ in range(20):
        a = aligned(size, dtype)
        assert address_of(a) % LINE == 0
        assert a.shape == (size,)
        assert not a.any()


def test_memory_that_someone_holds_is_nobody_elses():
    held = [fresh((100, 1000), "float32") for _ in range(5)]
    for k, a in enumerate(held):
        a[:] = k
    views = [a[10:20, ::7] for a in held]
    del held
    others = [fresh((100, 1000), "float32") for _ in range(5)]
    for a in others:
        a[:] = -1
    for k, view in enumerate(views):
        assert (view == k).all()


def test_memory_that_was_given_back_is_used_again():
    """Only then: a step does not ask the system for the same pages again and again."""
    a = fresh((99, 1001), "float32")
    place = address_of(a)
    del a
    assert address_of(fresh((1001, 99), "float32")) == place


def test_a_view_of_a_part_of_a_concat_lies_in_the_whole():
    whole, part = Value(5, 4, 3), Value(2, 4, 3)
    part.whole = whole, 3
    part.want(1, 2, 0, 1)
    assert whole.border == [1, 2, 0, 1]
    ws = Workspace("float32", 16, 2, 1, False)
    outer, inner = ws.view(whole), ws.view(part)
    assert inner == outer._replace(first=outer.first + 3 * outer.c)
    assert isinstance(inner, View)
