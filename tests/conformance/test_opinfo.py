"""What PyTorch tests its own operators with: forward, all gradients in float64, and what must be refused.

The samples are those of PyTorch's OpInfo database; its operators and autograd give the numbers. Every k-th
sample of max pooling is run, all 1,440 with ``XCNN_TEST_WHOLE=1``.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
import pytest

import xcnn
from tests.tolerances import assert_close
from xcnn import layers, losses, ops
from xcnn.errors import DataError, DTypeError, Error, OptionError, ShapeError

pytest.importorskip("torch", reason="PyTorch's samples need PyTorch, which is not installed")
pytest.importorskip("expecttest", reason="PyTorch's samples need expecttest, which is not installed")

from tests.conformance.opinfo import ADAPTERS, Call, adapted, error_inputs, samples

EVERY = 1 if os.environ.get("XCNN_TEST_WHOLE") == "1" else 13  # prime: it meets every combination of options

# How many samples of torch 2.13 are compared: these numbers only grow. The others are counted by reason.
COMPARED = {
    "nn.functional.conv2d": 30,
    "nn.functional.conv_transpose2d": 12,
    "nn.functional.max_pool2d": 1440,
    "nn.functional.avg_pool2d": 2,
    "nn.functional.batch_norm": 10,
    "nn.functional.group_norm": 13,
    "nn.functional.layer_norm": 4,
    "nn.functional.linear": 8,
    "nn.functional.cross_entropy": 5,
    "nn.functional.binary_cross_entropy_with_logits": 5,
    "softmax": 10,
    "log_softmax": 10,
    "nn.functional.relu": 4,
    "nn.functional.leaky_relu": 9,
    "nn.functional.elu": 3,
    "nn.functional.gelu": 8,
    "nn.functional.silu": 3,
    "sigmoid": 3,
    "tanh": 1,
}
# The same through layers and losses; these have fewer options (no dilated pooling), and x has a batch.
IN_LAYERS = {
    **COMPARED,
    "nn.functional.max_pool2d": 720,
    "nn.functional.cross_entropy": 4,
    "softmax": 4,
    "log_softmax": 4,
    "nn.functional.relu": 3,
    "nn.functional.elu": 1,
    "nn.functional.silu": 1,
    "sigmoid": 1,
}

# What xcnn's error must speak of, by a part of PyTorch's.
SPEAKS = {
    "should be the same": "dtype",
    "stride": "stride",
    "negative padding": "padding",
    "dilation": "dilation",
    "pad ": "padding",
    "at dimension 0": "groups",
    "groups": "groups",
    "3-dimensional": "w has shape",
    "at least 2 dimensions": "x has shape",
    "Expected 3D or 4D": "x is empty",
    "too small": "window",
    "approximate": "approximate",
}

every_op = pytest.mark.parametrize("name", sorted(ADAPTERS))
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def host(tensor: Any) -> np.ndarray | None:
    """Return a copy of a tensor as a NumPy array."""
    return None if tensor is None else tensor.detach().numpy().copy()


def refusal(call: Call) -> tuple[type[Error], str] | None:
    """Return the error that xcnn promises for a sample of PyTorch's, and why; None if it takes it."""
    x, shape = call.arrays[0], call.shape
    if x.is_complex():
        return DTypeError, "complex numbers"
    ranks = {"linear": (2,), "cross_entropy": (2,), "batch_norm": (2, 4), "group_norm": (2, 4)}
    least = 1 if "softmax" in call.op or call.op == "binary_cross_entropy" else 0
    if len(shape) < least or len(shape) not in ranks.get(call.op, (len(shape),)):
        return ShapeError, f"{len(shape)} axes"
    if 0 in shape and call.op not in ("relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh"):
        return DataError, "no elements"
    if call.options.get("eps", 1) <= 0:
        return OptionError, "eps below zero"
    return None


