"""Models as the server keeps them: by name, with what is known of the images they learned from."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock, RLock
from typing import Any

import numpy as np

from xcnn.data.strokes import learned_light_on_dark, strokes_of
from xcnn.draw.layers import describe
from xcnn.draw.pictures import Wanted
from xcnn.errors import Error, ShapeError
from xcnn.explain import ModelExplanation
from xcnn.io.data_spec import DataSpec
from xcnn.model import Model

__all__ = ["Served", "named_apart"]

_SAMPLE = 512  # images of the training set, by which dead channels are told
_KEPT = 8  # explanations: a pointer that moves over a map asks for the same one again and again
_BATCH, _QUICK = 32, 1e-3  # pictures, and seconds for them, that the event loop is held up for
_DEVICE = RLock()  # whoever uses a model that lives on an accelerator holds it: streams and graphs are shared


@dataclass(eq=False)
class Served:
    """A model that answers requests.

    Parameters
    ----------
    name : str
        By which requests choose it.
    model : Model
        It is read only: nothing may train it or move it while it is served.
    spec : DataSpec, optional
        The data it was trained on, where that is known.
    """

    name: str
    model: Model
    spec: DataSpec | None = None
    _found: OrderedDict[bytes, ModelExplanation] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be served."""
        if len(self.shape) != 3 or len(self.model.output_shape) != 1:
            msg = f"takes inputs {self.shape} and gives {self.model.output_shape}; needed pictures (C, H, W) "
            raise ShapeError(msg + "and classes (K,)", where=f"the model {self.name!r}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return self.model.input_shape

    @property
    def data(self) -> str | None:
        """The name of the public data set it was trained on, if it was one."""
        return None if self.spec is None else self.spec.name

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; numbers where the model knows none."""
        count = max(2, self.model.output_shape[0])
        names = self.model.classes or ()
        return names if len(names) == count else tuple(map(str, range(count)))

    @cached_property
    def wanted(self) -> Wanted:
        """What pictures must be made."""
        return Wanted(self.shape, strokes_of(self.shape), learned_light_on_dark(self.shape, self.spec))

    @cached_property
    def described(self) -> dict[str, Any]:
        """What there is to know of the model and its layers without a picture; see `describe`."""
        found: dict[str, Any] = self.read(describe)
        return found

    @cached_property
    def sample(self) -> np.ndarray | None:
        """Some of the training images (N, C, H, W), or None where they are not on this machine."""
        if self.spec is None:
            return None
        try:
            images = self.spec.model_copy(update={"download": False}).load()
        except Error:
            return None
        x = images.train.x
        if x.shape[1:] != self.shape:
            return None
        return np.ascontiguousarray(x[:: max(1, len(x) // _SAMPLE)][:_SAMPLE])

    def probabilities(self, x: np.ndarray, /) -> np.ndarray:
        """Return the probability of each class (N, K) for each picture of `x`.

        Parameters
        ----------
        x : array (N, C, H, W)
            Pictures.

        Returns
        -------
        array
            On the host.
        """
        p = np.asarray(self.read(Model.predict_proba, x))
        return np.concatenate([1.0 - p, p], axis=1) if p.shape[1:] == (1,) else p

    @cached_property
    def quick(self) -> int:
        """How many pictures it answers sooner than another thread is worth waking; measured once."""
        if not self.model.backend.host:
            return 0
        x, seconds = np.zeros((_BATCH, *self.shape), np.float32), []
        for _ in range(3):
            start = time.perf_counter()
            self.probabilities(x)
            seconds.append(time.perf_counter() - start)
        return _BATCH if min(seconds) < _QUICK else 0

    def read(self, how: Any, /, *arguments: Any) -> Any:
        """Return ``how(model, *arguments)``, in this thread and others at once as far as its backend allows.

        Parameters
        ----------
        how : callable
            What looks at the model, and changes nothing.
        *arguments : object
            What else it takes.

        Returns
        -------
        object
            What it returns.
        """
        # On a host, the tests of backends hold models to threads that use them at once.
        with np.errstate(all="ignore"), nullcontext() if self.model.backend.host else _DEVICE:
            return how(self.model, *arguments)

    def explain(self, x: np.ndarray, /) -> ModelExplanation:
        """Return what the model makes of one picture; the last few are remembered.

        Parameters
        ----------
        x : array (C, H, W)
            The picture.

        Returns
        -------
        ModelExplanation
            To be read only.
        """
        key = x.tobytes()
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found: ModelExplanation = self.read(Model.explain, x)
        with self._lock:
            self._found[key] = found
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found

    def warm(self) -> None:
        """Do once what is done once, so that nothing is compiled or prepared while somebody waits."""
        _ = self.described
        self.explain(np.zeros(self.shape, np.float32))
        for n in (1, 2, 8, 16, 64):
            self.probabilities(np.zeros((n, *self.shape), np.float32))
        _ = self.quick


def named_apart(models: Iterable[Served], /) -> list[Served]:
    """Return `models` with numbers after names that came before: "b", "b 2", "b 3"."""
    taken: set[str] = set()
    apart = []
    for served in models:
        name, n = served.name, 1
        while name in taken:
            n += 1
            name = f"{served.name} {n}"
        taken.add(name)
        apart.append(served if name == served.name else replace(served, name=name))
    return apart
