"""Model files: what is in them, where they load, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors import safe_open

import xcnn
from tests.conftest import TESTED
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn import initializers, losses, ops
from xcnn.errors import FileError, OptionError
from xcnn.layers import (
    GELU,
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    GroupNorm,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    Normalize,
    ReLU,
    Reshape,
    Sequential,
    Softmax,
    Sum,
    UntiedBias,
    UpSample2D,
    ZeroPad2D,
)

X, Y = stripes()


def everything(**options):
    """Return a model with a bit of everything."""
    twice = Conv2D(4, 3, padding="same", activation="tanh", name="twice")
    squeeze = Gate(Sequential(GlobalAvgPool2D(), Dense(2, activation="relu"), Dense(4, activation="sigmoid")))
    layers = [
        Normalize(0.4, [0.3]),
        Conv2D(
            4, (3, 2), stride=(1, 2), padding=((1, 1), (0, 1)), dilation=1, bias=False, init="glorot_uniform"
        ),
        BatchNorm2D(momentum=0.2),
        Sum(Identity(), Sequential(twice, GroupNorm(2), twice), name="block"),
        squeeze,
        Concat(MaxPool2D(2, ceil=True), Sequential(ZeroPad2D(((1, 0), (0, 1))), MaxPool2D(2, stride=2))),
        UpSample2D((1, 2)),
        ConvTranspose2D(2, 2, stride=2, padding="same", activation=LeakyReLU(0.2)),
        GELU("tanh"),
        Dropout(0.25),
        Reshape((-1, 4)),
        LayerNorm(),
        Flatten(),
        Dense(3, trainable=False, activation="softmax"),
    ]
    return xcnn.Model(layers, SHAPE, **options)


def described(path):
    """Return what a file says of its model."""
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["xcnn"])


@pytest.fixture
def saved(tmp_path):
    """The path of a small model's file."""
    plain().save(tmp_path / "m.xcnn")
    return tmp_path / "m.xcnn"


# Round trips


@pytest.mark.parametrize("there", TESTED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back_on_any_backend(there, dtype, backend, tmp_path):
    model = everything(backend=backend, dtype=dtype, seed=5)
    model.fit(X, Y, epochs=1, batch_size=16)
    model.classes = ("left", "middle", "right")
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn", backend=there)
    assert again.backend is xcnn.get_backend(there)
    assert_same(host(again), host(model))
    assert (again.dtype, again.seed, again.input_shape, again.classes) == (dtype, 5, SHAPE, model.classes)
    assert again.loss == model.loss
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-4, atol=1e-6)
    if there == backend.name:
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_the_layers_come_back_as_they_were(tmp_path):
    model = everything()
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn")
    assert repr(again.layers).replace("'zeros'", "?") == repr(model.layers).replace("'zeros'", "?")
    block = again.layers[3]
    assert block.name == "block"
    assert block[1][0] is block[1][2]
    assert not again.layers[-1].trainable
    assert again.state.size == model.state.size


def test_options_of_the_outermost_sequential_come_back(tmp_path):
    model = xcnn.Model(Sequential(Flatten(), Dense(3), name="all", trainable=False), SHAPE)
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn").layers
    assert (again.name, again.trainable) == ("all", False)


def test_a_model_that_was_loaded_trains_as_the_one_that_was_saved(tmp_path, backend):
    model = full(backend=backend)
    model.fit(X, Y)
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn", backend=backend)
    options = {"epochs": 2, "optimizer": xcnn.optim.SGD(0.1)}
    assert again.fit(X, Y, **options) == model.fit(X, Y, **options)


@pytest.mark.parametrize(
    "loss", [None, losses.CrossEntropy(0.1, [1, 2, 3]), losses.BinaryCrossEntropy(), losses.Huber(0.3)]
)
def test_the_loss_comes_back(loss, tmp_path):
    model = plain()
    model.loss = loss
    model.save(tmp_path / "m.xcnn")
    assert xcnn.load(tmp_path / "m.xcnn").loss == loss


def test_the_default_backend_is_that_of_new_models(saved):
    for name in TESTED:
        with xcnn.use_backend(name):
            assert xcnn.load(saved).backend.name == name


