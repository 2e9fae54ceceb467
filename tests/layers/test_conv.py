"""Convolution layers: options, parameters, and PyTorch's results."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn.errors import OptionError, ShapeError
from xcnn.layers import Conv2D, ConvTranspose2D, LeakyReLU

OPTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": (0, 2), "dilation": (2, 1)},
    {"groups": 2, "bias": False},
    {"groups": 4, "stride": (1, 2), "activation": "relu"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
def test_outputs_and_gradients_equal_pytorchs_module(kind, options, backend, torch):
    x = np.random.default_rng(0).normal(size=(2, 4, 7, 6))
    layer = {"Conv2d": Conv2D, "ConvTranspose2d": ConvTranspose2D}[kind](8, 3, **options)
    model = xcnn.Model([layer], x.shape[1:], backend=backend, dtype="float64")
    options = dict(options)
    activation = torch.relu if options.pop("activation", None) else torch.nn.Identity()
    twin = getattr(torch.nn, kind)(4, 8, 3, dtype=torch.float64, **options)
    with torch.no_grad():
        twin.weight[:] = torch.tensor(backend.to_numpy(layer.w.value))
        if layer.b is not None:
            layer.b.value = twin.bias.numpy()
    tensor = torch.tensor(x, requires_grad=True)
    want = activation(twin(tensor))
    y, saved = model.forward(model.accept(x), train=True)
    assert_close(backend.to_numpy(y), want.detach().numpy(), "float64")
    dy = np.random.default_rng(1).normal(size=want.shape)
    want.backward(torch.tensor(dy))
    dx = model.backward(backend.asarray(dy), saved)
    assert_close(backend.to_numpy(dx), tensor.grad.numpy(), "float64")
    assert_close(backend.to_numpy(layer.w.gradient), twin.weight.grad.numpy(), "float64")
    if layer.b is not None:
        assert_close(backend.to_numpy(layer.b.gradient), twin.bias.grad.numpy(), "float64")


def test_channels_are_inferred():
    model = xcnn.Model([Conv2D(6, (2, 3)), Conv2D(4, 1, groups=2), ConvTranspose2D(2, 2)], (3, 8, 8))
    assert [p.shape for p in model.parameters().values()] == [
        (6, 3, 2, 3),
        (6,),
        (4, 3, 1, 1),
        (4,),
        (4, 2, 2, 2),
        (2,),
    ]


def test_bias_can_be_left_out():
    layer = Conv2D(6, 3, bias=False)
    model = xcnn.Model([layer], (1, 8, 8))
    assert layer.b is None
    assert list(model.parameters()) == ["layers[0].w"]


@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
def test_the_activation_is_applied_after_the_bias(kind):
    layer = kind(1, 1, init="ones", activation="relu")
    model = xcnn.Model([layer], (1, 1, 2))
    layer.b.value = [-1.0]
    np.testing.assert_array_equal(model.predict([[[[0.5, 3.0]]]]), [[[[0.0, 2.0]]]])


def test_an_activation_may_be_a_layer():
    layer = Conv2D(1, 1, init="ones", activation=LeakyReLU(0.5))
    np.testing.assert_array_equal(
        xcnn.Model([layer], (1, 1, 2)).predict([[[[-2.0, 3.0]]]]), [[[[-1.0, 3.0]]]]
    )


@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
def test_an_unknown_activation_is_refused_with_a_suggestion(kind):
    with pytest.raises(OptionError, match=says("unknown activation 'rellu'; did you mean 'relu'?")):
        kind(1, 1, activation="rellu")
    with pytest.raises(OptionError, match=says("unknown activation 5", "known: elu, gelu")):
        kind(1, 1, activation=5)


@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
def test_an_unknown_initialiser_is_refused_where_it_is_used(kind):
    with pytest.raises(
        OptionError, match=says(kind.__name__, "unknown initialiser 'he_norm'; did you mean 'he_normal'?")
    ):
        xcnn.Model([kind(1, 1, init="he_norm")], (1, 2, 2))


def test_same_of_a_transposed_convolution_gives_height_times_stride():
    for kernel, stride in ((2, 2), (3, 2), (4, 2), (5, 3), ((3, 4), (1, 2))):
        layer = ConvTranspose2D(1, kernel, stride=stride, padding="same")
        rows, columns = stride if isinstance(stride, tuple) else (stride, stride)
        assert xcnn.Model([layer], (1, 5, 4)).output_shape == (1, 5 * rows, 4 * columns)


def test_same_of_a_kernel_smaller_than_its_stride_is_refused():
    message = says("ConvTranspose2D (layers[0])", "(3, 3)", "2, 2")
    with pytest.raises(ShapeError, match=message):
        xcnn.Model([ConvTranspose2D(1, 2, stride=3, padding="same")], (1, 5, 4))


def test_a_transposed_convolution_of_which_nothing_is_left_is_refused():
    with pytest.raises(
        ShapeError, match=says("ConvTranspose2D (layers[0])", "leaves -1 x 0 pixels", "1 x 1")
    ):
        xcnn.Model([ConvTranspose2D(1, 3, padding=((2, 2), (2, 2)))], (1, 1, 2))


def test_output_padding_as_large_as_the_stride_is_refused_when_the_model_is_built():
    with pytest.raises(
        ShapeError, match=says("ConvTranspose2D (layers[0])", "output_padding is (2, 2)", "less than")
    ):
        xcnn.Model([ConvTranspose2D(1, 2, stride=2, output_padding=2)], (1, 5, 4))


def test_negative_output_padding_is_refused():
    with pytest.raises(
        OptionError, match=says("ConvTranspose2D: output_padding is -1; needed an integer of at least 0")
    ):
        xcnn.Model([ConvTranspose2D(1, 2, output_padding=-1)], (1, 5, 4))


def test_multiply_adds_are_those_of_the_formula():
    model = xcnn.Model([Conv2D(6, 5, groups=2, padding="same"), ConvTranspose2D(2, 3)], (4, 10, 9))
    conv, transposed = model.layers
    assert conv.multiply_adds() == 10 * 9 * 6 * 2 * 5 * 5
    assert transposed.multiply_adds() == 10 * 9 * 6 * 2 * 3 * 3


def test_the_signature_is_the_published_one():
    import inspect

    assert str(inspect.signature(Conv2D)) == (
        "(filters: 'int', kernel_size: 'Any', *, name: 'str | None' = None, trainable: 'bool' = True, "
        "optimizer: 'Any' = None, stride: 'Any' = 1, padding: 'Any' = 0, dilation: 'Any' = 1, "
        "groups: 'int' = 1, bias: 'bool' = True, activation: 'Any' = None, init: 'Any' = 'he_normal', "
        "op: 'Any' = 'conv2d') -> None"
    )
