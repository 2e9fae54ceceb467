"""Convolution layers."""

from __future__ import annotations

import inspect
import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

from xcnn import ops
from xcnn.errors import DTypeError, OptionError, ShapeError, flag, lookup
from xcnn.layer import Shape
from xcnn.layers.activation import activation_layer
from xcnn.layers.geometry import check_padding, image_shape, integer, pair, sides
from xcnn.layers.linear import Activated
from xcnn.ops import Op
from xcnn.ops.window import output_size
from xcnn.types import Pair

__all__ = ["Conv2D", "ConvTranspose2D"]

CONVOLUTIONS: dict[str, Op[...]] = {
    op.name: op for op in (ops.conv2d, ops.conv2d_loops, ops.conv2d_indices, ops.true_conv2d)
}


def convolution(op: str | Op[...], /) -> Op[...]:
    """Return the op called `op`, or `op` itself if it takes what `ops.conv2d` takes."""
    if isinstance(op, str):
        return lookup(op, CONVOLUTIONS, "convolution")
    needed = f"needed one of {', '.join(CONVOLUTIONS)}, or an Op {_bare(ops.conv2d)}"
    if not isinstance(op, Op):
        msg = f"Conv2D: op is {op!r}; {needed}"
        raise OptionError(msg)
    if _taken(op) != _taken(ops.conv2d):
        msg = f"Conv2D: op is {op!r}, an Op {_bare(op)}; {needed}"
        raise OptionError(msg)
    if op.name in ops.__all__ and op is not getattr(ops, op.name):
        msg = f"Conv2D: op is your own, with the name of xcnn's {op.name!r}; needed a name of its own"
        raise OptionError(msg)
    if op.backward is None:
        msg = f"Conv2D: {op} has no gradient; needed @{op.name}.gradient"
        raise OptionError(msg)
    return op


def _bare(op: Op[...]) -> inspect.Signature:
    """Return the signature of an op without annotations."""
    parameters = inspect.signature(op).parameters.values()
    return inspect.Signature([p.replace(annotation=p.empty) for p in parameters])


def _taken(op: Op[...]) -> tuple[int, set[str]]:
    """Return how many arrays an op takes, and the names of its options."""
    parameters = inspect.signature(op).parameters.values()
    return op.arity, {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}


class Convolution(Activated):
    """What both convolutions are made from."""

    filters: int
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    groups: int
    bias: bool
    activation: Any
    init: Any

    def __post_init__(self) -> None:
        kind = type(self).__name__
        self.filters = integer(self.filters, f"{kind}: filters")
        self.groups = integer(self.groups, f"{kind}: groups")
        self.size = pair(self.kernel_size, f"{kind}: kernel_size")
        self.steps = pair(self.stride, f"{kind}: stride")
        self.spacing = pair(self.dilation, f"{kind}: dilation")
        check_padding(self.padding, kind)
        self.bias = flag(self.bias, "bias", kind)
        self.act = activation_layer(self.activation)

    def check_groups(self, input_shape: Shape) -> tuple[int, Pair]:
        """Return C and (H, W), after refusing groups that don't divide C and the filters."""
        c, h, w = image_shape(input_shape)
        for what, count in (("the {} channels of x", c), ("its {} filters", self.filters)):
            if count % self.groups:
                msg = f"groups is {self.groups}; needed a divisor of {what.format(count)}"
                raise ShapeError(msg)
        return c, (h, w)

    def field(self) -> tuple[Pair, Pair]:
        """Return the reach of the kernel and the stride."""
        rows, columns = (d * (k - 1) + 1 for k, d in zip(self.size, self.spacing, strict=True))
        return (rows, columns), self.steps


@dataclass(eq=False)
class Conv2D(Convolution):
    r"""2-D convolution (cross-correlation) from images (N, C, H, W) to (N, F, OH, OW), then an activation.

    .. math:: y_{nfij} = a\Big(b_f + \sum_{c,k,l} w_{fckl}\, x_{n,\,c,\,s_h i + d_h k,\,s_w j + d_w l}\Big)

    Parameters
    ----------
    filters : int
        F; the channels C are inferred.
    kernel_size : int or (rows, columns)
        KH, KW in pixels.
    stride : int or (rows, columns)
        Pixels between outputs.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same" or "full"
        Zero pixels around the images; "same" gives ceil(H / stride) rows.
    dilation : int or (rows, columns)
        Pixels between the taps of a kernel.
    groups : int
        Independent groups of channels and filters.
    bias : bool
        Whether to add b.
    activation : str, Layer or None
        a; see `activation_layer`.
    init : str or callable
        First values of w; b starts at zero.
    op : str or Op
        What convolves: "conv2d"; "conv2d_loops" or "conv2d_indices", which give the same, slower, to be read;
        "true_conv2d", which rotates kernels; or an `Op` of your own that takes what `ops.conv2d` takes.

    Attributes
    ----------
    w : Parameter (F, C/groups, KH, KW)
        Kernels.
    b : Parameter (F,) or None
        Biases.
    """

    filters: int
    kernel_size: Any
    _: KW_ONLY
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True
    activation: Any = None
    init: Any = "he_normal"
    op: Any = "conv2d"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.convolve = convolution(self.op)
        if self.convolve.name in CONVOLUTIONS:
            self.op = self.convolve.name

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Declare w and b."""
        c, image = self.check_groups(input_shape)
        padding = sides(self.padding, image, self.size, self.steps, self.spacing)
        self.window: dict[str, Any] = {"stride": self.steps, "padding": padding, "dilation": self.spacing}
        self.maps = (self.filters, *output_size(image, size=self.size, **self.window))
        self.w = make.parameter((self.filters, c // self.groups, *self.size), self.init)
        self.b = make.parameter((self.filters,), "zeros") if self.bias else None
        return make.build(self.act, self.maps, at="activation")

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved) of the convolution alone."""
        b = None if self.b is None else self.b.value
        y, saved = self.convolve(x, self.w.value, b, **self.window, groups=self.groups)
        if isinstance(self.op, Op):  # one of your own
            self._check(x, y)
        return y, saved

    def _check(self, x: Any, y: Any) -> None:
        needed = (x.shape[0], *self.maps)
        if tuple(y.shape) != needed:
            msg = f"{self.op} gave shape {tuple(y.shape)}; needed {needed}"
            raise ShapeError(msg)
        if y.dtype != x.dtype:
            msg = f"{self.op} gave dtype {y.dtype}; needed that of x, {x.dtype}"
            raise DTypeError(msg)

    def multiply_adds(self) -> int:
        """Return OH OW times the number of weights."""
        return math.prod(self.maps[1:]) * self.w.size


