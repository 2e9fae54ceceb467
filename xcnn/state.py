"""A model's arrays: one flat vector of values, optimizer slots of the same length, buffers, gradients."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from array_api_compat import array_namespace, device

from xcnn.backend import Backend, backend_of, move
from xcnn.errors import ShapeError

if TYPE_CHECKING:
    from xcnn.layer import Layer

__all__ = ["Arrays", "Buffer", "Parameter", "State", "join"]

_MANY = 2**24  # values of new models after which dropped ones are looked for
_made = [0]
_JOINED = 8  # vectors at a time: CuPy reads a table of more from the host, which no CUDA graph can hold


def join(parts: Sequence[Any], /) -> Any:
    """Return vectors one after the other.

    Parameters
    ----------
    parts : sequence of array (n,)
        One at least.

    Returns
    -------
    array
        Itself if there is one.
    """
    if len(parts) == 1:
        return parts[0]
    xp = array_namespace(parts[0])
    while len(parts) > _JOINED:
        parts = [xp.concat(parts[i : i + _JOINED]) for i in range(0, len(parts), _JOINED)]
    return xp.concat(parts)


def make_room(size: int, /) -> None:
    """Free the values of dropped models if those of new ones, of which `size` are now to live, are many.

    Layers, parameters and state refer to each other: only Python's garbage collector frees a dropped model,
    and it counts objects, of which a model of any size has few.
    """
    _made[0] += size
    if _made[0] > _MANY and gc.isenabled():
        _made[0] = 0
        gc.collect()


class Arrays(NamedTuple):
    """What a training step takes and gives: no references, only arrays.

    Attributes
    ----------
    values : array (size,)
        All parameters, weights first, then biases and norms.
    slots : tuple of array (size,)
        What the optimizer keeps for each value.
    buffers : tuple of array
        What forward passes keep: running statistics.
    scaling : tuple of array ()
        What float16 needs: by how much the loss is scaled, and for how many steps that went well.
    """

    values: Any
    slots: tuple[Any, ...] = ()
    buffers: tuple[Any, ...] = ()
    scaling: tuple[Any, ...] = ()


class State:
    """Hold a model's arrays. Writing replaces them, so an array is its own version: compare it with ``is``.

    Attributes
    ----------
    held : Arrays or object
        The arrays, or what keeps them where a replayed step finds them again: its ``read()`` returns copies.
    parameters : list of Parameter
        In the order of the values.
    buffers : list of Buffer
        In the order of ``arrays.buffers``.
    """

    def __init__(self) -> None:
        self.held: Any = Arrays(None)
        self.parameters: list[Parameter] = []
        self.buffers: list[Buffer] = []
        self.token: object = None  # of the trainer whose slots these are
        self._gradients: dict[tuple[int, int], Any] = {}  # (start, stop) -> flat gradient

    @property
    def arrays(self) -> Arrays:
        """The arrays now; nothing changes them later."""
        held = self.held
        return held if type(held) is Arrays else held.read()

    @arrays.setter
    def arrays(self, arrays: Arrays) -> None:
        self.held = arrays

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of: what replays overwrite stays with this state."""
        make_room(self.size)
        return {**vars(self), "held": self.arrays}

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.parameters[-1].stop if self.parameters else 0

    def add_gradient(self, start: int, stop: int, g: Any, /) -> None:
        """Add the flat gradient of ``values[start:stop]``.

        Parameters
        ----------
        start, stop : int
            A parameter's range, or one range of several neighbours, the same each time.
        g : array (stop - start,)
            The gradient.
        """
        known = self._gradients.get((start, stop))
        self._gradients[start, stop] = g if known is None else known + g

    def gradient(self, start: int, stop: int, /) -> Any:
        """Return what was added for ``values[start:stop]`` since the last `take_gradient`, or None."""
        found = None
        for (at, end), g in self._gradients.items():
            if at <= start and stop <= end:
                part = g[start - at : stop - at]
                found = part if found is None else found + part
        return found

    def drop_gradient(self) -> None:
        """Forget the gradients added so far."""
        self._gradients = {}

    def take_gradient(self) -> Any:
        """Join the gradients into one vector, and forget them; untouched ranges are zero.

        Returns
        -------
        array (size,)
            Uncopied where one range covers everything.
        """
        parts, self._gradients = self._gradients, {}
        if len(parts) == 1 and (0, self.size) in parts and self.size > 0:
            return parts[0, self.size]
        values, at, joined = self.arrays.values, 0, []
        xp = array_namespace(values)
        for start, stop in sorted(parts):
            g = parts[start, stop]
            if start < at:  # a compiled run and its layers were both at work since the last step
                return self._total(parts)
            if start > at:
                joined.append(xp.zeros(start - at, dtype=values.dtype, device=device(values)))
            joined.append(g)
            at = stop
        if at < self.size or not joined:
            joined.append(xp.zeros(self.size - at, dtype=values.dtype, device=device(values)))
        return join(joined)

    def _total(self, parts: dict[tuple[int, int], Any]) -> Any:
        """Return the sum of gradients whose ranges overlap."""
        values = self.arrays.values
        xp = array_namespace(values)
        total = xp.zeros_like(values)
        for (start, stop), g in parts.items():
            total = xp.concat([total[:start], total[start:stop] + g, total[stop:]])
        return total

    def move(self, backend: Backend, dtype: str, /) -> None:
        """Put values, slots, buffers and gradients on `backend` in `dtype`.

        Parameters
        ----------
        backend : Backend
            Where to.
        dtype : str
            For example ``"float32"``.
        """
        values, *groups = self.arrays
        slots, buffers = (tuple([move(a, backend, dtype) for a in group]) for group in groups[:2])
        scaling = tuple([move(a, backend) for a in groups[2]])  # whatever the dtype
        self.arrays = Arrays(move(values, backend, dtype), slots, buffers, scaling)
        self._gradients = {where: move(g, backend, dtype) for where, g in self._gradients.items()}


