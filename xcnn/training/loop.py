"""A training in progress: the loop, and everything that decides how it goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any

from xcnn.callbacks import Callback
from xcnn.data import Loader
from xcnn.data.rows import count, from_list
from xcnn.errors import OptionError
from xcnn.labels import look
from xcnn.schedule import Schedule
from xcnn.training.evaluate import evaluate
from xcnn.training.history import History
from xcnn.training.meter import Meter
from xcnn.training.progress import Progress
from xcnn.training.trainer import Trainer

__all__ = ["Loop"]


class Loop:
    """Epochs of steps, from wherever they stand.

    Order, augmentation and dropout are functions of the seed and of where the training is, see `xcnn.random`;
    so that is all there is to keep of them.

    Parameters
    ----------
    trainer : Trainer
        Takes the steps.
    loader : Loader
        Serves the batches.
    callbacks : sequence of Callback
        Are told.
    metrics : mapping
        Name to function, from `xcnn.metrics.get`.
    validation : (x, y), optional
        What is measured after each epoch.
    checked : bool
        Whether the labels of all batches were looked at.

    Attributes
    ----------
    history : History
        What was measured.
    epoch, batch : int
        Those done: epochs, and batches of the next.
    """

    def __init__(
        self,
        trainer: Trainer,
        loader: Loader,
        callbacks: Sequence[Callback],
        /,
        *,
        metrics: Mapping[str, Any],
        validation: Any,
        checked: bool,
    ) -> None:
        self.trainer, self.loader, self.callbacks = trainer, loader, callbacks
        self.metrics, self.validation, self.checked = metrics, validation, checked
        self.history = History()
        self.meter = Meter(trainer, metrics, callbacks, self.history)
        self.epoch = self.batch = 0
        self._begun = False  # whether callbacks know that the epoch has
        self._whole = 0  # the step after which all of this fits together; -1 while it changes
        self._start = time.perf_counter()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What another training must have in common to go on with this one; as it begins."""
        trainer, loader = self.trainer, self.loader
        return {
            "optimizer": _told(trainer.optimizer),
            "loss": _told(trainer.loss),
            "schedule": _told(trainer.schedule),  # that of a callback, if one brought it
            "seeds": [trainer.seed, loader.seed],
            "images": loader.images,
            "batch_size": loader.batch_size,
            "shuffle": loader.shuffle,
            "augment": _told(loader.augment),
            "metrics": list(self.metrics),
            "validation": None if self.validation is None else count(self.validation[1]),
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
        }

    @property
    def whole(self) -> bool:
        """Whether no step and no epoch is half done: what `state_dict` returns then is of one moment."""
        return self._whole == self.trainer.t

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep beside the model's parameters and statistics.

        Returns
        -------
        dict
            Of numbers, strings, arrays, and lists and dicts of them.
        """
        with self._changing():
            meter = self.meter.state_dict()  # reads what a device still owes; callbacks are told first
        now = time.perf_counter()
        self.history.seconds, self._start = self.history.seconds + now - self._start, now
        return {
            "settings": self.settings,
            "epoch": self.epoch,
            "batch": self.batch,
            "begun": self._begun,
            "trainer": self.trainer.state_dict(),
            "meter": meter,
            "history": self.history.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on where another loop with the same settings was.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.
        """
        epoch, batch = int(state["epoch"]), int(state["batch"])
        if epoch < 0 or not 0 <= batch <= len(self.loader):
            msg = f"epoch {epoch}, batch {batch} is no place in it; an epoch has {len(self.loader)} batches"
            raise OptionError(msg, where="fit")
        self.trainer.load_state_dict(state["trainer"])
        self.meter.load_state_dict(state["meter"])
        self.history.load_state_dict(state["history"])
        for callback, own in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(own)
        self._begun = bool(state["begun"])
        self.epoch, self.batch, self._whole = epoch, batch, self.trainer.t

    def run(self, epochs: int, bar: Progress, moved: Callable[[], None], /) -> None:
        """Train until so many epochs are done, a callback stops it, or Ctrl-C.

        Parameters
        ----------
        epochs : int
            In all.
        bar : Progress
            Is moved.
        moved : callable
            Called whenever a step or an epoch is done.
        """
        while self.epoch < epochs and not self.trainer.stop:
            self._steps(bar, moved)
            logs = self._measure()
            with self._changing():
                self._tell(logs)
                bar.show({name: value for name, value in logs.items() if name != "learning_rate"}, final=True)
                self.epoch, self.batch, self._begun = self.epoch + 1, 0, False
            moved()

    def end(self, *, interrupted: bool = False) -> None:
        """Stop the clock, and record what Ctrl-C left of an epoch.

        Parameters
        ----------
        interrupted : bool
            Whether it was Ctrl-C.
        """
        if interrupted:
            self.history.interrupted = True
            self.meter.close()
            if self.meter.count:
                self.history.record(self.meter.means() | {"learning_rate": self.trainer.learning_rate})
        self.history.seconds += time.perf_counter() - self._start

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let nothing be saved if Ctrl-C or an error comes in between."""
        self._whole = -1
        yield
        self._whole = self.trainer.t

    def _steps(self, bar: Progress, moved: Callable[[], None]) -> None:
        """Take the steps of an epoch, from the batch where it stands."""
        trainer, model, loss = self.trainer, self.trainer.model, self.trainer.loss
        if not self._begun:
            with self._changing():
                for callback in self.callbacks:
                    callback.on_epoch_begin(trainer, self.epoch)
                self.meter.reset()
                self._begun = True
        bar.begin(self.epoch, self.batch * self.loader.batch_size)
        batches = _from(self.loader, self.epoch, self.batch)
        for x, y in model.backend.feed(batches if self.checked else self._look(batches)):
            x, y = model.accept(x), loss.place(y, model.backend, model.dtype)
            value, z = trainer.advance(x, y)
            self.meter.add(value, z, x, y)
            self.batch += 1
            self._whole = trainer.t
            bar.advance(x.shape[0])
            if bar.due():
                bar.show(self.meter.means())
            moved()
        with self._changing():
            self.meter.close()

    def _look(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield batches whose labels fit, as far as the host can see."""
        for x, y in batches:
            labels = from_list(y)
            look(labels, count(x), self.trainer.model.output_shape, self.trainer.loss)
            yield x, labels

    def _measure(self) -> dict[str, float]:
        """Return what the epoch gave."""
        trainer = self.trainer
        logs = self.meter.means()
        if any(s.optimizer and (s.optimizer.l1 or s.optimizer.l2) for s in trainer.segments):
            logs["penalty"] = trainer.penalty()
        logs["learning_rate"] = trainer.learning_rate
        if self.validation is not None:
            held_out = evaluate(trainer.model, *self.validation, loss=trainer.loss, metrics=self.metrics)
            logs |= {f"val_{name}": value for name, value in held_out.items()}
        return logs

    def _tell(self, logs: dict[str, float]) -> None:
        """Tell schedule and callbacks what the epoch gave, and record it."""
        if isinstance(self.trainer.schedule, Schedule):
            self.trainer.schedule.observe(logs)
        for callback in self.callbacks:
            callback.on_epoch_end(self.trainer, self.epoch, logs)
        self.history.record(logs)
        self.meter.reset()


def _from(loader: Loader, epoch: int, start: int) -> Iterator[Any]:
    """Return the batches of an epoch from number `start` on."""
    if type(loader).epoch is Loader.epoch:
        return loader.epoch(epoch, start=start)
    return islice(loader.epoch(epoch), start, None)  # one of your own need not know where to begin


def _told(value: Any) -> str:
    """Return how `value` prints, the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