@dataclass(eq=False)
class ConvTranspose2D(Convolution):
    r"""Transposed convolution from (N, C, H, W) to larger images (N, F, OH, OW), then an activation.

    .. math:: y_{n,\,f,\,s_h i + d_h k - p_t,\,s_w j + d_w l - p_l} \mathrel{+}= w_{cfkl}\, x_{ncij}

    Parameters
    ----------
    filters : int
        F; the channels C are inferred.
    kernel_size : int or (rows, columns)
        KH, KW in pixels.
    stride : int or (rows, columns)
        Pixels between the kernels laid down.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid" or "same"
        Pixels cut off the result; "same" gives H stride rows.
    output_padding : int or (rows, columns)
        Pixels added at the bottom and right.
    dilation : int or (rows, columns)
        Pixels between the taps of a kernel.
    groups : int
        Independent groups of channels and filters.
    bias : bool
        Whether to add b.
    activation : str, Layer or None
        See `activation_layer`.
    init : str or callable
        First values of w; b starts at zero.

    Attributes
    ----------
    w : Parameter (C, F/groups, KH, KW)
        Kernels.
    b : Parameter (F,) or None
        Biases.
    """

    filters: int
    kernel_size: Any
    _: KW_ONLY
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True
    activation: Any = None
    init: Any = "he_normal"

    def build(self, input_shape: Shape, make: Any) -> Shape:
        """Declare w and b."""
        c, image = self.check_groups(input_shape)
        extra = pair(self.output_padding, "ConvTranspose2D: output_padding", 0)
        if any(e >= max(s, d) for e, s, d in zip(extra, self.steps, self.spacing, strict=True)):
            msg = (
                f"output_padding is {extra}; needed less than stride {self.steps} or dilation {self.spacing}"
            )
            raise ShapeError(msg)
        reach = [d * (k - 1) + 1 for k, d in zip(self.size, self.spacing, strict=True)]
        if self.padding == "same":  # OH = H stride: cut off what the kernel reaches beyond its stride
            if any(r < s for r, s in zip(reach, self.steps, strict=True)):
                msg = f"kernels reach {reach} pixels; padding 'same' needs the stride {self.steps} or more"
                raise ShapeError(msg)
            rows, columns = (r - s + o for r, s, o in zip(reach, self.steps, extra, strict=True))
            padding = (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
        else:
            padding = sides(self.padding, image, self.size, self.steps, self.spacing)
        out = tuple(
            (h - 1) * s + r + o - sum(p)
            for h, s, r, o, p in zip(image, self.steps, reach, extra, padding, strict=True)
        )
        if min(out) < 1:
            msg = f"padding {padding} leaves {out[0]} x {out[1]} pixels of the result; needed at least 1 x 1"
            raise ShapeError(msg)
        self.window: dict[str, Any] = {
            "stride": self.steps,
            "padding": padding,
            "output_padding": extra,
            "dilation": self.spacing,
        }
        taps = math.prod(self.size)
        self.w = make.parameter(
            (c, self.filters // self.groups, *self.size),
            self.init,
            fans=(c // self.groups * taps, self.filters // self.groups * taps),
        )
        self.b = make.parameter((self.filters,), "zeros") if self.bias else None
        return make.build(self.act, (self.filters, *out), at="activation")

    def apply(self, x: Any, /) -> Any:
        """Return (y, saved) of the transposed convolution alone."""
        b = None if self.b is None else self.b.value
        return ops.conv_transpose2d(x, self.w.value, b, **self.window, groups=self.groups)

    def multiply_adds(self) -> int:
        """Return H W times the number of weights."""
        return math.prod(self.input_shape[1:]) * self.w.size

    def field(self) -> tuple[Pair, Pair]:
        """Return how many input pixels meet in one output pixel; outputs lie closer than inputs."""
        reach = [d * (k - 1) + 1 for k, d in zip(self.size, self.spacing, strict=True)]
        rows, columns = (-(-r // s) for r, s in zip(reach, self.steps, strict=True))
        return (rows, columns), (1, 1)
