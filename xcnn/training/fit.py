"""The loop over `Trainer.step`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xcnn import metrics as metrics_
from xcnn.backend import move
from xcnn.callbacks import Callback, EachEpoch
from xcnn.data import Loader, split
from xcnn.data.rows import count, from_list, in_memory, read_slice
from xcnn.errors import DataError, DTypeError, OptionError
from xcnn.labels import look
from xcnn.layers.geometry import integer
from xcnn.schedules import Schedule
from xcnn.training.evaluate import evaluate, threshold_of
from xcnn.training.history import History
from xcnn.training.meter import Meter
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
    """
    epochs = integer(epochs, "fit: epochs", 0)
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
    trainer = Trainer(
        model,
        optimizer=optimizer,
        loss=loss,
        schedule=schedule,
        seed=seed,
        epochs=epochs,
        steps_per_epoch=max(len(loader), 1),
    )
    threshold = threshold_of(model, trainer.loss)
    named = metrics_.get(metrics, classifies=trainer.loss.classifies, threshold=threshold)
    hooks = [_hook(c) for c in (callbacks if isinstance(callbacks, (list, tuple)) else [callbacks])]
    if validation is not None:
        held_x, held_y = validation
        _check(model, held_x)
        trainer.loss.check(held_y, held_x.shape[0], model.output_shape)
        validation = _resident(model, held_x, held_y)
    checked = _check_labels(trainer, loader)
    history = History()
    for hook in hooks:
        hook.on_train_begin(trainer, history)
    meter = Meter(trainer, named, hooks, history)
    with Progress(progress, epochs, loader.images) as bar:
        try:
            for epoch in range(epochs):
                _epoch(trainer, loader, epoch, meter, bar, hooks, checked)
                logs = meter.means()
                if any(s.optimizer and (s.optimizer.l1 or s.optimizer.l2) for s in trainer.segments):
                    logs["penalty"] = trainer.penalty()
                logs["learning_rate"] = trainer.learning_rate
                if validation is not None:
                    held_out = evaluate(model, *validation, loss=trainer.loss, metrics=named)
                    logs |= {f"val_{name}": value for name, value in held_out.items()}
                if isinstance(trainer.schedule, Schedule):
                    trainer.schedule.observe(logs)
                for hook in hooks:
                    hook.on_epoch_end(trainer, epoch, logs)
                history.record(logs)
                meter.reset()
                bar.show({k: v for k, v in logs.items() if k != "learning_rate"}, final=True)
                if trainer.stop:
                    break
        except KeyboardInterrupt:
            history.interrupted = True
            meter.close()
            if meter.count:
                history.record(meter.means() | {"learning_rate": trainer.learning_rate})
        finally:
            for hook in hooks:
                hook.on_train_end(trainer, history)
    return history


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


def _check_labels(trainer: Trainer, loader: Loader) -> bool:
    """Refuse labels in memory before the first step, and return whether no batch needs to be looked at."""
    if type(loader) is not Loader or not in_memory(loader.labels):  # a subclass may serve other labels
        return False
    trainer.loss.check(loader.labels, count(loader.labels), trainer.model.output_shape)
    return loader.augment is None  # which may drop images


def _resident(model: Any, x: Any, y: Any, augment: Any = None) -> tuple[Any, Any]:
    """Return images and labels on the model's device if they fit there, and may be augmented there."""
    backend = model.backend
    if not all(isinstance(a, np.ndarray) and in_memory(a) and a.dtype in _PLAIN for a in (x, y)):
        return x, y
    if x.nbytes + y.nbytes > backend.room() or not (augment is None or getattr(augment, "array_api", False)):
        return x, y
    return move(x, backend), move(y, backend)


def _look(batches: Iterator[Any], loss: Any, output_shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield batches whose labels fit, as far as the host can see."""
    for x, y in batches:
        labels = from_list(y)
        look(labels, count(x), output_shape, loss)
        yield x, labels


def _epoch(
    trainer: Trainer, loader: Loader, epoch: int, meter: Meter, bar: Progress, hooks: Any, checked: bool
) -> None:
    """Take the steps of one epoch."""
    model, loss = trainer.model, trainer.loss
    for hook in hooks:
        hook.on_epoch_begin(trainer, epoch)
    meter.reset()
    bar.begin(epoch)
    batches = loader.epoch(epoch)
    for x, y in model.backend.feed(batches if checked else _look(batches, loss, model.output_shape)):
        x, y = model.accept(x), loss.place(y, model.backend, model.dtype)
        value, z = trainer.advance(x, y)
        meter.add(value, z, x, y)
        bar.advance(x.shape[0])
        if bar.due():
            bar.show(meter.means())
    meter.close()
