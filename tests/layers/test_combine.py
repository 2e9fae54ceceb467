"""Sequential, Sum, Concat, Gate: they compute what they say, and nest."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from xcnn.errors import OptionError, ShapeError
from xcnn.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    Identity,
    MaxPool2D,
    ReLU,
    Sequential,
    Sigmoid,
    Sum,
)

X = np.random.default_rng(0).normal(size=(3, 4, 5, 5))


def built(layer, backend="numpy", shape=X.shape[1:]):
    return xcnn.Model([layer], shape, backend=backend, dtype="float64")


def test_sum_adds_its_branches(backend):
    body = Conv2D(4, 3, padding="same")
    model = built(Sum(Identity(), body, ReLU()), backend)
    conv = backend.to_numpy(body.forward(model.accept(X))[0])
    np.testing.assert_allclose(model.predict(X), X + conv + np.maximum(X, 0), rtol=1e-12)


def test_concat_stacks_channels_in_order(backend):
    model = built(Concat(ReLU(), Conv2D(2, 3, padding="same"), Identity()), backend)
    assert model.output_shape == (10, 5, 5)
    y = model.predict(X)
    np.testing.assert_array_equal(y[:, :4], np.maximum(X, 0))
    np.testing.assert_array_equal(y[:, 6:], X)


def test_concat_of_features(backend):
    model = built(Concat(Dense(2), Identity()), backend, (3,))
    assert model.output_shape == (5,)
    assert model.predict(np.ones((2, 3))).shape == (2, 5)


def test_gate_multiplies_and_broadcasts_over_pixels(backend):
    body = Sequential(GlobalAvgPool2D(), Sigmoid())
    g = 1 / (1 + np.exp(-X.mean((2, 3))))
    np.testing.assert_allclose(built(Gate(body), backend).predict(X), X * g[:, :, None, None], rtol=1e-12)
    np.testing.assert_allclose(built(Gate(Sigmoid()), backend).predict(X), X / (1 + np.exp(-X)), rtol=1e-12)


def test_an_empty_sequential_passes_on():
    np.testing.assert_array_equal(built(Sum(Sequential(), Identity())).predict(X), 2 * X)


def test_a_residual_net_of_blocks_trains_down(backend):
    def block(f):
        return Sum(Identity(), Sequential(Conv2D(f, 3, padding="same", bias=False), BatchNorm2D(), ReLU()))

    def squeeze(f):
        return Gate(
            Sequential(GlobalAvgPool2D(), Dense(2, activation="relu"), Dense(f, activation="sigmoid"))
        )

    layers = [Conv2D(4, 3), block(4), squeeze(4), Concat(MaxPool2D(2), MaxPool2D(2)), Flatten(), Dense(3)]
    model = xcnn.Model(layers, (1, 8, 8), backend=backend)
    from tests.nets import stripes

    history = model.fit(*stripes(), epochs=4, batch_size=16, optimizer=xcnn.optim.Adam(0.01))
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_combinators_know_their_layers():
    a, b, c = ReLU(), Dense(2), Flatten()
    both = Sequential(c, b, a)
    assert len(both) == 3
    assert both[1] is b
    assert list(both[1:]) == [b, a]
    assert list(both) == [c, b, a]
    assert both.children() == (c, b, a)
    assert Gate(a).children() == (a,)
    assert repr(Sum(a, Sequential(a))) == f"Sum({a!r}, Sequential({a!r}))"
    assert repr(Gate(a)) == f"Gate({a!r})"


@pytest.mark.parametrize("kind", [Sum, Concat])
def test_branches_of_unlike_shapes_are_refused(kind):
    with pytest.raises(
        ShapeError, match=says(f"{kind.__name__} (layers[0])", "(4, 5, 5), (4, 3, 3); needed one")
    ):
        built(kind(Identity(), Conv2D(4, 3)))


def test_a_gate_that_does_not_fit_is_refused():
    with pytest.raises(
        ShapeError, match=says("Gate (layers[0])", "gives shape (4, 3, 3)", "(4, 5, 5) or (4,)")
    ):
        built(Gate(Conv2D(4, 3)))


@pytest.mark.parametrize("kind", [Sum, Concat])
def test_no_branches_are_refused(kind):
    with pytest.raises(OptionError, match=says(f"{kind.__name__}: got no layers; needed one at least")):
        kind()


@pytest.mark.parametrize("kind", [Sequential, Sum, Concat, Gate])
@pytest.mark.parametrize("wrong", ["relu", ReLU, None, [ReLU()]])
def test_what_is_no_layer_is_refused(kind, wrong):
    with pytest.raises(OptionError, match=says(f"{kind.__name__}: got ", repr(wrong), "needed")):
        kind(wrong)


def test_paths_name_the_place_in_the_tree():
    deep = Conv2D(4, 1)
    built(Sequential(ReLU(), Sum(Identity(), Gate(Sequential(deep)), name="res")))
    assert deep.path == "layers[0].layers[1].layers[1].body.layers[0]"
    assert deep.label == f"Conv2D ({deep.path})"


def test_an_inner_layer_names_itself_in_an_error_and_outer_ones_leave_it():
    model = built(Sum(Identity(), Sequential(Conv2D(4, 3, padding="same", name="inner"))))
    with pytest.raises(
        ShapeError, match=says("Conv2D 'inner' (layers[0].layers[1].layers[0]): x has 3 channels")
    ):
        model.forward(X[:, :3])
