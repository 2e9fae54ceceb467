"""Files that are not what they say: each gives one clear error."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

import xcnn
from tests.nets import plain
from tests.ops.checks import says
from xcnn.errors import FileError


def rewrite(path, change=None, tensors=None):
    """Write a file with another description or other tensors, and a digest that fits."""
    with safe_open(path, framework="numpy") as file:
        content = json.loads(file.metadata()["xcnn"])
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change:
        content = change(content) or content
    if tensors:
        found = tensors(found)
    description = json.dumps(content)
    sha = hashlib.sha256(description.encode())
    for name in sorted(found):
        a = found[name]
        sha.update(f"\0{name}\0{a.dtype.name}\0{a.shape}\0".encode())
        sha.update(a.tobytes())
    path.write_bytes(to_bytes(found, {"xcnn": description, "sha256": sha.hexdigest()}))


@pytest.fixture
def saved(tmp_path):
    """The path of a small model's file."""
    plain().save(tmp_path / "m.xcnn")
    return tmp_path / "m.xcnn"


def refuses(path, *parts):
    with pytest.raises(FileError, match=says(str(path), *parts)):
        xcnn.load(path)


def test_a_truncated_file_is_refused_wherever_it_ends(saved):
    content = saved.read_bytes()
    for length in range(0, len(content), 97):
        saved.write_bytes(content[:length])
        refuses(saved)


def test_a_file_with_something_behind_it_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    refuses(saved)


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_noticed_wherever_it_is(saved, bit):
    content = saved.read_bytes()
    for at in range(bit, len(content), 11):
        changed = bytearray(content)
        changed[at] ^= 1 << bit
        saved.write_bytes(changed)
        refuses(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0",
        b"\x80\x04\x95\x0e\0\0\0\0\0\0\0}\x94\x8c\x01w\x94]\x94(K\x01K\x02K\x03es.",
        b"{}",
        b"\0" * 100,
        b"\xff" * 100,
        b"\x02\0\0\0\0\0\0\0{}",
        b"PK\x03\x04" + b"\0" * 60,
    ],
    ids=["empty", "png", "pickle", "json", "zeros", "ones", "bare safetensors", "zip"],
)
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "m.xcnn"
    path.write_bytes(content)
    refuses(path)


def test_a_pickle_is_not_run(tmp_path):
    path = tmp_path / "m.xcnn"
    path.write_bytes(b"csys\nexit\n(S'run!'\ntR.")
    refuses(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"format": "pt"},
        {"xcnn": "no JSON"},
        {"xcnn": "5"},
        {"xcnn": "{}"},
        {"xcnn": "[1]"},
        {"xcnn": "null"},
    ],
)
def test_foreign_safetensors_files_are_refused(metadata, tmp_path):
    path = tmp_path / "m.xcnn"
    path.write_bytes(to_bytes({"w": np.ones(3)}, metadata))
    refuses(path, "a safetensors file, but no model of xcnn; needed one that Model.save wrote")


def test_foreign_tensors_of_other_dtypes_are_refused(tmp_path, torch):
    from safetensors.torch import save as torch_bytes

    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float16, torch.bool):
        path = tmp_path / "m.xcnn"
        path.write_bytes(torch_bytes({"w": torch.ones(3).to(dtype)}))
        refuses(path)


def test_a_newer_format_is_refused(saved):
    rewrite(saved, lambda content: content.update(format=2))
    refuses(saved, "written in format 2; this version of xcnn reads 1")


