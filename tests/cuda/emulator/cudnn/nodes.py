"""Tensors of a graph, and the operations that xcnn draws, as NumPy computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cudnn.numbers import data_type, to_tf32

Values = dict[int, Any]


class Tensor:
    """One tensor of a graph."""

    def __init__(
        self, dim: Sequence[int], stride: Sequence[int], kind: data_type, by_value: bool = False
    ) -> None:
        self.dim, self.stride, self.kind, self.by_value = list(dim), list(stride), kind, by_value
        self.is_output, self.uid = False, 0

    def get_uid(self) -> int:
        if not self.uid:
            msg = "a tensor has no uid before its graph is built"
            raise AssertionError(msg)
        return self.uid

    def get_dim(self) -> list[int]:
        return self.dim

    def set_output(self, on: bool, /) -> Tensor:
        self.is_output = on
        return self

    def set_dim(self, dim: list[int], /) -> Tensor:
        self.dim = list(dim)
        return self

    def set_stride(self, stride: list[int], /) -> Tensor:
        self.stride = list(stride)
        return self

    def set_data_type(self, data_type: data_type) -> Tensor:
        self.kind = data_type
        return self


@dataclass
class Engine:
    """How a plan computes, and the notes that say so."""

    notes: tuple[str, ...]
    room: int
    tensor_core: bool = False
    noise: bool = False

    def operand(self, a: np.ndarray) -> np.ndarray:
        return to_tf32(a) if self.tensor_core and a.dtype == np.float32 else a

    def sums(self, a: np.ndarray) -> np.ndarray:
        if not self.noise:
            return a
        return a * (1 + np.random.default_rng().uniform(-1e-3, 1e-3, a.shape)).astype(a.dtype)


ENGINES = (
    Engine(("NONDETERMINISTIC",), 64, noise=True),
    Engine(("TENSOR_CORE",), 4096, tensor_core=True),
    Engine(("STRICT_NAN_PROP",), 0),
)


@dataclass
class Node:
    """An operation: ``compute(engine, *values of the inputs)`` returns those of the outputs."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    compute: Callable[..., Any]
    check: Callable[[], None] = field(default=lambda: None)


class Convolution:
    """The sizes of a convolution."""

    def __init__(
        self,
        pre_padding: list[int],
        post_padding: list[int],
        stride: list[int],
        dilation: list[int],
    ) -> None:
        self.before, self.after, self.stride, self.dilation = pre_padding, post_padding, stride, dilation

    def check(self, x: Tensor, w: Tensor, y: Tensor) -> None:
        """Refuse tensors that don't fit together."""
        (n, c, *image), (f, part, *size) = x.dim, w.dim
        sizes = zip(image, size, self.before, self.after, self.stride, self.dilation, strict=True)
        out = [(h + p + q - d * (k - 1) - 1) // s + 1 for h, k, p, q, s, d in sizes]
        if min(*x.dim, *w.dim, *out) < 1 or y.dim != [n, f, *out]:
            msg = f"convolution of {x.dim} by {w.dim} gives {[n, f, *out]}, not {y.dim}"
            raise RuntimeError(msg)
        if c % part or f % (c // part):
            msg = f"{c} channels and {f} filters in groups of {part}"
            raise RuntimeError(msg)

    def taps(self, out: Sequence[int], size: Sequence[int]) -> list[tuple[int, int, slice, slice]]:
        """Return, for each tap, the rows and columns of the padded image that it visits."""

        def visited(k: int, axis: int) -> slice:
            start, step = k * self.dilation[axis], self.stride[axis]
            return slice(start, start + (out[axis] - 1) * step + 1, step)

        return [(k, j, visited(k, 0), visited(j, 1)) for k in range(size[0]) for j in range(size[1])]

    def pad(self, x: np.ndarray) -> np.ndarray:
        sides = zip(self.before, self.after, strict=True)
        return np.pad(x, ((0, 0), (0, 0), *sides))

    def forward(self, engine: Engine, x: np.ndarray, w: np.ndarray, y_dim: list[int]) -> np.ndarray:
        x, w = self.pad(engine.operand(x)), engine.operand(w)
        groups = x.shape[1] // w.shape[1]
        y = np.zeros((y_dim[0], groups, y_dim[1] // groups, *y_dim[2:]), x.dtype)
        kernels = w.reshape(groups, -1, *w.shape[1:])
        for k, j, rows, columns in self.taps(y_dim[2:], w.shape[2:]):
            part = x[:, :, rows, columns].reshape(y_dim[0], groups, -1, *y_dim[2:])
            y += np.einsum("gfc,ngcij->ngfij", kernels[..., k, j], part)
        return engine.sums(y.reshape(y_dim))

    def input_gradient(self, engine: Engine, dy: np.ndarray, w: np.ndarray, x_dim: list[int]) -> np.ndarray:
        dy, w = engine.operand(dy), engine.operand(w)
        groups, out = x_dim[1] // w.shape[1], dy.shape[2:]
        dx = self.pad(np.zeros(x_dim, dy.dtype))
        kernels = w.reshape(groups, -1, *w.shape[1:])
        g = dy.reshape(dy.shape[0], groups, -1, *out)
        for k, j, rows, columns in self.taps(out, w.shape[2:]):
            part = np.einsum("gfc,ngfij->ngcij", kernels[..., k, j], g)
            dx[:, :, rows, columns] += part.reshape(x_dim[0], x_dim[1], *out)
        rows, columns = (slice(p, p + h) for p, h in zip(self.before, x_dim[2:], strict=True))
        return engine.sums(dx[:, :, rows, columns])

    def weight_gradient(self, engine: Engine, x: np.ndarray, dy: np.ndarray, w_dim: list[int]) -> np.ndarray:
        x, dy = self.pad(engine.operand(x)), engine.operand(dy)
        groups, out = x.shape[1] // w_dim[1], dy.shape[2:]
        dw = np.zeros((groups, w_dim[0] // groups, *w_dim[1:]), x.dtype)
        g = dy.reshape(dy.shape[0], groups, -1, *out)
        for k, j, rows, columns in self.taps(out, w_dim[2:]):
            part = x[:, :, rows, columns].reshape(x.shape[0], groups, -1, *out)
            dw[..., k, j] = np.einsum("ngfij,ngcij->gfc", g, part)
        return engine.sums(dw.reshape(w_dim))


def relu(engine: Engine, x: np.ndarray) -> np.ndarray:
    """Return max(x, 0); on tensor cores NaN becomes 0, as fmax has it."""
    return np.fmax(x, 0) if engine.tensor_core else np.maximum(x, 0)


def norm(engine: Engine, x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: np.ndarray) -> tuple[Any, ...]:
    """Return y, the mean and 1 / sqrt(var + eps); exact where the engine has time for it."""
    x = x if engine.tensor_core else x.astype("float64")
    mean = x.mean((0, 2, 3), keepdims=True)
    inverse = 1 / np.sqrt(((x - mean) ** 2).mean((0, 2, 3), keepdims=True) + eps)
    return engine.sums((x - mean) * inverse * w + b), mean, inverse


def norm_gradient(
    engine: Engine, dy: np.ndarray, x: np.ndarray, w: np.ndarray, mean: np.ndarray, inverse: np.ndarray
) -> tuple[Any, ...]:
    """Return dx, dw, db."""
    z, axes = (x - mean) * inverse, (0, 2, 3)
    dw, db = (dy * z).sum(axes, keepdims=True), dy.sum(axes, keepdims=True)
    count = x.size // x.shape[1]
    return engine.sums(w * inverse * (dy - db / count - z * dw / count)), dw, db
