"""The only dispatch: an Op is a pair of pure functions, and a backend may replace the pair."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Generic, ParamSpec

from xcnn.backend import find_kernel, plugin_of
from xcnn.errors import DeviceMismatchError, DTypeError, Error, OptionError, OutOfMemoryError, ShapeError
from xcnn.ops.precision import Format, current_format, in_precision, rounded
from xcnn.types import Array

__all__ = ["Op", "Product", "Saved"]

P = ParamSpec("P")


class Saved:
    """What a forward left for its backward, and the backward that goes with it.

    Parameters
    ----------
    backward : callable
        ``backward(dy, values, needs) -> one gradient per array argument``.
    values : object
        What forward left.
    given : tuple of bool
        Which array arguments were there.
    y : array
        What dy must be like; it is not kept.
    """

    __slots__ = ("_backward", "_device", "_dtype", "_plugin", "_shape", "_values", "given")

    def __init__(
        self, backward: Callable[..., Any] | None, values: Any, given: tuple[bool, ...], y: Any
    ) -> None:
        self._backward, self._values, self.given = backward, values, given
        self._shape, self._dtype = y.shape, y.dtype
        self._plugin = plugin_of(y)
        self._device = self._plugin.device(y) if self._plugin.many_devices else None

    def check(self, dy: Any, /) -> None:
        """Refuse a dy that is not like y.

        Parameters
        ----------
        dy : array
            Gradient of the loss with respect to y.

        Raises
        ------
        DeviceMismatchError, ShapeError, DTypeError
            If it lives elsewhere, or its shape or dtype is not that of y.
        """
        plugin = plugin_of(dy)
        if plugin is not self._plugin or (self._device is not None and plugin.device(dy) != self._device):
            home = f"{self._plugin.root}:{self._device}" if self._device else self._plugin.root
            msg = f"dy is on {_place(plugin, dy)}, what forward saved on {home}; needed one device"
            raise DeviceMismatchError(msg)
        if dy.shape != self._shape:
            msg = f"dy has shape {tuple(dy.shape)}; needed that of y, {tuple(self._shape)}"
            raise ShapeError(msg)
        if dy.dtype != self._dtype:
            msg = f"dy has dtype {dy.dtype}; needed that of y, {self._dtype}"
            raise DTypeError(msg)

    def backward(self, dy: Any, /, needs: tuple[bool, ...] | None = None) -> tuple[Any, ...]:
        """Return one gradient per array argument of the forward, in order.

        Parameters
        ----------
        dy : array
            Gradient of the loss with respect to y, of the shape of y.
        needs : tuple of bool, optional
            Which gradients are wanted; all by default. Missing ones at the end aren't.

        Returns
        -------
        tuple
            Gradients of the shapes of the arguments; None where not wanted, for absent arguments, and for
            arguments without a gradient (labels, statistics).
        """
        if needs is None:
            needs = self.given
        elif len(needs) < len(self.given):
            needs = needs + (False,) * (len(self.given) - len(needs))
        if type(dy) is not float:  # of a loss, dy is 1.0
            self.check(dy)
        assert self._backward is not None
        found = self._backward(dy, self._values, needs)
        return tuple([g if need else None for g, need in zip(found, needs, strict=True)])


class Op(Generic[P]):
    """A readable pair: a forward function and, by ``@op.gradient``, its backward.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays, **options) -> (y, values)``, pure, in the array API standard alone.

    Attributes
    ----------
    name : str
        That of the function.
    arity : int
        How many arrays it takes.
    backward : callable or None
        What `gradient` was given.

    Notes
    -----
    The backend that owns the first array may hold a `Kernel` of the same name; it then replaces both halves.
    Of several ops of one name, that is the first: an op of your own is never taken for one of xcnn's.
    """

    registry: ClassVar[dict[str, Op[...]]] = {}
    product: ClassVar[bool] = False

    def __init__(self, forward: Callable[P, Any]) -> None:
        functools.update_wrapper(self, forward)
        self.name = forward.__name__
        self._forward = forward
        self.backward: Callable[..., Any] | None = None
        arrays = [p for p in inspect.signature(forward).parameters.values() if p.kind is p.POSITIONAL_ONLY]
        self.arity = len(arrays)
        self._needed = sum(p.default is p.empty for p in arrays)
        self._kernel = self.name if self.registry.setdefault(self.name, self) is self else ""

    def gradient(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        """Make `backward` the other half.

        Parameters
        ----------
        backward : callable
            ``backward(dy, values, needs) -> one gradient per array argument``.

        Returns
        -------
        callable
            The same function.
        """
        self.backward = backward
        return backward

    def __call__(self, *arrays: P.args, **options: P.kwargs) -> tuple[Any, Saved]:
        """Return y and what `Saved.backward` needs."""
        if self.product and (to := current_format()) is not None:
            return self._rounded(to, *arrays, **options)
        if any([hasattr(value, "item") for value in options.values()]):  # NumPy's scalars would widen float32
            options = {key: _plain(value) for key, value in options.items()}  # type: ignore[assignment]
        try:
            given = tuple([a is not None for a in arrays]) + (False,) * (self.arity - len(arrays))
            if False in given[: self._needed]:
                came = ", ".join([type(a).__name__ for a in arrays])
                msg = f"got {sum(given)} arrays; needed {self._needed}, in order (came: {came})"
                raise DTypeError(msg)
            plugin = _common_plugin(self.name, arrays)
            kernel = find_kernel(self._kernel, plugin)
            if kernel is not None:
                result = kernel.forward(*arrays, **options)
                if result is not NotImplemented:
                    return result[0], Saved(kernel.backward, result[1], given, _first(result[0]))
            if self.backward is None:
                msg = f"{self} has no gradient; needed @{self.name}.gradient"
                raise OptionError(msg)
            y, values = self._forward(*arrays, **options)
        except Error as error:
            error.where = error.where or self.name
            raise
        except MemoryError as error:
            raise OutOfMemoryError(
                f"{error}; needed smaller arrays, or fewer at a time", where=self.name
            ) from error
        return y, Saved(self.backward, values, given, _first(y))

    def _rounded(self, to: Format, x: Any, w: Any, /, *b: Any, **options: Any) -> tuple[Any, Saved]:
        """Return the same of x and w rounded, and y rounded where results are kept so."""
        with in_precision("float32"):
            y, saved = self(rounded(x, to), rounded(w, to), *b, **options)
        return (rounded(y, to) if to.stored else y), Saved(_rounded_gradient, (saved, to), saved.given, y)

    def __reduce__(self) -> str:
        """Return the name: an op is copied as a function is, to itself."""
        return self._forward.__qualname__

    def __repr__(self) -> str:
        return f"<op {self.name}>"


class Product(Op[P]):
    """An op that sums products of x and w: a model's precision is that of its products."""

    product = True