class Parameter:
    """A stretch of a State's values: `value` is sliced at each access; setting it writes through.

    Parameters
    ----------
    state : State
        Who holds the values.
    shape : tuple of int
        Shape of the value.
    owners : tuple of Layer
        The layer that declared it, then the layers around that one.
    is_weight : bool
        Whether penalties and decay apply: to matrices and kernels, not to biases and norms.
    """

    start: int  # set when all parameters are known: weights come first

    def __init__(
        self, state: State, shape: tuple[int, ...], owners: tuple[Layer, ...], is_weight: bool
    ) -> None:
        self.state, self.shape, self.owners, self.is_weight = state, shape, owners, is_weight
        self.size = math.prod(shape)

    @property
    def stop(self) -> int:
        """End of the stretch."""
        return self.start + self.size

    @property
    def value(self) -> Any:
        """The array now."""
        values = self.state.arrays.values
        return array_namespace(values).reshape(values[self.start : self.stop], self.shape)

    @value.setter
    def value(self, a: Any) -> None:
        old = self.state.arrays
        xp, backend = array_namespace(old.values), backend_of(old.values)
        a = move(a, backend, str(old.values.dtype).rpartition(".")[2])
        if tuple(a.shape) != self.shape:
            msg = f"the new value has shape {tuple(a.shape)}; needed {self.shape}"
            raise ShapeError(msg, where="Parameter")
        with backend.active():
            values = xp.concat([old.values[: self.start], xp.reshape(a, (-1,)), old.values[self.stop :]])
        self.state.arrays = old._replace(values=values)

    @property
    def gradient(self) -> Any:
        """What backward passes added since the last step, or None."""
        g = self.state.gradient(self.start, self.stop)
        return None if g is None else array_namespace(g).reshape(g, self.shape)

    def add_gradient(self, dw: Any, /) -> None:
        """Add `dw`, of the shape of the value, to the gradient.

        Parameters
        ----------
        dw : array
            Gradient of the loss.
        """
        self.state.add_gradient(self.start, self.stop, array_namespace(dw).reshape(dw, (-1,)))

    def __repr__(self) -> str:
        return f"<parameter {self.shape}>"


class Buffer:
    """An array that forward passes keep: the only thing that they write.

    Parameters
    ----------
    state : State
        Who holds the array.
    index : int
        Its place in ``state.arrays.buffers``.
    shape : tuple of int
        Its shape.
    """

    def __init__(self, state: State, index: int, shape: tuple[int, ...]) -> None:
        self.state, self.index, self.shape = state, index, shape

    @property
    def value(self) -> Any:
        """The array now."""
        return self.state.arrays.buffers[self.index]

    @value.setter
    def value(self, a: Any) -> None:
        old = self.state.arrays
        backend = backend_of(old.values)
        a = move(a, backend, str(old.values.dtype).rpartition(".")[2])
        if tuple(a.shape) != self.shape:
            msg = f"the new value has shape {tuple(a.shape)}; needed {self.shape}"
            raise ShapeError(msg, where="Buffer")
        with backend.active():
            a = array_namespace(a).asarray(a, copy=True)
        buffers = (*old.buffers[: self.index], a, *old.buffers[self.index + 1 :])
        self.state.arrays = old._replace(buffers=buffers)

    def __repr__(self) -> str:
        return f"<buffer {self.shape}>"
