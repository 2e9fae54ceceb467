"""Files of format 1, kept as they were written: every later version reads them and gives the same numbers.

They were written once by `save` below, and never again: a new format gets files of its own beside these.

    from tests.io.test_golden_files import exact, smooth
    exact().save("tests/io/golden-format-1.xcnn")
    smooth().save("tests/io/golden-format-1-smooth.xcnn")

The parameters of `exact` are 0, 1, -1 and 1/2, and its layers compute without rounding: whatever order its
sums are taken in, on whatever processor, the outputs are these. `smooth` has the layers that round.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.nets import assert_same, host
from tests.tolerances import assert_close
from xcnn import layers as L
from xcnn import losses
from xcnn.io import RunConfig

HERE = Path(__file__).parent
SHAPE = (2, 8, 8)
X = (np.arange(2 * 128).reshape(2, *SHAPE) ** 2 % 7 % 3).astype("float32")
S = np.arange(2 * 128).reshape(2, *SHAPE) ** 2 % 101 / 101

SHA256 = {
    "golden-format-1.xcnn": "ca0acdd6f5bb87e00b3e8a0f1462d353c52478ecfe7fcadc8dc6bc4da94b7f36",
    "golden-format-1-smooth.xcnn": "8d55a5dd6593db7aac5c4fe0356308170f9b61e28665fc756a7249f504f83b5f",
}


def exact() -> xcnn.Model:
    """Return a model of every layer that need not round, options other than the defaults where there are."""
    twice = L.Conv2D(4, 3, padding="same", activation="relu", name="twice")
    window = {"stride": (1, 2), "padding": ((1, 1), (0, 1)), "dilation": (1, 1), "groups": 2}
    pools = [
        L.ZeroPad2D(((1, 0), (0, 1))),
        L.MaxPool2D(2, padding=1, ceil=True),
        L.MaxPool2D((2, 2), stride=1),
    ]
    net = [
        L.Normalize((1, 0.5), (1, 0.5)),
        L.Gate(L.Sequential(L.MaxPool2D(4), L.GlobalAvgPool2D(), L.Dense(2, activation="relu"))),
        L.Conv2D(4, (3, 2), bias=False, init="glorot_uniform", **window),
        L.BatchNorm2D(momentum=0.25, eps=0.25),
        L.LeakyReLU(0.5),
        L.Sum(L.Identity(), L.Sequential(twice, twice), name="block"),
        L.Concat(L.AvgPool2D(2), L.Sequential(*pools)),
        L.UpSample2D((1, 2)),
        L.ConvTranspose2D(2, 2, stride=2, padding="same", activation=L.LeakyReLU(0.25)),
        L.UntiedBias(),
        L.Dropout(0.25),
        L.Reshape((-1, 4)),
        L.Flatten(),
        L.ReLU(),
        L.Dense(3, trainable=False),
    ]
    model = xcnn.Model(net, SHAPE, seed=7)
    for number, parameter in enumerate(model.parameters().values()):
        steps = np.arange(np.prod(parameter.shape)) * (2 * number + 3) % 11
        parameter.value = np.select([steps == 0, steps == 1, steps == 2], [1.0, -1.0, 0.5]).reshape(
            parameter.shape
        )
    for name, buffer in model.buffers().items():
        if name.startswith("layers[3]"):
            buffer.value = np.full(buffer.shape, 3.75 if name.endswith("var") else 0.5)  # 3.75 + eps = 2 ** 2
    model.loss = losses.CrossEntropy(0.1, [1, 2, 3])
    model.classes = ("left", "middle", "right")
    return model


def smooth() -> xcnn.Model:
    """Return a model of float64 with the other layers."""
    net = [
        L.Conv2D(4, 3, op="conv2d_indices"),
        L.GroupNorm(2, eps=1e-3),
        L.GELU("tanh"),
        L.Conv2D(4, 1, activation="silu"),
        L.LayerNorm(),
        L.ELU(0.5),
        L.Sum(L.Tanh(), L.Sigmoid(), L.Softmax(), L.LogSoftmax(), L.GELU(), L.SiLU()),
        L.GlobalMaxPool2D(),
        L.Dense(3),
    ]
    model = xcnn.Model(net, SHAPE, seed=3, dtype="float64")
    model.loss = losses.Huber(0.5)
    return model


MODELS = {"golden-format-1.xcnn": exact, "golden-format-1-smooth.xcnn": smooth}
EXACT = [[33.82421875, 18.9140625, 12.4296875], [35.859375, 19.82421875, 8.78125]]
SMOOTH = [
    [-5.747005806400116, -7.480140089940589, 6.864143160130145],
    [-5.1137820344344815, -7.54069049248447, 6.326119216817063],
]


@pytest.mark.parametrize("name", SHA256)
def test_the_files_are_those_that_were_written_then(name):
    assert hashlib.sha256((HERE / name).read_bytes()).hexdigest() == SHA256[name]


@pytest.mark.parametrize("name", SHA256)
def test_what_was_written_then_is_read_now(name):
    found, wanted = xcnn.load(HERE / name), MODELS[name]()
    assert repr(found.layers) == repr(wanted.layers)
    assert (found.dtype, found.precision, found.seed) == (wanted.dtype, "float32", wanted.seed)
    assert (found.loss, found.classes) == (wanted.loss, wanted.classes)


def test_the_values_that_were_written_then_are_read_now():
    assert_same(host(xcnn.load(HERE / "golden-format-1.xcnn")), host(exact()))


@pytest.mark.parametrize("there", TESTED)
@pytest.mark.parametrize("compiled", [True, False])
def test_outputs_that_need_no_rounding_are_the_same_on_every_backend(there, compiled):
    model = xcnn.load(HERE / "golden-format-1.xcnn", backend=there)
    if compiled:
        y = model.predict(X)
    else:
        with xcnn.readable():
            y = model.predict(X)
    np.testing.assert_array_equal(y, np.asarray(EXACT, "float32"))


@pytest.mark.parametrize("there", TESTED)
def test_outputs_that_are_rounded_agree_with_those_of_then(there):
    model = xcnn.load(HERE / "golden-format-1-smooth.xcnn", backend=there)
    assert_close(model.predict(S), SMOOTH, "float64")


def test_a_configuration_of_then_says_the_same_now():
    path = HERE / "golden-config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    config = RunConfig.from_dict(content)
    assert within(content, {"$schema": config.schema_} | config.to_dict()) == []
    assert [type(layer.make()).__name__ for layer in config.layers] == [
        one if isinstance(one, str) else one["type"] for one in content["layers"]
    ]


def within(old: object, new: object, path: str = "") -> list[str]:
    """Return the places where `new` lacks what `old` says; what a later version says beside it is its own."""
    if isinstance(old, str) and isinstance(new, dict):  # a bare name stands for a part with its defaults
        return [] if old in new.values() else [path]
    if isinstance(old, dict) and isinstance(new, dict):
        return [place for key in old for place in within(old[key], new.get(key), f"{path}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            place
            for i, pair in enumerate(zip(old, new, strict=True))
            for place in within(*pair, f"{path}[{i}]")
        ]
    return [] if old == new else [f"{path}: {old!r} then, {new!r} now"]
