"""Drawings made to look as MNIST's scans do, held against MNIST itself."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import xcnn
from xcnn.data import centre_strokes, load
from xcnn.data.strokes import has_light_ground, learned_light_on_dark, strokes_of
from xcnn.errors import DTypeError, OptionError, ShapeError
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D

needs_mnist = pytest.mark.skipif("XCNN_DATA" not in os.environ, reason="reads MNIST: set XCNN_DATA")

drawings = arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([0, 0, 0, 90, 255])
)
boxes = st.sampled_from([((28, 28), (20, 20)), ((8, 8), (8, 8)), ((17, 30), (11, 9)), ((1, 1), (1, 1))])


def extent(x: np.ndarray) -> tuple[int, int]:
    """Return the sides of the bounding box of what is not zero."""
    at = np.argwhere(x)
    high, wide = at.max(axis=0) - at.min(axis=0) + 1
    return int(high), int(wide)


def mass(x: np.ndarray) -> np.ndarray:
    """Return the centre of mass, in pixels."""
    return np.argwhere(np.ones_like(x)).T @ x.ravel().astype(float) / x.sum()


def enlarged(x: np.ndarray, by: int) -> np.ndarray:
    return np.kron(x, np.ones((by, by), np.uint8))


@pytest.fixture(scope="module")
def mnist():
    return load("mnist", download=False)


@given(drawings, boxes, st.tuples(*[st.integers(0, 9)] * 4))
def test_where_on_the_paper_it_was_drawn_does_not_matter(drawing, field_and_box, margins):
    field, box = field_and_box
    top, bottom, left, right = margins
    moved = np.pad(drawing, ((top, bottom), (left, right)))
    np.testing.assert_array_equal(
        centre_strokes(moved, field, box=box), centre_strokes(drawing, field, box=box)
    )


@given(drawings, boxes, st.integers(2, 7))
def test_how_large_it_was_drawn_does_not_matter(drawing, field_and_box, by):
    field, box = field_and_box
    np.testing.assert_array_equal(
        centre_strokes(enlarged(drawing, by), field, box=box), centre_strokes(drawing, field, box=box)
    )


def test_another_resolution_changes_edges_by_the_share_of_a_pixel():
    """A disc drawn on finer paper: its edge moves by one coarse pixel of 100, a fifth of a new one."""

    def disc(n: int) -> np.ndarray:
        at = (np.arange(n) + 0.5) / n - 0.5
        return np.where(np.hypot(at[:, None], at) < 0.4, 255, 0).astype(np.uint8)

    x = centre_strokes(disc(125), (28, 28)).astype(int)
    for n in (170, 333, 1000):
        assert abs(centre_strokes(disc(n), (28, 28)) - x).max() <= 0.25 * 255


@given(drawings, boxes)
def test_ink_fits_its_box_and_none_is_lost(drawing, field_and_box):
    assume(drawing.any())
    field, box = field_and_box
    x = centre_strokes(drawing, field, box=box)
    assert x.shape == field
    assert x.dtype == np.uint8
    assert x.max() == drawing.max()
    high, wide = extent(x)
    assert high <= box[0]
    assert wide <= box[1]


@given(drawings, st.integers(2, 60), st.integers(2, 60))
def test_the_weight_is_within_half_a_pixel_of_the_middle_unless_an_edge_is_in_the_way(drawing, h, w):
    assume(drawing.any())
    x = centre_strokes(drawing, (h, w))
    at = np.argwhere(x)
    for axis, n in enumerate((h, w)):
        off = mass(x)[axis] - n // 2
        at_an_edge = at[:, axis].min() == 0 or at[:, axis].max() == n - 1
        assert -0.5 - 1e-9 <= off < 0.5 or at_an_edge


@given(drawings, st.sampled_from([1.0, 2.0]), st.sampled_from([2, 4]))
def test_a_grain_averages_a_finer_field(drawing, stretch, grain):
    x = centre_strokes(drawing, (8, 8), box=(8, 5), stretch=stretch, grain=grain)
    fine = centre_strokes(drawing, (8 * grain, 8 * grain), box=(8 * grain, 5 * grain), stretch=stretch)
    means = fine.reshape(8, grain, 8, grain).mean(axis=(1, 3))
    assert abs(x - means).max() <= 0.5


def test_an_empty_sheet_stays_empty():
    assert not centre_strokes(np.zeros((280, 280), np.uint8), (28, 28)).any()
    assert not centre_strokes(np.zeros((0, 0), np.uint8), (28, 28)).any()


def test_a_single_dot_fills_the_box_as_it_did_in_mnist():
    sheet = np.zeros((280, 280), np.uint8)
    sheet[279, 0] = 1
    assert extent(centre_strokes(sheet, (28, 28))) == (20, 20)


def test_a_one_stays_thin():
    sheet = np.zeros((280, 280), np.uint8)
    sheet[20:260, 100:120] = 255
    assert extent(centre_strokes(sheet, (28, 28))) == (20, 2)
    sheet[:, :] = 0
    sheet[20:260, 100] = 255
    hair = centre_strokes(sheet, (28, 28))
    assert extent(hair) == (20, 1)
    assert hair.max() == 255


def test_a_stretch_widens_what_is_narrow_so_far_and_no_farther():
    sheet = np.full((100, 20), 255, np.uint8)
    widths = [extent(centre_strokes(sheet, (28, 28), stretch=s))[1] for s in (1, 2, 4, 9)]
    assert widths == [4, 8, 16, 20]
    flat = [extent(centre_strokes(sheet.T, (28, 28), stretch=s))[0] for s in (1, 2, 4, 9)]
    assert flat == [4, 8, 16, 20]


def test_faint_traces_are_no_ink():
    sheet = np.zeros((280, 280), np.uint8)
    sheet[100:180, 100:140] = 255
    noisy = sheet.copy()
    noisy[0, 0] = noisy[-1, -1] = 31
    np.testing.assert_array_equal(centre_strokes(noisy, (28, 28)), centre_strokes(sheet, (28, 28)))


def test_a_huge_sheet_takes_little_more_memory_than_itself():
    sheet = np.zeros((4000, 4000), np.uint8)
    sheet[5:3990, 1200:2500] = 255
    tracemalloc.start()
    centre_strokes(sheet, (28, 28))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * sheet.size


@pytest.mark.parametrize(
    ("picture", "shape", "options", "error", "message"),
    [
        (
            np.zeros((1, 4, 4), np.uint8),
            (4, 4),
            {},
            ShapeError,
            r"shape \(1, 4, 4\); needed \(rows, columns\)",
        ),
        (np.zeros((4, 4)), (4, 4), {}, DTypeError, "dtype float64; needed uint8"),
        (np.zeros((4, 4), np.uint8), (4,), {}, ShapeError, "shape is .*; needed the height and the width"),
        (np.zeros((4, 4), np.uint8), (0, 4), {}, ShapeError, "shape is .*; needed the height and the width"),
        (np.zeros((4, 4), np.uint8), (4, 4), {"box": (5, 4)}, OptionError, "at most the field's"),
        (np.zeros((4, 4), np.uint8), (4, 4), {"box": 4}, OptionError, "needed the height and the width"),
        (np.zeros((4, 4), np.uint8), (4, 4), {"stretch": 0.5}, OptionError, "needed a number from 1"),
        (np.zeros((4, 4), np.uint8), (4, 4), {"stretch": np.nan}, OptionError, "needed a number from 1"),
        (np.zeros((4, 4), np.uint8), (4, 4), {"grain": 0}, OptionError, "needed an integer from 1"),
    ],
)
def test_what_is_no_drawing_is_refused(picture, shape, options, error, message):
    with pytest.raises(error, match=message):
        centre_strokes(picture, shape, **options)


@needs_mnist
def test_mnist_is_as_the_docstring_says(mnist):
    x = np.concatenate([mnist.train.x, mnist.test.x])[:, 0]
    rows, columns = (x.any(axis=axis) for axis in (2, 1))
    sides = np.maximum(*(28 - a[:, ::-1].argmax(axis=1) - a.argmax(axis=1) for a in (rows, columns)))
    assert np.count_nonzero(sides != 20) == 16
    assert set(np.unique(x.max(axis=(1, 2)))) == {254, 255}
    total = x.sum(axis=(1, 2), dtype=np.int64)
    for axis in (2, 1):
        centre = (x.sum(axis=axis, dtype=np.int64) * np.arange(28)).sum(axis=1) / total
        assert np.mean((centre >= 13.5) & (centre < 14.5)) > 0.9999
        share = np.histogram(centre, bins=10, range=(13.5, 14.5))[0] / len(centre)
        assert abs(share - 0.1).max() < 0.006  # whole pixels: what is left over is even


@needs_mnist
def test_mnist_enlarged_comes_back(mnist):
    x = mnist.test.x[:1000]
    model = xcnn.Model(
        [Conv2D(8, 5, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)], input_shape=(1, 28, 28), seed=0
    )
    model.fit(mnist.train.x[:6000], mnist.train.y[:6000], epochs=1, batch_size=32, optimizer="adam")
    again = np.stack([centre_strokes(enlarged(image, 10), (28, 28)) for (image,) in x])[:, None]
    assert np.mean([np.array_equal(a, b) for a, b in zip(x, again, strict=True)]) > 0.7
    assert abs(again.astype(int) - x).mean() < 0.25  # of 255: faint rims are cut off
    assert np.mean(model.predict_classes(again) == model.predict_classes(x)) >= 0.99


def test_how_drawings_are_centred_follows_from_the_input():
    assert strokes_of((1, 28, 28)).box == (20, 20)
    assert strokes_of((1, 56, 28)).box == (40, 20)
    digits = strokes_of((1, 8, 8))
    assert (digits.box, digits.stretch, digits.grain) == ((8, 5), 2.0, 4)
    assert digits.centre(np.full((90, 60), 255, np.uint8)).shape == (8, 8)
    assert strokes_of((3, 32, 32)) is None
    assert strokes_of((784,)) is None


def test_drawings_fill_rows_and_columns_as_optdigits_do():
    """A square drawing: all rows, and six columns of which the outer ones are half full."""
    x = strokes_of((1, 8, 8)).centre(np.full((50, 50), 255, np.uint8))
    assert x[0].tolist() == [0, 128, 255, 255, 255, 255, 128, 0]
    assert (x == x[0]).all()


def test_the_ground_is_told_by_data_or_else_by_shape():
    class Spec:
        name = "cifar10"

    assert learned_light_on_dark((1, 28, 28), None)
    assert not learned_light_on_dark((1, 28, 28), Spec())
    assert not learned_light_on_dark((3, 32, 32), None)
    image = np.zeros((1, 9, 9), np.uint8)
    assert not has_light_ground(image)
    image[:, [0, -1], :] = image[:, :, [0, -1]] = 200
    assert has_light_ground(image)
