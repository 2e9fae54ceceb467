"""The nets in PyTorch: as its tutorials write them, and as its tuning guide advises for processors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bench import nets
from bench.side import RATE, Side, batch

__all__ = ["Residual", "build", "module"]

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


class Residual(nn.Module):
    """Add what a shortcut and a body make of x, then ReLU.

    Parameters
    ----------
    shortcut, body : torch.nn.Module
        They give outputs of one shape.
    """

    def __init__(self, shortcut: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.shortcut, self.body = shortcut, body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        return nn.functional.relu(self.shortcut(x) + self.body(x))


def module(net: nets.Net, /) -> nn.Sequential:
    """Return the module of a net.

    Parameters
    ----------
    net : Net
        Of `nets.NETS`.

    Returns
    -------
    torch.nn.Sequential
        The last one gives logits.
    """
    return _stack(net.parts, net.image)[0]


def _stack(parts: nets.Parts, shape: tuple[int, ...]) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return the modules of some parts for images (C, H, W), and the shape that they give."""
    found: list[nn.Module] = []
    for part in parts:
        if isinstance(part, nets.Conv):
            modules, shape = _conv(part, shape)
            found += modules
        elif isinstance(part, nets.Pool):
            found.append(nn.MaxPool2d(part.size))
            shape = shape[0], shape[1] // part.size, shape[2] // part.size
        elif isinstance(part, nets.GlobalPool):
            found.append(nn.AdaptiveAvgPool2d(1))
            shape = shape[0], 1, 1
        elif isinstance(part, nets.Residual):
            shortcut = _stack(part.shortcut, shape)[0] if part.shortcut else nn.Identity()
            body, shape = _stack(part.body, shape)
            found.append(Residual(shortcut, body))
        else:
            if len(shape) > 1:
                found.append(nn.Flatten())
                shape = (int(np.prod(shape)),)
            found.append(nn.Linear(shape[0], part.units))
            if part.activation:
                found.append(ACTIVATIONS[part.activation]())
            shape = (part.units,)
    return nn.Sequential(*found), shape


def _conv(part: nets.Conv, shape: tuple[int, ...]) -> tuple[list[nn.Module], tuple[int, ...]]:
    options = {"stride": part.stride, "padding": part.padding, "groups": part.groups}
    found: list[nn.Module] = [
        nn.Conv2d(shape[0], part.filters, part.size, **options, bias=not part.norm)  # type: ignore[arg-type]
    ]
    if part.norm:
        found.append(nn.BatchNorm2d(part.filters))
    if part.activation:
        found.append(ACTIVATIONS[part.activation]())
    h, w = ((n + 2 * part.padding - part.size) // part.stride + 1 for n in shape[1:])
    return found, (part.filters, h, w)


def build(
    net: nets.Net, size: int, weights: Sequence[np.ndarray] | None = None, /, *, tuned: bool = False
) -> Side:
    """Return a net ready to run.

    Parameters
    ----------
    net : Net
        Of `nets.NETS`.
    size : int
        Images in the batch.
    weights : sequence of numpy.ndarray, optional
        Of each layer in turn: weights, then biases; PyTorch's own first values by default.
    tuned : bool
        Whether model and images have the channels last in memory, and Adam is the fused one.

    Returns
    -------
    Side
        Its training step and prediction.
    """
    x, y = map(torch.from_numpy, batch(net, size))
    model, loss_of = module(net), nn.CrossEntropyLoss()
    if weights is not None:
        with torch.no_grad():
            for p, value in zip(model.parameters(), weights, strict=True):
                p.copy_(torch.from_numpy(np.array(value)))
    if tuned:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=tuned or None)
    start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))

    def step() -> torch.Tensor:
        if not model.training:
            model.train()
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def predict() -> torch.Tensor:
        if model.training:
            model.eval()
        with torch.inference_mode():
            return model(x)

    def reset() -> None:
        model.load_state_dict(start[0])
        optimizer.load_state_dict(copy.deepcopy(start[1]))

    return Side(step, predict, reset, [p.detach().numpy().copy() for p in model.parameters()])
