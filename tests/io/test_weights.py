"""Weights in and out: what comes from PyTorch and Keras computes the same here, and goes back as it came."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

import xcnn
from bench import nets, ours
from tests.conftest import TESTED
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn.errors import DataError, FileError, OptionError
from xcnn.io import get_weights, load_weights, save_weights
from xcnn.io.weight_names import in_order
from xcnn.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    GroupNorm,
    Layer,
    LayerNorm,
    MaxPool2D,
    Normalize,
    ReLU,
    Reshape,
    Sequential,
    Sum,
    UntiedBias,
)

X = stripes()[0]


def net(name, **options):
    """Return one of the nets of the benchmark."""
    found = nets.NETS[name]
    return xcnn.Model(ours.layers(found.parts), found.image, **options)


def stirred(model, seed=1):
    """Return a model whose every weight and statistic is a number of its own, also what starts at 0 or 1."""
    rng = np.random.default_rng(seed)
    for holder in [*model.parameters().values(), *model.buffers().values()]:
        holder.value = rng.uniform(0.5, 1.5, holder.shape) * 0.1
    return model


def refuses(model, source, *parts, **options):
    """Fail unless the source is refused with these words, and the model stays as it was."""
    before, arrays = host(model), model.state.arrays
    with pytest.raises(DataError, match=says(*parts)) as caught:
        load_weights(model, source, **options)
    assert model.state.arrays is arrays
    assert_same(host(model), before)
    return str(caught.value)


# PyTorch


@pytest.mark.parametrize("name", ["LeNet-5", "ResNet-20", "MobileNet-like"])
def test_a_network_of_pytorch_computes_the_same_here_and_goes_back(name, tmp_path):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    from safetensors import torch as safetensors

    from bench import peer

    torch.manual_seed(3)
    there = peer.module(nets.NETS[name])
    x = torch.randn(4, *nets.NETS[name].image)
    there(x)  # moves the running statistics
    there.eval()
    model = net(name)
    loaded = load_weights(model, there.state_dict())
    assert loaded.missing == loaded.unexpected == ()
    with torch.no_grad():
        expected = there(x).numpy()
    np.testing.assert_allclose(model.predict(x.numpy()), expected, rtol=1e-4, atol=1e-5)

    safetensors.save_file(there.state_dict(), tmp_path / "there.safetensors")
    through_file = net(name, seed=5)
    load_weights(through_file, tmp_path / "there.safetensors", names=loaded.names)
    assert_same(host(through_file), host(model))

    back = get_weights(model, names=loaded.names)
    again = peer.module(nets.NETS[name])
    again.load_state_dict({key: torch.from_numpy(a) for key, a in back.items()}, strict=True)
    again.eval()
    with torch.no_grad():
        np.testing.assert_array_equal(again(x).numpy(), expected)


def test_a_module_with_names_of_its_own_loads_by_kind_and_by_map():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    nn = torch.nn

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3)
            self.bn1 = nn.BatchNorm2d(4)  # registered after both convolutions, as many do
            self.fc1, self.fc2 = nn.Linear(16, 8), nn.Linear(8, 3)

        def forward(self, x):
            x = nn.functional.max_pool2d(self.bn1(self.conv1(x)), 2)
            x = nn.functional.relu(self.conv2(x)).flatten(1)
            return self.fc2(torch.tanh(self.fc1(x)))

    torch.manual_seed(0)
    there = Small().eval()
    names = {"layers[0]": "conv1", "layers[1]": "bn1", "layers[3]": "conv2", "layers[6]": "fc1"}
    by_map, by_order = full(), full(seed=1)
    load_weights(by_map, there.state_dict(), names={**names, "layers[7]": "fc2"})
    loaded = load_weights(by_order, there.state_dict())
    assert_same(host(by_map), host(by_order))
    assert loaded.names["layers[1].var"] == "bn1.running_var"
    with torch.no_grad():
        expected = there(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(by_map.predict(X), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_half_and_double_precision_are_converted_in_memory_and_from_files(dtype, tmp_path):
    torch = pytest.importorskip("torch", reason="NumPy has no bfloat16")
    from safetensors.torch import save_file as torch_save

    want = get_weights(stirred(plain()))
    source = {key: torch.from_numpy(a).to(getattr(torch, dtype)) for key, a in want.items()}
    torch_save(source, tmp_path / "w.safetensors")
    for given in (source, tmp_path / "w.safetensors"):
        model = plain()
        load_weights(model, given)
        got = get_weights(model)
        for key, a in source.items():
            np.testing.assert_array_equal(got[key], a.float().numpy())
    assert all(a.dtype == np.float32 for a in got.values())


def test_a_module_is_refused_with_the_word_to_its_state_dict():
    class Module:
        def state_dict(self):
            return {}

    refuses(plain(), Module(), "state_dict()")


# Keras: forward passes with channels last, written apart from xcnn


def conv_last(x, kernel, bias=0.0):
    """Return a valid convolution of x (N, H, W, C) with a kernel (KH, KW, C, F), by its definition."""
    kh, kw = kernel.shape[:2]
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    y = sum(x[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(kh) for j in range(kw))
    return y + bias


def depthwise_last(x, kernel, bias):
    """Return the depthwise convolution of x (N, H, W, C) with a kernel (KH, KW, C, M): (N, OH, OW, C M)."""
    kh, kw = kernel.shape[:2]
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    y = sum(
        x[:, i : i + h, j : j + w, :, None] * kernel[i, j] for i in range(kh) for j in range(kw)
    )  # (N, OH, OW, C, M)
    return y.reshape(*y.shape[:3], -1) + bias


def transposed_last(x, kernel, bias):
    """Return the transposed convolution of x (N, H, W, C), stride 1, with a kernel (KH, KW, F, C)."""
    n, h, w, _ = x.shape
    kh, kw, f, _ = kernel.shape
    y = np.zeros((n, h + kh - 1, w + kw - 1, f))
    for i in range(kh):
        for j in range(kw):
            y[:, i : i + h, j : j + w] += x @ kernel[i, j].T
    return y + bias


def norm_last(x, gamma, beta, mean, var):
    return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta


def keras_model():
    """Return a model whose flattened features pass a batch norm before a dense layer."""
    layers = [
        Conv2D(4, 3),
        BatchNorm2D(),
        Conv2D(8, 2, groups=4),
        ConvTranspose2D(3, (2, 3)),
        LayerNorm(),
        UntiedBias(),
        Flatten(),
        BatchNorm2D(),
        Dense(5, activation="relu"),
        Dense(3),
    ]
    return xcnn.Model(layers, (2, 7, 6), dtype="float64")


def keras_forward(w, x):
    """Return what a channels-last network of `keras_model`'s layers makes of x (N, H, W, C)."""
    x = conv_last(x, w["conv2d/kernel"], w["conv2d/bias"])
    leaves = ("gamma", "beta", "moving_mean", "moving_variance")
    x = norm_last(x, *[w[f"batch_normalization/{leaf}"] for leaf in leaves])
    x = depthwise_last(x, w["depthwise_conv2d/kernel"], w["depthwise_conv2d/bias"])
    x = transposed_last(x, w["conv2d_transpose/kernel"], w["conv2d_transpose/bias"])
    pixels = (1, 2, 3)
    mean, var = x.mean(pixels, keepdims=True), x.var(pixels, keepdims=True)
    x = norm_last(x, w["layer_normalization/gamma"], w["layer_normalization/beta"], mean, var)
    x = (x + w["untiedbias/bias"]).reshape(len(x), -1)
    x = norm_last(x, *[w[f"batch_normalization_1/{leaf}"] for leaf in leaves])
    x = np.maximum(x @ w["dense/kernel"] + w["dense/bias"], 0)
    return x @ w["dense_1/kernel"] + w["dense_1/bias"]


