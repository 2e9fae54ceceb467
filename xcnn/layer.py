"""The layer contract, and the frame around every forward and backward."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from xcnn.errors import Error, OptionError
from xcnn.passes import Pass
from xcnn.types import Array, Pair

if TYPE_CHECKING:
    from xcnn.build import Make
    from xcnn.explain import Explanation
    from xcnn.state import Parameter

__all__ = ["Layer", "Pass", "is_watched", "watch"]

Shape = tuple[int, ...]
UNBUILT = "it is not built; needed xcnn.Model([...], input_shape), which builds its layers"

_watcher: ContextVar[Callable[[Layer, str, Any], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watch(callback: Callable[[Layer, str, Any], None], /) -> Iterator[None]:
    """Call ``callback(layer, "forward" | "backward", result)`` after each layer, inner layers first.

    Parameters
    ----------
    callback : callable
        Sees y after a forward, dx after a backward.

    Yields
    ------
    None
    """
    token = _watcher.set(callback)
    try:
        yield
    finally:
        _watcher.reset(token)


def is_watched() -> bool:
    """Return whether a `watch` is in force."""
    return _watcher.get() is not None


def _frame_forward(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Make True a Pass, drop what needn't be held, and name the layer in errors."""

    @functools.wraps(forward)
    def framed(self: Layer, x: Array, /, *, train: Any = False, hold: bool | None = None) -> tuple[Any, Any]:
        if train is True:
            train = Pass()
        hold = train is not False if hold is None else hold
        try:
            if train is not False and not isinstance(train, Pass):
                msg = f"train is {train!r}; needed False, True or a Pass"
                raise OptionError(msg)
            y, saved = forward(self, x, train=train, hold=hold)
        except Error as error:
            self.locate(error)
            raise
        except AttributeError as error:
            if self.maker is not None or error.obj is not self:
                raise
            raise Error(UNBUILT, where=self.label) from error
        tell = _watcher.get()
        if tell is not None:
            tell(self, "forward", y)
        if not hold:
            return y, None
        return y, () if saved is None else saved

    return framed


def _frame_backward(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a forward that held nothing, and name the layer in errors."""

    @functools.wraps(backward)
    def framed(self: Layer, dy: Array, saved: Any, /, *, need_dx: bool = True) -> Any:
        try:
            if saved is None:
                msg = "backward got None; needed what forward(x, train=True) or forward(x, hold=True) saved"
                raise Error(msg)
            dx = backward(self, dy, saved, need_dx=need_dx)
        except Error as error:
            self.locate(error)
            raise
        tell = _watcher.get()
        if tell is not None:
            tell(self, "backward", dx)
        return dx

    return framed


class _Place:
    """What building tells a layer."""

    path: str = ""  # in the model: "layers[0]"
    number: int = 0  # in the order of building
    input_shape: Shape = ()
    output_shape: Shape = ()
    maker: Any = None  # the Make of its model
    built: tuple[Layer, ...] = ()  # the layers that it built inside

    def _unbuild(self) -> None:
        """Forget the model that it belongs to."""
        self.maker, self.path, self.built = None, "", ()


@dataclass(eq=False)
class Layer(_Place):
    """A function of an array and of parameters that live in the model's State.

    A layer of your own overrides `forward` and `backward`, and `build` where it has parameters or changes the
    shape. Both are framed where they are defined: ``train=True`` arrives as a `Pass`, `hold` as a bool, and
    what forward saved is dropped unless it is to be held.

    Parameters
    ----------
    name : str, optional
        Shown in summaries, errors and files.
    trainable : bool
        False freezes the layer and those inside it.
    optimizer : Optimizer, optional
        Its own; by default that of the layer around it, at last the trainer's.
    """

    _: KW_ONLY
    name: str | None = None
    trainable: bool = True
    optimizer: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in cls.__dict__:
            cls.forward = _frame_forward(cls.__dict__["forward"])  # type: ignore[method-assign]
        if "backward" in cls.__dict__:
            cls.backward = _frame_backward(cls.__dict__["backward"])  # type: ignore[method-assign]

    @property
    def label(self) -> str:
        """What errors call the layer: type, name, place in the model."""
        name = f" {self.name!r}" if self.name else ""
        return f"{type(self).__name__}{name}" + (f" ({self.path})" if self.path else "")

    def locate(self, error: Error, /) -> None:
        """Write this layer's label over the place of `error`, unless an inner layer did.

        Parameters
        ----------
        error : Error
            Is changed.
        """
        if not error.located:
            error.where, error.located = self.label, True

    def build(self, input_shape: Shape, make: Make) -> Shape:
        """Declare parameters for inputs of `input_shape` (without N) and return the shape of the outputs.

        Parameters
        ----------
        input_shape : tuple of int
            For example (C, H, W).
        make : Make
            Declares parameters and buffers, builds children.

        Returns
        -------
        tuple of int
            For example (F, OH, OW).
        """
        return input_shape

    def forward(self, x: Array, /, *, train: Any = False, hold: bool | None = None) -> tuple[Any, Any]:
        """Return y and what `backward` needs.

        Parameters
        ----------
        x : array (N, ...)
            Inputs.
        train : False, True or Pass
            Whether to train; True means ``Pass(0, 0)``.
        hold : bool, optional
            Whether to keep what backward needs; by default in training.

        Returns
        -------
        y : array (N, ...)
            Outputs.
        saved : object
            For `backward`; None unless held.
        """
        raise NotImplementedError

    def backward(self, dy: Array, saved: Any, /, *, need_dx: bool = True) -> Any:
        """Add to the parameters' gradients and return dx.

        Parameters
        ----------
        dy : array
            Gradient of the loss, of the shape of y.
        saved : object
            What forward returned.
        need_dx : bool
            Whether dx is wanted.

        Returns
        -------
        array or None
            Gradient of the loss, of the shape of x.
        """
        raise NotImplementedError

    def leaves(self) -> list[Layer]:
        """Return the layers whose composition this one is: what a compiled run may replace.

        Returns
        -------
        list of Layer
            At least this layer, or for a Sequential those inside.
        """
        return [self]

    def children(self) -> Sequence[Layer]:
        """Return the layers inside this one, by default those that it built.

        Returns
        -------
        sequence of Layer
            None for most.
        """
        return self.built

    def parameters(self) -> dict[str, Parameter]:
        """Return this layer's own parameters by attribute name, without those of layers inside.

        Returns
        -------
        dict
            For example w and b.
        """
        from xcnn.state import Parameter

        return {key: p for key, p in vars(self).items() if isinstance(p, Parameter)}

    def multiply_adds(self) -> int:
        """Return how many multiplications with an addition one image costs, once built.

        Returns
        -------
        int
            0 where there is only elementwise work.
        """
        return 0

    def field(self) -> tuple[Pair, Pair] | None:
        """Return how far one output pixel sees, and how far neighbours lie apart, in pixels of the input.

        Returns
        -------
        tuple or None
            ((rows, columns) seen, (rows, columns) apart); None: it sees everything.
        """
        return (1, 1), (1, 1)

    def explain(self, x: Array, /) -> Explanation:
        """Show by numbers what this layer, once built, does with one input: ``print(layer.explain(x))``.

        Parameters
        ----------
        x : array (C, H, W) or (1, C, H, W)
            What it is given; of any backend.

        Returns
        -------
        Explanation
            Of the strongest output, and of its gradient; ``.at(filter, row, column)`` explains another.
        """
        from xcnn.explain import explain_layer

        return explain_layer(self, x)
