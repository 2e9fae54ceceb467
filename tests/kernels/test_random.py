"""Random convolutions, poolings, dense layers and trees of layers against the truth."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import xcnn
from tests.kernels.specs import batches, built, convolutions, dense_layers, poolings, seeds, trees
from tests.kernels.truth import Truth, fill, parts, runs
from xcnn.errors import ShapeError
from xcnn.layer import watch
from xcnn.layers import BatchNorm2D

counts = st.sampled_from((1, 2, 5))
dtypes = st.sampled_from(("float32", "float32", "float64"))


def spread(known):
    """Return how much of the variance that a batch norm divides by is its input's: the rest is eps."""
    found, model = [1.0], fill(known.model("float64", compile=False), known.draw)

    def tell(layer, half, y):
        if isinstance(layer, BatchNorm2D):
            axes = (0, *range(2, y.ndim))
            found.append(float(np.min(np.std(y, axis=axes) / np.abs(layer.w.value))))

    with xcnn.readable(), watch(tell):
        model.forward(known.draw.x.astype("float64"), train=True)
    return min(found)


def check(drawn, n, seed, dtype, count):
    specs, shape = drawn
    try:
        known = Truth(lambda: built(specs), shape, n, seed)
    except ShapeError:  # nothing is left of the image
        assume(False)
    assume(spread(known) > 0.999)  # the gradient of a norm of nearly equal numbers is rounding
    with parts(count):
        model = known.model(dtype)
        assert runs(model)
        known.check(model)
        known.check(known.model(dtype, compile=False))


@settings(max_examples=60)
@given(convolutions(), batches, seeds, dtypes, counts)
def test_any_convolution_is_as_near_to_the_truth_as_its_layer(drawn, n, seed, dtype, count):
    check(drawn, n, seed, dtype, count)


@settings(max_examples=60)
@given(poolings(), batches, seeds, dtypes, counts)
def test_any_pooling_is_as_near_to_the_truth_as_its_layer(drawn, n, seed, dtype, count):
    check(drawn, n, seed, dtype, count)


@settings(max_examples=40)
@given(dense_layers(), batches, seeds, dtypes, counts)
def test_any_dense_layers_are_as_near_to_the_truth_as_themselves(drawn, n, seed, dtype, count):
    check(drawn, n, seed, dtype, count)


@settings(max_examples=80)
@given(trees(), batches, seeds, dtypes, counts)
def test_any_tree_is_as_near_to_the_truth_as_its_layers(drawn, n, seed, dtype, count):
    check(drawn, n, seed, dtype, count)
