"""A stand-in for nvidia-cudnn-frontend: the graphs that xcnn draws, computed by NumPy on emulated memory.

Names, keywords and the order of calls are those of 1.23.0. What the real one refuses is refused with its
exceptions, which xcnn may answer by doing without cuDNN; what no caller may do is an AssertionError or a
TypeError: notes deselected before there are plans, uids asked for before the graph is built, arrays that
don't begin where they must, operands that are not integers.

Three plans are offered for each graph, so that what is chosen shows in the numbers:

0. sums in an order that changes from run to run (NONDETERMINISTIC),
1. tensor cores (TENSOR_CORE): float32 products of operands rounded to TF32; ReLU turns NaN into 0,
2. neither; ReLU keeps NaN.
"""

from __future__ import annotations

import enum

from cudnn.nodes import Tensor as tensor
from cudnn.numbers import data_type

__all__ = [
    "backend_version",
    "build_plan_policy",
    "create_handle",
    "cudnnGraphNotSupportedError",
    "data_type",
    "get_stream",
    "heur_mode",
    "numerical_note",
    "pygraph",
    "set_stream",
    "tensor",
]

__version__ = "1.23.0"


class cudnnGraphNotSupportedError(Exception):
    """No plan computes this graph."""


heur_mode = enum.Enum("heur_mode", "A B FALLBACK OPENSOURCE")
build_plan_policy = enum.Enum("build_plan_policy", "HEURISTICS_CHOICE ALL")
numerical_note = enum.Enum(
    "numerical_note",
    "TENSOR_CORE DOWN_CONVERT_INPUTS REDUCED_PRECISION_REDUCTION FFT NONDETERMINISTIC WINOGRAD "
    "WINOGRAD_TILE_4x4 WINOGRAD_TILE_6x6 WINOGRAD_TILE_13x13 STRICT_NAN_PROP",
)

_streams: dict[int, int] = {}  # of each handle


def backend_version() -> int:
    """Return that of cuDNN 9.19."""
    return 91900


def create_handle() -> int:
    """Return a handle on the null stream."""
    handle = len(_streams) + 1
    _streams[handle] = 0
    return handle


def set_stream(handle: int, stream: int) -> None:
    """Let graphs run with `handle` run on a stream."""
    _streams[handle] = stream


def get_stream(handle: int) -> int:
    """Return the stream of a handle."""
    return _streams[handle]


from cudnn.graph import pygraph  # noqa: E402  (which needs the names above)
