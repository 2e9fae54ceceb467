"""Dense."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from xcnn.errors import OptionError, ShapeError
from xcnn.layers import Dense, Flatten


def test_y_is_w_x_plus_b(backend):
    layer = Dense(2)
    model = xcnn.Model([layer], (3,), backend=backend)
    layer.w.value, layer.b.value = [[1, 2, 3], [4, 5, 6]], [10, 20]
    np.testing.assert_array_equal(model.predict([[1.0, 1.0, 0.0]]), [[13, 29]])


def test_features_are_inferred_and_bias_is_optional():
    model = xcnn.Model([Dense(4), Dense(2, bias=False)], (3,))
    assert {name: p.shape for name, p in model.parameters().items()} == {
        "layers[0].w": (4, 3),
        "layers[0].b": (4,),
        "layers[1].w": (2, 4),
    }
    assert [layer.multiply_adds() for layer in model.layers] == [12, 8]


@pytest.mark.parametrize("shape", [(3, 4, 4), (4, 4)])
def test_images_are_refused_naming_flatten(shape):
    text = ", ".join(map(str, shape))
    with pytest.raises(
        ShapeError, match=says(f"Dense (layers[0]): x has shape (N, {text})", "put Flatten() before it")
    ):
        xcnn.Model([Dense(2)], shape)


def test_flatten_is_row_major(backend):
    x = np.arange(24.0).reshape(2, 2, 2, 3)
    model = xcnn.Model([Flatten()], (2, 2, 3), backend=backend)
    np.testing.assert_array_equal(model.predict(x), x.reshape(2, 12))


def test_an_unknown_initialiser_is_refused():
    with pytest.raises(
        OptionError, match=says("Dense (layers[0])", "unknown initialiser 'zeroes'; did you mean 'zeros'?")
    ):
        xcnn.Model([Dense(2, init="zeroes")], (3,))
