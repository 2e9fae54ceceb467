"""ONNX: what is written computes the same in two runtimes, what is read computes the same here."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import xcnn
import xcnn.io.onnx
from bench import nets, ours
from tests.io.test_model_file import everything
from tests.layers.cases import LAYERS
from tests.nets import SHAPE, full, plain
from tests.tolerances import assert_close
from xcnn import layers as L
from xcnn.errors import BackendError, FileError, OptionError
from xcnn.ops import Op

ROOT = Path(__file__).parents[2]
WHOLE = os.environ.get("XCNN_TEST_WHOLE") == "1"


def inputs(model, n=2):
    return np.random.default_rng(0).random((n, *model.input_shape)).astype(model.dtype)


def stir(model):
    """Give the parameters and statistics of `model` values that show when one is lost or mistaken."""
    rng = np.random.default_rng(1)
    for name, holder in {**model.parameters(), **model.buffers()}.items():
        if not name.endswith((".w", ".shift", ".scale")) or len(holder.shape) == 1:
            holder.value = model.backend.asarray(0.5 + rng.random(holder.shape), model.dtype)
    return model


def evaluator_fails_at(model):
    """Return why onnx's evaluator is not asked: where onnxruntime and its own specification say otherwise."""
    for layer in model.walk():
        if isinstance(layer, L.ConvTranspose2D) and layer.groups > 1:
            return "it takes the kernels of a group from the wrong axis (onnx 1.23)"
        if isinstance(layer, L.MaxPool2D) and layer.steps == (1, 1):
            return "with stride 1 it takes the padding of rows for that of columns (onnx 1.23)"
    return ""


def onnx_lacks(layer):
    """Return whether ONNX has nothing for a layer of xcnn."""
    if not isinstance(layer, L.ConvTranspose2D):
        return False
    return any(e >= s for e, s in zip(layer.window["output_padding"], layer.steps, strict=True))


def check(model, path, *, x=None, batch=None):
    """Fail unless `model` gives the same in onnxruntime, in onnx's evaluator, and read back."""
    x = inputs(model) if x is None else x.astype(model.dtype)
    want = model.predict(x)
    xcnn.io.onnx.export(model, path, batch=batch)
    onnx.checker.check_model(path, full_check=True)
    content = onnx.load(path)
    if not evaluator_fails_at(model):
        (got,) = ReferenceEvaluator(content).run(None, {"x": x})
        assert_close(got, want, model.dtype, "onnx's evaluator")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": x})
    assert_close(got, want, model.dtype, "onnxruntime")
    again = xcnn.io.onnx.load(path)
    assert (again.input_shape, again.output_shape) == (model.input_shape, model.output_shape)
    assert_close(again.predict(x), want, model.dtype, "read back")
    return again


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layer_is_exported_and_read_back(name, batch, tmp_path):
    @settings(max_examples=200 if WHOLE else 10, suppress_health_check=[HealthCheck.too_slow])
    @given(LAYERS[name])
    def run(drawn):
        x = drawn.x if batch is None else np.resize(drawn.x, (batch, *drawn.x.shape[1:]))
        model = stir(xcnn.Model([copy.deepcopy(drawn.layer)], drawn.x.shape[1:]))
        if onnx_lacks(model.layers.layers[0]):
            with pytest.raises(OptionError, match="ONNX has only output padding below the stride"):
                xcnn.io.onnx.export(model, tmp_path / "layer.onnx", batch=batch)
        else:
            check(model, tmp_path / "layer.onnx", x=x, batch=batch)

    run()


IMAGES = {"digits": (1, 8, 8), "optdigits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples/configs").glob("*.json")), ids=lambda path: path.stem
)
def test_network_of_a_configuration_is_exported_and_read_back(path, tmp_path):
    config = xcnn.io.load_config(path)
    first = [L.Normalize(0.4, 0.3)] if config.data.normalize else []
    chain = [*first, *(layer.make() for layer in config.layers)]
    check(stir(xcnn.Model(chain, IMAGES[config.data.name])), tmp_path / "m.onnx")


class Built(Exception):
    """Carries the model that an example builds."""


def model_of(example, monkeypatch):
    """Return the model that an example builds from made-up images, not trained."""

    def images(name, **options):
        x = np.random.default_rng(0).random((20, *IMAGES[name]), dtype=np.float32)
        split = xcnn.data.Split(x, np.arange(20) % 10)
        return xcnn.data.DataSet(name, split, split, tuple("0123456789"))

    def build(*given, **options):
        raise Built(xcnn.model.Model(*given, **{**options, "backend": "numpy"}))

    monkeypatch.setattr(xcnn.data, "load", images)
    monkeypatch.setattr(xcnn, "Model", build)
    monkeypatch.setattr(sys, "argv", [example])
    with pytest.raises(Built) as caught:
        runpy.run_path(str(ROOT / "examples" / f"{example}.py"), run_name="__main__")
    monkeypatch.undo()
    return caught.value.args[0]


