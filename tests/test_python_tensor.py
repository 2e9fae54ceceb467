"""The operations of a hand-written Tensor on plain Python numbers, and the network that was built on them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import xcnn
from tests import reference
from tests.nets import host
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.ops.window import scatter
from xcnn_python import namespace as xp
from xcnn_python import tensor

CONFIG = Path(__file__).parents[1] / "examples" / "configs" / "optdigits-002.json"
BACKEND = xcnn.get_backend("python")
RNG = np.random.default_rng(0)


def normal(*shape):
    """Return normal numbers on NumPy, and the same ones on plain Python."""
    a = RNG.normal(size=shape)
    return a, BACKEND.asarray(a)


def check(got, want):
    """Fail unless both have the same shape and numbers."""
    assert_close(BACKEND.to_numpy(got), want, "float64")


def test_arrays_are_filled_flattened_and_reshaped():
    x = tensor.fill(2, 3, val=0.5)
    assert x.shape == (2, 3)
    assert x.tolist() == [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    a, x = normal(2, 3, 4)
    check(tensor.flatten(x), a.reshape(-1))
    check(xp.reshape(x, (4, 6)), a.reshape(4, 6))


def test_a_function_of_floats_is_applied_to_each_element():
    a, x = normal(2, 3)
    check(tensor.activate(x, lambda v: 1 / (1 + math.exp(-v))), 1 / (1 + np.exp(-a)))


@pytest.mark.parametrize(
    ("left", "right"), [((4,), (4,)), ((2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4))], ids=["1", "2", "3"]
)
def test_dot_multiplies_vectors_matrices_and_stacks_of_matrices(left, right):
    (a, x), (b, y) = normal(*left), normal(*right)
    check(tensor.dot(x, y), a @ b)


def test_the_transpose_exchanges_the_first_two_axes():
    a, x = normal(2, 3, 4, 5)
    check(tensor.T(x), a.swapaxes(0, 1))


def test_padding_is_put_on_and_taken_off():
    a, x = normal(2, 3, 4, 5)
    padded = tensor.add_pad(x, 2, -1.5)
    check(padded, np.pad(a, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1.5))
    check(tensor.unpad(padded, 2), a)
    check(tensor.unpad(tensor.add_pad(x, 0), 0), a)


def test_flipping_turns_by_180_degrees():
    a, x = normal(2, 3, 4, 5)
    check(tensor.flip(x), np.rot90(a, 2, axes=(2, 3)))


def test_dilating_puts_zeros_between_pixels():
    a, x = normal(2, 1, 3, 2)
    want = np.zeros((2, 1, 7, 4))
    want[:, :, ::3, ::3] = a
    check(tensor.dilate(x, 3), want)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv_is_the_cross_correlation(stride):
    (a, x), (b, w) = normal(2, 3, 7, 6), normal(4, 3, 3, 2)
    check(tensor.conv(x, w, stride), reference.conv2d(a, b, stride=(stride, stride)))


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 1)])
def test_the_masks_of_max_pool_hand_the_gradient_back(size, stride):
    a, x = normal(2, 3, 6, 5)
    y, masks = tensor.max_pool(x, size, stride)
    options = {"size": (size, size), "stride": (stride, stride)}
    check(y, reference.max_pool2d(a, **options))
    assert set(masks.data) == {0.0, 1.0}
    check(xp.sum(masks, axis=2), np.ones(y.shape))  # no ties among random numbers
    g = normal(*y.shape)[1]
    _, saved = ops.max_pool2d(x, **options)
    dx = scatter(masks * xp.expand_dims(g, axis=2), x.shape, (size, size), (stride, stride))
    check(dx, BACKEND.to_numpy(saved.backward(g)[0]))


def test_the_masks_of_max_pool_mark_all_equal_pixels():
    _, masks = tensor.max_pool(tensor.fill(1, 1, 2, 2, val=3.0))
    assert masks.data == [1.0, 1.0, 1.0, 1.0]


def test_avg_pool_takes_means():
    a, x = normal(2, 3, 6, 4)
    check(tensor.avg_pool(x, 2, 2), a.reshape(2, 3, 3, 2, 2, 2).mean(axis=(3, 5)))


def gradients(x, w, dy, stride, padding):
    """Return dx and dw by the report's formulas (5) and (3), the latter with the dilation that it forgets."""
    spread = tensor.dilate(dy, stride)
    wide = tensor.add_pad(spread, w.shape[2] - 1)
    dx = tensor.unpad(tensor.conv(wide, tensor.T(tensor.flip(w))), padding)
    return dx, tensor.T(tensor.conv(tensor.T(tensor.add_pad(x, padding)), tensor.T(spread)))


