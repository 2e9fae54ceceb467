"""The loop over `Trainer.step`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xcnn import metrics as metrics_
from xcnn.callbacks import Callback, EachEpoch
from xcnn.data import Loader, split
from xcnn.data.rows import from_list, in_memory, read_slice
from xcnn.errors import DataError, DTypeError, NonFiniteError, OptionError
from xcnn.layers.geometry import integer
from xcnn.schedules import Schedule
from xcnn.training.evaluate import evaluate, threshold_of
from xcnn.training.history import History
from xcnn.training.nonfinite import find_nonfinite
from xcnn.training.progress import Progress
from xcnn.training.trainer import Trainer

__all__ = ["fit"]

_EVERY = 16  # steps between two looks at a device's losses: each look waits for it


class _Meter:
    """Means over the images of an epoch, fed by arrays that a device may still be computing."""

    def __init__(
        self, trainer: Trainer, metrics: dict[str, Any], callbacks: Sequence[Callback], history: History
    ) -> None:
        self.history = history
        self.trainer, self.metrics, self.callbacks = trainer, metrics, callbacks
        self.every = 1 if trainer.model.backend.host else _EVERY
        self.pending: list[Any] = []
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self.count, self.sums = 0, dict.fromkeys(("loss", *self.metrics), 0.0)

    def add(self, loss: Any, z: Any, x: Any, y: Any) -> None:
        """Count a step; look at its numbers now and then."""
        values = [metric(z, y) for metric in self.metrics.values()]
        self.pending.append((self.trainer.t, loss, values, x, y))
        if len(self.pending) >= self.every:
            self.flush()

    def flush(self) -> None:
        """Read what is pending; a refused step ends training."""
        pending, self.pending = self.pending, []
        for t, loss, values, x, y in pending:
            number, n = float(loss), x.shape[0]
            if number != number:
                model = self.trainer.model
                self.trainer.loss.check(y, x.shape[0], model.output_shape)  # a device's labels were not read
                where, what = find_nonfinite(self.trainer, x, y, t)
                msg = f"step {t} was not applied: NaN or infinity first appeared here: {what}"
                error = NonFiniteError(msg, where=where)
                error.history = self.history
                raise error
            self.count += n
            for name, value in zip(self.sums, (number, *values), strict=True):
                self.sums[name] += float(value) * n
            for callback in self.callbacks:
                callback.on_step_end(self.trainer, number, n)

    def means(self) -> dict[str, float]:
        """Return the means so far."""
        return {name: value / max(self.count, 1) for name, value in self.sums.items()}


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
        Labels.
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
        By default accuracy for classes. During training they are means over the steps.
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
    if not isinstance(x, Loader) and in_memory(y):
        trainer.loss.check(y, x.shape[0], model.output_shape)
    history = History()
    for hook in hooks:
        hook.on_train_begin(trainer, history)
    meter = _Meter(trainer, named, hooks, history)
    with Progress(progress, epochs, loader.images) as bar:
        try:
            for epoch in range(epochs):
                _epoch(trainer, loader, epoch, meter, bar, hooks)
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
            meter.flush()
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


def _epoch(trainer: Trainer, loader: Loader, epoch: int, meter: _Meter, bar: Progress, hooks: Any) -> None:
    """Take the steps of one epoch."""
    model = trainer.model
    for hook in hooks:
        hook.on_epoch_begin(trainer, epoch)
    meter.reset()
    bar.begin(epoch)
    for x, y in loader.epoch(epoch):
        x = model.accept(x)
        y = trainer.loss.accept(y, x.shape[0], model.output_shape, model.backend, model.dtype)
        loss, z = trainer.advance(x, y)
        meter.add(loss, z, x, y)
        bar.advance(x.shape[0])
        if bar.due():
            bar.show(meter.means())
    meter.flush()