def test_a_channels_last_network_computes_what_the_model_computes():
    model = stirred(keras_model())
    w = get_weights(model, convention="keras")
    x = np.random.default_rng(0).normal(size=(5, 2, 7, 6))
    np.testing.assert_allclose(keras_forward(w, x.transpose(0, 2, 3, 1)), model.predict(x), rtol=1e-10)


@pytest.mark.parametrize("prefix", ["", "block/"])
def test_channels_last_weights_come_back_by_name_and_by_order(prefix):
    model = stirred(keras_model())
    w = {prefix + name: a for name, a in get_weights(model, convention="keras").items()}
    again = keras_model()
    load_weights(again, w, convention="keras")
    assert_same(host(again), host(model))


def test_a_depthwise_kernel_also_comes_as_that_of_a_grouped_convolution():
    model = stirred(keras_model())
    w = get_weights(model, convention="keras")
    kernel = w.pop("depthwise_conv2d/kernel")
    w["depthwise_conv2d/kernel"] = kernel.reshape(*kernel.shape[:2], 1, -1)
    again = keras_model()
    load_weights(again, w, convention="keras")
    assert_same(host(again), host(model))


def test_features_stacked_from_images_and_from_pooling_keep_their_order():
    branches = Concat(Sequential(MaxPool2D(2), Flatten()), GlobalAvgPool2D())
    model = stirred(xcnn.Model([Conv2D(3, 3), branches, Dense(2)], SHAPE, dtype="float64"))
    w = get_weights(model, convention="keras")
    x = X.astype(float)
    y = conv_last(x.transpose(0, 2, 3, 1), w["conv2d/kernel"], w["conv2d/bias"])
    pooled = y.reshape(len(y), 3, 2, 3, 2, 3).max((2, 4)).reshape(len(y), -1)
    features = np.concatenate([pooled, y.mean((1, 2))], axis=1)
    np.testing.assert_allclose(features @ w["dense/kernel"] + w["dense/bias"], model.predict(x), rtol=1e-10)


