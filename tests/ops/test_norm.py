"""Normalisation: statistics, both modes of batch norm, hard numbers, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.checks import assert_gradients_match_differences, backward, forward, says
from tests.ops.draws import Case
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError

SHAPES = [(5, 3, 4, 2), (6, 3)]


UNIT = {d: (np.ones(2, dtype=d), np.zeros(2, dtype=d)) for d in ("float32", "float64")}  # scale and shift


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def ones(backend, *shape, dtype="float64"):
    return backend.asarray(np.ones(shape), dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_training_uses_and_returns_the_statistics_of_the_batch(backend, dtype, shape):
    x, w, b = (a.astype(dtype) for a in (2 + normal(*shape), normal(3, seed=1), normal(3, seed=2)))
    (_, mean, var), _ = forward(backend, "batch_norm", Case((x, w, b)))
    axes = (0, 2, 3)[: x.ndim - 1]
    assert_close(mean, x.astype("float64").mean(axis=axes), dtype)
    assert_close(var, x.astype("float64").var(axis=axes), dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_uses_and_returns_the_given_statistics(backend, dtype, shape):
    mean, var = np.array([1, 2, 3], dtype=dtype), np.array([0.5, 1, 4], dtype=dtype)
    x, w, b = np.ones(shape, dtype=dtype), np.ones(3, dtype=dtype), np.zeros(3, dtype=dtype)
    (y, used_mean, used_var), _ = forward(backend, "batch_norm", Case((x, w, b, mean, var), {"eps": 1e-12}))
    np.testing.assert_array_equal(used_mean, mean)
    np.testing.assert_array_equal(used_var, var)
    assert_close(y[0].reshape(3, -1)[:, 0], [0, -1, -1], dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("statistics", [True, False], ids=["evaluation", "training"])
def test_gradients_are_right_in_both_modes(backend, shape, statistics):
    given = (normal(3, seed=3), normal(3, seed=4) ** 2 + 0.1) if statistics else (None, None)
    case = Case((3 * normal(*shape), normal(3, seed=1), normal(3, seed=2), *given), {}, 3)
    assert_gradients_match_differences(backend, "batch_norm", case)


def test_training_standardises_each_channel(backend, dtype):
    x = (7 + 3 * normal(16, 2, 5, 5)).astype(dtype)
    (y, _, _), _ = forward(backend, "batch_norm", Case((x, *UNIT[dtype])))
    y = y.astype("float64")
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1, rtol=1e-4)


def test_a_small_variance_around_a_large_mean_is_kept(backend, dtype):
    x = (1e4 + normal(32, 2, 6, 6)).astype(dtype)
    exact = x.astype("float64")
    (y, mean, var), _ = forward(backend, "batch_norm", Case((x, *UNIT[dtype])))
    ulp = 2 * np.spacing(np.asarray(1e4, dtype=dtype))  # what the mean may be off by, and so y
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=0, atol=ulp)
    np.testing.assert_allclose(var, exact.var(axis=(0, 2, 3)), rtol=1e-4 if dtype == "float32" else 1e-10)
    want = exact - exact.mean(axis=(0, 2, 3), keepdims=True)
    want /= np.sqrt(exact.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=2 * ulp)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 3)])
def test_one_value_in_a_channel_gives_the_shift_and_no_gradient(backend, dtype, shape):
    b = np.array([1, -2, 3], dtype=dtype)
    x = np.full(shape, 7, dtype=dtype)
    (y, mean, var), saved = forward(backend, "batch_norm", Case((x, 2 * np.ones(3, dtype=dtype), b)))
    np.testing.assert_array_equal(y.ravel(), b)
    np.testing.assert_array_equal(mean, 7)
    np.testing.assert_array_equal(var, 0)
    dx, dw, db, *_ = backward(backend, saved, np.ones_like(x))
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    np.testing.assert_array_equal(dw, np.zeros(3))
    np.testing.assert_array_equal(db, np.ones(3))


def test_constant_channels_stay_finite(backend, dtype):
    x = np.full((4, 2, 3, 3), 1e4, dtype=dtype)
    (y, _, _), saved = forward(backend, "batch_norm", Case((x, *UNIT[dtype])))
    assert np.isfinite(y).all()
    assert all(np.isfinite(g).all() for g in backward(backend, saved, np.ones_like(y))[:3])


def test_groups_of_one_channel_and_of_all_are_instance_and_layer_norm(backend):
    x, w, b = normal(2, 4, 3, 3), np.ones(4), np.zeros(4)
    (each,), _ = forward(backend, "group_norm", Case((x, w, b), {"groups": 4}))
    (whole,), _ = forward(backend, "group_norm", Case((x, w, b), {"groups": 1}))
    (layer,), _ = forward(backend, "layer_norm", Case((x, np.ones((4, 3, 3)), np.zeros((4, 3, 3)))))
    np.testing.assert_allclose(each.mean(axis=(2, 3)), 0, atol=1e-12)
    assert_close(whole, layer, "float64")


def call(name, backend, x, w=None, b=None, **options):
    """Call a norm on x, with ones that fit where w and b are not given."""
    channels = (x.shape[1],) if x.ndim > 1 else (1,)
    if name == "group_norm":
        options = {"groups": 1, **options}
    w = ones(backend, *channels) if w is None else w
    return getattr(ops, name)(x, w, ones(backend, *channels) if b is None else b, **options)


@pytest.mark.parametrize("name", ["batch_norm", "group_norm"])
class TestRefusals:
    @pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (1, 2, 3, 4, 5)])
    def test_inputs_need_two_or_four_axes(self, name, backend, shape):
        with pytest.raises(ShapeError, match=says(f"{name}: x", str(shape), "(N, C, H, W)", "(N, C)")):
            call(name, backend, ones(backend, *shape))

    @pytest.mark.parametrize("which", ["w", "b"])
    def test_there_is_one_scale_and_shift_for_each_channel(self, name, backend, which):
        with pytest.raises(ShapeError, match=says(f"{name}: {which}", "(4,)", "(3,)")):
            call(name, backend, ones(backend, 2, 3), **{which: ones(backend, 4)})

    @pytest.mark.parametrize("eps", [0.0, -1e-5, float("nan")])
    def test_eps_is_positive(self, name, backend, eps):
        with pytest.raises(OptionError, match=says(f"{name}: eps", str(eps), "positive")):
            call(name, backend, ones(backend, 2, 3), eps=eps)

    @pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0, 4)])
    def test_empty_inputs_are_refused(self, name, backend, shape):
        with pytest.raises((DataError, ShapeError), match=says(f"{name}: x is empty", str(shape))):
            call(name, backend, ones(backend, *shape))

    def test_mixed_dtypes_are_named(self, name, backend):
        with pytest.raises(DTypeError, match=says(f"{name}: x", "float32", "float64", "same")):
            call(name, backend, ones(backend, 2, 3, dtype="float32"))


@pytest.mark.parametrize("position", [3, 4], ids=["mean", "var"])
def test_statistics_come_together(backend, position):
    arrays = [ones(backend, 2, 3), *(ones(backend, 3) for _ in range(4))]
    arrays[position] = None
    with pytest.raises((ShapeError, OptionError), match=says("batch_norm: ", "mean", "var", "both")):
        ops.batch_norm(*arrays)


@pytest.mark.parametrize("position", [3, 4], ids=["mean", "var"])
@pytest.mark.parametrize("shape", [(4,), (1,), (3, 1), ()])
def test_statistics_have_one_element_for_each_channel(backend, position, shape):
    arrays = [ones(backend, 2, 3), *(ones(backend, 3) for _ in range(4))]
    arrays[position] = ones(backend, *shape)
    name = "mean" if position == 3 else "var"
    with pytest.raises(ShapeError, match=says("batch_norm: ", name, str(shape), "(3,)")):
        ops.batch_norm(*arrays)


@pytest.mark.parametrize("groups", [0, -1, 2, 1.5])
def test_groups_must_divide_the_channels(backend, groups):
    with pytest.raises((ShapeError, OptionError), match=says("group_norm: groups", repr(groups), "the 3")):
        call("group_norm", backend, ones(backend, 2, 3), groups=groups)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (1, 2, 3, 4)])
def test_layer_norm_scales_have_the_shape_of_the_last_axes(backend, shape):
    x, w = ones(backend, 2, 3, 4), ones(backend, *shape)
    with pytest.raises(ShapeError, match=says("layer_norm: w", str(shape), "(2, 3, 4)")):
        ops.layer_norm(x, w, w)


def test_layer_norm_shifts_have_the_shape_of_the_scales(backend):
    with pytest.raises(ShapeError, match=says("layer_norm: b", "(4,)", "(3, 4)")):
        ops.layer_norm(ones(backend, 2, 3, 4), ones(backend, 3, 4), ones(backend, 4))
