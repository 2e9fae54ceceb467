"""The single operations that `bench.ops` times: shapes, arrays, how much work they are, and xcnn's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xcnn import ops, optim

__all__ = ["CASES", "Case", "Shape", "build"]

FLOAT = 4  # bytes


class Shape(NamedTuple):
    """What an operation works on: N images of C channels, H x H pixels; others leave out what they lack.

    Attributes
    ----------
    c, f : int
        Channels or features that come in, and that go out; of Adam, f values.
    image, kernel, stride, padding, groups : int
        H and the window, in pixels, alike for rows and columns.
    """

    c: int
    f: int
    image: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def out(self) -> int:
        """Rows, and columns, of the result."""
        return (self.image + 2 * self.padding - self.kernel) // self.stride + 1


CONVS = (
    *(Shape(1, 6, 28, 5, padding=2), Shape(6, 16, 14, 5)),
    *(Shape(32, 32, 32, 3, padding=1), Shape(64, 64, 16, 3, padding=1), Shape(128, 128, 8, 3, padding=1)),
    *(Shape(256, 256, 16, 3, padding=1), Shape(64, 64, 16, 1)),
    *(Shape(32, 64, 32, 3, stride=2, padding=1), Shape(64, 64, 32, 3, padding=1, groups=64)),
)
POOL = Shape(32, 32, 32, 2, stride=2)
NORM = Shape(32, 32, 32)
DENSE = Shape(2048, 128)
CASES: tuple[tuple[str, Shape], ...] = (
    *[(op, shape) for shape in CONVS for op in ("conv", "conv dx", "conv dw")],
    *[(op, POOL) for op in ("pool", "pool back")],
    *[(op, NORM) for op in ("norm", "norm back")],
    *[(op, DENSE) for op in ("dense", "dense back")],
    *[(op, Shape(classes, classes)) for classes in (10, 1000) for op in ("loss", "loss back")],
    ("adam", Shape(1, 1_000_000)),
)


@dataclass(frozen=True)
class Case:
    """One operation on arrays of its own.

    Parameters
    ----------
    op : str
        Of `CASES`: " dx" and " dw" are single gradients, " back" is all of them.
    shape : Shape
        Of the arrays.
    n : int
        Images in the batch.
    arrays : dict
        Name to numpy.ndarray: what goes in.
    run : callable
        xcnn's way: one array, or a tuple of them.
    flops : int
        Multiplications and additions; 0 where memory is the limit.
    bytes : int
        What is read and written at least.
    gemm : tuple of int, optional
        (rows, inner, columns) of a matrix product of the same arithmetic; (groups, ...) with several.
    """

    op: str
    shape: Shape
    n: int
    arrays: dict[str, np.ndarray]
    run: Callable[[], Any]
    flops: int
    bytes: int
    gemm: tuple[int, ...] | None = None

    @property
    def label(self) -> str:
        """The shape as text."""
        s = self.shape
        if self.op == "adam":
            return f"{s.f:,}"
        found = f"{s.c}->{s.f}" if self.op.startswith(("conv", "dense")) else str(s.c)
        if self.op.startswith(("conv", "pool")):
            found += f" {s.kernel}x{s.kernel}"
        found += f" /{s.stride}" * (s.stride > 1) + " depthwise" * (s.groups > 1)
        return found + f", {s.image}x{s.image}" * (s.image > 1)


def build(op: str, shape: Shape, n: int, /) -> Case:
    """Return an operation ready to run.

    Parameters
    ----------
    op : str
        Of `CASES`.
    shape : Shape
        Of the arrays.
    n : int
        Images in the batch.

    Returns
    -------
    Case
        With random arrays, the same ones every time.
    """
    kind, _, half = op.partition(" ")
    arrays = _arrays(kind, shape, n)
    forward = _forward(kind, shape, arrays)
    moved, flops, gemm = _work(kind, half, shape, n, arrays)
    if not half:
        return Case(op, shape, n, arrays, lambda: forward()[0], flops, moved, gemm)
    y, saved = forward()
    dy: Any = 1.0
    if kind != "loss":
        dy = arrays["dy"] = np.random.default_rng(1).random(y.shape, dtype=np.float32)
    needs = {"dx": (True,), "dw": (False, True), "back": None}[half]

    def back() -> Any:
        found = [g for g in saved.backward(dy, needs) if g is not None]
        return found[0] if len(found) == 1 else tuple(found)

    return Case(op, shape, n, arrays, back, flops, moved, gemm)


def _arrays(kind: str, s: Shape, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def random(*extents: int) -> Any:
        return rng.random(extents, dtype=np.float32) - np.float32(0.5)

    if kind == "conv":
        w = random(s.f, s.c // s.groups, s.kernel, s.kernel)
        return {"x": random(n, s.c, s.image, s.image), "w": w}
    if kind == "dense":
        return {"x": random(n, s.c), "w": random(s.f, s.c), "b": random(s.f)}
    if kind == "loss":
        return {"x": random(n, s.c), "labels": rng.integers(0, s.c, n)}
    if kind == "adam":
        return {"w": random(s.f), "dw": random(s.f)}
    x = {"x": random(n, s.c, s.image, s.image)}
    return x | {"w": random(s.c), "b": random(s.c)} if kind == "norm" else x


def _forward(kind: str, s: Shape, a: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Return a function that gives (y, saved)."""
    steps, sides = (s.stride, s.stride), ((s.padding, s.padding),) * 2
    if kind == "adam":
        adam, moments = optim.Adam(), (np.zeros_like(a["w"]), np.zeros_like(a["w"]))
        scalars = adam.scalars(1)
        return lambda: adam.apply(a["w"], a["dw"], moments, scalars, False)

    def norm() -> Any:
        (y, _, _), saved = ops.batch_norm(a["x"], a["w"], a["b"])
        return y, saved

    return {
        "conv": lambda: ops.conv2d(a["x"], a["w"], stride=steps, padding=sides, groups=s.groups),
        "pool": lambda: ops.max_pool2d(a["x"], size=(s.kernel, s.kernel), stride=steps),
        "norm": norm,
        "dense": lambda: ops.linear(a["x"], a["w"], a["b"]),
        "loss": lambda: ops.cross_entropy(a["x"], a["labels"]),
    }[kind]


def _work(
    kind: str, half: str, s: Shape, n: int, a: dict[str, np.ndarray]
) -> tuple[int, int, tuple[int, ...] | None]:
    """Return the bytes moved, the flops (0 where memory is the limit), and the matrix product."""
    if kind == "adam":
        return 7 * FLOAT * s.f, 0, None  # reads w, dw, m, v; writes w, m, v
    x, y = n * s.c * s.image**2, n * s.f * s.out**2
    if kind in ("pool", "norm", "loss"):  # back reads x and dy, writes dx; that of the loss reads no dy
        y = 0 if kind == "loss" else y
        return FLOAT * (2 * x + y if half else x + y), 0, None
    w, inner = a["w"].size, a["w"][0].size
    pixels, f = n * s.out**2, s.f // s.groups
    gemm = {"dx": (inner, f, pixels), "dw": (f, pixels, inner)}.get(half, (f, inner, pixels))
    flops = 2 * w * pixels * (2 if half == "back" else 1)
    if half == "back":  # dense: dx and dw
        return FLOAT * (2 * x + 2 * w + y), flops, None
    return FLOAT * (x + w + y), flops, (s.groups, *gemm) if s.groups > 1 else gemm
