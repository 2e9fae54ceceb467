"""Conv2D with other ops than conv2d: the same results, and what may take its place."""

from __future__ import annotations

import numpy as np
import pytest
from array_api_compat import array_namespace

import xcnn
from tests.nets import CLASSES, host, stripes
from tests.ops.checks import says, upstream
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.errors import DTypeError, OptionError, ShapeError
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Flatten, Identity, MaxPool2D, Sum
from xcnn.ops import Op


@Op
def negative_conv2d(x, w, b=None, /, *, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """Convolve, and turn the sign: an op of a user."""
    y, saved = ops.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return -y, saved


@negative_conv2d.gradient
def negative_conv2d_gradient(dy, saved, needs):
    return saved.backward(-dy, needs)


X, Y = stripes(12)
NAMES = ("conv2d", "conv2d_loops", "conv2d_indices")
every_op = pytest.mark.parametrize("op", [*NAMES, "true_conv2d", negative_conv2d], ids=str)
readable = pytest.mark.parametrize("op", NAMES[1:])


def net(op, **options):
    """Return a model with two convolutions by `op`."""
    layers = [
        Conv2D(3, 3, stride=2, padding="same", activation="relu", op=op),
        BatchNorm2D(),
        Sum(Identity(), Conv2D(3, (1, 2), padding=((0, 0), (0, 1)), groups=3, bias=False, op=op)),
        MaxPool2D(2),
        Flatten(),
        Dense(CLASSES),
    ]
    return xcnn.Model(layers, X.shape[1:], seed=1, **options)


@readable
def test_a_network_learns_the_same_parameters(op, backend):
    def learned(op):
        model = net(op, backend=backend, dtype="float64")
        trainer = xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.1, momentum=0.9), loss="cross_entropy")
        losses = [float(trainer.step(X[i : i + 4], Y[i : i + 4])) for i in (0, 4, 8)]
        return losses, host(model)

    (losses, values), (want_losses, want) = learned(op), learned("conv2d")
    np.testing.assert_allclose(losses, want_losses, rtol=1e-12)
    assert values.keys() == want.keys()
    for place in want:
        assert_close(values[place], want[place], "float64", place)


@readable
@pytest.mark.parametrize("padding", ["valid", "same", "full", 1, (0, 2), ((1, 0), (0, 2))])
def test_every_padding_gives_the_same(op, padding, backend):
    results = []
    for each in (op, "conv2d"):
        layer = Conv2D(2, (3, 2), stride=(1, 2), padding=padding, op=each)
        model = xcnn.Model([layer], (1, 5, 4), backend=backend, dtype="float64", seed=2)
        x = model.accept(X[:2, :, :5, :4].astype("float64"))
        y, saved = model.forward(x, train=True)
        assert y.shape[1:] == model.output_shape
        dx = model.backward(backend.asarray(upstream(backend.to_numpy(y))), saved)
        results.append([backend.to_numpy(a) for a in (y, dx, layer.w.gradient, layer.b.gradient)])
    for got, want in zip(*results, strict=True):
        assert_close(got, want, "float64")


@every_op
def test_gradients_are_right_whatever_convolves(op, backend):
    assert xcnn.gradcheck(Conv2D(2, 2, padding=1, op=op), backend.asarray(X[:1, :, :4, :4], "float64")) < 1e-5


def test_a_rotated_kernel_is_that_of_a_model_with_rotated_weights():
    model, true = (xcnn.Model([Conv2D(2, (2, 3), op=op)], (1, 8, 8)) for op in ("conv2d", "true_conv2d"))
    true.layers[0].w.value = model.layers[0].w.value[:, :, ::-1, ::-1]
    np.testing.assert_allclose(true.predict(X), model.predict(X), rtol=1e-6, atol=1e-6)


def test_an_op_of_ones_own_convolves():
    own, model = (xcnn.Model([Conv2D(2, 3, op=op)], (1, 8, 8)) for op in (negative_conv2d, "conv2d"))
    np.testing.assert_allclose(own.predict(X), -model.predict(X), rtol=1e-6, atol=1e-6)


@every_op
def test_copies_keep_the_op(op):
    model = xcnn.Model([Conv2D(2, 3, op=op, activation="relu")], (1, 8, 8))
    twin = model.copy()
    assert twin.layers[0].op == model.layers[0].op == op
    assert twin.flat[0].op == op
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))


@pytest.mark.parametrize("op", [*NAMES, "true_conv2d"])
def test_an_op_of_xcnn_is_known_by_its_name(op):
    assert Conv2D(2, 3, op=getattr(ops, op)).op == op
    assert repr(Conv2D(2, 3, op=op)).endswith(f"op='{op}')")