@pytest.mark.parametrize(
    ("layers", "where"),
    [
        (lambda: [Reshape((4, 4, 8)), Flatten(), Dense(2)], "Reshape"),
        (lambda: [Sum(Flatten(), Sequential(Flatten(), Dense(128))), Dense(2)], "Sum"),
    ],
    ids=["reshape", "sum"],
)
def test_orders_without_a_counterpart_are_refused(layers, where):
    with pytest.raises(OptionError, match=says(where, "channels")):
        get_weights(xcnn.Model([Conv2D(2, 1), *layers()], SHAPE), convention="keras")


def test_a_layer_made_of_layers_in_its_own_way_is_refused_with_channels_last():
    class Own(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Sequential(Flatten(), Dense(2))

        def build(self, input_shape, make):
            return make.build(self.inner, input_shape)

        def forward(self, x, /, *, train=False, hold=None):
            return self.inner.forward(x, train=train, hold=hold)

        def backward(self, dy, saved, /, *, need_dx=True):
            return self.inner.backward(dy, saved, need_dx=need_dx)

    model = xcnn.Model([Own()], SHAPE)
    assert list(get_weights(model)) == ["0.inner.1.weight", "0.inner.1.bias"]
    with pytest.raises(OptionError, match=says("Own", "channels last")):
        get_weights(model, convention="keras")


# Files, backends


@pytest.mark.parametrize("convention", ["torch", "keras", "xcnn"])
@pytest.mark.parametrize("there", TESTED)
def test_weights_come_back_from_a_file_on_any_backend(convention, there, backend, tmp_path):
    model = stirred(full(backend=backend))
    save_weights(model, tmp_path / "w.safetensors", convention=convention)
    again = full(backend=there, seed=9)
    load_weights(again, tmp_path / "w.safetensors", convention=convention)
    assert_same(host(again), host(model))
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_file_of_xcnn_keeps_the_order_of_names_that_do_not_tell_it(tmp_path):
    model, names = stirred(net("LeNet-5")), ["zeta", "alpha", "mu", "beta", "nu"]
    order = dict(zip(dict.fromkeys(place[:-2] for place in model.parameters()), names, strict=True))
    save_weights(model, tmp_path / "w.safetensors", names=order)
    again = net("LeNet-5", seed=2)
    load_weights(again, tmp_path / "w.safetensors")
    assert_same(host(again), host(model))
    save_file(get_weights(model, names=order), tmp_path / "other.safetensors")
    path = tmp_path / "other.safetensors"
    refuses(again, path, f"{path}: the order of alpha, zeta is lost", "names=")


def test_names_that_were_sorted_since_are_paired_by_their_numbers_or_not_at_all():
    model = stirred(xcnn.Model([Flatten(), *[Dense(4) for _ in range(12)]], SHAPE))
    again = xcnn.Model([Flatten(), *[Dense(4) for _ in range(12)]], SHAPE)
    numbered = get_weights(model, names={f"layers[{i + 1}]": f"fc{i}" for i in range(12)})
    load_weights(again, {name: numbered[name] for name in sorted(numbered)})
    assert_same(host(again), host(model))
    worded = get_weights(model, names={f"layers[{i + 1}]": "zyxwvutsrqpo"[i] for i in range(12)})
    refuses(again, {name: worded[name] for name in sorted(worded)}, "is lost", "names=")


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["10", "2", "0"], ["0", "2", "10"]),
        (["dense_10", "dense", "dense_2"], ["dense", "dense_2", "dense_10"]),
        (["net2.0.conv1", "net1.1.conv2", "net1.1.conv1"], ["net1.1.conv1", "net1.1.conv2", "net2.0.conv1"]),
        (["conv1", "layer1.0.conv1"], None),
        (["3.body.0", "3.shortcut.0"], None),
    ],
)
def test_numbers_alone_tell_the_order_of_layers(stems, expected):
    assert in_order(stems) == expected