@pytest.mark.parametrize(
    "example", ["digits", "lenet5_mnist", "pure_python", "resnet_cifar10", "show_gradients"]
)
def test_network_of_an_example_is_exported_and_read_back(example, monkeypatch, tmp_path):
    check(stir(model_of(example, monkeypatch)), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", sorted(nets.NETS | nets.LARGE))
def test_network_of_the_benchmark_is_exported_and_read_back(name, tmp_path):
    net = (nets.NETS | nets.LARGE)[name]
    check(xcnn.Model(ours.layers(net.parts), net.image), tmp_path / "m.onnx")


@pytest.mark.parametrize("batch", [None, 2])
def test_a_bit_of_everything_is_exported_and_read_back(batch, tmp_path):
    check(stir(everything()), tmp_path / "m.onnx", batch=batch)


def test_kernels_of_a_true_convolution_are_written_rotated(tmp_path):
    check(stir(xcnn.Model([L.Conv2D(3, (2, 3), op="true_conv2d")], SHAPE)), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "layers",
    [
        [L.Identity()],
        [L.Sum(L.Identity(), L.Identity())],
        [L.Sum(L.Identity())],
        [L.Gate(L.Identity())],
        [L.Concat(L.ReLU(), L.Sum(L.Identity(), L.Tanh(), L.Concat(L.Sigmoid())))],
        [L.Gate(L.Sequential(L.GlobalMaxPool2D(), L.Dense(1)))],
        [L.Normalize(0.5, 0.0), L.Normalize(0.1, 2.0)],
        [L.Flatten(), L.BatchNorm2D(), L.GroupNorm(4), L.Sum(L.Dense(3), L.Dense(3))],
    ],
    ids=str,
)
def test_unusual_trees_are_exported_and_read_back(layers, tmp_path):
    check(stir(xcnn.Model(copy.deepcopy(layers), SHAPE)), tmp_path / "m.onnx")


def test_batch_is_symbolic_or_fixed(tmp_path):
    path = tmp_path / "m.onnx"
    for batch, name, number in ((None, "N", 0), (5, "", 5)):
        xcnn.io.onnx.export(plain(), path, batch=batch)
        content = onnx.load(path)
        for end in (*content.graph.input, *content.graph.output):
            extent = end.type.tensor_type.shape.dim[0]
            assert (extent.dim_param, extent.dim_value) == (name, number)
        assert [o.version for o in content.opset_import] == [xcnn.io.onnx.OPSET]


def test_classes_and_input_range_are_kept(tmp_path):
    model = plain()
    model.classes = ("left", "middle", "right")
    xcnn.io.onnx.export(model, tmp_path / "m.onnx")
    told = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert told == {"xcnn.input_range": "[0, 1]", "xcnn.classes": '["left", "middle", "right"]'}
    assert xcnn.io.onnx.load(tmp_path / "m.onnx").classes == model.classes


def test_model_of_float64_stays_one(tmp_path):
    model = stir(full(dtype="float64"))
    xcnn.io.onnx.export(model, tmp_path / "m.onnx")
    again = xcnn.io.onnx.load(tmp_path / "m.onnx")
    assert again.dtype == "float64"
    assert_close(again.predict(inputs(model)), model.predict(inputs(model)), "float64")


def test_model_that_was_read_learns(tmp_path):
    xcnn.io.onnx.export(full(), tmp_path / "m.onnx")
    model = xcnn.io.onnx.load(tmp_path / "m.onnx")
    history = model.fit(inputs(model, 12), np.arange(12) % 3, epochs=8, optimizer=xcnn.optim.Adam(0.01))
    assert history["loss"][-1] < history["loss"][0]


class Own(L.ReLU):
    """A layer that is not xcnn's."""


def test_layer_that_onnx_lacks_is_named(tmp_path):
    model = xcnn.Model([L.Sequential(L.ReLU(), Own(name="mine"))], SHAPE)
    with pytest.raises(OptionError, match=r"Own 'mine' \(.*\): .* no operator in ONNX"):
        xcnn.io.onnx.export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@Op
def mine(x, w, b=None, /, *, stride, padding, dilation, groups):
    """Stand for a convolution of one's own."""
    raise AssertionError


@mine.gradient
def mine_gradient(dy, values, needs):
    """Stand for its gradient."""
    raise AssertionError


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (L.Conv2D(2, 3, op=mine), "is your own, which ONNX does not have"),
        (
            L.ConvTranspose2D(2, 3, dilation=2, output_padding=1),
            "ONNX has only output padding below the stride",
        ),
    ],
)
def test_option_that_onnx_lacks_is_named(layer, said, tmp_path):
    with pytest.raises(OptionError, match=said) as caught:
        xcnn.io.onnx.export(xcnn.Model([copy.deepcopy(layer)], SHAPE), tmp_path / "m.onnx")
    assert "layers[0]" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_own_layer_of_the_examples_is_refused(monkeypatch, tmp_path):
    with pytest.raises(OptionError, match="PReLU"):
        xcnn.io.onnx.export(model_of("own_layer", monkeypatch), tmp_path / "m.onnx")


