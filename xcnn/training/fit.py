"""The loop over `Trainer.step`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from xcnn import losses
from xcnn import metrics as metrics_
from xcnn.backend import move
from xcnn.callbacks.base import Callback, EachEpoch
from xcnn.data import Loader, split
from xcnn.data.rows import count, from_list, in_memory, read_slice
from xcnn.errors import DataError, DTypeError, OptionError
from xcnn.layers.geometry import integer
from xcnn.training.checkpoint import Checkpoint
from xcnn.training.evaluate import threshold_of
from xcnn.training.history import History
from xcnn.training.loop import Loop
from xcnn.training.progress import Progress
from xcnn.training.trainer import Trainer

__all__ = ["fit"]

_PLAIN = [np.dtype(name) for name in ("uint8", "int32", "int64", "float32", "float64")]  # of every library


def fit(
    model: Any,
    x: Any,
    y: Any = None,
    /,
    *,
    epochs: int = 1,
    batch_size: int = 64,
    optimizer: Any = "adam",
    loss: Any = "cross_entropy",
    schedule: str | Callable[..., float] | None = None,
    validation: Any = None,
    callbacks: Sequence[Any] = (),
    metrics: Any = None,
    augment: Any = None,
    shuffle: bool = True,
    seed: int = 0,
    progress: bool | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
    resume: bool = False,
) -> History:
    """Train a model on shuffled mini-batches, and return what was measured.

    Parameters
    ----------
    model : Model
        Is changed.
    x : array (N, ...) or Loader
        Inputs, of any backend; images as uint8 or in [0, 1]. A loader brings labels, batches and order.
    y : array (N,) or (N, K), optional
        Labels; those in memory are looked at once, before the first step.
    epochs : int
        How often to see all images.
    batch_size : int
        Images in a step; the last batch may be smaller.
    optimizer : Optimizer or str
        See `xcnn.optim`.
    loss : Loss or str
        See `xcnn.losses`.
    schedule : str or callable, optional
        See `xcnn.schedules`.
    validation : (x, y), or float, optional
        Data to measure after each epoch; a fraction is split off, class by class.
    callbacks : sequence of Callback or function
        See `xcnn.callbacks`; a function is called as ``f(epoch, logs)``.
    metrics : sequence of str or callable, optional
        By default accuracy for classes. During training they are means over the steps; those that are
        `per_image` are computed for many steps at once, see `xcnn.metrics`.
    augment : callable, optional
        See `xcnn.data`.
    shuffle : bool
        Whether the order is new in each epoch.
    seed : int
        Of order, augmentation, dropout and the validation split.
    progress : bool, optional
        Whether to show it; by default on a terminal.
    checkpoint : str, Path or Checkpoint, optional
        A folder to save the whole training to as it goes, see `Checkpoint`.
    resume : bool
        Whether to go on from the newest checkpoint there, if there is one: with the same model, data and
        options it ends bit for bit as if it had never stopped. `epochs` counts those of before, and may be
        more than then.

    Returns
    -------
    History
        ``history["loss"]``, ``history["val_accuracy"]`` and so on, one number per epoch. After Ctrl-C it
        ends with the part of the epoch that was done.

    Raises
    ------
    NonFiniteError
        If a loss or gradient was not finite: that step is not applied; the message names the layer where
        NaN or infinity first appeared, and the error holds the history.
    ShapeError, DTypeError, DataError
        If inputs or labels do not fit.
    FileError
        If no checkpoint can be written, or none can be read that is there.
    OptionError
        If an option is out of its range, or the checkpoint is of a training with other options.
    """
    epochs = integer(epochs, "fit: epochs", 0)
    if resume and checkpoint is None:
        msg = "resume needs checkpoint=, the folder to go on from"
        raise OptionError(msg, where="fit")
    if isinstance(x, Loader):
        loader = x
    else:
        if y is None:
            msg = "there are no labels; needed fit(x, y) or fit(loader)"
            raise DataError(msg, where="fit")
        x, y = from_list(x), from_list(y)
        _check(model, x)
        if not hasattr(y, "shape"):
            msg = f"labels are {y!r}; needed an array (N,) or (N, K)"
            raise DTypeError(msg, where="fit")
        if isinstance(validation, float):
            train, validation = split(x, y, validation, seed=seed)
            x, y = train.x, train.y
        x, y = _resident(model, x, y, augment)
        loader = Loader(x, y, batch_size=batch_size, shuffle=shuffle, seed=seed, augment=augment)
    if hasattr(validation, "x"):
        validation = validation.x, validation.y
    if validation is not None:
        if not isinstance(validation, (list, tuple)) or len(validation) != 2:
            msg = f"validation is {type(validation).__name__}; needed (x, y), or a fraction with arrays"
            raise OptionError(msg, where="fit")
        validation = from_list(validation[0]), from_list(validation[1])
    loss = losses.get(loss)
    threshold = threshold_of(model, loss)  # refuses a loss that does not go with the model's ending
    named = metrics_.get(metrics, classifies=loss.classifies, threshold=threshold)
    hooks = [_hook(c) for c in (callbacks if isinstance(callbacks, (list, tuple)) else [callbacks])]
    if validation is not None:
        held_x, held_y = validation
        _check(model, held_x)
        loss.check(held_y, held_x.shape[0], model.output_shape)
        validation = _resident(model, held_x, held_y)
    checked = _check_labels(model, loss, loader)
    trainer = Trainer(
        model,
        optimizer=optimizer,
        loss=loss,
        schedule=schedule,
        seed=seed,
        epochs=epochs,
        steps_per_epoch=max(len(loader), 1),
    )
    loop = Loop(trainer, loader, hooks, metrics=named, validation=validation, checked=checked)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint)
    for hook in hooks:
        hook.on_train_begin(trainer, loop.history)
    saved = nullcontext(_nothing) if checkpoint is None else checkpoint.guard(loop, resume=resume)
    try:
        with Progress(progress, epochs, loader.images) as bar, saved as moved:
            loop.run(epochs, bar, moved)
        loop.end()
    except KeyboardInterrupt:
        loop.end(interrupted=True)
    finally:
        for hook in hooks:
            hook.on_train_end(trainer, loop.history)
    return loop.history


def _nothing() -> None:
    """Save nothing."""


def _hook(callback: Any) -> Callback:
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return EachEpoch(callback)
    msg = f"got {callback!r} as a callback; needed a Callback or a function of (epoch, logs)"
    raise OptionError(msg, where="fit")


def _check(model: Any, x: Any) -> None:
    """Refuse inputs of a wrong shape or dtype before the first step."""
    if not hasattr(x, "shape") or not x.shape or x.shape[0] == 0:
        model.accept(x)  # refuses it
    model.accept(read_slice(x, 0, 1))


def _check_labels(model: Any, loss: losses.Loss, loader: Loader) -> bool:
    """Refuse labels in memory before the first step, and return whether no batch needs to be looked at."""
    if type(loader) is not Loader or not in_memory(loader.labels):  # a subclass may serve other labels
        return False
    loss.check(loader.labels, count(loader.labels), model.output_shape)
    return loader.augment is None  # which may drop images


def _resident(model: Any, x: Any, y: Any, augment: Any = None) -> tuple[Any, Any]:
    """Return images and labels on the model's device if they fit there, and may be augmented there."""
    backend = model.backend
    if not all(isinstance(a, np.ndarray) and in_memory(a) and a.dtype in _PLAIN for a in (x, y)):
        return x, y
    if x.nbytes + y.nbytes > backend.room() or not (augment is None or getattr(augment, "array_api", False)):
        return x, y
    return move(x, backend), move(y, backend)
