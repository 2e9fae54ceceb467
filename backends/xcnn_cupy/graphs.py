"""What cuDNN is asked to compute: graphs of tensors and operations, drawn through nvidia-cudnn-frontend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, NamedTuple

from xcnn.types import Pair, Sides

__all__ = [
    "Geometry",
    "Graph",
    "Unsupported",
    "available",
    "draw_forward",
    "draw_input_gradient",
    "draw_norm",
    "draw_norm_gradient",
    "draw_weight_gradient",
    "output_shape",
    "refusals",
]

Shape = tuple[int, ...]

_TYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}


class Unsupported(Exception):
    """cuDNN has no plan for a graph."""


@contextmanager
def refusals() -> Iterator[None]:
    """Raise `Unsupported` for what cuDNN refuses inside the block, whose exceptions are of several types.

    Yields
    ------
    None
        To the block.
    """
    import cudnn

    try:
        yield
    except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError, IndexError) as error:
        raise Unsupported(str(error).split("\n", 1)[0]) from error


@cache
def available() -> bool:
    """Return whether cuDNN and its Python front end are installed."""
    try:
        import cudnn

        return int(cudnn.backend_version()) > 0
    except (ImportError, OSError, RuntimeError, AssertionError):  # the last: of two cuDNNs
        return False


def channels_last(dims: Sequence[int], /) -> list[int]:
    """Return the strides, in numbers, of an array of shape (N, C, H, W) kept as N, H, W, C."""
    _, c, h, w = dims
    return [h * w * c, 1, w * c, c]


class Graph:
    """What cuDNN is to compute: tensors, channels-last in memory behind N, C, H, W, and operations on them.

    Parameters
    ----------
    kind : str
        How images are stored; sums are float64 for float64, else float32.
    **where : object
        For which GPU: a handle, or a description of a GPU that need not be there.

    Attributes
    ----------
    nodes : cudnn.pygraph
        What operations are added to.
    kind : str
        As given.
    """

    def __init__(self, kind: str, **where: Any) -> None:
        import cudnn

        self._types, self.kind = cudnn.data_type, kind
        computed = self.type("float64" if kind == "float64" else "float32")
        self.nodes = cudnn.pygraph(
            io_data_type=self.type(kind),
            intermediate_data_type=computed,
            compute_data_type=computed,
            **where,
        )

    def type(self, kind: str, /) -> Any:
        """Return cuDNN's name of a kind of number."""
        return getattr(self._types, _TYPES[kind])

    def input(self, dims: Sequence[int], /, kind: str = "", *, by_value: bool = False) -> Any:
        """Return a tensor that is given when the graph runs.

        Parameters
        ----------
        dims : sequence of int
            N, C, H, W.
        kind : str
            How its numbers are stored; as those of the graph by default.
        by_value : bool
            Whether it is one number in the host's memory.
        """
        return self.nodes.tensor(
            dim=list(dims),
            stride=channels_last(dims),
            data_type=self.type(kind or self.kind),
            is_pass_by_value=by_value,
        )

    def output(self, tensor: Any, dims: Sequence[int], /, kind: str = "") -> Any:
        """Return the result `tensor` of an operation as one that is written to memory."""
        tensor.set_output(True).set_dim(list(dims)).set_stride(channels_last(dims))
        return tensor.set_data_type(self.type(kind or self.kind))

    def propose(self, notes: Iterable[str], /, room: int | None = None) -> None:
        """Check what was drawn, and ask cuDNN for plans without any of the given notes.

        Parameters
        ----------
        notes : iterable of str
            Names in ``cudnn.numerical_note``.
        room : int, optional
            Bytes that a plan may work in.

        Raises
        ------
        Unsupported
            If there is none.
        """
        import cudnn

        with refusals():
            self.nodes.validate()
            self.nodes.build_operation_graph()
            self.nodes.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            # Deselecting has no effect before there are plans.
            self.nodes.deselect_numeric_notes([getattr(cudnn.numerical_note, name) for name in notes])
            if room is not None:
                self.nodes.deselect_workspace_greater_than(room)
            self.nodes.check_support()

    def settle(self) -> None:
        """Build the plan that cuDNN expects to be the fastest.

        Raises
        ------
        Unsupported
            If none can be built.
        """
        with refusals():
            self.nodes.build_plans()


