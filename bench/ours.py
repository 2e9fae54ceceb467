"""The nets in xcnn, on NumPy."""

from __future__ import annotations

import xcnn
from bench import nets
from bench.side import RATE, Side, batch
from xcnn.layers import Conv2D, Flatten, Layer, MaxPool2D
from xcnn.layers import Dense as DenseLayer

__all__ = ["build", "layers"]


def layers(net: nets.Net, /) -> list[Layer]:
    """Return the layers of a net.

    Parameters
    ----------
    net : Net
        Of `nets.NETS`.

    Returns
    -------
    list of Layer
        The last one gives logits.
    """
    found: list[Layer] = []
    for part in net:
        if isinstance(part, nets.Conv):
            found.append(Conv2D(part.filters, part.size, padding=part.padding, activation="relu"))
        elif isinstance(part, nets.Pool):
            found.append(MaxPool2D(part.size))
        else:
            if not any(isinstance(layer, Flatten) for layer in found):
                found.append(Flatten())
            found.append(DenseLayer(part.units, activation=part.activation))
    return found


def build(net: nets.Net, size: int, /) -> Side:
    """Return a net ready to run.

    Parameters
    ----------
    net : Net
        Of `nets.NETS`.
    size : int
        Images in the batch.

    Returns
    -------
    Side
        Its training step and prediction.
    """
    x, y = batch(size)
    model = xcnn.Model(layers(net), input_shape=nets.IMAGE, backend="numpy")
    trainer = xcnn.Trainer(model, optimizer=xcnn.optim.Adam(RATE), loss="cross_entropy")
    start = model.state.arrays  # nothing writes into these arrays: a step replaces them

    def reset() -> None:
        model.state.arrays, trainer.t = start, 0

    return Side(
        step=lambda: trainer.step(x, y),
        predict=lambda: model.predict(x, batch_size=size),
        reset=reset,
        weights=[p.value for p in model.parameters().values()],
    )