def test_a_model_file_gives_its_weights_to_another_model(tmp_path):
    model = stirred(full())
    model.save(tmp_path / "m.xcnn")
    again = full(seed=4)
    load_weights(again, tmp_path / "m.xcnn", convention="xcnn")
    assert_same(host(again), host(model))


def test_what_is_returned_is_contiguous_and_shares_nothing():
    model = full()
    before = host(model)
    for convention in ("torch", "keras", "xcnn"):
        for a in get_weights(model, convention=convention).values():
            assert a.flags.c_contiguous
            a += 1
    assert_same(host(model), before)


def test_constants_of_normalize_are_no_weights_elsewhere():
    model = xcnn.Model([Normalize(0.5, 0.2), Conv2D(2, 3), GroupNorm(1), ReLU(), Flatten(), Dense(3)], SHAPE)
    assert list(get_weights(model)) == [f"{i}.{leaf}" for i in (1, 2, 5) for leaf in ("weight", "bias")]
    assert "layers[0].shift" in get_weights(model, convention="xcnn")


def test_training_goes_on_from_loaded_weights():
    model, other = plain(), stirred(plain())
    model.predict(X)
    load_weights(model, get_weights(other))
    np.testing.assert_array_equal(model.predict(X), other.predict(X))


# Refusals


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl"])
def test_pickles_are_refused_with_the_line_that_converts_them(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"\x80\x04N.")
    for act in (load_weights, save_weights):
        with pytest.raises(FileError, match=says(str(path), "weights_only=True", "w.safetensors")):
            act(plain(), path)
    assert path.read_bytes() == b"\x80\x04N."


def test_files_of_keras_are_refused_with_the_line_that_reads_them(tmp_path):
    with pytest.raises(FileError, match=says("v.path", "convention='keras'")):
        load_weights(plain(), tmp_path / "m.weights.h5")


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(plain(), path)
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match=says(str(path), "truncated")):
            load_weights(plain(), path)
    with pytest.raises(FileError, match="no such file"):
        load_weights(plain(), tmp_path / "none.safetensors")


def test_everything_that_does_not_fit_is_listed_at_once():
    source = get_weights(plain())
    source["3.weihgt"] = source.pop("3.weight")
    source["0.weight"] = source["0.weight"].transpose(2, 3, 1, 0)
    source["0.bias"] = np.full(4, np.nan)
    source["extra"] = np.zeros(2)
    names = {"layers[0]": "0", "layers[3]": "3"}
    text = refuses(
        *(plain(), source),
        *("layers[0].w", "shape (3, 3, 1, 4)", "needed (4, 1, 3, 3)", "convention 'keras'"),
        names=names,
    )
    for line in (
        "layers[0].b from '0.bias': it has NaN",
        "missing: layers[3].w (3, 36), called '3.weight'; did you mean '3.weihgt'?",
        "unexpected: '3.weihgt' (3, 36)",
        "unexpected: 'extra' (2,)",
    ):
        assert line in text
    assert len(text.splitlines()) == 6


