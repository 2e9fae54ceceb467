"""How long net B takes on a GPU until it reads MNIST's digits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import xcnn
from bench import ours
from bench.gpu_rows import tune
from bench.nets import NETS

__all__ = ["MOST", "Watch", "learn"]

MOST = 20  # epochs


def learn(
    backend: str, /, *, until: float = 0.98, batch: int = 128, rate: float = 0.005
) -> Iterator[dict[str, Any]]:
    """Train net B on MNIST until its test accuracy is reached; a first run, which compiles, does not count.

    Parameters
    ----------
    backend : str
        Where.
    until : float
        The accuracy on the 10,000 test images.
    batch, rate : int, float
        Of Adam.

    Yields
    ------
    dict
        ``seconds`` of training (evaluation is not in it), ``epochs`` and ``accuracy`` of the first run, then
        of the second one, with the first one's seconds as ``first``; or ``error``: the data is not here.
    """
    if xcnn.data.available()["mnist"] is None:  # who has no network would wait for it
        yield {"error": "the data is not here; needed: XCNN_DATA=FOLDER"}
        return
    data = xcnn.data.load("mnist")
    tune(xcnn.get_backend(backend))
    first = _train(data, backend, until, batch, rate)
    yield first | {"first": first["seconds"]}
    yield _train(data, backend, until, batch, rate) | {"first": first["seconds"]}


def _train(data: Any, backend: str, until: float, batch: int, rate: float) -> dict[str, Any]:
    home = xcnn.get_backend(backend)
    model = xcnn.Model(ours.layers(NETS["B"].parts), NETS["B"].image, backend=home)
    watch = Watch(data, home, until)
    options = {"epochs": MOST, "batch_size": batch, "optimizer": xcnn.optim.Adam(rate), "progress": False}
    model.fit(data.train.x, data.train.y, callbacks=[watch], **options)
    return {"seconds": watch.seconds, "epochs": watch.epochs, "accuracy": watch.accuracy}


class Watch(xcnn.callbacks.Callback):
    """Measure the seconds of training, epoch by epoch, until an accuracy is reached.

    Parameters
    ----------
    data : Dataset
        Its test images decide.
    home : Backend
        What is waited for.
    until : float
        The accuracy that ends training.
    """

    def __init__(self, data: Any, home: Any, until: float) -> None:
        self.x, self.y, self.home, self.until = home.asarray(data.test.x), data.test.y, home, until
        self.seconds, self.epochs, self.accuracy = 0.0, 0, 0.0
        self._begin = time.perf_counter()

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float], /) -> None:
        """Stop the clock while the test images are looked at."""
        self.home.synchronize()
        self.seconds += time.perf_counter() - self._begin
        self.epochs = epoch + 1
        self.accuracy = float(trainer.model.evaluate(self.x, self.y)["accuracy"])
        trainer.stop = self.accuracy >= self.until
        self.home.synchronize()
        self._begin = time.perf_counter()
