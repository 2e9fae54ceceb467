"""Convolution as one product of matrices, of pixels gathered by matrices of indices."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

from xcnn.ops.conv import check_conv2d
from xcnn.ops.op import Product
from xcnn.ops.window import pad
from xcnn.types import Array, Pair, Sides

__all__ = ["conv2d_indices"]


def _grid(size: Pair, step: Pair, start: Pair, like: Array) -> tuple[Any, Any]:
    """Return the rows and the columns of a grid of pixels, row by row, as in 0 0 0 1 1 1 and 0 1 2 0 1 2."""
    xp = array_namespace(like)
    rows, columns = (start[a] + step[a] * xp.arange(size[a], device=device(like)) for a in (0, 1))
    return xp.repeat(rows, size[1]), xp.tile(columns, (size[0],))


def _gather(x: Array, i: Array, j: Array) -> Any:
    """Return x[:, :, i, j] for matrices i of rows and j of columns."""
    xp = array_namespace(x)
    n, c, h, w = x.shape
    pixels = xp.take(xp.reshape(x, (n, c, h * w)), xp.reshape(i * w + j, (-1,)), axis=2)
    return xp.reshape(pixels, (n, c, *i.shape))


@Product
def conv2d_indices(
    x: Array,
    w: Array,
    b: Array | None = None,
    /,
    *,
    stride: Pair = (1, 1),
    padding: Sides = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Any, Any]:
    r"""Gather the windows of images by index matrices and multiply: `conv2d` as a product of two matrices.

    .. math:: y = K_\text{flat} X' + b, \qquad X' = x[i, j], \qquad i = i_0 + i_1, \quad j = j_0 + j_1

    with a row of X' for each tap of the kernel, in row :math:`i_0` and column :math:`j_0` of a window, and a
    column for each window, which starts in row :math:`i_1` and column :math:`j_1` of the image.
    Weights are to be finite: dx multiplies some by zeros.

    Parameters
    ----------
    x, w, b : array
        See `conv2d`.
    stride, padding, dilation, groups
        See `conv2d`.

    Returns
    -------
    y : array (N, F, OH, OW)
        Feature maps.
    saved : Saved
        Its ``backward(dy)`` gives (dx, dw, db).

    Raises
    ------
    ShapeError
        As `conv2d` does.

    References
    ----------
    Nupen, Rustebakke, Trefjord and Stensson, "An object oriented implementation of a convolutional neural
    network in Python", 2024, sections 6.3 and 6.4.
    """
    xp = array_namespace(x)
    out = check_conv2d(x, w, b, stride, padding, dilation, groups)
    n, f, size, image = x.shape[0], w.shape[0], (w.shape[2], w.shape[3]), (x.shape[2], x.shape[3])
    i0, j0 = _grid(size, dilation, (0, 0), x)
    i1, j1 = _grid(out, stride, (0, 0), x)
    cols = _gather(pad(x, padding), i0[:, None] + i1[None, :], j0[:, None] + j1[None, :])
    cols = xp.reshape(cols, (n, groups, -1, out[0] * out[1]))  # X', for each group
    y = xp.reshape(xp.matmul(xp.reshape(w, (groups, f // groups, -1)), cols), (n, f, *out))
    if b is not None:
        y = y + xp.reshape(b, (-1, 1, 1))
    return y, (cols, w, image, padding, (stride, dilation, groups))


@conv2d_indices.gradient
def conv2d_indices_gradient(dy: Array, values: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """dw = dy X'ᵀ; dx = Kᵀ dy', where dy' has, for each tap and pixel, dy of the window that meets there."""
    xp = array_namespace(dy)
    cols, w, image, ((top, _), (left, _)), (stride, dilation, groups) = values
    (n, f, oh, ow), (_, depth, *size) = dy.shape, w.shape
    dx = dw = db = None
    if needs[0]:
        i0, j0 = _grid(size, dilation, (0, 0), dy)
        i1, j1 = _grid(image, (1, 1), (top, left), dy)
        i, j = i1[None, :] - i0[:, None], j1[None, :] - j0[:, None]  # where that window would start
        found = (i >= 0) & (i < oh * stride[0]) & (i % stride[0] == 0)
        found = found & (j >= 0) & (j < ow * stride[1]) & (j % stride[1] == 0)
        i = xp.where(found, i // stride[0], xp.full_like(i, oh))  # there is none: a row of zeros below dy
        j = xp.where(found, j // stride[1], xp.zeros_like(j))
        g = xp.reshape(_gather(pad(dy, ((0, 1), (0, 0))), i, j), (n, groups, -1, image[0] * image[1]))
        kernels = xp.permute_dims(xp.reshape(w, (groups, f // groups, depth, -1)), (0, 2, 1, 3))
        dx = xp.matmul(xp.reshape(kernels, (groups, depth, -1)), g)
        dx = xp.reshape(dx, (n, groups * depth, *image))
    if needs[1]:
        g = xp.reshape(dy, (n, groups, f // groups, oh * ow))
        dw = xp.reshape(xp.sum(xp.matmul(g, xp.matrix_transpose(cols)), axis=0), w.shape)
    if needs[2]:
        db = xp.sum(dy, axis=(0, 2, 3))
    return dx, dw, db
