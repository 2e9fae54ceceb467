"""Random convolutions, poolings, dense layers and trees of layers against the truth."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.kernels.specs import batches, built, convolutions, dense_layers, poolings, seeds, trees
from tests.kernels.truth import Truth, parts, runs
from xcnn.errors import ShapeError
from xcnn.layers import BatchNorm2D

counts = st.sampled_from((1, 2, 5))
dtypes = st.sampled_from(("float32", "float32", "float64"))


def check(drawn, n, seed, dtype, count):
    specs, shape = drawn
    try:
        known = Truth(lambda: built(specs), shape, n, seed)
    except ShapeError:  # nothing is left of the image
        assume(False)
    with parts(count):
        model = known.model(dtype)
        assert runs(model)
        for leaf in model.walk():  # see test_nets.py for the norm of a single number
            assume(not isinstance(leaf, BatchNorm2D) or n * leaf.output_shape[-1] * leaf.output_shape[-2] > 1)
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