@pytest.mark.parametrize(
    ("image", "size", "stride", "padding"),
    [(8, 3, 1, 0), (8, 3, 1, 1), (7, 3, 2, 0), (7, 3, 2, 1), (8, 2, 3, 0), (8, 3, 2, 1), (7, 2, 3, 1)],
)
def test_the_reports_gradients_are_right_where_the_last_window_ends_at_the_last_pixel(
    image, size, stride, padding
):
    x, w = normal(2, 3, image, image)[1], normal(4, 3, size, size)[1]
    y, saved = ops.conv2d(x, w, stride=(stride, stride), padding=((padding, padding),) * 2)
    dy = normal(*y.shape)[1]
    want_dx, want_dw, _ = saved.backward(dy)
    dx, dw = gradients(x, w, dy, stride, padding)
    unseen = (image + 2 * padding - size) % stride  # rows that no window reached
    assert dx.shape[2] == image - unseen
    assert dw.shape[2] == size + unseen
    if unseen == 0:
        check(dx, BACKEND.to_numpy(want_dx))
        check(dw, BACKEND.to_numpy(want_dw))


def test_a_dense_layer_is_a_product_with_a_column_of_ones():
    """The report's (9) to (11): weights (features + 1, units) whose last row is the bias."""
    (_, x), (_, w), (_, b), (_, dy) = normal(5, 3), normal(4, 3), normal(4), normal(5, 4)
    y, saved = ops.linear(x, w, b)
    both = xp.concat([w.T, xp.expand_dims(b, axis=0)])
    ones = xp.concat([x, tensor.fill(5, 1, val=1.0)], axis=1)
    check(tensor.dot(ones, both), BACKEND.to_numpy(y))
    dx, dw, db = saved.backward(dy)
    d_both = tensor.dot(ones.T, dy)
    check(d_both[:-1, :], BACKEND.to_numpy(dw).T)
    check(d_both[-1, :], BACKEND.to_numpy(db))
    check(tensor.dot(dy, both.T)[:, :-1], BACKEND.to_numpy(dx))


# The network


@pytest.fixture(scope="module")
def trained():
    """Return the report's network, trained for 12 epochs on 300 digits, on each backend; and the digits."""
    data = xcnn.data.load("digits", train_size=300)
    config = xcnn.io.load_config(CONFIG).model_copy(update={"epochs": 12, "batch_size": 16, "seed": 1})
    models = {name: config.build_model(data, backend=name) for name in ("python", "numpy")}
    return {name: (m, config.fit(m, data, progress=False)) for name, m in models.items()}, data


def test_the_reports_network_learns_300_digits_on_plain_python(trained):
    model, history = trained[0]["python"]
    assert model.output_shape == (10,)
    assert sum(len(p.value.data) for p in model.parameters().values()) == 2450
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    data = trained[1]
    assert len(data.train.y) == 300
    assert model.evaluate(*data.test)["accuracy"] > 0.85  # of 449 others; chance is 0.1


def test_the_reports_network_learns_the_same_on_numpy(trained):
    (model, history), (other, want) = (trained[0][name] for name in ("python", "numpy"))
    np.testing.assert_allclose(history["loss"], want["loss"], rtol=1e-5)
    assert history["accuracy"] == pytest.approx(want["accuracy"])
    for name, value in host(other).items():
        assert_close(host(model)[name], value, "float32", name)


def test_what_was_learned_is_saved_and_loaded(trained, tmp_path):
    model, data = trained[0]["python"][0], trained[1]
    model.save(tmp_path / "digits.xcnn")
    want = model.predict(data.test.x[:5])
    for name in ("python", "numpy"):
        same = xcnn.load(tmp_path / "digits.xcnn", backend=name)
        assert same.backend.name == name
        np.testing.assert_allclose(same.predict(data.test.x[:5]), want, rtol=1e-4, atol=1e-4)
