"""Configurations of runs: what they build, and what they refuse, by message."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import xcnn
from xcnn import callbacks, initializers, layers, losses, optim, schedules
from xcnn.data import DataSet, Split, augment
from xcnn.errors import ConfigError, FileError
from xcnn.io import RunConfig, load_config
from xcnn.io.json_text import format_json, read_json
from xcnn.io.schema import json_schema
from xcnn.io.specs import SPECS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "configs").glob("*.json"))

CONV = {"type": "Conv2D", "filters": 3, "kernel_size": 3, "padding": 1, "activation": "relu"}
RUN = {
    "data": {"name": "digits", "train_size": 120, "test_size": 40},
    "layers": [CONV, {"type": "MaxPool2D", "size": 2}, "Flatten", {"type": "Dense", "units": 10}],
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 2,
    "batch_size": 32,
}


def images(shape=(1, 8, 8), classes=10, n=20):
    """Random images, with each class."""
    rng = np.random.default_rng(0)
    part = Split(rng.random((n, *shape), np.float32), np.arange(n) % classes)
    return DataSet("noise", part, part, tuple(map(str, range(classes))))


def run(**changes):
    return copy.deepcopy(RUN) | changes


def build(chain, **options):
    return RunConfig.from_dict({"layers": chain, **options}).build_model(images())


def refusal(content) -> list[str]:
    """The lines of the error, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict(content, where="run.json")
    lines = str(caught.value).split("\n")
    assert all(line.startswith("run.json: ") for line in lines)
    return [line.removeprefix("run.json: ") for line in lines]


# What is refused, and in which words.

LAYER_ERRORS = [
    (
        {"type": "Conv2D", "filters": 3, "kernel_size": 3, "op": "conv2d_loop"},
        "layers[0].op: got 'conv2d_loop'; did you mean 'conv2d_loops'?",
    ),
    (
        {"type": "Conv2D", "filters": 3, "kernel_size": -1},
        "layers[0].kernel_size: got -1; needed an integer of at least 1",
    ),
    (
        {"type": "Conv2D", "filters": 0, "kernel_size": 3},
        "layers[0].filters: got 0; needed an integer of at least 1",
    ),
    (
        {"type": "Conv2D", "filters": "six", "kernel_size": 3},
        "layers[0].filters: got 'six'; needed an integer",
    ),
    ({"type": "Conv2D", "filters": 2.5, "kernel_size": 3}, "layers[0].filters: got 2.5; needed an integer"),
    ({"type": "Conv2D", "filters": True, "kernel_size": 3}, "layers[0].filters: got true; needed an integer"),
    ({"type": "Conv2D", "filters": 3}, "layers[0].kernel_size: is missing; needed by Conv2D"),
    (CONV | {"kernal_size": 3}, "layers[0].kernal_size: unknown key; did you mean 'kernel_size'?"),
    (CONV | {"padding": "sme"}, "layers[0].padding: got 'sme'; did you mean 'same'?"),
    (CONV | {"padding": [1, -1]}, "layers[0].padding: got [1, -1]; needed an integer of at least 0"),
    (
        CONV | {"stride": [1, 2, 3]},
        "layers[0].stride: got [1, 2, 3]; needed an integer or two (rows, columns)",
    ),
    (CONV | {"bias": 1}, "layers[0].bias: got 1; needed true or false"),
    (CONV | {"init": "he_norml"}, "layers[0].init: got 'he_norml'; did you mean 'he_normal'?"),
    (CONV | {"activation": "rellu"}, "layers[0].activation: got 'rellu'; did you mean 'relu'?"),
    (
        CONV | {"activation": {"type": "LeakyReLU", "slop": 1}},
        "layers[0].activation.slop: unknown key; did you mean 'slope'?",
    ),
    (
        CONV | {"activation": {"type": "LeakyRelu"}},
        "layers[0].activation.type: unknown layer 'LeakyRelu'; did you mean 'LeakyReLU'?",
    ),
    (CONV | {"name": 3}, "layers[0].name: got 3; needed a string"),
    (
        CONV | {"optimizer": {"name": "adam", "lr": -1}},
        "layers[0].optimizer.lr: got -1; needed no negative number",
    ),
    ({"type": "Conv2d"}, "layers[0].type: unknown layer 'Conv2d'; did you mean 'Conv2D'?"),
    ("Flaten", "layers[0]: unknown layer 'Flaten'; did you mean 'Flatten'?"),
    ({"filters": 3}, "layers[0].type: is missing; needed the name of a layer"),
    ({"type": 3}, "layers[0].type: unknown layer 3; needed a name"),
    (7, "layers[0]: got 7; needed a name, or an object with 'type' and options"),
    ({"type": "Dropout", "rate": 1.5}, "layers[0].rate: got 1.5; needed 0 <= rate < 1"),
    ({"type": "GELU", "approximate": "tan"}, "layers[0].approximate: got 'tan'; did you mean 'tanh'?"),
    (
        {"type": "Sequential", "layers": [CONV, {"type": "Dense", "units": 0}]},
        "layers[0].layers[1].units: got 0; needed an integer of at least 1",
    ),
    (
        {"type": "Gate", "body": {"type": "Sequential", "layers": ["Tan"]}},
        "layers[0].body.layers[0]: unknown layer 'Tan'; did you mean 'Tanh'?",
    ),
    ({"type": "Sum", "layers": []}, "layers[0]: got no layers; needed one at least"),
    ({"type": "Sum"}, "layers[0].layers: is missing; needed by Sum"),
    ({"type": "Normalize", "mean": 0, "std": -1}, "layers[0].std: got -1; needed no negative numbers"),
]

