"""Pooling layers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from xcnn import ops
from xcnn.errors import ShapeError, flag
from xcnn.layer import Shape
from xcnn.layers.activation import Elementwise
from xcnn.layers.geometry import check_padding, image_shape, pair, sides
from xcnn.ops.window import output_size
from xcnn.types import Pair

__all__ = ["AvgPool2D", "GlobalAvgPool2D", "GlobalMaxPool2D", "MaxPool2D"]


class Pool(Elementwise):
    """What both poolings are made from."""

    size: Any
    stride: Any
    padding: Any
    ceil: bool

    def __post_init__(self) -> None:
        kind = type(self).__name__
        self.extent = pair(self.size, f"{kind}: size")
        self.steps = pair(self.size if self.stride is None else self.stride, f"{kind}: stride")
        check_padding(self.padding, kind)
        self.ceil = flag(self.ceil, "ceil", kind)

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Find the shape of the outputs."""
        c, *image = image_shape(input_shape)
        padding = sides(self.padding, (image[0], image[1]), self.extent, self.steps, (1, 1))
        if any(max(p) >= k for p, k in zip(padding, self.extent, strict=True)):
            msg = f"padding is {padding}; needed less than the window, {self.extent}"
            raise ShapeError(msg)
        self.window: dict[str, Any] = {
            "size": self.extent,
            "stride": self.steps,
            "padding": padding,
            "ceil": self.ceil,
        }
        return (c, *output_size(image, **self.window))

    def field(self) -> tuple[Pair, Pair]:
        """Return the window and the stride."""
        return self.extent, self.steps


@dataclass(eq=False)
class MaxPool2D(Pool):
    """Take the largest pixel of each window: images (N, C, H, W) to (N, C, OH, OW).

    Parameters
    ----------
    size : int or (rows, columns)
        The window, in pixels.
    stride : int or (rows, columns), optional
        Pixels between windows; the size by default.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid" or "same"
        Pixels around the images, which never win.
    ceil : bool
        Keep a window that hangs over the edge; else the ragged edge is dropped.
    """

    size: Any
    _: KW_ONLY
    stride: Any = None
    padding: Any = 0
    ceil: bool = False

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.max_pool2d(x, **self.window)


@dataclass(eq=False)
class AvgPool2D(Pool):
    """Take the mean of each window: images (N, C, H, W) to (N, C, OH, OW).

    Parameters
    ----------
    size : int or (rows, columns)
        The window, in pixels.
    stride : int or (rows, columns), optional
        Pixels between windows; the size by default.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid" or "same"
        Zero pixels around the images.
    ceil : bool
        Keep a window that hangs over the edge; else the ragged edge is dropped.
    count_include_pad : bool
        Whether the padding counts in the mean.
    """

    size: Any
    _: KW_ONLY
    stride: Any = None
    padding: Any = 0
    ceil: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.count_include_pad = flag(self.count_include_pad, "count_include_pad", "AvgPool2D")

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.avg_pool2d(x, **self.window, count_include_pad=self.count_include_pad)


class GlobalPool(Elementwise):
    """What both global poolings are made from."""

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Return (C,)."""
        return image_shape(input_shape)[:1]

    def field(self) -> None:
        """Return None: each output sees everything."""
        return


@dataclass(eq=False)
class GlobalAvgPool2D(GlobalPool):
    """Take the mean of each feature map: (N, C, H, W) to (N, C)."""

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.global_avg_pool2d(x)


@dataclass(eq=False)
class GlobalMaxPool2D(GlobalPool):
    """Take the largest pixel of each feature map: (N, C, H, W) to (N, C)."""

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved)."""
        return ops.global_max_pool2d(x)
