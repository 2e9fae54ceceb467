"""ONNX files: their bytes, and their protobuf with fields swapped for nonsense."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import xcnn
import xcnn.io.onnx
from tests.fuzz.harness import Target, folder, written
from tests.fuzz.models import CHAINS, predict
from tests.fuzz.mutate import mutate_bytes
from tests.nets import SHAPE, full

INTEGERS = (0, 1, 2, 3, -1, -2, 7, 64, 255, 10**5, 2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("inf"), float("nan"))
WORDS = (
    *(
        "",
        "x",
        "y",
        "é",
        "ai.onnx",
        "pads",
        "strides",
        "axis",
        "kernel_shape",
        "group",
        "epsilon",
        "ceil_mode",
    ),
    *("auto_pad", "SAME_UPPER", "Constant", "Add", "Mul", "Div", "Concat", "Conv", "Gemm", "Relu", "Reshape"),
    *("Pad", "Resize", "Squeeze", "BatchNormalization", "MaxPool", "AveragePool", "ReduceMean", "Softmax"),
)


@cache
def _models() -> list[bytes]:
    path, found = folder() / "seed.onnx", []
    for chain in (*CHAINS, lambda: full().layers.layers):
        model = xcnn.Model(chain(), SHAPE) if chain in CHAINS else full()
        model.classes = ("a", "b", "c")
        xcnn.io.onnx.export(model, path, batch=len(found) % 2 or None)
        found.append(path.read_bytes())
    return found


def _call(content: bytes) -> None:
    predict(xcnn.io.onnx.load(written("m.onnx", content), backend="numpy"))


def _mutate(data: bytes, rng: random.Random) -> bytes:
    """Change fields of the protobuf, or bytes."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return mutate_bytes(data, rng)
    if rng.random() < 0.2:
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        messages = [model, *_inner(model)]
        # Nodes and attributes are few among arrays and shapes: they come as often as those.
        kinds = sorted({type(m).__name__ for m in messages})
        kind = rng.choice(kinds)
        _change(rng.choice([m for m in messages if type(m).__name__ == kind]), messages, rng)
    return model.SerializeToString()


def _inner(message: Any) -> list[Any]:
    """Return the messages within a message."""
    found = []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if _repeated(message, field) else [value]:
                found += [inner, *_inner(inner)]
    return found


def _repeated(message: Any, field: Any) -> bool:
    return hasattr(getattr(message, field.name), "append") or hasattr(getattr(message, field.name), "add")


def _change(message: Any, others: list[Any], rng: random.Random) -> None:
    """Give one field of a message, set or not, another value."""
    fields = [field for field, _ in message.ListFields()] if rng.random() < 0.8 else []
    field = rng.choice(fields or list(message.DESCRIPTOR.fields))
    many = _repeated(message, field)
    held = getattr(message, field.name)
    what = rng.random()
    if what < 0.15:
        message.ClearField(field.name)
    elif field.message_type is not None:
        # By bytes: protobuf's CopyFrom follows a message into itself, and dies.
        same = [other.SerializeToString() for other in others if other.DESCRIPTOR is field.message_type]
        if many and held and what < 0.4:
            del held[rng.randrange(len(held))]
        elif many and same and what < 0.8:
            held.add().ParseFromString(rng.choice(same))
        elif many and len(held) > 1:
            i, j = rng.randrange(len(held)), rng.randrange(len(held))
            first, second = held[i].SerializeToString(), held[j].SerializeToString()
            held[i].ParseFromString(second)
            held[j].ParseFromString(first)
        elif same and not many:
            held.ParseFromString(rng.choice(same))
    else:
        value = _nonsense(field, others, rng)
        if not many:
            setattr(message, field.name, value)
        elif not held or what < 0.3:
            held.append(value)
        elif what < 0.5:
            del held[rng.randrange(len(held))]
        else:
            held[rng.randrange(len(held))] = value


def _nonsense(field: Any, others: list[Any], rng: random.Random) -> Any:
    """Return a value of the type of a field."""
    if field.cpp_type == field.CPPTYPE_STRING:
        nodes = [other for other in others if other.DESCRIPTOR.name == "NodeProto"]
        names = [name for node in nodes for name in (*node.input, *node.output) if isinstance(name, str)]
        word = rng.choice(names if names and rng.random() < 0.5 else WORDS)
        return word if field.type == field.TYPE_STRING else rng.choice((word.encode(), rng.randbytes(8)))
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.cpp_type == field.CPPTYPE_ENUM:
        return rng.choice([v.number for v in field.enum_type.values])
    value = rng.choice(INTEGERS)
    return value if field.cpp_type == field.CPPTYPE_INT64 else abs(value) % 2**31


ONNX = Target(
    "onnx", _call, _models, _mutate, names=str(folder() / "m.onnx"), sample=1_000, whole=(2, 30_000)
)
