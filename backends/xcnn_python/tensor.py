"""The operations of a hand-written Tensor class, over arrays of plain Python numbers.

Tran The Trung's report "Convolutional Neural Networks" builds a network on a class Tensor of nested lists.
Each of its methods is here, under its own name where the array API standard has none or another:

================================  ===================================================
``Tensor(data)``                  ``xp.asarray(data)``
``Tensor.fill(*dims, val)``       `fill`, ``xp.full(dims, val)``
``x.shape``                       ``x.shape``
``x.flatten()``                   `flatten`, ``xp.reshape(x, (-1,))``
``x.reshape(*dims)``              ``xp.reshape(x, dims)``
``x + y``, ``x - y``, ``x * y``   the same, with broadcasting
``x.activate(func)``              `activate`; ``xp.exp(x)`` and the like are faster
``x.dot(y)``                      `dot`, ``xp.matmul(x, y)``
``x.T()``                         `T`, ``xp.permute_dims(x, (1, 0, ...))``
``x.add_pad(size, val)``          `add_pad`
``x.unpad(size)``                 `unpad`
``x.flip()``                      `flip`, ``xp.flip(x, axis=(-2, -1))``
``x.dilate(dilation)``            `dilate`
``x.conv(kernel, stride)``        `conv`, ``xcnn.ops.conv2d``
``x.max_pool(size, stride)``      `max_pool`, ``xcnn.ops.max_pool2d``
``x.avg_pool(size, stride)``      `avg_pool`, ``xcnn.ops.avg_pool2d``
================================  ===================================================

With these, its gradients of y = conv(add_pad(x, p), w, s), for kernels of K x K, read ::

    dw = T(conv(T(add_pad(x, p)), T(dilate(dy, s))))                   # (3)
    dx = unpad(conv(add_pad(dilate(dy, s), K - 1), T(flip(w))), p)     # (5)

As printed, (3) does not dilate, so it holds for stride 1 alone. Both hold only where the last window ends at
the last pixel, ``(H + 2 p - K) % s == 0``: else dw comes out too large and dx too small, by the rows that no
window reached. Flipping is said to convert convolution to cross-correlation; rather, `conv` is a
cross-correlation throughout, and with a flipped kernel it is the convolution that the gradient needs.
"""

from __future__ import annotations

from collections.abc import Callable

from xcnn import ops
from xcnn.ops.window import crop, pad, spread, windows
from xcnn_python import namespace as xp
from xcnn_python.array import Array

__all__ = [
    "T", "activate", "add_pad", "avg_pool", "conv", "dilate", "dot", "fill", "flatten", "flip", "max_pool",
    "unpad",
]  # fmt: skip


def fill(*dims: int, val: float = 0.0) -> Array:
    """Return an array of extents `dims` filled with `val`."""
    return xp.full(dims, val)


def flatten(x: Array, /) -> Array:
    """Return the elements along one axis, in row-major order."""
    return xp.reshape(x, (-1,))


def activate(x: Array, func: Callable[[float], float], /) -> Array:
    """Return `func` of each element."""
    return xp.reshape(xp.asarray(list(map(func, x.data)), dtype=x.dtype), x.shape)


def dot(x: Array, y: Array, /) -> Array:
    """Return the dot product of vectors, the product of matrices, or the products of stacks of matrices."""
    return xp.matmul(x, y)


def T(x: Array, /) -> Array:
    """Exchange the first two axes: images and channels, or filters and channels; not the last two."""
    return xp.permute_dims(x, (1, 0, *range(2, x.ndim)))


def add_pad(x: Array, pad_size: int, pad_val: float = 0.0) -> Array:
    """Surround images (N, C, H, W) by `pad_size` pixels of `pad_val`."""
    return pad(x, ((pad_size, pad_size), (pad_size, pad_size)), pad_val)


def unpad(x: Array, pad_size: int) -> Array:
    """Cut `pad_size` pixels off each side of images (N, C, H, W)."""
    return crop(x, ((pad_size, pad_size), (pad_size, pad_size)))


def flip(x: Array, /) -> Array:
    """Turn images or kernels (..., H, W) by 180 degrees."""
    return xp.flip(x, axis=(-2, -1))


def dilate(x: Array, dilation: int) -> Array:
    """Put ``dilation - 1`` zeros between the pixels of (..., H, W)."""
    return spread(x, (dilation, dilation))


def conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Slide kernels (F, C, K, L) over images (N, C, H, W), without turning them: a cross-correlation."""
    return ops.conv2d(x, kernel, stride=(stride, stride))[0]


def max_pool(x: Array, kernel_size: int = 2, stride: int = 2) -> tuple[Array, Array]:
    """Return the largest pixel of each window, and masks that are 1 where it is.

    The masks have shape (N, C, K K, OH, OW), a window along the third axis, so that windows may overlap. Of
    equal pixels all are marked, as in the report's (6), and each would get the whole gradient; xcnn's layer
    gives it to the first.
    """
    size, steps = (kernel_size, kernel_size), (stride, stride)
    y, _ = ops.max_pool2d(x, size=size, stride=steps)
    seen = windows(x, (y.shape[2], y.shape[3]), size, steps)
    return y, xp.astype(seen == xp.expand_dims(y, axis=2), x.dtype)


def avg_pool(x: Array, kernel_size: int = 2, stride: int = 2) -> Array:
    """Return the mean of each window."""
    return ops.avg_pool2d(x, size=(kernel_size, kernel_size), stride=(stride, stride))[0]
