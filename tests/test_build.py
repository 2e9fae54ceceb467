"""Building: what layers are told, what they may be, and first values."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.nets import assert_same, full, host, plain
from tests.ops.checks import says
from xcnn.errors import Error, OptionError, ShapeError
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential, Sum


def test_shapes_are_inferred_from_layer_to_layer():
    model = full()
    assert [layer.output_shape for layer in model.layers] == [
        (4, 8, 8),
        (4, 8, 8),
        (4, 4, 4),
        (4, 2, 2),
        (4, 2, 2),
        (16,),
        (8,),
        (3,),
    ]
    assert model.layers[3].input_shape == (4, 4, 4)
    assert model.output_shape == (3,)


@pytest.mark.parametrize("other", [name for name in TESTED if name != "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_seed_gives_the_same_first_values_on_every_backend(other, dtype):
    assert_same(host(full(seed=5, backend=other, dtype=dtype)), host(full(seed=5, dtype=dtype)))


def test_another_seed_gives_other_first_values():
    a, b = host(plain(seed=1)), host(plain(seed=2))
    assert (a["layers[0].w"] != b["layers[0].w"]).all()


def test_single_precision_is_the_rounded_double():
    single, double = host(plain()), host(plain(dtype="float64"))
    for name, a in double.items():
        assert (single[name].dtype, a.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(single[name], a.astype("float32"))


def test_biases_start_at_zero_and_weights_do_not():
    for name, a in host(plain()).items():
        assert a.any() == name.endswith(".w")


def test_an_initialiser_of_the_wrong_shape_is_refused():
    for shape in ((500,), (3,), (2, 3, 1)):
        with pytest.raises(Error, match=says("Dense (layers[1])", str(shape), "(3, 4)")):
            xcnn.Model(
                [Flatten(), Dense(3, init=lambda rng, s, fans, shape=shape: np.zeros(shape))], (1, 2, 2)
            )


# Impossible shapes


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (
            [Conv2D(4, 3), Conv2D(4, 9)],
            (1, 8, 8),
            "Conv2D (layers[1]): a window of 9 x 9 (dilation 1, 1) reaches over 9 x 9 pixels; "
            "the padded image has 6 x 6",
        ),
        (
            [Conv2D(4, 3, dilation=4)],
            (1, 8, 8),
            "Conv2D (layers[0]): a window of 3 x 3 (dilation 4, 4) reaches over 9 x 9",
        ),
        ([ReLU(), MaxPool2D(9)], (1, 8, 8), "MaxPool2D (layers[1]): a window of 9 x 9"),
        (
            [Conv2D(4, 3), Dense(10)],
            (1, 8, 8),
            "Dense (layers[1]): x has shape (N, 4, 6, 6); needed (N, features): put Flatten()",
        ),
        (
            [Flatten(), Conv2D(4, 3)],
            (1, 8, 8),
            "Conv2D (layers[1]): x has shape (N, 64); needed images (N, C, H, W)",
        ),
        ([MaxPool2D(2)], (8, 8), "MaxPool2D (layers[0]): x has shape (N, 8, 8); needed images (N, C, H, W)"),
        (
            [Conv2D(4, 3, groups=2)],
            (3, 8, 8),
            "Conv2D (layers[0]): groups is 2; needed a divisor of the 3 channels of x",
        ),
        (
            [Conv2D(3, 3, groups=2)],
            (4, 8, 8),
            "Conv2D (layers[0]): groups is 2; needed a divisor of its 3 filters",
        ),
        (
            [Sum(Conv2D(2, 3), Conv2D(2, 5))],
            (1, 8, 8),
            "Sum (layers[0]): its branches give shapes (2, 6, 6), (2, 4, 4); needed one",
        ),
        (
            [Sequential(Flatten(), Sequential(Dense(4), Conv2D(1, 1, name="odd")))],
            (1, 8, 8),
            "Conv2D 'odd' (layers[0].layers[1].layers[1]): x has shape (N, 4)",
        ),
    ],
)
def test_an_impossible_shape_is_refused_where_it_arises(layers, shape, message):
    with pytest.raises(ShapeError, match=says(message)):
        xcnn.Model(layers, shape)


@pytest.mark.parametrize("shape", [(0, 8, 8), (1, -8, 8), (1, 8.0, 8), "1x8x8", (1, True, 8), None])
def test_an_impossible_input_shape_is_refused(shape):
    with pytest.raises(OptionError, match=says("input_shape is", "needed")):
        xcnn.Model([ReLU()], shape)


def test_the_input_shape_may_be_a_list_or_a_number():
    assert xcnn.Model([ReLU()], [1, np.int64(2), 3]).input_shape == (1, 2, 3)
    assert xcnn.Model([Dense(2)], 5).input_shape == (5,)


@pytest.mark.parametrize("wrong", ["relu", Dense, None, 3])
def test_what_is_no_layer_is_refused(wrong):
    with pytest.raises(Error, match=says(repr(wrong), "needed")):
        xcnn.Model([Flatten(), wrong], (1, 2, 2))


@pytest.mark.parametrize("wrong", [5, None])
def test_what_is_no_sequence_of_layers_is_refused(wrong):
    with pytest.raises(Error, match=says(repr(wrong), "needed")):
        xcnn.Model(wrong, (1, 2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"dtype": "float16"}, "dtype is 'float16'; needed 'float32' or 'float64'"),
        ({"dtype": "int64"}, "dtype is 'int64'"),
        ({"dtype": None}, "dtype is None"),
        ({"dtype": 7}, "dtype is 7"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(OptionError, match=says("Model", message)):
        plain(**options)


def test_dtypes_of_numpy_are_understood():
    assert plain(dtype=np.float64).dtype == "float64"
    assert plain(dtype=np.dtype("float32")).dtype == "float32"


def test_dtypes_of_other_libraries_are_understood_or_refused(xp):
    try:
        found = plain(dtype=xp.float64).dtype
    except OptionError as error:
        found = str(error).rpartition("; ")[2]
    assert found in ("float64", "needed 'float32' or 'float64'")


# Belonging


def test_a_layer_belongs_to_one_model():
    layer = Dense(3)
    model = xcnn.Model([Flatten(), layer], (1, 2, 2))
    with pytest.raises(
        Error, match=says("Dense (layers[1]): it belongs to another model", "new layer", "model.copy()")
    ):
        xcnn.Model([Flatten(), layer], (1, 2, 2))
    assert model.layers[1].label == "Dense (layers[1])"
    assert model.predict(np.zeros((1, 1, 2, 2))).shape == (1, 3)


def test_a_failed_build_sets_its_layers_free():
    first, second = Flatten(), Dense(3)
    with pytest.raises(ShapeError):
        xcnn.Model([first, second, Conv2D(1, 1)], (1, 2, 2))
    assert xcnn.Model([first, second], (1, 4, 4)).output_shape == (3,)


def test_a_layer_at_two_input_shapes_is_refused():
    layer = Dense(3, name="twice")
    with pytest.raises(
        ShapeError, match=says("Dense 'twice' (layers[0])", "input shapes (4,) and (3,); needed one")
    ):
        xcnn.Model([layer, layer], (4,))


def test_layers_may_come_as_one_layer_or_a_sequential():
    assert len(xcnn.Model(Dense(3), (4,)).layers) == 1
    assert len(xcnn.Model(Sequential(Dense(3), ReLU()), (4,)).layers) == 2


def test_a_sequential_given_to_the_model_keeps_its_options():
    optimizer = xcnn.optim.SGD(0.5)
    model = xcnn.Model(Sequential(Dense(3), name="all", trainable=False, optimizer=optimizer), (4,))
    segments = xcnn.Trainer(model).segments
    assert [s.optimizer for s in segments] == [None]
    again = xcnn.Model(Sequential(Dense(3), optimizer=optimizer), (4,))
    assert [s.optimizer for s in xcnn.Trainer(again).segments] == [optimizer]


def test_a_model_may_have_no_layers_and_no_parameters(backend):
    x = np.ones((2, 3), "float32")
    for layers in ([], [ReLU()]):
        model = xcnn.Model(layers, (3,), backend=backend)
        assert model.state.size == 0
        np.testing.assert_array_equal(model.predict(x), x)
        trainer = xcnn.Trainer(model, optimizer=xcnn.optim.SGD(clip_norm=1.0))
        assert float(trainer.step(x, [0, 1])) == pytest.approx(np.log(3))
