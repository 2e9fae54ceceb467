"""Loss and metrics over a whole data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcnn import losses
from xcnn import metrics as metrics_
from xcnn.data.rows import read_slice
from xcnn.errors import DataError
from xcnn.layers.geometry import integer

__all__ = ["evaluate"]


def as_scores(z: Any, loss: losses.Loss, probabilities: bool, /) -> Any:
    """Return outputs as metrics want them: a single one is positive for class 1.

    Parameters
    ----------
    z : array (N, ...)
        What the loss was computed on.
    loss : Loss
        Says whether they are logits.
    probabilities : bool
        Whether they are probabilities already.

    Returns
    -------
    array
        z, or z - 1/2.
    """
    single = z.ndim == 1 or z.shape[-1] == 1
    return z - 0.5 if single and (probabilities or loss.link is None) else z


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
    loss = losses.get(loss or model.loss or "cross_entropy")
    named = metrics_.get(metrics, classifies=loss.classifies)
    head, probabilities = model.head(loss)
    x = np.asarray(x) if isinstance(x, (list, tuple)) else x
    if not hasattr(x, "shape") or not x.shape or x.shape[0] == 0:
        model.accept(x)  # refuses it
    n, sums = x.shape[0], dict.fromkeys(("loss", *named), 0.0)
    y = loss.accept(y, n, model.output_shape, model.backend, model.dtype)
    step = integer(batch_size, "evaluate: batch_size")
    for i in range(0, max(n, 1), step):
        stop = min(i + step, n)
        part, labels = model.accept(read_slice(x, i, stop)), y[i:stop, ...]
        z, _ = head.forward(part)
        values = {"loss": loss(z, labels, probabilities=probabilities)[0]}
        scores = as_scores(z, loss, probabilities)
        values |= {name: metric(scores, labels) for name, metric in named.items()}
        for name, value in values.items():
            sums[name] += float(value) * part.shape[0]
    if not np.isfinite(sums["loss"]):
        msg = "the loss is not finite; needed inputs without NaN or infinity, and a model without them"
        raise DataError(msg, where="evaluate")
    return {name: value / n for name, value in sums.items()}
