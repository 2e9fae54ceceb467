"""What holds for every layer, on every backend."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import xcnn
from tests.layers.cases import LAYERS, for_random_layers
from tests.nets import host
from tests.ops.checks import says, upstream
from tests.tolerances import assert_close
from xcnn import layers
from xcnn.backend import backend_of
from xcnn.errors import Error
from xcnn.io.architecture import layer_from_json, layer_to_json
from xcnn.layers import Layer

every_layer = pytest.mark.parametrize("name", sorted(LAYERS))
WITH_PARAMETERS = [
    "BatchNorm2D",
    "Concat",
    "Conv2D",
    "ConvTranspose2D",
    "Dense",
    "Gate",
    "GroupNorm",
    "LayerNorm",
    "Sequential",
    "Sum",
    "UntiedBias",
]


def built(drawn, backend, dtype="float64"):
    """Return a model of the layer alone, and the inputs on its backend."""
    model = xcnn.Model([drawn.layer], drawn.x.shape[1:], backend=backend, dtype=dtype, seed=1)
    return model, model.accept(drawn.x)


def run(model, x, **options):
    """Return y on the host, dx and the gradients by place, of sum(dy y) with a random dy."""
    backend = model.backend
    y, saved = model.forward(x, train=xcnn.Pass(3, 4), hold=True)
    dy = backend.asarray(upstream(backend.to_numpy(y)))
    dx = model.backward(dy, saved, **options)
    found = {name: backend.to_numpy(p.gradient) for name, p in model.parameters().items()}
    model.state.take_gradient()
    return backend.to_numpy(y), None if dx is None else backend.to_numpy(dx), found


def test_every_layer_has_cases():
    assert set(LAYERS) == set(layers.__all__) - {"Layer"}


@every_layer
def test_gradients_match_finite_differences(name, backend):
    def check(drawn):
        assert xcnn.gradcheck(drawn.layer, backend.asarray(drawn.x)) < 1e-5

    for_random_layers(name, check, examples=10)


@every_layer
def test_the_inferred_shape_is_the_shape(name, backend, dtype):
    def check(drawn):
        model, x = built(drawn, backend, dtype)
        for options in ({}, {"train": True}):
            y = model.forward(x, **options)[0]
            assert tuple(y.shape) == (x.shape[0], *model.output_shape)
            assert y.dtype == x.dtype
            assert backend_of(y) is backend

    for_random_layers(name, check)


@every_layer
def test_backends_agree(name, backend, dtype):
    def check(drawn):
        model, x = built(drawn, "numpy", dtype)
        other = model.copy(backend=backend)
        dtype_of_values = str(model.layers[0].parameters() and x.dtype)
        want, got = run(model, x), run(other, other.accept(drawn.x))
        scale = np.abs(want[0]).max() + 1
        for a, b in zip((got[0], got[1]), (want[0], want[1]), strict=True):
            assert_close(a, b, dtype, f"{drawn.layer} {dtype_of_values}", source=scale)
        for place, gradient in want[2].items():
            assert_close(got[2][place], gradient, dtype, place, source=x.shape[0] * scale)

    for_random_layers(name, check)


@every_layer
def test_gradients_do_not_depend_on_whether_dx_is_asked_for(name, backend):
    def check(drawn):
        model, x = built(drawn, backend)
        _, dx, with_dx = run(model, x)
        _, _, without = run(model, x, need_dx=False)
        assert dx.shape == x.shape
        for place, gradient in with_dx.items():
            np.testing.assert_array_equal(without[place], gradient)

    for_random_layers(name, check)


@pytest.mark.parametrize(
    "name", ["AvgPool2D", "Conv2D", "Dense", "Gate", "MaxPool2D", "Normalize", "ReLU", "Sum", "UntiedBias"]
)
def test_dx_is_not_computed_where_it_is_not_needed(name):
    def check(drawn):
        model, x = built(drawn, "numpy")
        assert run(model, x, need_dx=False)[1] is None

    for_random_layers(name, check, examples=1)


@every_layer
def test_two_forwards_before_two_backwards(name, backend):
    def check(drawn):
        model, first = built(drawn, backend)
        second = model.accept(drawn.x[::-1].copy() * 0.5)
        alone = [run(model, first), run(model, second)]
        held = []
        for x in (first, second):
            y, saved = model.forward(x, train=xcnn.Pass(3, 4))
            held.append((backend.asarray(upstream(backend.to_numpy(y))), saved))
        for (dy, saved), (_, dx, gradients) in zip(held, alone, strict=True):
            np.testing.assert_array_equal(backend.to_numpy(model.backward(dy, saved)), dx)
            for place, p in model.parameters().items():
                np.testing.assert_array_equal(backend.to_numpy(p.gradient), gradients[place])
            model.state.take_gradient()

    for_random_layers(name, check, examples=2)


@every_layer
def test_backward_twice_adds_the_same_twice(name, backend):
    def check(drawn):
        model, x = built(drawn, backend)
        y, saved = model.forward(x, train=True)
        dy = backend.asarray(upstream(backend.to_numpy(y)))
        first = backend.to_numpy(model.backward(dy, saved))
        once = {place: 2 * backend.to_numpy(p.gradient) for place, p in model.parameters().items()}
        np.testing.assert_array_equal(backend.to_numpy(model.backward(dy, saved)), first)
        for place, p in model.parameters().items():
            np.testing.assert_array_equal(backend.to_numpy(p.gradient), once[place])

    for_random_layers(name, check, examples=2)


@every_layer
def test_a_forward_leaves_inputs_and_parameters_alone(name, backend):
    def check(drawn):
        model, x = built(drawn, backend)
        before, values = backend.to_numpy(x).copy(), host(model)
        run(model, x)
        np.testing.assert_array_equal(backend.to_numpy(x), before)
        after = host(model)
        for place in model.parameters():
            np.testing.assert_array_equal(after[place], values[place])

    for_random_layers(name, check, examples=2)


@every_layer
def test_evaluation_can_be_held_for_saliency(name, backend):
    """The gradient with respect to the input, in evaluation, along one direction."""

    def check(drawn):
        model, x = built(drawn, backend)
        model.forward(x, train=True)  # running statistics that are not the first ones
        y, saved = model.forward(x, hold=True)
        dy = upstream(backend.to_numpy(y))
        dx = backend.to_numpy(model.backward(backend.asarray(dy), saved))
        direction = np.random.default_rng(0).normal(size=drawn.x.shape)

        def value(step):
            moved = backend.asarray(drawn.x + step * direction)
            return np.sum(dy * backend.to_numpy(model.forward(moved)[0]))

        slope = (value(1e-5) - value(-1e-5)) / 2e-5
        assert np.sum(dx * direction) == pytest.approx(slope, rel=1e-5, abs=1e-5)

    for_random_layers(name, check, examples=2)


@every_layer
def test_nothing_is_kept_in_evaluation_and_backward_says_so(name):
    def check(drawn):
        _, x = built(drawn, "numpy")
        y, saved = drawn.layer.forward(x)
        assert saved is None
        message = says(name, "backward got None", "hold=True")
        with pytest.raises(Error, match=message):
            drawn.layer.backward(y, saved)
        y, saved = drawn.layer.forward(x, train=True, hold=False)
        assert saved is None

    for_random_layers(name, check, examples=1)


@every_layer
def test_single_precision_is_near_double(name):
    def check(drawn):
        single = xcnn.Model([drawn.layer], drawn.x.shape[1:])
        double = single.copy(dtype="float64")
        got, want = single.predict(drawn.x), double.predict(drawn.x)
        assert got.dtype == np.float32
        assert want.dtype == np.float64
        assert_close(got, want, "float32", source=np.abs(drawn.x).max() + 1)

    for_random_layers(name, check)


@every_layer
def test_a_layer_is_written_as_json_and_read_back(name):
    def check(drawn):
        plain = layer_to_json(drawn.layer)
        assert plain["type"] == name
        again = layer_from_json(plain)
        assert layer_to_json(again) == plain
        model, x = built(drawn, "numpy")
        twin, _ = built(drawn._replace(layer=again), "numpy")
        np.testing.assert_array_equal(model.predict(x), twin.predict(x))

    for_random_layers(name, check)


@every_layer
def test_every_layer_takes_a_name_and_shows_it(name):
    def check(drawn):
        drawn.layer.name = "mine"
        model, _ = built(drawn, "numpy")
        assert drawn.layer.label == f"{name} 'mine' (layers[0])"
        assert "'mine'" in str(xcnn.summary.summarize(model))

    for_random_layers(name, check, examples=1)


@every_layer
def test_a_repr_names_the_type(name):
    def check(drawn):
        assert repr(drawn.layer).startswith(f"{name}(")

    for_random_layers(name, check, examples=1)


@pytest.mark.parametrize(
    "kind", [getattr(layers, n) for n in layers.__all__ if n != "Layer"], ids=lambda k: k.__name__
)
def test_name_trainable_and_optimizer_are_keywords_of_every_layer(kind):
    assert issubclass(kind, Layer)
    import inspect

    parameters = inspect.signature(kind).parameters
    for option, default in (("name", None), ("trainable", True), ("optimizer", None)):
        assert parameters[option].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[option].default is default
    if dataclasses.is_dataclass(kind) and kind.__dataclass_params__.eq:
        pytest.fail("layers are compared by identity")


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_a_frozen_layer_is_left_as_it_is_by_a_step(name):
    def check(drawn):
        drawn.layer.trainable = False
        model = xcnn.Model([drawn.layer], drawn.x.shape[1:], dtype="float64")
        before = host(model)
        trainer = xcnn.Trainer(model, optimizer=xcnn.optim.SGD(1.0, momentum=0.9), loss="mse")
        trainer.step(drawn.x, np.ones((len(drawn.x), *model.output_shape)))
        after = host(model)
        for place in model.parameters():
            np.testing.assert_array_equal(after[place], before[place])

    for_random_layers(name, check, examples=1)
