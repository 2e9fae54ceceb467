"""The single operations in PyTorch: its functions on plain tensors, and in the layouts that it prefers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from bench.cases import Case

__all__ = ["theirs"]

Runs = dict[str, Callable[[], Any]]


def theirs(case: Case, /) -> Runs:
    """Return PyTorch's ways to run a case.

    Parameters
    ----------
    case : Case
        Its arrays become tensors that share memory.

    Returns
    -------
    dict
        ``torch``, and where there are such ways ``last`` (channels last in memory), ``mkldnn`` (oneDNN's own
        layout) and ``fused`` (Adam), to a function. Gradients are aten's, without autograd around them.
    """
    t = {name: torch.from_numpy(a) for name, a in case.arrays.items()}
    kind, _, half = case.op.partition(" ")
    if kind == "adam":
        return {"torch": _adam(t), "fused": _adam(t, fused=True)}
    if kind == "dense":
        found = {"torch": _dense(t, half)}
    elif kind == "loss":
        found = {"torch": _loss(t, half)}
    else:
        make = {"conv": _conv, "pool": _pool, "norm": _norm}[kind]
        last = {
            k: a.contiguous(memory_format=torch.channels_last) if a.ndim == 4 else a for k, a in t.items()
        }
        found = {"torch": make(case, t, half), "last": make(case, last, half)}
    if case.op == "conv":
        found |= _mkldnn(case, t)
    return {name: torch.inference_mode()(run) for name, run in found.items()}


def _conv(case: Case, t: dict[str, torch.Tensor], half: str) -> Callable[[], Any]:
    s, x, w = case.shape, t["x"], t["w"]
    if not half:
        return lambda: F.conv2d(x, w, None, s.stride, s.padding, 1, s.groups)
    back, one, zero = torch.ops.aten.convolution_backward, [1, 1], [0, 0]
    window = ([s.stride] * 2, [s.padding] * 2, one, False, zero, s.groups)
    mask = [half == "dx", half == "dw", False]
    return lambda: back(t["dy"], x, w, None, *window, mask)[mask.index(True)]


def _mkldnn(case: Case, t: dict[str, torch.Tensor]) -> Runs:
    """Return the convolution with images and kernels in oneDNN's layout, where this build has it."""
    s = case.shape
    with contextlib.suppress(RuntimeError, AttributeError), torch.inference_mode():
        window = [s.padding] * 2, [s.stride] * 2, [1, 1], s.groups
        x, w = t["x"].to_mkldnn(), torch._C._nn.mkldnn_reorder_conv2d_weight(t["w"].to_mkldnn(), *window)
        F.conv2d(x, w, None, s.stride, s.padding, 1, s.groups)
        return {"mkldnn": lambda: F.conv2d(x, w, None, s.stride, s.padding, 1, s.groups)}
    return {}


def _pool(case: Case, t: dict[str, torch.Tensor], half: str) -> Callable[[], Any]:
    s, x, aten = case.shape, t["x"], torch.ops.aten
    if not half:
        return lambda: F.max_pool2d(x, s.kernel, s.stride)
    window = ([s.kernel] * 2, [s.stride] * 2, [0, 0], [1, 1], False)
    at = aten.max_pool2d_with_indices(x, *window)[1]
    return lambda: aten.max_pool2d_with_indices_backward(t["dy"], x, *window, at)


def _norm(case: Case, t: dict[str, torch.Tensor], half: str) -> Callable[[], Any]:
    x, w, b, aten = t["x"], t["w"], t["b"], torch.ops.aten
    _, mean, scale = aten.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)
    if not half:
        return lambda: aten.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)[0]
    mask = [True, True, True]
    return lambda: aten.native_batch_norm_backward(t["dy"], x, w, None, None, mean, scale, True, 1e-5, mask)


def _dense(t: dict[str, torch.Tensor], half: str) -> Callable[[], Any]:
    x, w, b = t["x"], t["w"], t["b"]
    if not half:
        return lambda: F.linear(x, w, b)
    return lambda: (t["dy"] @ w, t["dy"].T @ x, t["dy"].sum(0))


def _loss(t: dict[str, torch.Tensor], half: str) -> Callable[[], Any]:
    x, labels, aten = t["x"], t["labels"], torch.ops.aten
    if not half:
        return lambda: F.cross_entropy(x, labels)
    logs = F.log_softmax(x, 1)
    _, total = aten.nll_loss_forward(logs, labels, None, 1, -100)
    one = torch.ones(())

    def back() -> torch.Tensor:
        d = aten.nll_loss_backward(one, logs, labels, None, 1, -100, total)
        return aten._log_softmax_backward_data(d, logs, 1, torch.float32)

    return back


def _adam(t: dict[str, torch.Tensor], fused: bool | None = None) -> Callable[[], Any]:
    w = torch.nn.Parameter(t["w"].clone())
    w.grad = t["dw"]
    optimizer = torch.optim.Adam([w], fused=fused)

    def step() -> torch.Tensor:
        optimizer.step()
        return w.detach()

    return step