RUN_ERRORS = [
    ({"epochs": 0}, "epochs: got 0; needed at least 1"),
    ({"epochs": "3"}, "epochs: got '3'; needed an integer"),
    ({"batch_size": 2.5}, "batch_size: got 2.5; needed an integer"),
    ({"seed": -1}, "seed: got -1; needed at least 0"),
    ({"dtype": "float16"}, "dtype: got 'float16'; did you mean 'float64'?"),
    ({"backend": 3}, "backend: got 3; needed a string"),
    ({"layers": []}, "layers: got []; needed at least 1 of them"),
    ({"layers": {}}, "layers: got {}; needed a list"),
    ({"epoch": 3}, "epoch: unknown key; did you mean 'epochs'?"),
    ({"optimizer": "adm"}, "optimizer: unknown optimizer 'adm'; did you mean 'adam'?"),
    ({"optimizer": {"lr": 1}}, "optimizer.name: is missing; needed the name of an optimizer"),
    ({"optimizer": {"name": "adam", "lr": "big"}}, "optimizer.lr: got 'big'; needed a number"),
    ({"optimizer": {"name": "adam", "beta1": 1}}, "optimizer.beta1: got 1; needed 0 <= value < 1"),
    ({"optimizer": {"name": "adam", "momentum": 1}}, "optimizer.momentum: unknown key"),
    (
        {"optimizer": {"name": "sgd", "nesterov": True}},
        "optimizer.nesterov: got true; needed a positive momentum",
    ),
    ({"loss": "cross-entropy"}, "loss: unknown loss 'cross-entropy'; did you mean 'cross_entropy'?"),
    ({"loss": {"name": "huber", "delta": 0}}, "loss.delta: got 0; needed a positive number"),
    (
        {"loss": {"name": "cross_entropy", "class_weights": ["a"]}},
        "loss.class_weights[0]: got 'a'; needed a number",
    ),
    ({"schedule": "cosin"}, "schedule: unknown schedule 'cosin'; did you mean 'cosine'?"),
    ({"schedule": "step"}, "schedule.every: is missing; needed by step"),
    ({"schedule": {"name": "cosine", "floor": 2}}, "schedule.floor: got 2; needed 0 <= floor <= 1"),
    (
        {"schedule": {"name": "warmup", "epochs": 1, "then": "cosin"}},
        "schedule.then: unknown schedule 'cosin'; did you mean 'cosine'?",
    ),
    (
        {"schedule": "reduce_on_plateau"},
        "schedule.monitor: got 'val_loss'; needed data.validation, or a measure of the training",
    ),
    ({"metrics": ["acuracy"]}, "metrics[0]: got 'acuracy'; did you mean 'accuracy'?"),
    (
        {"callbacks": ["early_stoping"]},
        "callbacks[0]: unknown callback 'early_stoping'; did you mean 'early_stopping'?",
    ),
    (
        {"callbacks": ["early_stopping"]},
        "callbacks[0].monitor: got 'val_loss'; needed data.validation, or a measure of the training",
    ),
    (
        {"callbacks": [{"name": "early_stopping", "mode": "maximum"}]},
        "callbacks[0].mode: got 'maximum'; did you mean 'max'?",
    ),
    (
        {"callbacks": [{"name": "block_loss", "samples": 0}]},
        "callbacks[0].samples: got 0; needed a positive integer",
    ),
    *(
        (
            {"callbacks": [{"name": name, "path": path}]},
            f"callbacks[0].path: got {path!r}; needed a path in the folder of the run",
        )
        for name, path in [
            ("json_logger", "/etc/passwd"),
            ("json_logger", "../log.jsonl"),
            ("json_logger", "a/../../log.jsonl"),
            ("json_logger", "..\\log.jsonl"),
            ("json_logger", "C:log.jsonl"),
        ]
    ),
    (
        {"data": "minst"},
        "data: unknown data set 'minst'; did you mean 'mnist'?; of a folder, the path with a slash",
    ),
    ({"data": {"name": "minst"}}, "data.name: got 'minst'; did you mean 'mnist'?"),
    ({"data": {}}, "data: got neither name nor path; needed one of them"),
    ({"data": {"name": "mnist", "path": "x"}}, "data: got both name and path; needed one of them"),
    ({"data": {"name": "mnist", "size": [8, 8]}}, "data.size: is for folders of images; 'mnist' has its own"),
    ({"data": {"path": "x", "size": [8]}}, "data.size: got [8]; needed the height and the width, in pixels"),
    ({"data": {"name": "mnist", "validation": 1}}, "data.validation: got 1; needed a number below 1"),
    ({"data": {"name": "mnist", "train_size": 0}}, "data.train_size: got 0; needed at least 1"),
    (
        {"data": {"name": "mnist", "classes": [1.5]}},
        "data.classes: got [1.5]; needed names or labels of classes",
    ),
    (
        {"data": {"name": "mnist", "normalise": True}},
        "data.normalise: unknown key; did you mean 'normalize'?",
    ),
    (
        {"data": {"name": "mnist", "augment": ["random_shft"]}},
        "data.augment[0]: unknown augmentation 'random_shft'; did you mean 'random_shift'?",
    ),
    (
        {"data": {"name": "mnist", "augment": [{"name": "cutout", "size": 0}]}},
        "data.augment[0].size: got 0; needed an integer from 1 up",
    ),
]


