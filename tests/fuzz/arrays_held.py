"""What calls with arrays are held to: inputs stay as they came, and a model that refused is as it was."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np

import xcnn
from tests.fuzz.arrays_nonsense import usable
from tests.fuzz.harness import Target
from xcnn import ops
from xcnn.backend import plugin_of
from xcnn.errors import DTypeError, Error
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D

__all__ = ["Choices", "drawn", "held", "placed"]


class Choices(Random):
    """A generator whose numbers are read from bytes, so that a fuzzer can change one choice; then drawn.

    Parameters
    ----------
    data : bytes
        What a fuzzer, or Hypothesis, makes up.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data, self.at = data, 0

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of k bits."""
        end = self.at + (k + 7) // 8
        if end > len(self.data):
            return super().getrandbits(k)
        found, self.at = int.from_bytes(self.data[self.at : end], "little"), end
        return found & ((1 << k) - 1)

    def random(self) -> float:
        """Return a number of [0, 1)."""
        return self.getrandbits(16) / 2**16


def drawn(name: str, one: Callable[[Random], object], **options: Any) -> Target:
    """Return the target that gives ``one`` a generator made of bytes."""

    def call(data: bytes) -> None:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # NaN in, NaN out
            one(Choices(data))

    return Target(name, call, _seeds, lambda data, rng: rng.randbytes(48), **options)


def _seeds() -> list[bytes]:
    _warm()
    return [bytes([n] * 48) for n in (0, 1, 255)]


@cache
def _warm() -> None:
    """Import and compile what is at first use: no input takes the blame for it."""
    usable()
    for dtype in ("float32", "float64"):
        x = np.zeros((9, 1, 4, 4), dtype)
        model = xcnn.Model([Conv2D(1, 2), MaxPool2D(2), Flatten(), Dense(2)], x.shape[1:], dtype=dtype)
        model.fit(x, np.zeros(9, "int64"), progress=False)
        model.predict(x[:1])
        for op, arrays in ((ops.conv2d, (x, x[:1])), (ops.max_pool2d, (x,))):
            y, saved = op(*arrays)
            saved.backward(y)


def _numbers(a: Any) -> Any:
    """Return what can be compared of something that was given."""
    if isinstance(a, np.ndarray):
        small = a.size < 100_000 and not a.dtype.hasobject
        masked = a.mask.tobytes() if isinstance(a, np.ma.MaskedArray) and small else b""
        held = np.asarray(a).tobytes() if small else b""
        return type(a), a.shape, a.strides, a.dtype, a.flags.writeable, held, masked
    if isinstance(a, (list, tuple, dict)):
        return copy.deepcopy(repr(a)) if len(a) < 100 else len(a)
    if hasattr(a, "shape"):
        try:
            return np.asarray(plugin_of(a).to_numpy(a)).tobytes()
        except DTypeError:
            return None
    return None


def _state(model: Any, training: bool) -> Any:
    """Return all that a model holds, or what it holds without an optimizer."""
    host, arrays = model.backend.to_numpy, model.state.arrays
    found = [np.asarray(host(a)).tobytes() for a in (arrays.values, *arrays.buffers)]
    if not training:
        return found, model.classes
    slots = [np.asarray(host(a)).tobytes() for a in arrays.slots]
    return found, model.classes, slots, model.loss, model.state.gradient(0, model.state.size) is None


def held(run: Callable[[], Any], *given: Any, model: Any = None, training: bool = True) -> Any:
    """Return ``run()``; fail if it changes what it was given, or refuses and leaves the model another.

    Without `training`, the optimizer's slots and the loss may be others: a first step may refuse, too.
    """
    before, state = [_numbers(a) for a in given], model and _state(model, training)
    refused = None
    try:
        result = run()
    except Error as error:
        refused = error
    assert [_numbers(a) for a in given] == before, "an input was changed"
    if refused is None:
        return result
    assert placed(refused), f"a message that does not say where: {refused}"
    assert model is None or _state(model, training) == state, f"refused, yet the model is another: {refused}"
    raise refused


def placed(error: Error) -> bool:
    """Return whether a message says where."""
    return bool(error.where) or ":" in error.what