def _rounded_gradient(dy: Any, values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """Return the gradients of the rounded dy; those of parameters stay as they are summed."""
    saved, to = values
    dx, *others = saved.backward(rounded(dy, to), needs)
    return (rounded(dx, to) if to.stored and dx is not None else dx), *others


def _plain(value: Any, /) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _first(y: Any, /) -> Any:
    return y[0] if isinstance(y, tuple) else y


def _common_plugin(name: str, arrays: tuple[Any, ...], /) -> Any:
    """Return the plug-in that owns all `arrays`, which must live on one device."""
    x = arrays[0]
    plugin = plugin_of(x)
    for i, a in enumerate(arrays[1:], 1):
        if a is None:
            continue
        other = plugin if type(a) is type(x) else plugin_of(a)
        if other is not plugin or (plugin.many_devices and plugin.device(a) != plugin.device(x)):
            here, there = _place(plugin, x), _place(other, a)
            msg = (
                f"the first array is on {here}, array {i + 1} on {there}; needed one device: "
                f'convert the array, or move the model with model.to("{here}")'
            )
            raise DeviceMismatchError(msg, where=name)
    return plugin


def _place(plugin: Any, a: Array, /) -> str:
    device = plugin.device(a)
    return f"{plugin.root}:{device}" if device else plugin.root


def check_floating(xp: Any, x: Array, /, *others: Array | None, names: str) -> None:
    """Refuse arrays that are not of one real floating dtype; `names` lists theirs, separated by spaces."""
    labels = names.split()
    if not xp.isdtype(x.dtype, "real floating"):
        msg = f"{labels[0]} has dtype {x.dtype}; needed a real floating dtype"
        raise DTypeError(msg)
    for label, a in zip(labels[1:], others, strict=False):
        if a is not None and a.dtype != x.dtype:
            msg = f"{labels[0]} has dtype {x.dtype}, {label} {a.dtype}; needed the same"
            raise DTypeError(msg)