@pytest.mark.parametrize(("layer", "message"), LAYER_ERRORS, ids=lambda value: str(value)[:60])
def test_layer_error_names_the_path_in_the_file(layer, message):
    assert refusal({"layers": [layer]}) == [message]


@pytest.mark.parametrize(("changes", "message"), RUN_ERRORS, ids=lambda value: str(value)[:60])
def test_run_error_names_the_path_in_the_file(changes, message):
    (line,) = refusal(run(**changes))
    assert line.startswith(message)


def test_all_errors_come_at_once():
    content = run(epochs=0, optimizer={"name": "adam", "lr": -1, "beta1": 2}, bach_size=3)
    content["layers"][0] = {"type": "Conv2D", "filters": 0, "kernel_size": -1, "padding": "sme"}
    content["layers"][3] = {"type": "Dense"}
    assert refusal(content) == [
        "layers[0].filters: got 0; needed an integer of at least 1",
        "layers[0].kernel_size: got -1; needed an integer of at least 1",
        "layers[0].padding: got 'sme'; did you mean 'same'?",
        "layers[3].units: is missing; needed by Dense",
        "optimizer.lr: got -1; needed no negative number",
        "optimizer.beta1: got 2; needed 0 <= value < 1",
        "epochs: got 0; needed at least 1",
        "bach_size: unknown key; did you mean 'batch_size'?",
    ]


@pytest.mark.parametrize("content", [3, [], None, "run"])
def test_a_file_of_something_else_is_refused(content):
    (line,) = refusal(content)
    assert line.endswith("; needed an object")


# What is no JSON.

