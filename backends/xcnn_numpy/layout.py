"""The memory layout of compiled runs, and the way in and out of it.

Images lie in the lanes of vectors: ``[N / lanes][C][top + H + bottom][left + W + right][lanes]``, in a border
of zeros that the next convolution wants. So no kernel size, stride, channel count or width leaves a tail.
"""

from __future__ import annotations

from xcnn_numpy.across import transpose
from xcnn_numpy.compiler import kernel, unpack
from xcnn_numpy.simd import at, load, store, width

__all__ = ["from_lanes", "to_lanes"]


@kernel
def to_lanes(arguments, part, parts):
    """Copy images (n, c, h, w) into lanes; those past n are zero. A task is a plane of so many images."""
    x, y, scratch, n, c, h, w = unpack(arguments, "pvpiiii")
    yp, yn, yc, yr, _ = y
    lanes = width(x)
    pixels = h * w
    tmp = at(scratch, part * lanes * lanes)
    tasks = (n + lanes - 1) // lanes * c
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        block, channel = task // c, task % c
        source = at(x, (block * lanes * c + channel) * pixels)
        target = at(yp, block * yn + channel * yc)
        step = c * pixels
        images = min(lanes, n - block * lanes)
        if images == lanes and pixels >= lanes:
            done = 0
            while done < pixels:
                first = min(done, pixels - lanes)  # the last block overlaps the one before it
                if yr == w * lanes:
                    transpose(at(source, first), step, at(target, first * lanes), lanes)
                else:
                    transpose(at(source, first), step, tmp, lanes)
                    row, column = first // w, first % w
                    for k in range(lanes):
                        store(target, row * yr + column * lanes, load(tmp, k * lanes))
                        column += 1
                        if column == w:
                            row += 1
                            column = 0
                done = first + lanes
        else:
            for i in range(h):
                for j in range(w):
                    for k in range(images):
                        target[i * yr + j * lanes + k] = source[k * step + i * w + j]
                    for k in range(images, lanes):
                        target[i * yr + j * lanes + k] = 0.0


@kernel
def from_lanes(arguments, part, parts):
    """Copy lanes into images (n, c, h, w). A task is a plane of so many images."""
    x, y, scratch, n, c, h, w = unpack(arguments, "vppiiii")
    xp, xn, xc, xr, _ = x
    lanes = width(xp)
    pixels = h * w
    tmp = at(scratch, part * lanes * lanes)
    tasks = (n + lanes - 1) // lanes * c
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        block, channel = task // c, task % c
        source = at(xp, block * xn + channel * xc)
        target = at(y, (block * lanes * c + channel) * pixels)
        step = c * pixels
        images = min(lanes, n - block * lanes)
        if images == lanes and pixels >= lanes:
            done = 0
            while done < pixels:
                first = min(done, pixels - lanes)
                if xr == w * lanes:
                    transpose(at(source, first * lanes), lanes, at(target, first), step)
                else:
                    row, column = first // w, first % w
                    for k in range(lanes):
                        store(tmp, k * lanes, load(source, row * xr + column * lanes))
                        column += 1
                        if column == w:
                            row += 1
                            column = 0
                    transpose(tmp, lanes, at(target, first), step)
                done = first + lanes
        else:
            for k in range(images):
                for i in range(h):
                    for j in range(w):
                        target[k * step + i * w + j] = source[i * xr + j * lanes + k]