def test_batch_of_none_is_refused(tmp_path):
    with pytest.raises(OptionError, match="batch is 0"):
        xcnn.io.onnx.export(plain(), tmp_path / "m.onnx", batch=0)


def graph(nodes, *, arrays=(), shape=("N", 2, 4, 4), kind=TensorProto.FLOAT, opset=21, outputs=("y",)):
    """Return a model of some nodes."""
    x = helper.make_tensor_value_info("x", kind, shape)
    ys = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    arrays = [numpy_helper.from_array(a, name) for name, a in dict(arrays).items()]
    found = helper.make_graph(nodes, "g", [x], ys, arrays)
    content = helper.make_model(found, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    content = onnx.shape_inference.infer_shapes(content)
    for y in content.graph.output:
        y.type.tensor_type.shape.SetInParent()  # where the shape is not known the field must be there
    return content


def read(content, tmp_path):
    path = tmp_path / "g.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return xcnn.io.onnx.load(path)


def node(op, given=("x",), y="y", **attributes):
    return helper.make_node(op, list(given), [y], name=f"the {op}", **attributes)


ONES = np.ones((2, 2, 3, 3), "float32")


@pytest.mark.parametrize(
    ("nodes", "arrays"),
    [
        ([node("Conv", ("x", "w"), auto_pad="SAME_UPPER", strides=[2, 2])], {"w": ONES}),
        ([node("Conv", ("x", "w"), auto_pad="SAME_LOWER", strides=[2, 2])], {"w": ONES}),
        ([node("Conv", ("x", "w"), auto_pad="VALID")], {"w": ONES}),
        ([node("ReduceMean", ("x", "a"), keepdims=0)], {"a": np.array([2, 3])}),
        ([node("ReduceMax", ("x", "a"))], {"a": np.array([-1, -2])}),
        ([node("Reshape", ("x", "s"))], {"s": np.array([-1, 32])}),
        ([node("Flatten", y="f"), node("MatMul", ("f", "w"))], {"w": np.ones((32, 3), "float32")}),
        ([node("Flatten", y="f"), node("Gemm", ("f", "w", "b"), alpha=0.5, beta=2.0)],
         {"w": np.ones((32, 3), "float32"), "b": np.array([1, 2, 3], "float32")}),
        ([node("Mul", ("k", "x"))], {"k": np.array([[[2]], [[3]]], "float32")}),
        ([node("Add", ("x", "k"), "a"), node("Mul", ("a", "k"))], {"k": np.array(0.5, "float32")}),
        ([node("Sum", ("x", "x", "x"))], {}),
        ([node("GlobalAveragePool", y="g"), node("Sigmoid", ("g",), "s"), node("Mul", ("s", "x"))], {}),
        ([node("Resize", ("x", "", "", "s"), mode="nearest")], {"s": np.array([1, 2, 8, 12])}),
        ([node("Pad", ("x", "p", "", "a"))], {"p": np.array([1, 0]), "a": np.array([3])}),
        ([node("Softmax")], {}),
    ],
    ids=lambda value: "-".join(n.op_type for n in value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_others_write_is_read(nodes, arrays, tmp_path):
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype("float32")
    content = graph(nodes, arrays=arrays, shape=(1, 2, 4, 4))
    model = read(content, tmp_path)
    session = onnxruntime.InferenceSession(content.SerializeToString(), providers=["CPUExecutionProvider"])
    assert_close(model.predict(x), session.run(None, {"x": x})[0], "float32")


SKIPS = [node("Relu", y="a"), node("Tanh", ("a",), "b"), node("Add", ("a", "b"), "c")]


@pytest.mark.parametrize(
    ("nodes", "arrays", "said"),
    [
        ([node("Transpose")], {}, "node 'the Transpose' (Transpose): no layer of xcnn does this"),
        ([node("Mul", ("x", "k"))], {"k": -np.ones(1, "float32")}, "needed positive ones"),
        ([node("Relu", y="a"), node("Tanh", y="b"), node("Mul", ("a", "b"))], {}, "multiplies two branches"),
        ([*SKIPS, node("Concat", ("c", "b"), axis=1)], {}, "do not meet again in one node"),
        ([node("Concat", ("x", "x"), axis=2)], {}, "needed the channels, axis 1"),
        ([node("Flatten", axis=2)], {}, "needed 1, which keeps the batch"),
        ([node("Conv", ("x", "w"))], {"w": np.ones((2, 3, 3, 3), "float32")}, "needed (2, 2, 3, 3)"),
        ([node("Conv", ("x", "w"))], {"w": np.ones((2, 2, 9, 9), "float32")}, "reaches over 9 x 9"),
        ([node("Conv", ("x", "w"))], {"w": np.ones((2, 2, 3), "float32")}, "needed four axes"),
        ([node("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])], {}, "have (1, 1) alone"),
        ([node("Reshape", ("x", "s"))], {"s": np.array([2, -1])}, "which keeps the batch"),
        ([node("Relu", ("z",))], {}, "damaged or no ONNX"),
        ([node("Relu", ("k",))], {"k": np.ones(2, "float32")}, "needed what comes from the input"),
        ([node("Resize", ("x", "", "s"), mode="linear")], {"s": ONES[0, 0, 0]}, "xcnn has 'nearest' alone"),
        ([node("Pad", ("x", "p"))], {"p": -np.ones(8, "int64")}, "needed none of the batch"),
        ([node("UnknownOp")], {}, "UnknownOp"),
    ],
)  # fmt: skip
def test_what_no_layer_does_is_refused(nodes, arrays, said, tmp_path):
    with pytest.raises(FileError, match=re.escape(said)) as caught:
        read(graph(nodes, arrays=arrays), tmp_path)
    assert "g.onnx" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": ("N", 2, "H", 4)}, "fixed positive extents"),
        ({"shape": ("N", 2, 2**31, 4)}, "fixed positive extents"),
        ({"shape": ()}, "fixed positive extents"),
        ({"kind": TensorProto.INT64}, "needed FLOAT or DOUBLE"),
        ({"opset": 11}, "needed 13 or later"),
        ({"outputs": ("y", "x")}, "needed one of each"),
    ],
)
def test_graph_of_another_kind_is_refused(options, said, tmp_path):
    with pytest.raises(FileError, match=re.escape(said)):
        read(graph([node("Identity")], **options), tmp_path)


def test_arrays_in_other_files_are_not_looked_for(tmp_path):
    content = graph([node("Conv", ("x", "w"))], arrays={"w": ONES})
    secret = tmp_path / "secret"
    secret.write_bytes(ONES.tobytes())
    w = content.graph.initializer[0]
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    entry = w.external_data.add()
    entry.key, entry.value = "location", "../secret"
    with pytest.raises(FileError, match="in another file"):
        read(content, tmp_path)
    constant = node("Constant", (), "w", value=w)
    with pytest.raises(FileError):
        read(graph([constant, node("Conv", ("x", "w"))]), tmp_path)


def test_array_of_a_wrong_dtype_is_refused(tmp_path):
    content = graph([node("Conv", ("x", "w"))], arrays={"w": ONES.astype("float64")})
    with pytest.raises(FileError):
        read(content, tmp_path)


def test_message_about_a_strange_attribute_is_one_line(tmp_path):
    content = graph([node("Softmax", axis=1)])
    content.graph.node[0].attribute[0].ref_attr_name = "other"
    with pytest.raises(FileError, match="Cannot get value of reference attribute") as caught:
        read(content, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["missing.onnx", ".", "nul\0.onnx", 3])
def test_path_of_no_file_is_refused(path, tmp_path):
    with pytest.raises(FileError):
        xcnn.io.onnx.load(path if isinstance(path, int) else tmp_path / path)


def test_damaged_file_is_refused_or_read(tmp_path):
    xcnn.io.onnx.export(everything(), tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(2000 if WHOLE else 60):
        damaged = bytearray(whole[: rng.integers(1, len(whole)) if rng.random() < 0.3 else None])
        for at in rng.integers(0, len(damaged), rng.integers(0, 6)):
            damaged[at] = rng.integers(256)
        with contextlib.suppress(FileError):
            read(bytes(damaged), tmp_path)


def test_branches_nested_too_deep_are_refused(tmp_path):
    nodes, last = [], "x"
    for i in range(3000):
        nodes.append(node("Add", ("x", last), f"a{i}"))
        nodes.append(node("Relu", (f"a{i}",), f"r{i}"))
        last = f"r{i}"
    nodes.append(node("Identity", (last,)))
    with pytest.raises(FileError, match="RecursionError"):
        read(graph(nodes), tmp_path)


def test_package_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match=r"pip install 'xcnn\[onnx\]'"):
        xcnn.io.onnx.export(plain(), tmp_path / "m.onnx")
