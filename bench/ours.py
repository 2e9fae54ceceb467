"""The nets in xcnn."""

from __future__ import annotations

import xcnn
from bench import nets
from bench.side import RATE, Side, batch
from xcnn.layers import (
    BatchNorm2D,
    Conv2D,
    Flatten,
    GlobalAvgPool2D,
    Identity,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    Sum,
)
from xcnn.layers import Dense as DenseLayer

__all__ = ["build", "layers"]


def layers(parts: nets.Parts, /) -> list[Layer]:
    """Return the layers of a net.

    Parameters
    ----------
    parts : tuple
        Of one of `nets.NETS`.

    Returns
    -------
    list of Layer
        The last one gives logits.
    """
    found: list[Layer] = []
    for part in parts:
        if isinstance(part, nets.Conv):
            found += _conv(part)
        elif isinstance(part, nets.Pool):
            found.append(MaxPool2D(part.size))
        elif isinstance(part, nets.GlobalPool):
            found.append(GlobalAvgPool2D())
        elif isinstance(part, nets.Residual):
            shortcut = Sequential(*layers(part.shortcut)) if part.shortcut else Identity()
            found += [Sum(shortcut, Sequential(*layers(part.body))), ReLU()]
        else:
            if not any(isinstance(layer, (Flatten, GlobalAvgPool2D)) for layer in found):
                found.append(Flatten())
            found.append(DenseLayer(part.units, activation=part.activation))
    return found


def _conv(part: nets.Conv) -> list[Layer]:
    options = {"stride": part.stride, "padding": part.padding, "groups": part.groups}
    if not part.norm:
        return [Conv2D(part.filters, part.size, **options, activation=part.activation)]
    found = [Conv2D(part.filters, part.size, **options, bias=False), BatchNorm2D()]
    return [*found, ReLU()] if part.activation == "relu" else found


def build(net: nets.Net, size: int, /, *, backend: str = "numpy", precision: str = "float32") -> Side:
    """Return a net ready to run.

    Parameters
    ----------
    net : Net
        Of `nets.NETS`.
    size : int
        Images in the batch.
    backend : str
        Where it runs, and where the batch lies.
    precision : str
        See `xcnn.Model`.

    Returns
    -------
    Side
        Its training step and prediction.
    """
    home = xcnn.get_backend(backend)
    x, y = map(home.asarray, batch(net, size))
    model = xcnn.Model(layers(net.parts), input_shape=net.image, backend=home, precision=precision)
    trainer = xcnn.Trainer(model, optimizer=xcnn.optim.Adam(RATE), loss="cross_entropy")
    start = model.state.arrays  # nothing writes into these arrays: a step replaces them

    def reset() -> None:
        model.state.arrays, trainer.t = start, 0

    return Side(
        step=lambda: trainer.step(x, y),
        predict=lambda: model.predict(x, batch_size=size),
        reset=reset,
        weights=[home.to_numpy(p.value) for p in model.parameters().values()],
        host=home.to_numpy,
    )
