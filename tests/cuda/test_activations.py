"""Activations on the device are the readable pairs', and gradients of biases are sums of theirs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda import kinds
from xcnn import ops
from xcnn.backend import readable

cupy = kinds.device()

from xcnn_cupy import activations  # noqa: E402
from xcnn_cupy.layout import is_nhwc  # noqa: E402
from xcnn_cupy.source import kind_of  # noqa: E402

NAMES = activations.NAMES
SHAPES = [(2, 3, 5, 7), (3, 1, 4, 4), (2, 33, 1, 1), (1, 16, 3, 5), (4, 10), (1, 1)]
TALL = [(3, 6, 57, 41), (3000, 5), (5, 24, 33, 31), (900, 264), (4200, 1)]  # several blocks for each column


def _numbers(shape, kind, seed=0):
    return kinds.rounded(np.random.default_rng(seed).standard_normal(shape) * 3, kind)


def _options(name):
    return {"slope": 0.2} if name == "leaky_relu" else {}


def _slope(name):
    return _options(name).get("slope", 0.01)


def _reference(name, x):
    with readable():
        return getattr(ops, name)(x, **_options(name))


def _saved(name, x, kind, **layout):
    """Return what backward gets: x, or y as it was stored."""
    a = x if activations.KEPT[name] == "x" else kinds.rounded(_reference(name, x)[0], kind)
    return a, kinds.put(a, kind, **layout)


def _gradient(name, dy, saved):
    """Return dx in float64 from the numbers that backward gets."""
    if activations.KEPT[name] == "x":
        return _reference(name, saved)[1].backward(dy)[0]
    with readable():
        return getattr(ops, name).backward(dy, saved, (True,))[0]


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("shape", [*SHAPES, (17,), (), (2, 3, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_outputs(name, shape, kind):
    x = _numbers(shape, kind)
    y = activations.forward(name, kinds.put(x, kind), _slope(name))
    kinds.check(y, _reference(name, x)[0], kind)


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_gradients(name, shape, kind):
    x, dy = _numbers(shape, kind), _numbers(shape, kind, 1)
    numbers, saved = _saved(name, x, kind)
    dx = activations.backward(name, kinds.put(dy, kind, channels_last=False), saved, _slope(name))
    kinds.check(dx, _gradient(name, dy, numbers), kind, source=dy)
    assert dx.ndim < 4 or is_nhwc(dx)


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("shape", [*SHAPES, *TALL])
@pytest.mark.parametrize("name", ["relu", "silu"])
def test_gradients_with_that_of_a_bias(name, shape, kind):
    x, dy = _numbers(shape, kind), _numbers(shape, kind, 1)
    numbers, saved = _saved(name, x, kind)
    dx, db = activations.backward_with_bias(name, kinds.put(dy, kind, channels_last=False), saved)
    kinds.check(dx, _gradient(name, dy, numbers), kind, source=dy)
    axes = (0, 2, 3)[: len(shape) - 1]
    got = kinds.get(dx)
    assert kind_of(db) == kinds.REAL[kind]
    kinds.check(db, got.sum(axis=axes), kinds.REAL[kind], source=np.abs(got).sum(axis=axes))


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_is_fused_with_the_bias(name):
    x, dy = _numbers((2, 6, 3, 3), "float64"), _numbers((2, 6, 3, 3), "float64", 1)
    numbers, saved = _saved(name, x, "float64")
    room = cupy.zeros(6, dtype="float64")
    dx, db = activations.backward_with_bias(name, kinds.put(dy, "float64"), saved, _slope(name), room)
    want = _gradient(name, dy, numbers)
    kinds.check(dx, want, "float64")
    kinds.check(db, want.sum(axis=(0, 2, 3)), "float64", source=dy)
    assert db is room


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("shape", [*SHAPES, *TALL])
def test_gradient_of_a_bias(shape, kind):
    dy = _numbers(shape, kind)
    axes = (0, 2, 3)[: len(shape) - 1]
    want, source = dy.sum(axis=axes), np.abs(dy).sum(axis=axes)
    for channels_last in (True, False):
        db = activations.bias_gradient(kinds.put(dy, kind, channels_last=channels_last))
        kinds.check(db, want, kinds.REAL[kind], source=source)


def test_gradient_of_a_bias_is_written_where_asked():
    room = cupy.zeros(8, dtype="float32")
    db = activations.bias_gradient(kinds.put(np.ones((50, 5)), "bfloat16"), room[1:6])
    assert room.get().tolist() == [0, 50, 50, 50, 50, 50, 0, 0]
    assert db.data.ptr == room.data.ptr + 4


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_nan_is_kept(name, kind):
    x = np.array([np.nan, 1.0, -1.0, np.nan] * 5)
    y = kinds.get(activations.forward(name, kinds.put(x, kind)))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


@pytest.mark.parametrize("name", NAMES)
def test_large_inputs_overflow_nowhere(name):
    x = np.array([-1e30, -1000.0, -90.0, 90.0, 1000.0, 1e30])
    y = activations.forward(name, kinds.put(x, "float32"), _slope(name))
    kinds.check(y, _reference(name, kinds.rounded(x, "float32"))[0], "float32")
    assert np.isfinite(kinds.get(y)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ops_keep_the_layout_of_their_input(name, dtype):
    x, dy = _numbers((2, 3, 4, 5), dtype), _numbers((2, 3, 4, 5), dtype, 1)
    want, saved = _reference(name, x)
    (want_dx,) = saved.backward(dy)
    for channels_last in (True, False):
        given = kinds.put(x, dtype, channels_last=channels_last)
        y, saved = getattr(ops, name)(given, **_options(name))
        assert y.strides == given.strides
        kinds.check(y, want, dtype)
        (dx,) = saved.backward(kinds.put(dy, dtype))
        assert is_nhwc(dx) is channels_last
        kinds.check(dx, want_dx, dtype, source=dy)
        assert saved.backward(kinds.put(dy, dtype), (False,)) == (None,)


def test_ops_take_views():
    x = _numbers((6, 7), "float32")
    given = kinds.put(x, "float32")
    for view, numbers in [(given[1:], x[1:]), (given[::2, 1:4], x[::2, 1:4]), (given.T, x.T)]:
        y, saved = ops.tanh(view)
        kinds.check(y, np.tanh(numbers), "float32")
        (dx,) = saved.backward(cupy.ones(view.shape, dtype="float32"))
        kinds.check(dx, 1 - np.tanh(numbers) ** 2, "float32")


@pytest.mark.parametrize("name", NAMES)
def test_integers_and_nothing_are_left_to_the_readable_pair(name):
    kernel = getattr(activations, name.upper())
    assert kernel.forward(cupy.zeros(3, dtype="int64")) is NotImplemented
    assert kernel.forward(cupy.zeros(3, dtype="uint16")) is NotImplemented
    assert kernel.forward(cupy.zeros((0, 3), dtype="float32")) is NotImplemented
