"""The training step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from xcnn import losses, optim, schedules
from xcnn.backend import find_kernel, is_readable, move
from xcnn.errors import Error, OptionError, named
from xcnn.layer import Pass, is_watched
from xcnn.layers.geometry import integer
from xcnn.optimizer import Optimizer
from xcnn.random import seed_key
from xcnn.schedule import Schedule
from xcnn.state import Arrays
from xcnn.training.nonfinite import all_finite, keep, settle
from xcnn.training.scaling import LEAST, first_scaling, next_scaling
from xcnn.training.segments import find_segments, only_trained, update_segments

__all__ = ["Trainer"]


class Trainer:
    """Train a model, one step at a time; `fit` is a loop over it.

    Parameters
    ----------
    model : Model
        Its optimizer state starts anew.
    optimizer : Optimizer or str
        For all layers without their own.
    loss : Loss or str
        What is made small.
    schedule : str or callable, optional
        Factor on the learning rates, a function of (epoch, epochs).
    seed : int
        Of dropout.
    epochs : float, optional
        Planned, for schedules that need it.
    steps_per_epoch : int
        Steps that the schedule counts as one epoch.

    Attributes
    ----------
    t : int
        Steps tried.
    learning_rate : float
        Of the last step.
    stop : bool
        Callbacks set it to end `fit` after the epoch.
    """

    def __init__(
        self,
        model: Any,
        *,
        optimizer: Optimizer | str = "adam",
        loss: losses.Loss | str = "cross_entropy",
        schedule: str | Callable[..., float] | None = None,
        seed: int = 0,
        epochs: float | None = None,
        steps_per_epoch: int = 1,
    ) -> None:
        self.model, self.optimizer, self.loss = model, optim.get(optimizer), losses.get(loss)
        self.schedule = copy.deepcopy(schedules.get(schedule))  # one on a plateau starts anew
        named("Trainer")(seed_key)(seed)  # refuses one out of its range
        self.seed, self.epochs = seed, epochs
        self.steps_per_epoch = integer(steps_per_epoch, "Trainer: steps_per_epoch")
        self.t, self.stop = 0, False
        self.learning_rate = 0.0
        model.head(self.loss)  # refuses a loss that does not go with the model's ending
        if self.loss.link == "softmax" and model.output_shape == (1,):
            msg = f"{self.loss.name} of one output is always 0; needed 2 outputs, or binary_cross_entropy"
            raise OptionError(msg, where="Trainer")
        model.loss = self.loss
        state = model.state
        self.segments = find_segments(state, self.optimizer)
        slots = max((s.optimizer.slots for s in self.segments if s.optimizer), default=0)
        values = state.arrays.values
        with model.backend.active():
            zeros = tuple([array_namespace(values).zeros_like(values) for _ in range(slots)])
        state.arrays = state.arrays._replace(slots=zeros, scaling=())
        self._token = state.token = object()
        self._flat: Any = None  # that of the model when it was looked at
        self._captured: Callable[..., Any] | None = None

    @property
    def scale(self) -> float:
        """The schedule's factor for the next step."""
        scale = float(self.schedule(self.t / self.steps_per_epoch, self.epochs))
        if not 0 <= scale < math.inf:
            msg = f"schedule {self.schedule!r} gives {scale!r}; needed a finite factor, not negative"
            raise OptionError(msg, where="Trainer")
        return scale

    def step(self, x: Any, y: Any, /) -> Any:
        """Take one step on a batch.

        Parameters
        ----------
        x : array (N, ...)
            Inputs, of any backend.
        y : array (N,) or (N, K)
            Labels.

        Returns
        -------
        array ()
            The loss on the model's backend; ``float()`` waits for it. NaN if the step was refused because
            the loss or a gradient was not finite: nothing has changed then.

        Raises
        ------
        ShapeError, DTypeError, DataError
            If inputs or labels do not fit.
        """
        model = self.model
        x = model.accept(x)
        y = self.loss.accept(y, x.shape[0], model.output_shape, model.backend, model.dtype)
        return self.advance(x, y)[0]

    def advance(self, x: Any, y: Any, /) -> tuple[Any, Any]:
        """Take one step on arrays that are accepted already, and return the loss and the outputs.

        Parameters
        ----------
        x, y : array
            On the model's backend.

        Returns
        -------
        loss : array ()
            See `step`.
        z : array
            What the loss was computed on.
        """
        model, state, scale = self.model, self.model.state, self.scale
        if state.token is not self._token:
            msg = "another trainer, or fit, took over the model and its optimizer state; needed a new Trainer"
            raise Error(msg, where="Trainer")
        if model.flat is not self._flat:
            self._look()
        self.learning_rate = self.optimizer.lr * scale
        self.t += 1
        scalars = self.t, [segment.scalars(self.t, scale) for segment in self.segments]
        captured = self._captured
        run = self.pure_step if captured is None or is_readable() or is_watched() else captured
        before = state.held
        try:
            with model.backend.active():
                state.held, loss, z = run(before, x, y, scalars)
        except BaseException as error:  # Ctrl-C too: no half step stays (but perhaps a whole one, replayed)
            state.held = before
            self.t -= isinstance(error, Exception) or type(before) is Arrays
            state.drop_gradient()
            raise
        return loss, z

    def _look(self) -> None:
        """See what the model's precision needs and its backend offers: the model is new, or was moved."""
        model, state = self.model, self.model.state
        self._flat = model.flat
        if bool(state.arrays.scaling) != (model.precision == "float16"):
            scaling = first_scaling(model.precision, model.backend)
            state.arrays = state.arrays._replace(scaling=scaling)
        capture = type(model.backend).capture
        self._captured = None if capture is None else capture(self.pure_step)

    def pure_step(self, arrays: Any, x: Any, y: Any, scalars: Any, /) -> tuple[Arrays, Any, Any]:
        """Return the arrays after one step, the loss and the outputs: a function of its arguments alone.

        No value of an array on a device is read.

        Parameters
        ----------
        arrays : Arrays or object
            Before the step; see `State.held`.
        x, y : array
            A batch on the model's backend.
        scalars : (t, per segment)
            The step's number and what the optimizers need for it, numbers or arrays ().

        Returns
        -------
        arrays : Arrays
            After the step.
        loss : array ()
            NaN if the step was refused.
        z : array
            What the loss was computed on.
        """
        model, state = self.model, self.model.state
        state.held = arrays
        old = state.arrays
        state.drop_gradient()  # of passes made by hand
        t, scalars = scalars
        head, probabilities = model.head(self.loss)
        z, saved = head.forward(x, train=Pass(self.seed, t))
        loss, of_loss = self.loss(z, y, probabilities=probabilities)
        dz = of_loss.backward(1.0)[0]
        head.backward(dz * old.scaling[0] if old.scaling else dz, saved, need_dx=False)
        arrays, loss = self._update(old, state.arrays.buffers, state.take_gradient(), loss, scalars)
        return arrays, loss, z

    def _update(self, old: Arrays, buffers: Any, dw: Any, loss: Any, scalars: Any) -> tuple[Arrays, Any]:
        """Return the arrays after the update, and the loss; the old ones and NaN if it isn't finite."""
        backend = self.model.backend
        if old.scaling:
            dw = dw / old.scaling[0]
        if backend.host:
            fine = (find_kernel("all_finite", type(backend)) or all_finite)(dw)
            if not (fine and math.isfinite(loss)):
                return self._skip(old, loss)
            scaling = next_scaling(old.scaling, backend.asarray(True)) if old.scaling else ()
        else:  # a device would have to wait
            taken, loss, scaling = (find_kernel("settle", type(backend)) or settle)(dw, loss, old.scaling)
        if self.optimizer.clip_norm is not None or self.optimizer.clip_value is not None:
            dw = self.optimizer.clip(only_trained(self.segments, dw))
        values, slots = update_segments(self.segments, old.values, dw, old.slots, scalars)
        if not backend.host:
            choose = find_kernel("keep", type(backend)) or keep
            new, before = (values, *slots, *buffers), (old.values, *old.slots, *old.buffers)
            values, *rest = choose(taken, new, before)
            slots, buffers = tuple(rest[: len(slots)]), tuple(rest[len(slots) :])
        return Arrays(values, slots, buffers, scaling), loss

    def _skip(self, old: Arrays, loss: Any) -> tuple[Arrays, Any]:
        """Return the arrays of a step that overflowed, and NaN unless a smaller scale may help."""
        if old.scaling and math.isfinite(loss) and float(old.scaling[0]) > LEAST:
            return old._replace(scaling=next_scaling(old.scaling, self.model.backend.asarray(False))), loss
        return old, loss * math.nan

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep beside the model's parameters and statistics.

        Returns
        -------
        dict
            The step, the optimizer's slots, the schedule's state and the loss scaling: numbers and arrays.
        """
        arrays, schedule = self.model.state.arrays, self.schedule
        return {
            "t": self.t,
            "learning_rate": self.learning_rate,
            "stop": self.stop,
            "schedule": schedule.state_dict() if isinstance(schedule, Schedule) else {},
            "slots": list(arrays.slots),
            "scaling": list(arrays.scaling),
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on where another trainer was; the model has its parameters and statistics already.

        Parameters
        ----------
        state : dict
            What `state_dict` returned, of a trainer with the same options.

        Raises
        ------
        OptionError
            If the slots are not those of this optimizer and model.
        """
        arrays, backend = self.model.state.arrays, self.model.backend
        given, own = [tuple(a.shape) for a in state["slots"]], [tuple(a.shape) for a in arrays.slots]
        if given != own:
            msg = f"the optimizer's slots have shapes {given}; needed {own}"
            raise OptionError(msg, where="Trainer")
        asarray = array_namespace(arrays.values).asarray
        with backend.active():
            slots, scaling = [
                tuple([asarray(move(a, backend), copy=True) for a in state[key]])
                for key in ("slots", "scaling")
            ]
        self.model.state.arrays = arrays._replace(slots=slots, scaling=scaling)
        self.t, self.stop = integer(state["t"], "Trainer: t", 0), bool(state["stop"])
        self.learning_rate = float(state["learning_rate"])
        if isinstance(self.schedule, Schedule):
            self.schedule.load_state_dict(state["schedule"])

    def penalty(self) -> float:
        """Return what the penalties l1 and l2 amount to now.

        Returns
        -------
        float
            Reported apart from the loss.
        """
        values = self.model.state.arrays.values
        with self.model.backend.active():
            return sum(
                float(s.optimizer.penalty(values[s.start : s.stop]))
                for s in self.segments
                if s.optimizer and s.weights
            )
