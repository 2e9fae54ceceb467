"""PyTorch's OpInfo samples as calls of xcnn's ops.

An image without a batch is a batch of one, and a line (N, C, L) an image of one row: the same numbers. What
xcnn has no word for is left out, in words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from xcnn.layers.geometry import sides

__all__ = ["Call", "adapted", "error_inputs", "samples"]


@dataclass
class Call:
    """Arguments of one of xcnn's ops.

    Attributes
    ----------
    op : str
        Its name.
    arrays : tuple of tensor or None
        The sample's own, or ones and zeros where xcnn's op asks for scale and shift.
    shape : tuple of int
        What x is reshaped to.
    options : dict
        Options.
    differentiable : int
        How many of the arrays have a gradient in xcnn.
    """

    op: str
    arrays: tuple[Any, ...]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    differentiable: int = 1


def _pair(value: Any) -> tuple[int, int]:
    rows, *columns = (value,) if isinstance(value, int) else value
    return rows, columns[0] if columns else rows


def _sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = _pair(padding)
    return (rows, rows), (columns, columns)


def _batch(x: Any, rank: int = 4) -> tuple[int, ...]:
    """Return the shape of x, as a batch of one if it is one short of `rank` axes."""
    return (1, *x.shape) if x.ndim == rank - 1 else tuple(x.shape)


def _channels(x: Any) -> tuple[int, ...]:
    """Return the shape of x, lines as images of one row."""
    return (*x.shape[:2], 1, x.shape[2]) if x.ndim == 3 else tuple(x.shape)


def _scale_and_shift(x: Any, shape: Any, w: Any, b: Any) -> tuple[Any, Any]:
    ones, zeros = torch.ones(shape, dtype=x.dtype), torch.zeros(shape, dtype=x.dtype)
    return ones if w is None else w, zeros if b is None else b


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    stride, dilation, shape = _pair(stride), _pair(dilation), _batch(x)
    if isinstance(padding, str) and w.ndim == 4:
        padding = sides(padding, shape[2:], tuple(w.shape[2:]), stride, dilation)
    else:
        padding = _sides(0 if isinstance(padding, str) else padding)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Call("conv2d", (x, w, b), shape, options, 3)


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    options = {
        "stride": _pair(stride),
        "padding": _sides(padding),
        "output_padding": _pair(output_padding),
        "dilation": _pair(dilation),
        "groups": groups,
    }
    return Call("conv_transpose2d", (x, w, b), _batch(x), options, 3)


def _pool(name, x, kernel_size, stride, padding, ceil_mode, **others):
    options = {
        "size": _pair(kernel_size),
        "stride": _pair(stride or kernel_size),
        "padding": _sides(padding),
        "ceil": ceil_mode,
        **others,
    }
    return Call(name, (x,), _batch(x), options)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    return _pool("max_pool2d", x, kernel_size, stride, padding, ceil_mode, dilation=_pair(dilation))


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    if divisor_override is not None:
        return "xcnn has no divisor_override"
    return _pool(
        "avg_pool2d", x, kernel_size, stride, padding, ceil_mode, count_include_pad=count_include_pad
    )


def batch_norm(x, mean, var, w=None, b=None, training=False, momentum=0.1, eps=1e-5):
    w, b = _scale_and_shift(x, (x.shape[min(1, x.ndim - 1)],), w, b)
    mean, var = (None, None) if training else (mean, var)
    return Call("batch_norm", (x, w, b, mean, var), _channels(x), {"eps": eps}, 3)


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    w, b = _scale_and_shift(x, (x.shape[min(1, x.ndim - 1)],), weight, bias)
    return Call("group_norm", (x, w, b), _channels(x), {"groups": groups, "eps": eps}, 3)


def layer_norm(x, shape, w=None, b=None, eps=1e-5):
    w, b = _scale_and_shift(x, shape, w, b)
    return Call("layer_norm", (x, w, b), _batch(x, len(shape) + 1), {"eps": eps}, 3)


def linear(x, w, b=None):
    return Call("linear", (x, w, b), _batch(x, 2), {}, 3)


def cross_entropy(z, labels, weight=None, reduction="mean", ignore_index=None):
    if reduction != "mean":
        return "xcnn's losses are means"
    if ignore_index is not None:
        return "xcnn has no ignore_index"
    if weight is not None and labels.is_floating_point():
        return "PyTorch divides by N, xcnn by the weights"
    return Call("cross_entropy", (z, labels, weight), tuple(z.shape))


def binary_cross_entropy_with_logits(z, labels, weight=None, reduction="mean", pos_weight=None):
    if reduction != "mean":
        return "xcnn's losses are means"
    if weight is not None or pos_weight is not None:
        return "xcnn has no weights here"
    return Call("binary_cross_entropy", (z, labels), tuple(z.shape))


def _softmax(name: str) -> Callable[..., Any]:
    return lambda x, axis, dtype=None: Call(name, (x,), tuple(x.shape), {"axis": axis})


def _activation(name: str, **options: str) -> Callable[..., Any]:
    def adapter(x, *, inplace=False, **given):
        return Call(name, (x,), tuple(x.shape), {options.get(k, k): v for k, v in given.items()})

    return adapter


ADAPTERS: dict[str, Callable[..., Any]] = {
    "nn.functional.conv2d": conv2d,
    "nn.functional.conv_transpose2d": conv_transpose2d,
    "nn.functional.max_pool2d": max_pool2d,
    "nn.functional.avg_pool2d": avg_pool2d,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.group_norm": group_norm,
    "nn.functional.layer_norm": layer_norm,
    "nn.functional.linear": linear,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    "nn.functional.relu": _activation("relu"),
    "nn.functional.leaky_relu": _activation("leaky_relu", negative_slope="slope"),
    "nn.functional.elu": _activation("elu"),
    "nn.functional.gelu": _activation("gelu"),
    "nn.functional.silu": _activation("silu"),
    "sigmoid": _activation("sigmoid"),
    "tanh": _activation("tanh"),
}


def adapted(name: str, sample: Any, /) -> Call | str:
    """Return the call of xcnn's op for a sample, or why there is none."""
    return ADAPTERS[name](sample.input, *sample.args, **sample.kwargs)


@functools.cache
def _infos(name: str) -> tuple[Any, ...]:
    from torch.testing._internal.common_methods_invocations import op_db

    # That import forbids to set flags from now on; the module itself stands behind a stand-in.
    torch.backends.m.__allow_nonbracketed_mutation_flag = True
    assert not torch.backends.flags_frozen()
    return tuple(info for info in op_db if info.name == name)


def samples(name: str, /) -> list[tuple[Any, Any]]:
    """Return (PyTorch's op, sample) of every variant, the same at each call."""
    found = []
    for info in _infos(name):
        dtype = next((d for d in (torch.float64, torch.complex128) if d in info.dtypes), None)
        if dtype is None:  # a variant of other devices
            continue
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found += [(info.op, s) for s in info.sample_inputs("cpu", dtype, requires_grad=True)]
    return found


def error_inputs(name: str, /) -> list[Any]:
    """Return the inputs that PyTorch's op must refuse."""
    return [e for info in _infos(name) if info.error_inputs_func for e in info.error_inputs("cpu")]
