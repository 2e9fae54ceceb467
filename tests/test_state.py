"""Parameters, buffers and gradients in one State."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.nets import full, host, plain, stripes
from tests.ops.checks import says
from xcnn.backend import backend_of
from xcnn.errors import ShapeError
from xcnn.layers import BatchNorm2D, Dense
from xcnn.state import Arrays, join


def dense(backend, **options):
    """Return a model of one Dense layer with 2 features and 3 units, and the layer."""
    model = xcnn.Model([Dense(3)], (2,), backend=backend, **options)
    return model, model.layers[0]


def test_values_are_one_vector_with_weights_first(backend):
    model = full(backend=backend)
    parameters = sorted(model.parameters().values(), key=lambda p: p.start)
    assert [p.stop for p in parameters[:-1]] == [p.start for p in parameters[1:]]
    assert parameters[0].start == 0
    assert parameters[-1].stop == model.state.size == model.state.arrays.values.shape[0]
    kinds = [p.is_weight for p in parameters]
    assert kinds == sorted(kinds, reverse=True)
    assert [p.shape for p in parameters if p.is_weight] == [(4, 1, 3, 3), (4, 4, 3, 3), (8, 16), (3, 8)]


def test_a_parameter_is_its_stretch_of_the_values(backend):
    model, layer = dense(backend)
    values = backend.to_numpy(model.state.arrays.values)
    np.testing.assert_array_equal(backend.to_numpy(layer.w.value), values[:6].reshape(3, 2))
    np.testing.assert_array_equal(backend.to_numpy(layer.b.value), values[6:])


def test_a_written_value_is_read_back_and_the_others_stay(backend):
    model, layer = dense(backend)
    w = backend.to_numpy(layer.w.value).copy()
    layer.b.value = backend.asarray([1.0, 2.0, 3.0], "float32")
    np.testing.assert_array_equal(backend.to_numpy(layer.b.value), [1, 2, 3])
    np.testing.assert_array_equal(backend.to_numpy(layer.w.value), w)
    assert model.state.arrays.values.dtype == layer.w.value.dtype


def test_writing_replaces_the_array_and_leaves_the_old_one(backend):
    model, layer = dense(backend)
    before = model.state.arrays.values
    copy = backend.to_numpy(before).copy()
    layer.w.value = np.ones((3, 2))
    assert model.state.arrays.values is not before
    np.testing.assert_array_equal(backend.to_numpy(before), copy)


def test_a_written_value_does_not_follow_the_array_it_came_from(backend):
    model = xcnn.Model([BatchNorm2D(), Dense(3)], (2,), backend=backend)
    norm, layer = model.layers
    b, mean = np.ones(3, "float32"), np.ones(2, "float32")
    layer.b.value, norm.mean.value = b, mean
    b[:], mean[:] = 9, 9
    np.testing.assert_array_equal(backend.to_numpy(layer.b.value), 1)
    np.testing.assert_array_equal(backend.to_numpy(norm.mean.value), 1)


@pytest.mark.parametrize("other", TESTED)
def test_values_of_any_backend_and_dtype_can_be_written(backend, other):
    model = xcnn.Model([BatchNorm2D()], (2,), backend=backend)
    norm = model.layers[0]
    there = xcnn.get_backend(other)
    norm.w.value = there.asarray([1.0, 2.0], "float64")
    norm.var.value = there.asarray([3.0, 4.0], "float64")
    for holder, want in ((norm.w, [1, 2]), (norm.var, [3, 4])):
        assert backend_of(holder.value) is backend
        assert str(holder.value.dtype).endswith("float32")
        np.testing.assert_array_equal(backend.to_numpy(holder.value), want)


def test_lists_can_be_written(backend):
    _, layer = dense(backend)
    layer.b.value = [1, 2, 3]
    np.testing.assert_array_equal(backend.to_numpy(layer.b.value), [1, 2, 3])


def test_a_value_of_another_shape_is_refused(backend):
    model = xcnn.Model([BatchNorm2D()], (2,), backend=backend)
    before = host(model)
    with pytest.raises(ShapeError, match=says("Parameter: ", "shape (3,)", "needed (2,)")):
        model.layers[0].w.value = np.ones(3)
    with pytest.raises(ShapeError, match=says("Buffer: ", "shape (1, 2)", "needed (2,)")):
        model.layers[0].mean.value = np.ones((1, 2))
    assert all((host(model)[name] == a).all() for name, a in before.items())


def test_the_models_first_gradient_is_none(backend):
    _, layer = dense(backend)
    assert layer.w.gradient is None


def test_gradients_add_up_until_they_are_taken(backend):
    model, layer = dense(backend)
    layer.b.add_gradient(backend.asarray([1.0, 2.0, 3.0], "float32"))
    layer.b.add_gradient(backend.asarray([10.0, 20.0, 30.0], "float32"))
    np.testing.assert_array_equal(backend.to_numpy(layer.b.gradient), [11, 22, 33])
    taken = backend.to_numpy(model.state.take_gradient())
    np.testing.assert_array_equal(taken, [0, 0, 0, 0, 0, 0, 11, 22, 33])
    assert layer.b.gradient is None


def test_untouched_parameters_have_zero_gradients(backend):
    model = full(backend=backend)
    middle = model.layers[3]
    ones = backend.asarray(np.ones(middle.w.shape), "float32")
    middle.w.add_gradient(ones)
    taken = backend.to_numpy(model.state.take_gradient())
    want = np.zeros(model.state.size)
    want[middle.w.start : middle.w.stop] = 1
    np.testing.assert_array_equal(taken, want)
    assert not backend.to_numpy(model.state.take_gradient()).any()


def test_a_gradient_that_covers_everything_is_not_copied(backend):
    model, _ = dense(backend)
    g = backend.asarray(np.arange(9.0), "float32")
    model.state.add_gradient(0, 9, g)
    assert model.state.take_gradient() is g


def test_a_parameter_finds_its_part_of_a_longer_gradient(backend):
    model, layer = dense(backend)
    model.state.add_gradient(0, 9, backend.asarray(np.arange(9.0), "float32"))
    np.testing.assert_array_equal(backend.to_numpy(layer.w.gradient), [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(backend.to_numpy(layer.b.gradient), [6, 7, 8])


def test_a_forward_writes_running_statistics_and_nothing_else(backend):
    model = full(backend=backend)
    before = model.state.arrays
    x = model.accept(stripes(6)[0])
    model.forward(x)
    assert model.state.arrays is before
    model.forward(x, train=True)
    assert model.state.arrays.values is before.values
    assert model.state.arrays.slots is before.slots
    assert all(a is not b for a, b in zip(model.state.arrays.buffers, before.buffers, strict=True))


def test_parameters_and_buffers_have_places_and_shapes():
    model = full()
    assert list(model.buffers()) == ["layers[1].mean", "layers[1].var"]
    assert list(model.parameters())[:4] == ["layers[0].w", "layers[1].w", "layers[1].b", "layers[3].w"]
    assert repr(model.layers[0].w) == "<parameter (4, 1, 3, 3)>"
    assert repr(model.layers[1].mean) == "<buffer (4,)>"
    assert plain().buffers() == {}


# What a backend may keep to itself


class Kept:
    """Arrays that something else overwrites."""

    def __init__(self, arrays):
        self.now = arrays

    def read(self):
        return self.now


def test_whoever_looks_at_arrays_that_are_kept_gets_arrays(backend):
    model, layer = dense(backend)
    arrays = model.state.arrays
    assert model.state.held is arrays
    model.state.held = kept = Kept(arrays)
    assert model.state.arrays is arrays
    assert layer.w.value.shape == (3, 2)
    assert model.state.held is kept
    layer.b.value = backend.asarray([1.0, 2.0, 3.0], "float32")
    assert type(model.state.held) is Arrays
    assert kept.now is arrays


def test_moving_reads_what_is_kept_and_moves_the_scale_as_it_is(backend):
    model, _ = dense(backend)
    scaling = backend.asarray(8.0, "float32"), backend.asarray(3, "int32")
    model.state.held = Kept(model.state.arrays._replace(scaling=scaling))
    model.to("numpy", dtype="float64")
    assert type(model.state.held) is Arrays
    assert [(a.dtype.name, a.item()) for a in model.state.arrays.scaling] == [("float32", 8), ("int32", 3)]


@pytest.mark.parametrize("count", [1, 2, 8, 9, 20, 65])
def test_vectors_are_joined_in_order(count, backend):
    parts = [backend.asarray(np.arange(3.0) + 3 * k, "float32") for k in range(count)]
    joined = join(parts)
    assert joined is parts[0] or count > 1
    np.testing.assert_array_equal(backend.to_numpy(joined), np.arange(3.0 * count))
