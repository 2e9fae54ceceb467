"""The nets in PyTorch on a GPU: eager, with CUDA graphs, compiled; contiguous and channels last."""

from __future__ import annotations

import copy
import functools
import importlib.util
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench import nets
from bench.side import RATE, Side, batch

__all__ = ["KINDS", "available", "build", "launches", "product", "use"]

KINDS = ("eager", "channels-last", "graph", "compile")  # the last two with channels last, too
DEVICE = "cuda"
WARM = 3  # steps on a side stream before a graph is recorded


def available() -> bool:
    """Return whether PyTorch is here and sees a GPU."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def use(precision: str, /) -> None:
    """Let PyTorch's float32 products be TF32's, or not, and let cuDNN try its algorithms.

    Parameters
    ----------
    precision : str
        See `xcnn.Model`.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def product(precision: str, n: int, /) -> tuple[Callable[[], Any], Callable[[], None]]:
    """Return a product of n x n matrices, and what waits for it.

    Parameters
    ----------
    precision : str
        See `xcnn.Model`.
    n : int
        Rows and columns.

    Returns
    -------
    tuple of callable
        For `gpu_clock.once`.
    """
    import torch

    use(precision)
    dtype = getattr(torch, "float32" if precision == "tf32" else precision)
    a, b = (torch.randn(n, n, device=DEVICE, dtype=dtype) for _ in range(2))
    return (lambda: torch.matmul(a, b)), torch.cuda.synchronize


def build(
    net: nets.Net, size: int, weights: Sequence[np.ndarray], kind: str, precision: str, /
) -> tuple[Side, Callable[[], None]]:
    """Return a net ready to run on the GPU, and what waits for it.

    Parameters
    ----------
    net : Net
        Of `nets.NETS` or `nets.LARGE`.
    size : int
        Images in the batch.
    weights : sequence of numpy.ndarray
        Of each layer in turn: weights, then biases.
    kind : str
        One of `KINDS`.
    precision : str
        See `xcnn.Model`; bfloat16 and float16 are autocast's, float16 with a gradient scaler.

    Returns
    -------
    tuple
        The side, its batch on the GPU already; ``torch.cuda.synchronize``.
    """
    import torch

    from bench import peer

    use(precision)
    layout = torch.contiguous_format if kind == "eager" else torch.channels_last
    x, y = (torch.from_numpy(a).to(DEVICE) for a in batch(net, size))
    x = x.contiguous(memory_format=layout)
    model = peer.module(net)
    with torch.no_grad():
        for p, value in zip(model.parameters(), weights, strict=True):
            p.copy_(torch.from_numpy(np.array(value)))
    model = model.to(DEVICE).to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(
        model.parameters(), lr=RATE, fused=kind != "eager" or None, capturable=kind == "graph"
    )
    mixed = precision in ("bfloat16", "float16")
    scaler = torch.amp.GradScaler(DEVICE, enabled=precision == "float16")
    autocast = functools.partial(
        torch.autocast, DEVICE, dtype=getattr(torch, precision) if mixed else torch.float16, enabled=mixed
    )
    loss_of, forward = torch.nn.CrossEntropyLoss(), model
    fixed = x, y  # where a graph reads its batch
    if kind == "graph":
        fixed = x.clone(), y.clone()

    def total(images: Any, labels: Any) -> Any:
        return loss_of(model(images), labels)

    if kind == "compile":
        torch._dynamo.reset()
        forward, total = (torch.compile(part, mode="reduce-overhead") for part in (model, total))  # type: ignore

    def begin() -> None:
        if kind == "compile":  # what its graphs gave before may be overwritten
            torch.compiler.cudagraph_mark_step_begin()

    def step() -> Any:
        begin()
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = total(*fixed)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    def predict() -> Any:
        begin()
        with torch.inference_mode(kind != "compile"), torch.no_grad(), autocast():
            return forward(fixed[0])

    start = copy.deepcopy(model.state_dict())

    def reset() -> None:
        """Put the numbers back where recorded graphs look for them."""
        with torch.no_grad():
            for name, value in model.state_dict().items():
                value.copy_(start[name])
            for state in optimizer.state.values():
                for value in state.values():
                    value.zero_()

    calls = {"step": _in_training(model, step), "predict": _in_evaluation(model, predict)}
    if kind == "graph":
        copies = {"step": ((fixed[0], x), (fixed[1], y)), "predict": ((fixed[0], x),)}
        calls = {name: _recorded(call, copies[name]) for name, call in calls.items()}
        reset()
    side = Side(calls["step"], calls["predict"], reset, list(weights), host=_host)
    return side, torch.cuda.synchronize


def _host(a: Any) -> np.ndarray:
    return np.asarray(a.detach().float().cpu().numpy())


def _in_training(model: Any, step: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        if not model.training:
            model.train()
        return step()

    return call


def _in_evaluation(model: Any, predict: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        if model.training:
            model.eval()
        return predict()

    return call


def _recorded(call: Callable[[], Any], copies: Sequence[tuple[Any, Any]]) -> Callable[[], Any]:
    """Return a replay of a call recorded as a CUDA graph, its batch copied as in PyTorch's manual."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Any:
        for fixed, given in copies:
            fixed.copy_(given)
        graph.replay()
        return result

    return replay


def launches(call: Callable[[], object], wait: Callable[[], None], /) -> int | None:
    """Return how many kernels, copies and fills run on the GPU in one call, as CUPTI counts them.

    Parameters
    ----------
    call : callable
        Of either framework: CUPTI sees all that the process asks of the GPU, within graphs, too.
    wait : callable
        Waits until the GPU is done.

    Returns
    -------
    int or None
        None where PyTorch, which comes with CUPTI, cannot tell.
    """
    if not available():
        return None
    import torch

    wait()
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            call()
            wait()
            torch.cuda.synchronize()
        on_gpu = [e for e in profile.events() or () if e.device_type == torch.autograd.DeviceType.CUDA]
    except Exception:  # CUPTI is not allowed to everyone
        traceback.print_exc()
        return None
    return len(on_gpu) or None
