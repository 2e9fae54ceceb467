"""What an epoch measures: the mean loss and the metrics, at little cost beside the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from array_api_compat import array_namespace

from xcnn.backend import move, plugin_of
from xcnn.callbacks import Callback
from xcnn.errors import NonFiniteError
from xcnn.training.history import History
from xcnn.training.nonfinite import find_nonfinite
from xcnn.training.trainer import Trainer

__all__ = ["Meter"]

_EVERY = 16  # steps between two looks at a device's losses: each look waits for it
_IMAGES = 1024  # after which metrics that are means over images look at the outputs of many steps at once
_NUMBERS = 2**20  # outputs that are kept for that, at most


class Meter:
    """Means over the images of an epoch, fed by arrays that a device may still be computing.

    On a host each loss is read as its step ends, on a device in bunches. A metric that is `per_image` sees
    the outputs of many steps at once, always of the same ones: the mean does not depend on who asks when.

    Parameters
    ----------
    trainer : Trainer
        Who takes the steps.
    metrics : mapping
        Name to function, from `xcnn.metrics.get`.
    callbacks : sequence of Callback
        Are told of each step.
    history : History
        Goes with the error if a step was refused.

    Attributes
    ----------
    count : int
        Images in the steps whose losses have been read.
    """

    def __init__(
        self, trainer: Trainer, metrics: Mapping[str, Any], callbacks: Sequence[Callback], history: History
    ) -> None:
        self.trainer, self.callbacks, self.history = trainer, callbacks, history
        joined = {name: metric for name, metric in metrics.items() if getattr(metric, "per_image", False)}
        self._names, self._joined = list(metrics), joined
        self._single = {name: metric for name, metric in metrics.items() if name not in joined}
        self._enough = min(_IMAGES, _NUMBERS // math.prod(trainer.model.output_shape))
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self._host = self.trainer.model.backend.host
        self.count, self._loss = 0, 0.0
        self._sums = {name: (0.0, 0) for name in self._names}  # sum over images, images
        self._pending: list[Any] = []  # steps whose losses nobody has read
        self._unread: list[Any] = []  # name, value of a metric, images
        self._kept: list[Any] = []  # outputs and labels for the metrics that look at many at once
        self._kind: Any = None
        self._images = 0

    def add(self, loss: Any, z: Any, x: Any, y: Any, /) -> None:
        """Count a step; a refused one ends training as soon as its loss is read.

        Parameters
        ----------
        loss, z : array
            From `Trainer.advance`.
        x, y : array
            The batch.

        Raises
        ------
        NonFiniteError
            If a step was refused.
        """
        n = x.shape[0]
        for name, metric in self._single.items():
            self._unread.append((name, metric(z, y), n))
        if self._joined:
            kind = self._kind_of(z, y)
            if kind != self._kind:  # a callback may move the model, a loader mix labels
                self._join()
                self._kind = kind
            self._kept.append((z, y))
            self._images += n
            if self._images >= self._enough:
                self._join()
        if self._host:
            self._tell(self.trainer.t, float(loss), x, y)
            self._settle()
            return
        self._pending.append((self.trainer.t, loss, x, y))
        if len(self._pending) >= _EVERY:
            self._read()

    def close(self) -> None:
        """Read everything: the epoch is over.

        Raises
        ------
        NonFiniteError
            If a step was refused.
        """
        self._join()
        self._read()

    def means(self) -> dict[str, float]:
        """Return the means so far.

        Returns
        -------
        dict
            ``loss``, then the metrics; on a device, of the steps that were read.
        """
        sums = self._sums
        if self._host and self._kept:
            sums = self._with(self._look())
        found = {name: total / max(images, 1) for name, (total, images) in sums.items()}
        return {"loss": self._loss / max(self.count, 1), **found}

    def state_dict(self) -> dict[str, Any]:
        """Read what is pending, and return what a checkpoint has to keep to count on from here.

        Returns
        -------
        dict
            Sums over the images of the epoch, and the outputs that no metric has seen yet.
        """
        self._read()
        return {
            "count": self.count,
            "loss": self._loss,
            "sums": self._sums,
            "images": self._images,
            "kept": self._joint() if self._kept else [],
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Count on from where another meter was.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.
        """
        self.reset()
        backend = self.trainer.model.backend
        self.count, self._loss, self._images = int(state["count"]), float(state["loss"]), int(state["images"])
        sums = {name: state["sums"][name] for name in self._names}
        self._sums = {name: (float(total), int(images)) for name, (total, images) in sums.items()}
        if state["kept"]:
            with backend.active():
                z, y = [move(a, backend) for a in state["kept"]]
            self._kept, self._kind = [(z, y)], self._kind_of(z, y)

    def _kind_of(self, z: Any, y: Any) -> Any:
        """Return what outputs and labels have in common that can be looked at together."""
        return self.trainer.model.backend, z.dtype, y.dtype, y.ndim

    def _joint(self) -> Any:
        """Return the outputs and labels that are kept, as one batch."""
        if len(self._kept) == 1:
            return self._kept[0]
        return [array_namespace(a[0]).concat(a) for a in zip(*self._kept, strict=True)]

    def _look(self) -> list[Any]:
        """Return what the metrics find in what is kept."""
        z, y = self._joint()
        return [(name, metric(z, y), self._images) for name, metric in self._joined.items()]

    def _join(self) -> None:
        """Measure what is kept, and keep it no longer."""
        if self._kept:
            found = self._look()
            self._kept, self._images = [], 0
            self._unread += found

    def _with(self, values: list[Any]) -> dict[str, tuple[float, int]]:
        """Return the sums with `values` in them."""
        sums = dict(self._sums)
        for name, value, n in values:
            total, images = sums[name]
            sums[name] = total + float(value) * n, images + n
        return sums

    def _settle(self) -> None:
        """Read what the metrics found."""
        if self._unread:
            self._sums, self._unread = self._with(self._unread), []

    def _read(self) -> None:
        """Read what is pending, the losses in one transfer."""
        pending, self._pending = self._pending, []
        if pending:
            losses = [step[1] for step in pending]
            read = plugin_of(losses[0]).to_numpy(array_namespace(losses[0]).stack(losses)).tolist()
            for (t, _, x, y), loss in zip(pending, read, strict=True):
                self._tell(t, loss, x, y)
        self._settle()

    def _tell(self, t: int, loss: float, x: Any, y: Any) -> None:
        """Count a step and tell the callbacks; a refused one ends training."""
        if loss != loss:
            self._refuse(t, x, y)
        n = x.shape[0]
        self.count += n
        self._loss += loss * n
        for callback in self.callbacks:
            callback.on_step_end(self.trainer, loss, n)

    def _refuse(self, t: int, x: Any, y: Any) -> None:
        """Raise for a step that was not applied."""
        trainer = self.trainer
        trainer.loss.check(y, x.shape[0], trainer.model.output_shape)  # a device's labels were not read
        where, what = find_nonfinite(trainer, x, y, t)
        msg = f"step {t} was not applied: NaN or infinity first appeared here: {what}"
        error = NonFiniteError(msg, where=where)
        error.history = self.history
        raise error
