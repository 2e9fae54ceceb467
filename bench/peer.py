"""The nets in PyTorch, eager, as its tutorials write them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bench import nets
from bench.side import RATE, Side, batch

__all__ = ["build", "module"]

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


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
    found: list[nn.Module] = []
    (c, h, w), features = nets.IMAGE, 0
    for part in net:
        if isinstance(part, nets.Conv):
            found += [nn.Conv2d(c, part.filters, part.size, padding=part.padding), nn.ReLU()]
            c, h, w = part.filters, *(n + 2 * part.padding - part.size + 1 for n in (h, w))
        elif isinstance(part, nets.Pool):
            found.append(nn.MaxPool2d(part.size))
            h, w = h // part.size, w // part.size
        else:
            if not features:
                found.append(nn.Flatten())
                features = c * h * w
            found.append(nn.Linear(features, part.units))
            if part.activation:
                found.append(ACTIVATIONS[part.activation]())
            features = part.units
    return nn.Sequential(*found)


def build(net: nets.Net, size: int, weights: Sequence[np.ndarray] | None = None, /) -> Side:
    """Return a net ready to run.

    Parameters
    ----------
    net : Net
        Of `nets.NETS`.
    size : int
        Images in the batch.
    weights : sequence of numpy.ndarray, optional
        Of each layer in turn: weights, then biases; PyTorch's own first values by default.

    Returns
    -------
    Side
        Its training step and prediction.
    """
    x, y = map(torch.from_numpy, batch(size))
    model, loss_of = module(net), nn.CrossEntropyLoss()
    if weights is not None:
        with torch.no_grad():
            for p, value in zip(model.parameters(), weights, strict=True):
                p.copy_(torch.from_numpy(np.array(value)))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def predict() -> torch.Tensor:
        with torch.inference_mode():
            return model(x)

    def reset() -> None:
        model.load_state_dict(start[0])
        optimizer.load_state_dict(copy.deepcopy(start[1]))

    return Side(step, predict, reset, [p.detach().numpy().copy() for p in model.parameters()])
