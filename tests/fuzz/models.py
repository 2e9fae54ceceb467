"""Files of models and of weights: the bytes, and what stands in them with its sums put right."""

from __future__ import annotations

import hashlib
import json
import math
import random
from functools import cache
from typing import Any

import numpy as np
from safetensors.numpy import save as to_bytes

import xcnn
from tests.fuzz.harness import Target, folder, written
from tests.fuzz.mutate import NONSENSE, mutate_bytes, mutate_json, mutate_text
from tests.nets import SHAPE, full
from xcnn import layers as L
from xcnn.io.architecture import layer_to_json
from xcnn.losses import NAMES as LOSSES

CHAINS: tuple[Any, ...] = (
    lambda: [L.Conv2D(2, 3, activation="relu"), L.MaxPool2D(2), L.Flatten(), L.Dense(3)],
    lambda: [
        L.Normalize(0.4, 0.3),
        L.ZeroPad2D(1),
        L.Conv2D(2, 3, groups=1, dilation=2),
        L.GlobalAvgPool2D(),
    ],
    lambda: [L.Sum(L.Identity(), L.Sequential(L.Conv2D(1, 3, padding="same"), L.BatchNorm2D())), L.Flatten()],
    lambda: [L.Concat(L.Identity(), L.UpSample2D(1)), L.Gate(L.Sequential(L.GlobalMaxPool2D(), L.Dense(2)))],
    lambda: [L.ConvTranspose2D(2, 2, stride=2), L.GroupNorm(2), L.LayerNorm(), L.GELU(), L.UntiedBias()],
    lambda: [L.AvgPool2D(2), L.Reshape((4, 2, 2)), L.Dropout(0.5), L.Flatten(), L.LeakyReLU(), L.Softmax()],
)
WORDS = (
    *("type", "layers", "units", "filters", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
    *(
        "activation",
        "init",
        "name",
        "size",
        "shape",
        "body",
        "axis",
        "eps",
        "momentum",
        "rate",
        "op",
        "shared",
    ),
    *("format", "input_shape", "dtype", "precision", "seed", "loss", "classes", "outermost", "float64"),
    *("he_normal", *L.__all__, *LOSSES),
)


@cache
def layers() -> list[Any]:
    """Return layers of every kind as JSON."""
    return [layer_to_json(layer) for chain in CHAINS for layer in chain()]


@cache
def models() -> list[bytes]:
    """Return files of small models."""
    found = []
    for i, chain in enumerate(CHAINS):
        model = xcnn.Model(chain(), SHAPE, seed=i, dtype="float64" if i == 1 else "float32")
        model.classes = ("a", "b", "c") if i == 0 else None
        model.loss = LOSSES["huber"]() if i == 2 else None
        path = folder() / "seed.xcnn"
        model.save(path)
        found.append(path.read_bytes())
    return found


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Return the header and the rest of a safetensors file, or None."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return None
    return (header, data[8 + length :]) if isinstance(header, dict) else None


def packed(header: dict[str, Any], rest: bytes) -> bytes:
    """Return a safetensors file."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def signed(data: bytes) -> bytes:
    """Return a model file with the SHA-256 of what it now holds, where it can be told."""
    found = unpacked(data)
    if found is None:
        return data
    header, rest = found
    told = header.get("__metadata__")
    if not isinstance(told, dict) or not isinstance(told.get("xcnn"), str):
        return data
    try:
        texts = [told[key] for key in ("xcnn", "training") if key in told]
        sha = hashlib.sha256("\0".join(texts).encode())
        for name in sorted(set(header) - {"__metadata__"}):
            entry = header[name]
            dtype = {"F32": "float32", "F64": "float64"}[entry["dtype"]]
            begin, end = entry["data_offsets"]
            sha.update(f"\0{name}\0{dtype}\0{tuple(entry['shape'])}\0".encode() + rest[begin:end])
    except (KeyError, TypeError, ValueError):
        return data
    told["sha256"] = sha.hexdigest()
    return packed(header, rest)


def _mutate_model(data: bytes, rng: random.Random) -> bytes:
    """Break the description, the table of tensors or the bytes."""
    found = unpacked(data)
    what = rng.random()
    if found is None or what < 0.15:
        return signed(mutate_bytes(data, rng))
    header, rest = found
    told = header.get("__metadata__")
    if what < 0.25 or not isinstance(told, dict) or "xcnn" not in told:
        return packed(mutate_json(header, rng), mutate_bytes(rest, rng) if rng.random() < 0.2 else rest)
    if what < 0.35:
        told["xcnn"] = mutate_text(str(told["xcnn"]).encode(), rng).decode("utf-8", "replace")
    else:
        try:
            content = json.loads(told["xcnn"])
        except (ValueError, RecursionError, TypeError):
            return signed(mutate_bytes(data, rng))
        told["xcnn"] = json.dumps(mutate_json(content, rng, WORDS, layers()))
    if what > 0.9:  # no tensors that a layer could lack
        header, rest = {"__metadata__": told}, b""
    return signed(packed(header, rest))


def predict(model: xcnn.Model) -> None:
    """Use a model, unless its shapes say that it is large: then it may well take long."""
    shapes = [model.input_shape, *(layer.output_shape for layer in model.walk())]
    if sum(map(math.prod, shapes)) < 10**6:
        with np.errstate(all="ignore"):  # the weights may be anything
            model.predict(np.zeros((1, *model.input_shape), model.dtype))


def _call_model(content: bytes) -> None:
    predict(xcnn.load(written("m.xcnn", content), backend="numpy"))


MODEL = Target(
    "xcnn",
    _call_model,
    models,
    _mutate_model,
    signed,
    names=str(folder() / "m.xcnn"),
    sample=1_500,
    whole=(2, 50_000),
)


CONVENTIONS = ("torch", "keras", "xcnn")


@cache
def _model() -> xcnn.Model:
    return full()


@cache
def _weights() -> list[bytes]:
    found = []
    for convention in CONVENTIONS:
        path = folder() / "seed.safetensors"
        xcnn.io.save_weights(_model(), path, convention=convention)
        found.append(path.read_bytes())
    half = {name: a.astype(np.float16) for name, a in xcnn.io.get_weights(_model()).items()}
    return [*found, to_bytes(half), to_bytes({f"net.{name}": a for name, a in half.items()})]


def _call_weights(content: bytes) -> None:
    """Load weights by each convention: all of them, or none."""
    path, model = written("w.safetensors", content), _model()
    before, refused = model.state.arrays, []
    for convention in CONVENTIONS:
        try:
            xcnn.io.load_weights(model, path, convention=convention, strict=len(content) % 2 == 0)
        except xcnn.Error as error:
            refused.append(error)
            assert model.state.arrays is before
        before = model.state.arrays
    assert all(path.name in str(error) for error in refused)
    assert np.isfinite(before.values).all()
    if len(refused) == len(CONVENTIONS):
        raise refused[0]


def _mutate_weights(data: bytes, rng: random.Random) -> bytes:
    found = unpacked(data)
    what = rng.random()
    if found is None or what < 0.3:
        return mutate_bytes(data, rng)
    header, rest = found
    if what < 0.45:
        text = mutate_text(json.dumps(header).encode(), rng)
        return len(text).to_bytes(8, "little") + text + rest
    if what < 0.6 and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["xcnn.order"] = json.dumps(rng.choice(NONSENSE))
    words = (
        "F16",
        "BF16",
        "F64",
        "I64",
        "BOOL",
        "dtype",
        "shape",
        "data_offsets",
        "0.weight",
        "7.bias",
        *header,
    )
    changed = mutate_json(header, rng, words)
    for entry in changed.values() if isinstance(changed, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("shape"), list) and rng.random() < 0.3:
            rng.shuffle(entry["shape"])  # another shape of as many bytes
    return packed(changed, rest) if isinstance(changed, dict) else mutate_bytes(data, rng)


WEIGHTS = Target(
    "safetensors",
    _call_weights,
    _weights,
    _mutate_weights,
    names=str(folder() / "w.safetensors"),
    sample=1_500,
    whole=(2, 40_000),
)
