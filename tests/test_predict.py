"""What goes into a model and comes out of it, from arrays of any backend."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED, USABLE
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn.backend import backend_of
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError
from xcnn.layers import Dense, Flatten, LogSoftmax, Sigmoid, Softmax

X, Y = stripes()
strict_only = pytest.mark.skipif(
    "strict" not in USABLE, reason="needs array-api-strict, whose devices are pretended"
)


@pytest.mark.parametrize("kind", TESTED)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_classes"])
def test_the_answer_comes_back_in_the_kind_of_the_input(method, kind, backend):
    model = full(backend=backend)
    there = xcnn.get_backend(kind)
    answer = getattr(model, method)(there.asarray(X))
    assert backend_of(answer) is there
    want = getattr(full(), method)(X)
    np.testing.assert_allclose(there.to_numpy(answer), want, rtol=1e-4, atol=1e-6)


@strict_only
def test_the_answer_comes_back_to_the_device_of_the_input():
    device = xcnn.get_backend("strict:device1")
    for where in ("numpy", "strict", "strict:device2"):
        assert backend_of(plain(backend=where).predict(device.asarray(X))) is device


@pytest.mark.parametrize("kind", TESTED)
def test_evaluate_and_fit_take_arrays_of_any_backend(kind, backend):
    there = xcnn.get_backend(kind)
    x, y = there.asarray(X), there.asarray(Y)
    ours, theirs = plain(backend=backend), plain(backend=backend)
    assert ours.evaluate(x, y) == theirs.evaluate(X, Y)
    assert ours.evaluate(X, y) == theirs.evaluate(x, Y)
    options = {"epochs": 1, "batch_size": 20, "validation": 0.25}
    assert ours.fit(x, y, **options) == theirs.fit(X, Y, **options)
    assert_same(host(ours), host(theirs))


def test_lists_are_accepted_and_give_numpy_arrays(backend):
    model = plain(backend=backend)
    x, y = X[:4].tolist(), Y[:4].tolist()
    answer = model.predict(x)
    assert type(answer) is np.ndarray
    np.testing.assert_array_equal(answer, model.predict(X[:4]))
    assert model.evaluate(x, y) == model.evaluate(X[:4], Y[:4])
    assert model.fit(x, y)["loss"]


@pytest.mark.parametrize("n", [1, 5, 7, 10, 11])
def test_batches_of_prediction_do_not_matter(n, backend):
    model = full(backend=backend)
    x = X[:n]
    np.testing.assert_allclose(model.predict(x, batch_size=5), model.predict(x), rtol=1e-5, atol=1e-6)
    assert model.predict_classes(x, batch_size=5).shape == (n,)
    want = model.evaluate(x, Y[:n])
    for name, value in model.evaluate(x, Y[:n], batch_size=5).items():
        assert value == pytest.approx(want[name], rel=1e-5)


def test_uint8_images_are_divided_by_255(backend):
    model = full(backend=backend)
    images = (255 * X).round().astype("uint8")
    want = model.predict((images / 255.0).astype("float32"))
    np.testing.assert_allclose(model.predict(images), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        backend.to_numpy(model.predict(backend.asarray(images))), want, rtol=1e-5, atol=1e-6
    )
    assert model.fit(images, Y) == full(backend=backend).fit(images, Y)


@pytest.mark.parametrize("kind", ["float64", "float16", ">f4", "longdouble"])
def test_any_floating_dtype_is_converted_to_the_models(kind, backend):
    model = plain(backend=backend)
    x = X.astype(kind)
    y = model.predict(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, model.predict(x.astype("float32")))


def test_bfloat16_is_converted_too(backend, torch):
    x = torch.asarray(X).to(torch.bfloat16)
    y = plain(backend=backend).predict(x)
    np.testing.assert_allclose(y, plain().predict(x.to(torch.float32).numpy()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "bool", "complex64"])
def test_other_dtypes_are_refused(kind, backend):
    model = plain(backend=backend)
    message = says("Model: x has dtype", kind, "needed a floating dtype, or uint8 images (0 to 255)")
    x = X.astype(kind)
    for attempt in (
        model.predict,
        model.predict_classes,
        lambda x: model.evaluate(x, Y),
        lambda x: model.fit(x, Y),
    ):
        with pytest.raises(DTypeError, match=message):
            attempt(x)
    with pytest.raises(DTypeError, match=message):
        xcnn.Trainer(model).step(x, Y)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((8, 8), ""),
        ((1, 8, 8), "; add the channel axis: x[:, None]"),
        ((5, 8, 8), "; add the channel axis: x[:, None]"),
        ((5, 8, 8, 1), "; the channels come first: np.moveaxis(x, -1, 1)"),
        ((5, 64), ""),
        ((5, 3, 8, 8), ""),
        ((5, 1, 8, 9), ""),
        ((5, 1, 8, 8, 1), ""),
        ((), ""),
    ],
)
def test_a_wrong_shape_is_refused_with_a_hint(shape, hint):
    model = plain()
    message = says(f"Model: x has shape {shape}; needed (N, 1, 8, 8){hint}")
    y = Y[: shape[0]] if shape else Y
    for attempt in (
        model.predict,
        lambda x: model.evaluate(x, y),
        lambda x: xcnn.Trainer(model).step(x, y),
    ):
        with pytest.raises(ShapeError, match=message):
            attempt(np.zeros(shape))


def test_a_single_image_of_three_channels_is_refused_with_a_hint():
    model = xcnn.Model([Flatten()], (3, 8, 8))
    with pytest.raises(
        ShapeError, match=says("shape (3, 8, 8); needed (N, 3, 8, 8); a single image", "x[None]")
    ):
        model.predict(np.zeros((3, 8, 8)))


@pytest.mark.parametrize("empty", [np.zeros((0, 1, 8, 8)), np.zeros((0, 1, 8, 8), "uint8")])
def test_no_inputs_are_refused(empty, backend):
    model = plain(backend=backend)
    none = np.zeros(0, "int64")
    for attempt in (
        model.predict,
        model.predict_classes,
        lambda x: model.evaluate(x, none),
        lambda x: model.fit(x, none),
    ):
        with pytest.raises(DataError, match=says("x", "empty", "(0, 1, 8, 8)")):
            attempt(backend.asarray(empty))


@pytest.mark.parametrize("wrong", [3.0, None, "digits.png", {"x": 1}])
def test_what_is_no_array_is_refused(wrong):
    model = plain()
    for attempt in (
        model.predict,
        lambda x: model.evaluate(x, Y),
        lambda x: xcnn.Trainer(model).step(x, Y),
        lambda x: model.fit(x, Y),
    ):
        with pytest.raises(xcnn.Error, match=says("needed")):
            attempt(wrong)


@pytest.mark.parametrize("size", [0, -1, 2.5, None])
def test_an_impossible_batch_size_is_refused(size):
    for attempt in (
        plain().predict,
        lambda x, **o: plain().evaluate(x, Y, **o),
        lambda x, **o: plain().fit(x, Y, **o),
    ):
        with pytest.raises(OptionError, match=says("batch_size is", repr(size), "needed")):
            attempt(X, batch_size=size)


# Probabilities and classes


def head(*layers, units=3, **options):
    """Return a model of Flatten, Dense and `layers`."""
    return xcnn.Model([Flatten(), Dense(units), *layers], SHAPE, **options)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("ending", [(), (Softmax,), (LogSoftmax,)], ids=["logits", "softmax", "log_softmax"])
@pytest.mark.parametrize("loss", [None, "cross_entropy"])
def test_probabilities_of_classes_for_every_ending(ending, loss, backend):
    z = head().predict(X)
    model = head(*[kind() for kind in ending], backend=backend)
    if loss:
        xcnn.Trainer(model, loss=loss)
    p = model.predict_proba(X)
    np.testing.assert_allclose(p, softmax(z), rtol=1e-4)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.predict_classes(X), z.argmax(1))


@pytest.mark.parametrize("ending", [(), (Sigmoid,)], ids=["logits", "sigmoid"])
def test_probabilities_of_independent_classes(ending, backend):
    z = head().predict(X)
    model = head(*[kind() for kind in ending], backend=backend)
    xcnn.Trainer(model, loss="binary_cross_entropy")
    np.testing.assert_allclose(model.predict_proba(X), sigmoid(z), rtol=1e-4)
    np.testing.assert_array_equal(model.predict_classes(X), z.argmax(1))


@pytest.mark.parametrize("loss", [None, "binary_cross_entropy"])
@pytest.mark.parametrize("ending", [(), (Sigmoid,)], ids=["logits", "sigmoid"])
def test_one_output_is_the_probability_of_class_1(ending, loss, backend):
    z = head(units=1).predict(X)
    assert 0 < (z > 0).mean() < 1
    model = head(*[kind() for kind in ending], units=1, backend=backend)
    if loss:
        xcnn.Trainer(model, loss=loss)
    np.testing.assert_allclose(model.predict_proba(X), sigmoid(z), rtol=1e-4)
    classes = model.predict_classes(X)
    np.testing.assert_array_equal(classes, (z > 0)[:, 0])
    assert str(classes.dtype).startswith("int")


def test_a_regression_has_no_link():
    model = head()
    xcnn.Trainer(model, loss="mse")
    np.testing.assert_array_equal(model.predict_proba(X), model.predict(X))


def test_logits_of_a_thousand_give_probabilities():
    model = head()
    model.layers[1].b.value = [1e3, -1e3, 1e4]
    np.testing.assert_allclose(model.predict_proba(X), np.tile([0.0, 0.0, 1.0], (len(X), 1)), atol=1e-6)


def test_ties_go_to_the_first_class(backend):
    model = xcnn.Model([Flatten()], (3, 1, 1), backend=backend)
    np.testing.assert_array_equal(model.predict_classes([[[[1.0]], [[1.0]], [[0.0]]]]), [0])


def test_no_class_is_told_where_an_output_is_nan(backend):
    model = plain(backend=backend)
    x = X.copy()
    x[3, 0, 2, 2] = np.nan
    assert np.isnan(model.predict(x)[3]).all()
    with pytest.raises(DataError, match=says("Model: an output is NaN", "needed finite inputs")):
        model.predict_classes(x)
    with pytest.raises(DataError, match=says("evaluate", "not finite")):
        model.evaluate(x, Y)


class Lying:
    """Says that it is an array."""

    shape, dtype = (2, *SHAPE), np.dtype("float32")


@pytest.mark.parametrize(
    "x",
    [Lying(), memoryview(np.zeros((2, *SHAPE))), object(), "x", None, (row for row in np.zeros((2, *SHAPE)))],
    ids=lambda x: type(x).__name__,
)
def test_what_is_no_array_is_refused_by_every_entrance(x):
    model = plain(backend="numpy")
    for call in (
        model.predict,
        model.accept,
        lambda x: model.evaluate(x, [0, 1]),
        lambda x: model.fit(x, [0, 1]),
    ):
        with pytest.raises(DTypeError, match=r"^(Model|evaluate|fit|Loader): "):
            call(x)


def test_masked_elements_are_refused_and_subclasses_are_arrays():
    model, (x, y) = plain(backend="numpy"), stripes(4)
    masked = np.ma.masked_array(x, mask=False)
    np.testing.assert_array_equal(model.predict(masked), model.predict(x))
    masked[0, 0, 0, 0] = np.ma.masked
    with pytest.raises(DataError, match=says("Model", "1 of 256 elements are masked")):
        model.predict(masked)
    with pytest.raises(DataError, match=says("masked")):
        model.evaluate(x, np.ma.masked_array(y, mask=True))


def test_a_list_that_is_no_array_is_refused_by_name():
    for x in ([[1.0], [1.0, 2.0]], [[[[[1.0] * 8] * 8]], [[1.0]]]):
        with pytest.raises(DataError, match=says("Model", "rows of one shape")):
            plain(backend="numpy").predict(x)


@pytest.mark.skipif("torch" not in USABLE, reason="PyTorch is not installed")
def test_a_tensor_of_a_graph_is_taken_without_it():
    import torch

    x = torch.zeros((2, *SHAPE), requires_grad=True)
    model = plain(backend="torch")
    assert not model.predict(x).requires_grad
    assert float(xcnn.Trainer(model).step(x, torch.zeros(2, dtype=torch.int64))) > 0
    assert not model.state.arrays.values.requires_grad


class Lazy:
    """Rows that are read when they are asked for; extents of any integers, and no dtype."""

    def __init__(self, a):
        self.a, self.shape = a, [np.int64(n) for n in a.shape]

    def __getitem__(self, key):
        return self.a[key]


def test_what_has_a_shape_and_rows_is_taken():
    model, (x, y) = plain(backend="numpy"), stripes(4)
    np.testing.assert_array_equal(model.predict(Lazy(x)), model.predict(x))
    assert model.evaluate(Lazy(x), y) == model.evaluate(x, y)