COMMA = "line 2, column 14" if sys.version_info >= (3, 13) else "line 3, column 1"  # where it, or } is wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "epochs": 3,\n}', f"{COMMA}: no valid JSON"),
        ('{"epochs": 3', "line 1, column 13: no valid JSON"),
        ("", "line 1, column 1: no valid JSON"),
        ('{"epochs": 3, "epochs": 4}', "key 'epochs' stands twice in one object; needed each once"),
        ('{"optimizer": {"name": "adam", "lr": NaN}}', "NaN is no JSON number; needed a finite one"),
        ("[" * 100_000, "is nested too deep"),
        ('{"epochs": ' + "9" * 5000 + "}", "no valid JSON: Exceeds the limit (4300 digits)"),
    ],
)
def test_bad_json_is_told_with_its_place(tmp_path, text, message):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {message}")):
        load_config(path)


def test_a_number_that_overflows_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"layers": ["Flatten"], "optimizer": {"name": "adam", "lr": 1e999}}')
    with pytest.raises(ConfigError, match=re.escape(f"{path}: optimizer.lr: got Infinity; ")):
        load_config(path)


@pytest.mark.parametrize("name", ["a\0b", "~nobody-of-this-name/pictures"])
def test_what_is_no_path_of_a_folder_is_refused(tmp_path, name):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"layers": ["Flatten"], "data": {"path": name}}))
    with pytest.raises(ConfigError, match=re.escape(f"{path}: data.path: got {name!r}, which is no path")):
        load_config(path)


@pytest.mark.parametrize("group", ["optimizer", "loss", "schedule"])
def test_a_name_of_null_is_a_missing_name(group):
    article = "an" if group == "optimizer" else "a"
    (line,) = refusal(run(**{group: {"name": None}}))
    assert line == f"{group}.name: is missing; needed the name of {article} {group}"


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match=r"run\.json: no text in UTF-8 \(byte 0\)"):
        load_config(tmp_path / "run.json")


@pytest.mark.parametrize("name", ["nowhere.json", "."])
def test_a_missing_file_is_told(tmp_path, name):
    with pytest.raises(FileError, match="cannot be read: "):
        load_config(tmp_path / name)


def test_json_is_written_to_be_read(tmp_path):
    content = {
        "short": [1, 2],
        "long": [{"name": "x" * 60, "value": None}, {"name": "y" * 60}],
        "é": "ü",
        "": [],
    }
    text = format_json(content)
    assert json.loads(text) == content
    assert '  "short": [1, 2],\n' in text
    assert max(map(len, text.splitlines())) < 100
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    assert read_json(tmp_path / "x.json") == content


# What is built.


def test_parts_are_those_of_the_library():
    names = {tag.partition(":")[0]: set() for tag in SPECS}
    for tag in SPECS:
        group, _, name = tag.partition(":")
        names[group].add(name)
    assert names["layer"] == {*layers.__all__} - {"Layer"}
    assert names["optimizer"] == {*optim.NAMES, "momentum", "nesterov"}
    assert names["loss"] == {*losses.NAMES}
    assert names["schedule"] == {*schedules.NAMES}
    assert len(names["augmentation"]) == len(augment.__all__) - 1  # a list is a Compose
    assert (
        len(names["callback"]) == len(callbacks.__all__) - 2
    )  # not the base, not the schedule, which has a key


@pytest.mark.parametrize("tag", sorted(SPECS))
def test_part_made_of_defaults_is_what_the_constructor_gives(tag):
    required = {
        "filters": 2,
        "kernel_size": 3,
        "units": 4,
        "size": 2,
        "groups": 1,
        "shape": [4],
        "padding": 1,
    }
    required |= {"mean": 0.5, "std": 0.25, "layers": ["Flatten"], "body": "Identity", "every": 2, "rate": 0.5}
    required |= {"epochs": 1, "path": "model.xcnn"}
    spec = SPECS[tag]
    given = {name: required[name] for name in spec.needs()}
    made = spec.model_validate({spec.key: tag.partition(":")[2], **given}).make()
    assert type(made) is spec.kind


@pytest.mark.parametrize("name", sorted(initializers.NAMES))
def test_every_initialiser_is_known(name):
    model = build(
        [
            {"type": "Conv2D", "filters": 1, "kernel_size": 3, "init": name},
            "Flatten",
            {"type": "Dense", "units": 10},
        ]
    )
    assert model.layers[0].init == name