def test_a_network_with_a_layer_less_or_more_is_refused_by_order_too():
    source = get_weights(full())
    shorter = {f"net.{name}": a for name, a in source.items() if not name.startswith("7.")}
    refuses(full(), shorter, "missing: layers[7].w (3, 8)")
    longer = {f"net.{name}": a for name, a in source.items()} | {"net.8.weight": np.zeros((3, 3))}
    refuses(full(), longer, "unexpected: 'net.8.weight' (3, 3)")


def test_a_network_whose_shortcuts_come_after_the_body_is_not_paired_wrongly():
    model = net("ResNet-20")
    source = get_weights(model)
    projected = {name for name, a in source.items() if a.shape[2:] == (1, 1)}
    shortcuts = [name.removesuffix("0.weight") for name in sorted(projected)]
    later = {}
    for block in dict.fromkeys(name.partition(".")[0] for name in source):
        own = [name for name in source if name.partition(".")[0] == block]
        for name in sorted(own, key=lambda n: n.startswith(tuple(shortcuts))):  # stable
            later[f"net.{name}"] = source[name]
    assert len(shortcuts) == 2
    assert list(later) != [f"net.{name}" for name in source]
    refuses(model, later, "shape (32, 16, 3, 3)", "needed (32, 16, 1, 1)")


def test_without_strict_what_fits_is_loaded_and_the_rest_is_told():
    model, source = full(), get_weights(stirred(full()))
    before, head = host(model), source.pop("7.weight")
    loaded = load_weights(
        model,
        source | {"head": head},
        strict=False,
        names=lambda place: None if place == "layers[7].b" else place[7:].replace("].w", ".weight"),
    )
    assert loaded.missing[-1] == "layers[7].w"
    assert "layers[7].b" not in loaded.missing
    assert "head" in loaded.unexpected
    assert set(loaded.names) == {f"layers[{i}].w" for i in (0, 1, 3, 6)}
    np.testing.assert_array_equal(host(model)["layers[0].w"], source["0.weight"])
    np.testing.assert_array_equal(host(model)["layers[7].w"], before["layers[7].w"])


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"0.bias": np.zeros(4, "int64")}, ["int64", "floating"]),
        ({"0.bias": np.full(4, 1e300)}, ["infinity", "float32"]),
        ({"0.bias": "zero"}, ["'0.bias'", "str"]),
        ({"state_dict": {}}, ["source['state_dict']"]),
        ({3: np.zeros(4)}, ["3", "needed str"]),
    ],
)
def test_what_is_no_weight_is_refused(change, parts):
    refuses(plain(), get_weights(plain()) | change, *parts)


def test_a_negative_variance_is_refused():
    source = get_weights(full())
    source["1.running_var"] = -source["1.running_var"]
    refuses(full(), source, "layers[1].var", "variance")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"convention": "tensorflow"}, ["tensorflow", "torch"]),
        ({"names": {"layers[0].x": "a"}}, ["layers[0].x", "layers[0]"]),
        ({"names": {"layers[0].w": "a", "layers[3].w": "a"}}, ["both called 'a'"]),
        ({"names": {"layers[0].w": 3}}, ["layers[0].w", "3"]),
        ({"names": "a"}, ["'a'", "mapping"]),
    ],
)
def test_names_and_conventions_that_mean_nothing_are_refused(options, parts):
    with pytest.raises(OptionError, match=says(*parts)):
        load_weights(plain(), {}, **options)
    with pytest.raises(OptionError, match=says(*parts)):
        get_weights(plain(), **options)


def test_names_that_lack_a_place_are_refused_on_the_way_out():
    with pytest.raises(OptionError, match=says("lacks", "layers[3].w, layers[3].b")):
        get_weights(plain(), names={"layers[0]": "conv"})


def test_strict_is_true_or_false():
    with pytest.raises(OptionError, match="load_weights: strict is"):
        load_weights(plain(), {}, strict=np.ones(2))
