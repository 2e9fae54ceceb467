"""A bias of its own for each pixel."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import CLASSES, SHAPE, host, stripes
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import ShapeError
from xcnn.layers import Conv2D, Dense, Flatten, ReLU, UntiedBias

X, Y = stripes(12)


def net(*bias, **options):
    """Return a model whose convolution has the biases given."""
    layers = [Conv2D(2, 3, bias=False), *bias, ReLU(), Flatten(), Dense(CLASSES)]
    return xcnn.Model(layers, SHAPE, **options)


def test_each_pixel_has_a_bias_of_its_own_that_starts_at_zero(backend):
    layer = UntiedBias()
    model = xcnn.Model([layer], (2, 1, 3), backend=backend)
    assert layer.b.shape == (2, 1, 3)
    x = np.ones((2, 2, 1, 3), dtype="float32")
    np.testing.assert_array_equal(model.predict(x), x)
    layer.b.value = [[[1, 2, 3]], [[4, 5, 6]]]
    np.testing.assert_array_equal(model.predict(x), [[[[2, 3, 4]], [[5, 6, 7]]]] * 2)


def test_db_is_dy_of_one_image_and_its_sum_over_more(backend):
    dy = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    for n in (1, 3):
        x, b = backend.asarray(np.ones((n, 2, 4, 5))), backend.asarray(np.zeros((2, 4, 5)))
        _, saved = ops.untied_bias(x, b)
        dx, db = saved.backward(backend.asarray(dy[:n]))
        np.testing.assert_array_equal(backend.to_numpy(dx), dy[:n])
        assert_close(backend.to_numpy(db), dy[:n].sum(axis=0), "float64")


def test_penalties_leave_it_alone():
    model = net(UntiedBias())
    assert not model.layers[1].b.is_weight


def test_a_bias_that_is_the_same_everywhere_is_that_of_the_convolution(backend):
    tied = xcnn.Model([Conv2D(2, 3)], SHAPE, backend=backend)
    untied = xcnn.Model([Conv2D(2, 3, bias=False), UntiedBias()], SHAPE, backend=backend)
    tied.layers[0].b.value = [0.5, -0.25]
    untied.layers[0].w.value = tied.layers[0].w.value
    untied.layers[1].b.value = np.broadcast_to([[[0.5]], [[-0.25]]], (2, 6, 6))
    assert_close(untied.predict(X), tied.predict(X), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_with_it_learns_the_same_compiled_and_not(dtype):
    values = []
    for compiled in (True, False):
        model = net(UntiedBias(), compile=compiled, dtype=dtype)
        trainer = xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.1), loss="cross_entropy")
        for _ in range(3):
            trainer.step(X, Y)
        values.append(host(model))
    assert np.any(values[0]["layers[1].b"])
    for place in values[0]:
        assert_close(values[0][place], values[1][place], dtype, place)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_only_images_have_pixels(shape):
    text = ", ".join(map(str, shape))
    with pytest.raises(ShapeError, match=says(f"UntiedBias (layers[0]): x has shape (N, {text})", "images")):
        xcnn.Model([UntiedBias()], shape)


@pytest.mark.parametrize("shape", [(2,), (2, 4), (4, 5), (3, 4, 5), (1, 2, 4, 5), ()])
def test_the_op_needs_a_bias_for_each_pixel(shape, backend):
    x, b = backend.asarray(np.ones((1, 2, 4, 5))), backend.asarray(np.ones(shape))
    with pytest.raises(ShapeError, match=says("untied_bias: b has shape", str(shape), "(2, 4, 5)")):
        ops.untied_bias(x, b)


@pytest.mark.parametrize("shape", [(), (2,), (2, 4, 5), (1, 1, 2, 4, 5)])
def test_the_op_needs_images(shape, backend):
    x = backend.asarray(np.ones(shape))
    with pytest.raises(ShapeError, match=says("untied_bias: x has shape", str(shape), "(N, C, H, W)")):
        ops.untied_bias(x, backend.asarray(np.ones((2, 4, 5))))