def through_ops(backend: Any, call: Call, arrays: list[Any], dy: np.ndarray) -> tuple[Any, list[Any]]:
    """Return y and the gradients of an op, on the host."""
    y, saved = getattr(ops, call.op)(*arrays, **call.options)
    y = y[0] if isinstance(y, tuple) else y
    gradients = saved.backward(backend.asarray(dy.reshape(y.shape)))
    return backend.to_numpy(y), [None if g is None else backend.to_numpy(g) for g in gradients]


def layer_of(call: Call) -> Any:
    """Return the layer that does what `call` does, or None."""
    o, w = dict(call.options), call.arrays[1] if len(call.arrays) > 1 else None
    bias = len(call.arrays) > 2 and call.arrays[2] is not None
    match call.op:
        case "conv2d":
            return layers.Conv2D(w.shape[0], tuple(w.shape[2:]), bias=bias, **o)
        case "conv_transpose2d":
            return layers.ConvTranspose2D(w.shape[1] * o["groups"], tuple(w.shape[2:]), bias=bias, **o)
        case "max_pool2d":
            return layers.MaxPool2D(o.pop("size"), **o) if o.pop("dilation") == (1, 1) else None
        case "avg_pool2d":
            return layers.AvgPool2D(o.pop("size"), **o)
        case "batch_norm":
            return layers.BatchNorm2D(**o)
        case "group_norm":
            return layers.GroupNorm(o.pop("groups"), **o)
        case "layer_norm":
            return layers.LayerNorm(**o) if w.ndim == len(call.shape) - 1 else None
        case "linear":
            return layers.Dense(w.shape[0], bias=bias)
        case "softmax" | "log_softmax":
            kind = layers.Softmax if call.op == "softmax" else layers.LogSoftmax
            return kind() if len(call.shape) > 1 and o["axis"] % len(call.shape) == 1 else None
        case _:
            kinds = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "gelu": "GELU", "silu": "SiLU"}
            return getattr(layers, kinds.get(call.op, call.op.capitalize()))(**o)


def through_layers(backend: Any, call: Call, arrays: list[Any], dy: np.ndarray) -> Any:
    """Return y and the gradients of a layer or loss, on the host; None where there is none for `call`."""
    if call.op in ("cross_entropy", "binary_cross_entropy"):
        if len(arrays) > 2 and arrays[2] is not None:
            return None
        loss = losses.CrossEntropy() if call.op == "cross_entropy" else losses.BinaryCrossEntropy()
        y, saved = loss(*arrays[:2])
        return backend.to_numpy(y), [backend.to_numpy(saved.backward(backend.asarray(dy))[0])]
    if not call.shape or 0 in call.shape or (layer := layer_of(call)) is None:
        return None
    x = arrays[0] if len(call.shape) > 1 else arrays[0][None, :]
    model = xcnn.Model([layer], tuple(x.shape[1:]), backend=backend, dtype="float64")
    parameters = list(model.parameters().values())
    for parameter, value in zip(parameters, arrays[1:], strict=False):
        parameter.value = value
    evaluated = call.op == "batch_norm" and arrays[3] is not None
    if evaluated:
        layer.mean.value, layer.var.value = arrays[3:]
    y, saved = model.forward(x, train=not evaluated, hold=True)
    dx = model.backward(backend.asarray(dy.reshape(y.shape)), saved)
    return backend.to_numpy(y), [backend.to_numpy(g) for g in (dx, *(p.gradient for p in parameters))]