@every_op
def test_a_summary_counts_as_ever(op):
    assert net(op).summary().multiply_adds == net("conv2d").summary().multiply_adds


# What a compiled run takes


def places(model):
    """Return the labels of the convolutions that run as they are written, outside compiled runs."""
    return [layer.label for layer in model.plan if isinstance(layer, (Conv2D, Sum))]


@pytest.mark.parametrize("op", [*NAMES[1:], "true_conv2d", negative_conv2d], ids=str)
def test_a_compiled_run_takes_no_other_op_than_conv2d(op):
    pytest.importorskip("numba")
    assert places(net("conv2d", backend="numpy")) == []
    assert places(net(op, backend="numpy")) == ["Conv2D (layers[0])", "Sum (layers[2])"]


# What is refused


@pytest.mark.parametrize(
    ("op", "parts"),
    [
        ("conv2d_loop", ("unknown convolution 'conv2d_loop'", "did you mean 'conv2d_loops'?")),
        ("linear", ("unknown convolution 'linear'", "known: conv2d, conv2d_indices, conv2d_loops")),
        (7, ("Conv2D: op is 7; needed one of conv2d, ", "or an Op (x, w, b=None, /, *, stride=(1, 1)")),
        (None, ("Conv2D: op is None; needed",)),
        (np.add, ("Conv2D: op is <ufunc 'add'>; needed",)),
        (ops.linear, ("Conv2D: op is <op linear>, an Op (x, w, b=None, /); needed one of", "stride=(1, 1)")),
        (ops.conv_transpose2d, ("Conv2D: op is <op conv_transpose2d>", "output_padding=(0, 0)", "needed")),
    ],
    ids=str,
)
def test_what_cannot_convolve_is_refused_at_construction(op, parts):
    with pytest.raises(OptionError, match=says(*parts)):
        Conv2D(1, 1, op=op)


def test_an_op_without_groups_is_refused_at_construction(monkeypatch):
    monkeypatch.setattr(Op, "registry", {})

    @Op
    def without_groups(x, w, b=None, /, *, stride, padding, dilation):
        return x, ()

    with pytest.raises(OptionError, match=says("op is <op without_groups>", "padding, dilation); needed")):
        Conv2D(1, 1, op=without_groups)


def test_an_op_with_a_name_of_xcnns_is_refused(monkeypatch):
    monkeypatch.setattr(Op, "registry", {})

    @Op
    def conv2d(x, w, b=None, /, *, stride, padding, dilation, groups):
        return x, ()

    with pytest.raises(
        OptionError, match=says("Conv2D: op is your own", "'conv2d'; needed a name of its own")
    ):
        Conv2D(1, 1, op=conv2d)


def test_an_op_without_a_gradient_is_refused_at_construction(monkeypatch):
    monkeypatch.setattr(Op, "registry", {})

    @Op
    def nograd(x, w, b=None, /, *, stride, padding, dilation, groups):
        return x, ()

    with pytest.raises(
        OptionError, match=says("Conv2D: <op nograd> has no gradient; needed @nograd.gradient")
    ):
        Conv2D(1, 1, op=nograd)


@Op
def nopad(x, w, b=None, /, *, stride, padding, dilation, groups):
    """Convolve, and forget the padding."""
    return ops.conv2d(x, w, b, stride=stride, dilation=dilation, groups=groups)


@nopad.gradient
def nopad_gradient(dy, saved, needs):
    return saved.backward(dy, needs)


@Op
def widened(x, w, b=None, /, *, stride, padding, dilation, groups):
    """Convolve, in float64 whatever x is."""
    y, saved = ops.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return array_namespace(y).astype(y, array_namespace(y).float64), saved


@widened.gradient
def widened_gradient(dy, saved, needs):
    return saved.backward(dy, needs)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_an_op_that_gives_another_shape_or_dtype_than_declared_is_refused(activation, backend):
    for op, error, parts in (
        (nopad, ShapeError, ("<op nopad> gave shape (12, 2, 6, 6)", "needed (12, 2, 8, 8)")),
        (widened, DTypeError, ("<op widened> gave dtype", "float64", "that of x", "float32")),
    ):
        layer = Conv2D(2, 3, padding="same", activation=activation, op=op)
        model = xcnn.Model([layer], (1, 8, 8), backend=backend)
        with pytest.raises(error, match=says("Conv2D (layers[0]): ", *parts)):
            model.predict(X)