@pytest.mark.parametrize("name", ["conv2d", "conv2d_loops", "conv2d_indices", "true_conv2d"])
def test_every_op_that_convolves_is_known(name):
    layers = [CONV | {"op": name, "bias": False}, "UntiedBias", "Flatten", {"type": "Dense", "units": 10}]
    model = build(layers)
    assert model.layers[0].op == name
    written = RunConfig.from_dict(run(layers=layers)).to_dict()["layers"][0]
    assert written.get("op", "conv2d") == name


def test_nested_layers_give_the_model_written_in_python():
    body = [CONV | {"padding": "same"}, {"type": "BatchNorm2D"}]
    gate = {
        "type": "Gate",
        "body": {
            "type": "Sequential",
            "layers": ["GlobalAvgPool2D", {"type": "Dense", "units": 6, "activation": "sigmoid"}],
        },
    }
    chain = [
        CONV | {"activation": {"type": "LeakyReLU", "slope": 0.2}},
        {"type": "Sum", "layers": ["Identity", {"type": "Sequential", "layers": body}]},
        {
            "type": "Concat",
            "layers": ["Identity", {"type": "Conv2D", "filters": 3, "kernel_size": [1, 1]}],
            "name": "both",
        },
        gate,
        "GlobalMaxPool2D",
        {"type": "Dense", "units": 10, "trainable": False},
    ]
    from xcnn.layers import (
        BatchNorm2D,
        Concat,
        Conv2D,
        Dense,
        Gate,
        GlobalAvgPool2D,
        GlobalMaxPool2D,
        Identity,
        LeakyReLU,
        Sequential,
        Sum,
    )

    expected = xcnn.Model(
        [
            Conv2D(3, 3, padding=1, activation=LeakyReLU(0.2)),
            Sum(Identity(), Sequential(Conv2D(3, 3, padding="same", activation="relu"), BatchNorm2D())),
            Concat(Identity(), Conv2D(3, (1, 1)), name="both"),
            Gate(Sequential(GlobalAvgPool2D(), Dense(6, activation="sigmoid"))),
            GlobalMaxPool2D(),
            Dense(10, trainable=False),
        ],
        (1, 8, 8),
        seed=5,
    )
    model = build(chain, seed=5)
    assert repr(model.layers) == repr(expected.layers)
    x = images().train.x
    np.testing.assert_array_equal(model.predict(x), expected.predict(x))


def test_layer_may_have_its_own_optimizer():
    config = RunConfig.from_dict({"layers": [CONV | {"optimizer": {"name": "sgd", "lr": 0.5}}]})
    assert config.layers[0].make().optimizer == optim.SGD(0.5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("adam", optim.Adam()),
        ({"name": "adamw", "lr": 1, "clip_norm": 2.0}, optim.AdamW(1.0, clip_norm=2.0)),
        ("momentum", optim.SGD(momentum=0.9)),
        ({"name": "nesterov", "lr": 0.5}, optim.SGD(0.5, momentum=0.9, nesterov=True)),
    ],
)
def test_optimizer_is_made(given, expected):
    assert RunConfig.from_dict(run(optimizer=given)).optimizer.make() == expected


def test_schedule_may_follow_another():
    content = run(schedule={"name": "warmup", "epochs": 2, "then": {"name": "cosine", "floor": 0.1}})
    assert RunConfig.from_dict(content).schedule.make() == schedules.Warmup(2.0, schedules.Cosine(0.1))


def test_run_written_and_read_again_is_the_same(tmp_path):
    content = run(
        schedule="one_cycle",
        callbacks=["block_loss"],
        data={"name": "digits", "validation": 0.1, "classes": ["3", 8], "augment": ["random_flip"]},
    )
    config = RunConfig.from_dict(content)
    config.save(tmp_path / "run.json")
    assert load_config(tmp_path / "run.json").to_dict() == config.to_dict()


def test_defaults_are_written_but_for_layers():
    content = RunConfig.from_dict(
        {"layers": ["Flatten", {"type": "Dense", "units": 10, "bias": True}]}
    ).to_dict()
    assert content["optimizer"]["lr"] == optim.Adam().lr
    assert content["data"]["name"] == "digits"
    assert content["layers"] == [{"type": "Flatten"}, {"type": "Dense", "units": 10}]


# The schema and the examples.


def test_published_schema_is_what_the_code_gives():
    path = ROOT / "xcnn" / "io" / "run.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == json_schema(), (
        "run: xcnn schema > xcnn/io/run.schema.json"
    )