def test_names_of_classes_may_be_any_sequence_of_text(tmp_path):
    for classes in (["a", "b", "c"], np.array(["a", "b", "c"])):
        model = plain()
        model.classes = classes
        model.save(tmp_path / "m.xcnn")
        assert xcnn.load(tmp_path / "m.xcnn").classes == ("a", "b", "c")


def test_options_of_numpys_types_are_written(tmp_path):
    layers = [
        Conv2D(np.int64(2), np.int64(3), stride=(np.int32(1), 1), padding=np.uint8(1)),
        MaxPool2D(np.int64(2)),
        Dropout(np.float32(0.25)),
        UpSample2D(np.int64(1)),
        BatchNorm2D(momentum=np.float32(0.5)),
        Flatten(),
        Dense(3),
    ]
    model = xcnn.Model(layers, SHAPE)
    model.save(tmp_path / "m.xcnn")
    np.testing.assert_array_equal(xcnn.load(tmp_path / "m.xcnn").predict(X), model.predict(X))


@pytest.mark.parametrize(
    "init", [initializers.Uniform(-1, 1), initializers.Scaled(3.0), lambda rng, shape, fans: np.ones(shape)]
)
def test_initialisers_that_cannot_be_written_are_not_missed(init, tmp_path):
    model = xcnn.Model([Flatten(), Dense(3, init=init)], SHAPE)
    model.save(tmp_path / "m.xcnn")
    np.testing.assert_array_equal(xcnn.load(tmp_path / "m.xcnn").predict(X), model.predict(X))


def test_a_loss_of_ones_own_is_no_obstacle_to_saving(tmp_path):
    class Mine(losses.Loss):
        name = "mine"

        def __call__(self, z, labels, /, *, probabilities=False):
            return xcnn.ops.mse(z, labels)

    model = plain()
    model.fit(X, np.eye(3)[Y], loss=Mine())
    model.save(tmp_path / "m.xcnn")
    np.testing.assert_array_equal(xcnn.load(tmp_path / "m.xcnn").predict(X), model.predict(X))


def test_values_that_are_not_contiguous_are_written_right(tmp_path):
    model = plain()
    w = np.asfortranarray(np.random.default_rng(0).normal(size=(3, 36)).astype("float32"))
    model.layers[3].w.value = w
    model.save(tmp_path / "m.xcnn")
    np.testing.assert_array_equal(xcnn.load(tmp_path / "m.xcnn").layers[3].w.value, w)


@dataclass(eq=False)
class Scale(Layer):
    """y = a x with a trained a."""

    start: float = 2.0

    def build(self, input_shape, make):
        self.a = make.parameter((1,), lambda rng, shape, fans: np.full(shape, self.start))
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        return x * self.a.value, x

    def backward(self, dy, saved, /, *, need_dx=True):
        self.a.add_gradient(xcnn.backend.backend_of(dy).xp.sum(dy * saved)[None])
        return dy * self.a.value


def test_layers_of_ones_own_are_named_when_loading(tmp_path):
    model = xcnn.Model(
        [Sequential(Scale(3.0)), Gate(Scale()), Flatten(), Dense(3, activation=Scale(0.5))], SHAPE
    )
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn", custom=[Scale])
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    message = says(str(tmp_path / "m.xcnn"), "unknown layer 'Scale'", "load(path, custom=[Scale])")
    with pytest.raises(FileError, match=message):
        xcnn.load(tmp_path / "m.xcnn")