class Geometry(NamedTuple):
    """How kernels slide over images.

    Attributes
    ----------
    stride, dilation : (rows, columns)
        Pixels between windows, and between the taps of a window.
    padding : ((top, bottom), (left, right))
        Zero pixels around the images.
    groups : int
        Independent groups of channels.
    math : str
        "float32", or "tf32": products of float32 may round their operands to 10 bits.
    """

    stride: Pair = (1, 1)
    padding: Sides = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    math: str = "float32"


@lru_cache(maxsize=1024)
def output_shape(x: Shape, w: Shape, geometry: Geometry, /) -> Shape:
    """Return (N, F, OH, OW) for images of shape x and kernels of shape w."""
    sizes = [
        (h + sum(p) - d * (k - 1) - 1) // s + 1
        for h, k, s, p, d in zip(
            x[2:], w[2:], geometry.stride, geometry.padding, geometry.dilation, strict=True
        )
    ]
    return x[0], w[0], *sizes


def window(geometry: Geometry, /) -> dict[str, list[int]]:
    """Return how kernels slide, in cuDNN's words."""
    (top, bottom), (left, right) = geometry.padding
    return {
        "pre_padding": [top, left],
        "post_padding": [bottom, right],
        "stride": list(geometry.stride),
        "dilation": list(geometry.dilation),
    }


def draw_forward(
    graph: Graph, x: Shape, w: Shape, geometry: Geometry, biased: bool, relu: bool, /
) -> Sequence[Any]:
    """Draw y = relu(conv(x, w) + b): tensors x, w, b if `biased`, y.

    The bias is of the kind of x: cuDNN has no plan for float32 biases of 16-bit images (9.19, sm_90).
    """
    nodes, images, kernels = graph.nodes, graph.input(x), graph.input(w)
    given = [images, kernels]
    y = nodes.conv_fprop(image=images, weight=kernels, **window(geometry))
    if biased:
        given.append(graph.input((1, w[0], 1, 1)))
        y = nodes.bias(input=y, bias=given[-1])
    if relu:
        y = nodes.relu(input=y)
    return [*given, graph.output(y, output_shape(x, w, geometry))]


def draw_input_gradient(graph: Graph, x: Shape, w: Shape, geometry: Geometry, /) -> Sequence[Any]:
    """Draw dx: tensors dy, w, dx."""
    dy, kernels = graph.input(output_shape(x, w, geometry)), graph.input(w)
    dx = graph.nodes.conv_dgrad(loss=dy, filter=kernels, **window(geometry))
    return [dy, kernels, graph.output(dx, x)]


def draw_weight_gradient(graph: Graph, x: Shape, w: Shape, geometry: Geometry, /) -> Sequence[Any]:
    """Draw dw, of the kind of x (sums are float32 until they are stored): tensors x, dy, dw.

    cuDNN has no plan that stores float32 sums of 16-bit products (9.19, sm_90).
    """
    images, dy = graph.input(x), graph.input(output_shape(x, w, geometry))
    dw = graph.nodes.conv_wgrad(image=images, loss=dy, **window(geometry))
    return [images, dy, graph.output(dw, w)]


def draw_norm(graph: Graph, x: tuple[int, ...], /) -> list[Any]:
    """Draw batch norm by the batch's own statistics: tensors x, w, b, eps, y, mean, 1 / sqrt(var + eps)."""
    channels = (1, x[1], 1, 1)
    given = [graph.input(x), graph.input(channels), graph.input(channels)]
    eps = graph.input((1, 1, 1, 1), by_value=True)
    y, mean, spread, *_ = graph.nodes.batchnorm(
        input=given[0],
        scale=given[1],
        bias=given[2],
        in_running_mean=None,
        in_running_var=None,
        epsilon=eps,
        momentum=None,
    )
    found = [graph.output(y, x), graph.output(mean, channels), graph.output(spread, channels)]
    return [*given, eps, *found]


def draw_norm_gradient(graph: Graph, x: tuple[int, ...], /) -> list[Any]:
    """Draw its gradients: tensors dy, x, w, mean, 1 / sqrt(var + eps), dx, dw, db."""
    channels = (1, x[1], 1, 1)
    given = [graph.input(x), graph.input(x), *[graph.input(channels) for _ in range(3)]]
    dy, images, w, mean, spread = given
    dx, dw, db = graph.nodes.batchnorm_backward(
        grad=dy, input=images, scale=w, mean=mean, inv_variance=spread
    )
    return [*given, graph.output(dx, x), graph.output(dw, channels), graph.output(db, channels)]
