"""Layers made of layers: anything built from them differentiates with no new code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from array_api_compat import array_namespace

from xcnn.errors import OptionError, ShapeError
from xcnn.layer import Layer, Shape

__all__ = ["Concat", "Gate", "Sequential", "Sum"]


class Sequential(Layer):
    """Apply layers one after the other.

    Parameters
    ----------
    *layers : Layer
        In order; they can be indexed and counted.
    name : str, optional
        Shown in summaries, errors and files.
    trainable : bool
        False freezes all layers inside.
    optimizer : Optimizer, optional
        For the layers inside; by default the trainer's.
    """

    def __init__(
        self, *layers: Layer, name: str | None = None, trainable: bool = True, optimizer: Any = None
    ) -> None:
        super().__init__(name=name, trainable=trainable, optimizer=optimizer)
        if not all(isinstance(layer, Layer) for layer in layers):
            wrong = next(layer for layer in layers if not isinstance(layer, Layer))
            msg = f"got {wrong!r}; needed layers"
            raise OptionError(msg, where=type(self).__name__)
        self.layers = layers

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Build the layers, each for the shape that the one before gives."""
        for i, layer in enumerate(self.layers):
            input_shape = make.build(layer, input_shape, at=f"layers[{i}]")
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        saved = []
        for layer in self.layers:
            x, s = layer.forward(x, train=train, hold=hold)
            saved.append(s)
        return x, saved

    def backward(self, dy, saved, /, *, need_dx=True):
        """Run the layers backward and return dx."""
        for i in reversed(range(len(self.layers))):
            dy = self.layers[i].backward(dy, saved[i], need_dx=need_dx or i > 0)
        return dy

    def leaves(self) -> list[Layer]:
        """Return the leaves of the layers, unless a subclass runs them in a way of its own."""
        own = type(self)
        if own.forward is not Sequential.forward or own.backward is not Sequential.backward:
            return [self]
        return [leaf for layer in self.layers for leaf in layer.leaves()]

    def children(self) -> tuple[Layer, ...]:
        """Return the layers."""
        return self.layers


class Branches(Sequential):
    """Layers side by side on the same x: what Sum and Concat share."""

    def __init__(
        self, *layers: Layer, name: str | None = None, trainable: bool = True, optimizer: Any = None
    ) -> None:
        super().__init__(*layers, name=name, trainable=trainable, optimizer=optimizer)
        if not layers:
            msg = "got no layers; needed one at least"
            raise OptionError(msg, where=type(self).__name__)

    def shapes(self, input_shape: Shape, make: Any) -> list[Shape]:
        """Build the branches and return the shapes they give."""
        return [make.build(layer, input_shape, at=f"layers[{i}]") for i, layer in enumerate(self.layers)]

    def run(self, x: Any, train: Any, hold: bool) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the outputs of the branches and what they saved."""
        ys, saved = zip(*[layer.forward(x, train=train, hold=hold) for layer in self.layers], strict=True)
        return ys, saved

    def gather(self, dys: Any, saved: Any, need_dx: bool) -> Any:
        """Run the branches backward and return the sum of their dx."""
        total = None
        for layer, dy, s in zip(self.layers, dys, saved, strict=True):
            dx = layer.backward(dy, s, need_dx=need_dx)
            if need_dx:
                total = dx if total is None else total + dx
        return total


class Sum(Branches):
    """Add the outputs of layers applied to the same x; ``Sum(Identity(), body)`` is a residual block.

    Parameters
    ----------
    *layers : Layer
        They give outputs of one shape.
    name : str, optional
        Shown in summaries, errors and files.
    trainable : bool
        False freezes all layers inside.
    optimizer : Optimizer, optional
        For the layers inside; by default the trainer's.

    References
    ----------
    He et al., "Deep residual learning", 2016, equation 1.
    """

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Return the one shape of the branches."""
        shapes = self.shapes(input_shape, make)
        if len(set(shapes)) > 1:
            msg = f"its branches give shapes {', '.join(map(str, shapes))}; needed one"
            raise ShapeError(msg)
        return shapes[0]

    def forward(self, x, /, *, train=False, hold=None):
        """Return the sum and what backward needs."""
        ys, saved = self.run(x, train, hold)
        y = ys[0]
        for other in ys[1:]:
            y = y + other
        return y, saved

    def backward(self, dy, saved, /, *, need_dx=True):
        """Give dy to each branch, and return the sum of their dx."""
        return self.gather([dy] * len(self.layers), saved, need_dx)