def compare(run: Any, backend: Any, torch: Any, name: str, every: int) -> Counter[str]:
    """Hold `run` to PyTorch over an op's samples; return how many were compared, or left out, and why."""
    rng, counts = np.random.default_rng(0), Counter[str]()
    for op, sample in samples(name)[::every]:
        call = adapted(name, sample)
        if isinstance(call, str):
            counts[call] += 1
            continue
        if refused := refusal(call):
            counts[refused[1]] += 1
            with pytest.raises(refused[0]):
                getattr(ops, call.op)(*arrays_of(call, backend), **call.options)
            continue
        arrays = arrays_of(call, backend)  # before PyTorch moves the running statistics
        want = op(sample.input, *sample.args, **sample.kwargs)
        want = want[0] if isinstance(want, tuple) else want
        dy = rng.normal(size=tuple(want.shape))
        found = run(backend, call, arrays, np.asarray(dy))
        if found is None:
            counts["no layer has these options"] += 1
            continue
        y, gradients = found
        what = f"{name} {call.shape} {call.options}"
        assert_close(y.reshape(want.shape), host(want), "float64", what)
        pairs = zip(call.arrays[: call.differentiable], gradients, strict=False)
        wanted = [(a, g) for a, g in pairs if a is not None and a.requires_grad]
        autograd = torch.autograd.grad(want, [a for a, _ in wanted], torch.as_tensor(dy)) if wanted else ()
        for (a, g), exact in zip(wanted, autograd, strict=True):
            assert g is not None, f"{what}: no gradient"
            assert_close(g.reshape(a.shape), host(exact), "float64", f"gradient of {what}", source=dy)
        counts["compared"] += 1
    return counts


def on(backend: Any, *arrays: np.ndarray | None) -> list[Any]:
    """Return the arrays on `backend`."""
    return [None if a is None else backend.asarray(a) for a in arrays]


def arrays_of(call: Call, backend: Any) -> list[Any]:
    """Return the arrays of `call` on `backend`, x in the shape that xcnn asks for."""
    x, *others = map(host, call.arrays)
    return on(backend, x.reshape(call.shape), *others)


def told(name: str, counts: Counter[str]) -> str:
    """Return `counts` in one line."""
    reasons = "; ".join(f"{n} left out: {why}" for why, n in sorted(counts.items()) if why != "compared")
    return f"{name}: {counts['compared']} of {counts.total()} samples{'; ' + reasons if reasons else ''}"


@every_op
def test_ops_agree_with_pytorch_on_its_own_samples(name, backend, torch, record_property):
    every = EVERY if name == "nn.functional.max_pool2d" else 1
    counts = compare(through_ops, backend, torch, name, every)
    if backend.name == "numpy":
        part = f" (each {every}th is run; XCNN_TEST_WHOLE=1 runs all)" if every > 1 else ""
        record_property("conformance", f"PyTorch OpInfo, {told(name, counts)}{part}")
    assert counts["compared"] * every >= COMPARED[name], f"fewer than before: {told(name, counts)}"


@every_op
def test_layers_and_losses_agree_with_pytorch_on_its_own_samples(name, backend, torch):
    every = EVERY if name == "nn.functional.max_pool2d" else 1
    counts = compare(through_layers, backend, torch, name, every)
    assert counts["compared"] * every >= IN_LAYERS[name], f"fewer than before: {told(name, counts)}"


@every_op
def test_readable_pairs_agree_with_pytorch_on_its_own_samples(name, torch):
    every = EVERY if name == "nn.functional.max_pool2d" else 1
    with xcnn.readable():
        counts = compare(through_ops, xcnn.backend.get_backend("numpy"), torch, name, every)
    assert counts["compared"] * every >= COMPARED[name], f"fewer than before: {told(name, counts)}"


@every_op
def test_what_pytorch_must_refuse_is_refused_for_the_same_reason(name, backend):
    for error in error_inputs(name):
        call = adapted(name, error.sample_input)
        if isinstance(call, str):
            assert call == "xcnn has no divisor_override"
            continue
        x, *others = map(host, call.arrays)
        x = x.reshape(call.shape)
        needed = next(word for part, word in SPEAKS.items() if part in error.error_regex)
        if needed in ("stride", "padding"):  # PyTorch's inputs are wrong in their shapes too: mend these
            channels = others[0].shape[1] if others else max(x.shape[1], 1)
            x = np.ones((1, channels, *x.shape[2:]), dtype=x.dtype)
        with pytest.raises(Error, match=needed):
            getattr(ops, call.op)(*on(backend, x, *others), **call.options)
