"""Random words of the device are those of xcnn/random.py."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import device
from xcnn.data import RandomCrop
from xcnn.random import philox

cupy = device()

from xcnn_cupy import draws  # noqa: E402


@pytest.mark.parametrize("index", [np.arange(0), np.array([0, 5, 2**32 - 1]), np.arange(3000)[::-7]])
@pytest.mark.parametrize("rest", [(0, 0, 0), (3, 2**32 - 2, 1)])
@pytest.mark.parametrize("key", [(0, 0), (2**32 - 1, 12345)])
def test_words_are_those_of_the_readable_rounds(index, rest, key):
    got = draws.philox((cupy.asarray(index), *rest), key)
    for one, want in zip(got, philox((index, *rest), key), strict=True):
        assert one.dtype == np.int64
        np.testing.assert_array_equal(one.get(), want)


def test_augmentation_draws_in_one_launch(monkeypatch):
    launched = []
    launch = draws.launch
    monkeypatch.setattr(draws, "launch", lambda *args: launched.append(args[:3]) or launch(*args))
    x = cupy.asarray(np.zeros((5, 1, 4, 4), np.uint8))
    RandomCrop(1)(x, seed=0, epoch=0, index=cupy.arange(5))
    assert launched == [("draw", "float32", "draw")]