class Concat(Branches):
    """Stack the outputs of layers applied to the same x along the channels: (N, C1 + C2 + ..., ...).

    Parameters
    ----------
    *layers : Layer
        They give outputs of one shape but for the channels.
    name : str, optional
        Shown in summaries, errors and files.
    trainable : bool
        False freezes all layers inside.
    optimizer : Optimizer, optional
        For the layers inside; by default the trainer's.
    """

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Return the shape of the branches, their channels added."""
        shapes = self.shapes(input_shape, make)
        if () in shapes:
            raise ShapeError("its branches give no channels, shape (N,); needed (N, C, ...)")
        if len({shape[1:] for shape in shapes}) > 1:
            msg = f"its branches give shapes {', '.join(map(str, shapes))}; needed one but for the channels"
            raise ShapeError(msg)
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def forward(self, x, /, *, train=False, hold=None):
        """Return the stack and what backward needs."""
        ys, saved = self.run(x, train, hold)
        if x.ndim < 2:
            msg = f"x has shape {tuple(x.shape)}; needed (N, C, ...)"
            raise ShapeError(msg)
        return array_namespace(x).concat(ys, axis=1), saved

    def backward(self, dy, saved, /, *, need_dx=True):
        """Give each branch its channels of dy, and return the sum of their dx."""
        dys, at = [], 0
        for layer in self.layers:
            end = at + layer.output_shape[0]
            dys.append(dy[:, at:end, ...])
            at = end
        return self.gather(dys, saved, need_dx)


class Gate(Layer):
    r"""Multiply x by what a layer makes of it: :math:`y = x \odot f(x)`.

    f(x) of shape (N, C) is broadcast over x of shape (N, C, H, W).

    ``Gate(Sequential(GlobalAvgPool2D(), Dense(c // 16, activation="relu"), Dense(c, activation="sigmoid")))``
    is squeeze-and-excitation.

    Parameters
    ----------
    body : Layer
        f.
    name : str, optional
        Shown in summaries, errors and files.
    trainable : bool
        False freezes the layer inside.
    optimizer : Optimizer, optional
        For the layer inside; by default the trainer's.

    References
    ----------
    Hu, Shen and Sun, "Squeeze-and-excitation networks", 2018, equation 4.
    """

    def __init__(
        self, body: Layer, *, name: str | None = None, trainable: bool = True, optimizer: Any = None
    ) -> None:
        super().__init__(name=name, trainable=trainable, optimizer=optimizer)
        if not isinstance(body, Layer):
            msg = f"got {body!r}; needed a layer"
            raise OptionError(msg, where="Gate")
        self.body = body

    def __repr__(self) -> str:
        return f"Gate({self.body!r})"

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Build the body."""
        given = make.build(self.body, input_shape, at="body")
        if given not in (input_shape, input_shape[:1]):
            msg = f"its body gives shape {given}; needed {input_shape} or {input_shape[:1]}"
            raise ShapeError(msg)
        self.pixels = tuple(range(2, len(input_shape) + 1)) if given != input_shape else ()
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        """Return y and what backward needs."""
        g, saved = self.body.forward(x, train=train, hold=hold)
        for axis in self.pixels:
            g = array_namespace(g).expand_dims(g, axis=axis)
        return x * g, (x, g, saved)

    def backward(self, dy, saved, /, *, need_dx=True):
        """Run the body backward, and return dx = dy g + the body's dx."""
        x, g, saved = saved
        dg = dy * x
        if self.pixels:
            dg = array_namespace(dg).sum(dg, axis=self.pixels)
        dx = self.body.backward(dg, saved, need_dx=need_dx)
        return dy * g + dx if need_dx else None

    def children(self) -> tuple[Layer]:
        """Return the body."""
        return (self.body,)
