"""Padding and repeating of pixels: what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.checks import says
from xcnn import ops
from xcnn.errors import OptionError, ShapeError


@pytest.mark.parametrize("op", [ops.zero_pad2d, ops.upsample2d], ids=lambda op: op.name)
@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (1, 1, 1, 4, 4)])
def test_images_need_four_axes(op, backend, shape):
    options = {"padding": ((0, 0), (0, 0))} if op is ops.zero_pad2d else {}
    with pytest.raises(ShapeError, match=says(f"{op.name}: x", str(shape), "(N, C, H, W)")):
        op(backend.asarray(np.ones(shape)), **options)


@pytest.mark.parametrize("value", [((-1, 0), (0, 0)), ((0, 0), (0.5, 0)), ((0, 0),), 1])
def test_paddings_are_pairs_of_sides_from_zero_up(backend, value):
    with pytest.raises(OptionError, match=says("zero_pad2d: padding", "at least 0")):
        ops.zero_pad2d(backend.asarray(np.ones((1, 1, 4, 4))), padding=value)


@pytest.mark.parametrize("value", [(0, 2), (2, -1), (1.5, 2), (2,), 2])
def test_factors_are_pairs_of_positive_integers(backend, value):
    with pytest.raises(OptionError, match=says("upsample2d: factor", repr(value), "at least 1")):
        ops.upsample2d(backend.asarray(np.ones((1, 1, 4, 4))), factor=value)
