"""What a backend is: one array library on one device, and the kernels that it offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

import numpy as np

from xcnn.errors import BackendError, DTypeError
from xcnn.types import Namespace

__all__ = ["Backend", "Kernel", "find_kernel", "is_readable", "readable"]

_ANY = nullcontext()  # where there is no current device
_readable: ContextVar[bool] = ContextVar("readable", default=False)


class Kernel(NamedTuple):
    """A backend's replacement of both halves of an op.

    Attributes
    ----------
    forward : callable
        Takes what the op takes, returns ``(y, values)``, or ``NotImplemented`` for a case it does not cover.
    backward : callable
        Takes ``(dy, values, needs)``, returns one gradient per array argument.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]


class Backend:
    """One array library on one device; a plug-in is a module ``xcnn_<name>`` with a subclass ``Backend``.

    Parameters
    ----------
    device : str
        What follows the colon in ``set_backend("name:device")``; empty for the default device.

    Attributes
    ----------
    root : str
        The name before the colon.
    owns : tuple of str
        Root packages of the library's array types.
    many_devices : bool
        Whether arrays of the library may live on different devices.
    kernels : mapping
        Replacements by op name (`Kernel`), by optimizer class name, and of functions: ``all_finite``,
        ``settle`` and ``keep`` of `xcnn.training.nonfinite`; ``update_segments`` of
        `xcnn.training.segments`, or ``NotImplemented``; ``philox`` of `xcnn.random` for an array of first
        words; ``scale_bytes(x, dtype)``, which divides bytes by 255; ``augmented(images, index, augment, *,
        seed, epoch)``, a loader's batch taken from all images, or ``NotImplemented``.
    compile_run : callable or None
        ``compile_run(leaves, *, dtype, need_dx) -> (layer, taken) | None``: one layer that does the work of
        the first `taken` leaves.
    precisions : tuple of str
        Those that `compile_run` knows; for others than "float32" it gets ``precision=`` too.
    capture : callable or None
        ``capture(step) -> step``: a faster replay of a pure training step, ``step(arrays, x, y, scalars) ->
        (arrays, loss, z)``; it may return an object with ``read()`` in the place of the arrays, and gets it
        back, see `State.held`. The scalars may be arrays () on the device.
    name : str
        The shortest name that opens this backend again.
    host : bool
        Whether reading a value costs nothing (no device to wait for).
    xp : module
        The library's array API namespace.
    """

    root: ClassVar[str]
    owns: ClassVar[tuple[str, ...]]
    many_devices: ClassVar[bool] = False
    kernels: ClassVar[Mapping[str, Any]] = {}
    compile_run: ClassVar[Callable[..., Any] | None] = None
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    capture: ClassVar[Callable[..., Any] | None] = None

    name: str
    host: bool
    xp: Namespace

    def __init__(self, device: str = "") -> None:
        raise NotImplementedError

    def asarray(self, a: Any, /, dtype: str | None = None) -> Any:
        """Return `a` (a host array, a list, an array of this library) on this device, in `dtype` if given."""
        raise NotImplementedError

    @classmethod
    def to_numpy(cls, a: Any, /) -> np.ndarray:
        """Return `a` as a NumPy array on the host."""
        raise NotImplementedError

    @classmethod
    def device(cls, a: Any, /) -> str:
        """Return where `a` lives, as `set_backend` would name it after the colon."""
        return ""

    def active(self) -> AbstractContextManager[Any]:
        """Return a block in which this device is the library's current one."""
        return _ANY

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked to do."""

    def feed(self, batches: Iterable[Any], /) -> Iterator[Any]:
        """Yield batches of host arrays, copied to the device ahead of their use where that helps.

        Parameters
        ----------
        batches : iterable of (x, y)
            As from a `Loader`.

        Yields
        ------
        tuple
            x and y, here or on the device.
        """
        yield from batches

    def room(self) -> int:
        """Return how many bytes a data set may have to live on the device; 0 on a host."""
        return 0

    def memory_info(self) -> tuple[int, int, int, int] | None:
        """Return the bytes in arrays, kept for arrays, free and there altogether; None if nobody knows."""
        return None

    def free_memory(self) -> None:
        """Give memory that is kept for later arrays back to the device."""

    @classmethod
    def set_num_threads(cls, n: int, /) -> None:
        """Let the library use n threads of the processor; nothing where it has none of its own.

        Parameters
        ----------
        n : int
            At least 1.
        """

    @classmethod
    def get_num_threads(cls) -> int:
        """Return how many threads of the processor the library uses at most."""
        return 1

    @classmethod
    def facts(cls) -> list[tuple[str, str]]:
        """Return what `xcnn doctor` says about the backend beyond its name."""
        return []

    @classmethod
    def cautions(cls) -> list[str]:
        """Return what `xcnn doctor` warns of: what makes the backend slower, or its numbers others."""
        return []

    def probe(self) -> None:
        """Run one kernel on the device: importing a library proves nothing.

        Raises
        ------
        BackendError
            If it gives wrong numbers; whatever the library raises otherwise.
        """
        xp, a = self.xp, self.asarray([[1.0, 2.0], [3.0, 4.0]], "float32")
        got = self.to_numpy(xp.sum(xp.matmul(a, a), axis=0)).tolist()
        if got != [22.0, 32.0]:
            msg = f"a 2 x 2 matrix product gave {got}; needed [22.0, 32.0]"
            raise BackendError(msg, where=f"backend {self.name!r}")

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    def __deepcopy__(self, memo: Any, /) -> Backend:
        return self  # there is one for each device


def refuse_other_arithmetic(kind: type, /) -> None:
    """Refuse types of NumPy's whose products and sums are not those of arrays."""
    if issubclass(kind, (np.matrix, np.ma.MaskedArray)):
        msg = f"got a {kind.__module__}.{kind.__qualname__}; needed a plain array: np.asarray(...)"
        raise DTypeError(msg)


@contextmanager
def readable() -> Iterator[None]:
    """Run the readable pairs and uncompiled layers inside the block, whatever kernels a backend has.

    Yields
    ------
    None
        Nothing.
    """
    token = _readable.set(True)
    try:
        yield
    finally:
        _readable.reset(token)


def is_readable() -> bool:
    """Return whether `readable` is in force."""
    return _readable.get()


def find_kernel(name: str, plugin: type[Backend], /) -> Any:
    """Return what replaces the readable `name` on `plugin`, or None.

    Parameters
    ----------
    name : str
        See `Backend.kernels`.
    plugin : type
        A subclass of `Backend`.

    Returns
    -------
    Kernel, callable or None
        The replacement.
    """
    return None if _readable.get() else plugin.kernels.get(name)