@pytest.mark.parametrize("op", ["conv2d_loops", "conv2d_indices", "true_conv2d"])
def test_the_op_of_a_convolution_is_kept_by_its_name(op, tmp_path):
    layers = [Conv2D(2, 3, op=op), Sequential(Conv2D(2, 2, op=getattr(ops, op))), UntiedBias()]
    model = xcnn.Model(layers, SHAPE)
    model.layers[2].b.value = np.random.default_rng(0).normal(size=(2, 5, 5))
    model.save(tmp_path / "m.xcnn")
    assert described(tmp_path / "m.xcnn")["layers"][0]["op"] == op
    again = xcnn.load(tmp_path / "m.xcnn")
    assert again.layers[0].op == again.layers[1][0].op == op
    assert_same(host(again), host(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_the_op_that_convolves_by_default_is_not_written(tmp_path):
    for op in ("conv2d", ops.conv2d):
        xcnn.Model([Conv2D(2, 3, op=op)], SHAPE).save(tmp_path / "m.xcnn")
        assert "op" not in described(tmp_path / "m.xcnn")["layers"][0]


@ops.Op
def doubled(x, w, b=None, /, *, stride, padding, dilation, groups):
    y, saved = ops.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return 2.0 * y, saved


@doubled.gradient
def doubled_gradient(dy, saved, needs):
    return saved.backward(2.0 * dy, needs)


def test_an_op_of_ones_own_is_named_when_loading(tmp_path):
    model = xcnn.Model([Conv2D(2, 3, op=doubled), Scale(3.0)], SHAPE)
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn", custom=[Scale, doubled])
    assert again.layers[0].op is doubled
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    message = says(str(tmp_path / "m.xcnn"), "unknown op 'doubled'", "load(path, custom=[doubled])")
    with pytest.raises(FileError, match=message):
        xcnn.load(tmp_path / "m.xcnn", custom=[Scale])


def test_an_unknown_op_is_compared_with_what_may_convolve(tmp_path):
    xcnn.Model([Conv2D(2, 3, op=doubled)], SHAPE).save(tmp_path / "m.xcnn")
    with pytest.raises(FileError) as caught:
        xcnn.load(tmp_path / "m.xcnn")
    assert "known: conv2d, conv2d_indices, conv2d_loops, true_conv2d; an op" in str(caught.value)


@pytest.mark.parametrize("custom", [[7], [Scale, "Scale"], [Scale(3.0)], [dict]])
def test_what_is_neither_a_layers_class_nor_an_op_is_refused(saved, custom):
    with pytest.raises(OptionError, match=says(f"load: custom has {custom[-1]!r}", "layers, and ops")):
        xcnn.load(saved, custom=custom)


def test_a_file_holds_no_code_and_is_readable_by_safetensors(saved):
    with safe_open(saved, framework="numpy") as file:
        assert set(file.keys()) == {"layers[0].w", "layers[0].b", "layers[3].w", "layers[3].b"}
    content = described(saved)
    assert content["layers"][0] == {"type": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu"}
    assert content["input_shape"] == [1, 8, 8]


# Writing


def test_folders_on_the_way_are_made(tmp_path):
    plain().save(tmp_path / "a" / "b" / "m.xcnn")
    assert xcnn.load(tmp_path / "a" / "b" / "m.xcnn").state.size == 151


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "m.xcnn", tmp_path / "folder"):
        with pytest.raises(FileError, match=says(str(path), "cannot be written")):
            plain().save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_an_option_that_is_no_json_is_refused_with_the_path(tmp_path):
    layer = Scale()
    layer.start = object()
    model = xcnn.Model([Scale()], SHAPE)
    model.layers[0].start = object()
    with pytest.raises(FileError, match=says(str(tmp_path / "m.xcnn"), "cannot be written as JSON")):
        model.save(tmp_path / "m.xcnn")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(saved, step, what, monkeypatch):
    before = saved.read_bytes()

    def fail(*args, **options):
        raise what

    monkeypatch.setattr(step, fail)
    with pytest.raises((FileError, KeyboardInterrupt)):
        full().save(saved)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["m.xcnn"]


def test_a_full_disk_is_told(saved, monkeypatch):
    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(FileError, match=says(str(saved), "cannot be written: No space left on device")):
        plain().save(saved)


def test_files_can_be_read_by_others(saved):
    import os

    mask = os.umask(0)
    os.umask(mask)
    assert saved.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_softmax_is_saved_once(tmp_path):
    model = xcnn.Model([Flatten(), Dense(3), Softmax(), ReLU()], SHAPE)
    model.save(tmp_path / "m.xcnn")
    assert len(xcnn.load(tmp_path / "m.xcnn").layers) == 4
