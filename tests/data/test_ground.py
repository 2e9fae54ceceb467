"""Photographs of drawings: paper, light and grain go, strokes stay."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xcnn.data import centre_strokes
from xcnn.data.ground import subtract_ground
from xcnn.data.strokes import strokes_of

SIDE = 400


def seven(side: int = SIDE) -> np.ndarray:
    """Return a seven as the share of ink of each pixel."""
    i, j = np.mgrid[:side, :side] / side
    bar = (abs(i - 0.3) < 0.02) & (j > 0.3) & (j < 0.65)
    leg = (abs(j - (0.65 - 0.35 * (i - 0.3))) < 0.02) & (i >= 0.3) & (i < 0.75)
    return (bar | leg).astype(float)


def photographed(ink: np.ndarray, *, slope: tuple[float, float], grain: float) -> np.ndarray:
    """Return dark ink on light paper, its lighting sloping and falling off, inverted: light on grey."""
    u, v = np.mgrid[-1 : 1 : ink.shape[0] * 1j, -1 : 1 : ink.shape[1] * 1j]
    paper = 180 + slope[0] * u + slope[1] * v - 20 * (u * u + v * v)
    paper += np.random.default_rng(0).normal(0, grain, ink.shape)
    return (255 - np.clip(paper * (1 - 0.7 * ink), 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("slope", [(0, 0), (40, 0), (-25, 30)])
@pytest.mark.parametrize("grain", [0, 8])
def test_a_photograph_is_seen_as_the_drawing_on_it(slope, grain):
    ink = seven()
    drawing = np.rint(255 * ink).astype(np.uint8)
    centred = strokes_of((1, 28, 28)).centre(photographed(ink, slope=slope, grain=grain))
    expected = centre_strokes(drawing, (28, 28))
    assert ((centred > 128) == (expected > 128)).mean() > 0.94
    assert np.count_nonzero(centred) < 1.1 * np.count_nonzero(expected)


@pytest.mark.parametrize("drawing", [200 * seven(), 255 - 255 * seven(), np.full((9, 9), 255)])
def test_drawings_stay_as_they_are_however_much_is_inked(drawing):
    drawing = drawing.astype(np.uint8)
    assert subtract_ground(drawing) is drawing


@pytest.mark.parametrize("grain", [0, 8])
def test_empty_paper_holds_no_stroke(grain):
    assert not subtract_ground(photographed(np.zeros((SIDE, SIDE)), slope=(30, 10), grain=grain)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (3, 2), (40, 9)])
def test_small_and_narrow_pictures_are_taken_too(shape):
    y = subtract_ground(np.linspace(90, 100, np.prod(shape)).reshape(shape).astype(np.uint8))
    assert y.shape == tuple(min(n, max(1, round(n * 512 / max(512, *shape)))) for n in shape)
    assert y.dtype == np.uint8


def test_a_large_photograph_is_made_smaller_first():
    photo = photographed(seven(1500), slope=(20, 20), grain=8)
    small = np.asarray(Image.fromarray(photo).resize((512, 512), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(subtract_ground(photo), subtract_ground(small))
