"""Loss and metrics over a whole data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn import losses
from xcnn import metrics as metrics_
from xcnn.data.rows import from_list, read_slice
from xcnn.errors import DataError
from xcnn.layers.geometry import integer

__all__ = ["evaluate"]


def threshold_of(model: Any, loss: losses.Loss, /) -> float:
    """Return above which a single output means class 1: 0 for a logit, else 1/2."""
    return 0.0 if loss.link is not None and not model.head(loss)[1] else 0.5


def evaluate(
    model: Any, x: Any, y: Any, /, *, loss: Any = None, metrics: Any = None, batch_size: int = 256
) -> dict[str, float]:
    """Return the mean loss and metrics of a model over data.

    Parameters
    ----------
    model : Model
        Evaluated as `Model.predict` runs it: no dropout, running statistics.
    x : array (N, ...)
        Inputs, of any backend.
    y : array (N,) or (N, K)
        Labels.
    loss : Loss or str, optional
        By default what the model was trained with, else cross_entropy.
    metrics : sequence of str or callable, optional
        By default accuracy for classes.
    batch_size : int
        How many inputs at a time.

    Returns
    -------
    dict
        ``{"loss": ..., "accuracy": ...}``.

    Raises
    ------
    DataError
        If the outputs hold NaN.
    """
    loss = losses.get(model.loss or "cross_entropy" if loss is None else loss)
    named = metrics_.get(metrics, classifies=loss.classifies, threshold=threshold_of(model, loss))
    head, probabilities = model.head(loss)
    x = from_list(x, "evaluate")
    if not hasattr(x, "shape") or not x.shape or x.shape[0] == 0:
        model.accept(x)  # refuses it
    n, sums = x.shape[0], dict.fromkeys(("loss", *named), 0.0)
    y = loss.accept(y, n, model.output_shape, model.backend, model.dtype)
    weights = 0.0
    step = integer(batch_size, "evaluate: batch_size")
    for i in range(0, max(n, 1), step):
        stop = min(i + step, n)
        part, labels = model.accept(read_slice(x, i, stop)), y[i:stop, ...]
        z, _ = head.forward(part)
        values = {"loss": loss(z, labels, probabilities=probabilities)[0]}
        values |= {name: metric(z, labels) for name, metric in named.items()}
        weight = float(loss.weight(labels))
        weights += weight
        for name, value in values.items():
            sums[name] += float(value) * (weight if name == "loss" else part.shape[0])
    if not np.isfinite(sums["loss"]):
        msg = "the loss is not finite; needed inputs without NaN or infinity, and a model without them"
        raise DataError(msg, where="evaluate")
    return {name: value / ((weights or 1.0) if name == "loss" else n) for name, value in sums.items()}