def test_schema_describes_every_option_of_a_layer():
    described = json_schema()["$defs"]["layer_Conv2D"]["properties"]
    assert all("description" in option for name, option in described.items() if name != "type")
    assert described["kernel_size"]["anyOf"][1]["minItems"] == 2


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_names_the_schema_and_builds(path):
    assert (
        path.parent / json.loads(path.read_text())["$schema"]
    ).resolve() == ROOT / "xcnn/io/run.schema.json"
    config = load_config(path)
    shape = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}.get(config.data.name, (1, 8, 8))
    classes = len(config.data.classes or range(10))
    model = config.build_model(images(shape, classes))
    assert model.output_shape == (classes,)
    assert model.loss.name == config.loss.root.name


def test_run_without_a_configuration_is_the_example():
    example = json.loads((ROOT / "examples/configs/digits.json").read_text())
    del example["$schema"]
    assert json.loads((ROOT / "xcnn/cli/digits.json").read_text()) == example


# Models and data together.


def test_layer_that_does_not_fit_is_told_with_its_place_in_the_file():
    content = run()
    del content["layers"][2]
    with pytest.raises(ConfigError, match=r"^layers\[2\]: Dense: x has shape \(N, 3, 4, 4\).*Flatten"):
        RunConfig.from_dict(content).build_model(images())


def test_place_in_the_file_does_not_count_the_normalisation():
    content = run(data={"name": "digits", "normalize": True})
    content["layers"][1] = {"type": "Sequential", "layers": ["ReLU", {"type": "MaxPool2D", "size": 9}]}
    with pytest.raises(ConfigError, match=r"^layers\[1\]\.layers\[1\]: MaxPool2D: "):
        RunConfig.from_dict(content).build_model(images())


def test_outputs_must_be_as_many_as_classes():
    with pytest.raises(
        ConfigError, match=r"layers\[3\]: gives 10 outputs; noise has 3 classes: needed 3 outputs"
    ):
        RunConfig.from_dict(run()).build_model(images(classes=3))


def test_one_output_will_do_for_two_classes():
    content = run(loss="binary_cross_entropy")
    content["layers"][3]["units"] = 1
    config = RunConfig.from_dict(content)
    data = images(classes=2)
    history = config.fit(config.build_model(data), data)
    assert len(history["accuracy"]) == 2


def test_normalisation_takes_the_statistics_of_what_is_learned_from():
    config = RunConfig.from_dict(run(data={"name": "digits", "normalize": True, "validation": 0.25}))
    data = images()
    model = config.build_model(data)
    train, validation = config.data.parts(data, config.seed)
    assert (len(train.y), len(validation.y)) == (15, 5)
    assert model.layers[0].mean[0] == pytest.approx(train.x.mean())
    assert model.layers[0].std[0] == pytest.approx(train.x.std(), rel=1e-5)


def test_relative_folder_starts_at_the_file(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(run(data="./photos")))
    assert load_config(tmp_path / "run.json").data.path == str(tmp_path.resolve() / "photos")


def test_same_run_twice_gives_the_same_history():
    content = run(data={"name": "digits", "train_size": 120, "validation": 0.2, "augment": ["random_shift"]})
    content["layers"].insert(3, {"type": "Dropout", "rate": 0.2})
    config = RunConfig.from_dict(content)
    histories = []
    for _ in range(2):
        data = config.load_data()
        model = config.build_model(data, backend="numpy")
        histories.append(dict(config.fit(model, data)))
    assert histories[0] == histories[1]
    assert len(histories[0]["val_accuracy"]) == 2


def test_loss_of_numbers_learns_classes_too():
    config = RunConfig.from_dict(run(loss="mse", epochs=10))
    data = config.load_data()
    history = config.fit(config.build_model(data), data)
    assert history["accuracy"][-1] > history["accuracy"][0]


def test_files_of_callbacks_go_to_the_folder_of_the_run(tmp_path):
    named = [
        {"name": "model_checkpoint", "path": "best.xcnn", "monitor": "loss"},
        {"name": "json_logger", "path": "log.jsonl"},
    ]
    config = RunConfig.from_dict(run(callbacks=named, epochs=1))
    data = images()
    config.fit(config.build_model(data), data, folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"best.xcnn", "log.jsonl"}