def test_an_altered_description_is_refused(saved):
    with safe_open(saved, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for change in ({"xcnn": metadata["xcnn"].replace("relu", "tanh")}, {"sha256": "0" * 64}):
        saved.write_bytes(to_bytes(tensors, metadata | change))
        refuses(saved, "its content does not match its SHA-256", "altered or damaged")
    saved.write_bytes(to_bytes(tensors, {"xcnn": metadata["xcnn"]}))
    refuses(saved, "SHA-256")


def _without(name):
    return lambda tensors: {key: a for key, a in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "parts"),
    [
        (_without("layers[3].b"), ["it lacks layers[3].b that its layers need"]),
        (lambda t: t | {"layers[9].w": np.ones(3)}, ["has layers[9].w that they don't"]),
        (
            lambda t: t | {"layers[3].b": np.ones((3, 1), "float32")},
            ["layers[3].b has shape (3, 1); its layer needs (3,)"],
        ),
        (
            lambda t: t | {"layers[3].w": t["layers[3].w"].T.copy()},
            ["layers[3].w has shape (36, 3); its layer needs (3, 36)"],
        ),
        (lambda t: t | {"layers[3].b": np.ones(3, "int64")}, ["layers[3].b", "int64", "float32"]),
        (lambda t: {}, ["it lacks layers[0].b, layers[0].w, layers[3].b, layers[3].w that its layers need"]),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, tensors, parts):
    rewrite(saved, tensors=tensors)
    refuses(saved, *parts)


def _layer(**plain):
    return lambda content: content["layers"].__setitem__(0, plain)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (_layer(type="Conv3D", filters=4), ["unknown layer 'Conv3D'; did you mean 'Conv2D'?"]),
        (_layer(type="Layer"), ["unknown layer 'Layer'"]),
        (_layer(type=["Conv2D"]), []),
        (_layer(filters=4), ["unknown layer None"]),
        (_layer(type="Conv2D"), ["layer Conv2D cannot be made from {}"]),
        (_layer(type="Conv2D", filters=0, kernel_size=3), ["filters is 0"]),
        (_layer(type="Conv2D", filters=4, kernel_size=3, colour="red"), ["colour"]),
        (_layer(type="Conv2D", filters=4, kernel_size=99), ["99 x 99"]),
        (_layer(shared=7), ["shared layer 7 does not stand before"]),
        (_layer(shared=0), ["shared layer 0"]),
        (_layer(shared="x"), ["shared layer 'x'"]),
        (lambda c: c.update(layers=5), ["its description is not valid"]),
        (lambda c: c.update(layers=[5]), ["got 5; needed a layer as a JSON object"]),
        (lambda c: c.update(layers=None), ["its description is not valid"]),
        (lambda c: {k: v for k, v in c.items() if k != "layers"}, ["its description is not valid"]),
        (lambda c: c.update(input_shape=[0, 8, 8]), ["input_shape is 0"]),
        (lambda c: c.update(input_shape="1x8x8"), ["its description is not valid"]),
        (lambda c: c.update(dtype="float8"), ["dtype is 'float8'"]),
        (lambda c: c.update(precision="float8"), ["unknown precision 'float8'"]),
        (lambda c: c.update(precision="tf32", dtype="float64"), ["'tf32' and dtype 'float64'"]),
        (lambda c: c.update(seed="x"), ["seed is 'x'"]),
        (lambda c: c.update(loss={"name": "mine"}), ["mine"]),
        (lambda c: c.update(loss={"name": "huber", "delta": -1}), ["delta is -1"]),
        (lambda c: c.update(loss=5), ["its description is not valid"]),
        (lambda c: c.update(classes=5), ["its description is not valid"]),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(saved, change, parts):
    rewrite(saved, change)
    refuses(saved, *parts)


def test_a_file_that_tells_no_precision_is_one_of_float32(saved):
    rewrite(saved, lambda content: {key: value for key, value in content.items() if key != "precision"})
    assert xcnn.load(saved).precision == "float32"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ({"type": "Normalize", "mean": 0.5, "std": 1.0}, []),
        ({"type": "Normalize", "mean": 0.5, "std": 1.0}, [2**31, 8, 8]),
        ({"type": "Normalize", "mean": 0.5, "std": 1.0}, [10**18, 8, 8]),
        ({"type": "Softmax", "axis": 0.5}, [1, 8, 8]),
        ({"type": "Reshape", "shape": [1, 2**62]}, [1, 8, 8]),
        ({"type": "ZeroPad2D", "padding": 10**30}, [1, 8, 8]),
    ],
)
def test_what_a_layer_trips_over_is_one_error(saved, layer, shape):
    rewrite(saved, lambda c: c.update(layers=[layer], input_shape=shape), tensors=lambda _: {})
    refuses(saved)


@pytest.mark.parametrize("kind", [IndexError, AttributeError, OverflowError, MemoryError, RecursionError])
def test_exceptions_of_every_kind_become_one(saved, monkeypatch, kind):
    def fail(*arguments):
        raise kind

    monkeypatch.setattr("xcnn.io.model_file.layer_from_json", fail)
    refuses(saved, f"its description is not valid: {kind.__name__}")


def test_a_description_nested_too_deep_is_refused(saved):
    saved.write_bytes(to_bytes({}, {"xcnn": '{"format": ' + "[" * 100_000}))
    refuses(saved, "no model of xcnn")


def test_a_name_that_no_one_can_print_is_shown_in_ascii(saved):
    rewrite(saved, _layer(type="\ud800"))
    with pytest.raises(FileError) as caught:
        xcnn.load(saved)
    assert b"custom=[\\ud800]" in str(caught.value).encode("utf-8")


def test_a_description_of_absurd_sizes_is_refused_without_filling_the_memory(saved):
    rewrite(saved, lambda c: c["layers"].__setitem__(3, {"type": "Dense", "units": 10**13}))
    refuses(saved)
    rewrite(saved, lambda c: c.update(input_shape=[1, 10**9, 10**9]))
    refuses(saved)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refuses(tmp_path / "none.xcnn", "there is no such file")
    refuses(tmp_path, "this is no file")
    with pytest.raises(OSError, match="no such file"):
        xcnn.load(str(tmp_path / "none.xcnn"))


def test_an_unknown_backend_is_refused(saved):
    with pytest.raises(xcnn.BackendError, match=says("unknown backend 'nunpy'")):
        xcnn.load(saved, backend="nunpy")
