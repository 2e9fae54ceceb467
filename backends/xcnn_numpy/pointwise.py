"""Kernels that take one pixel at a time: activations, sums, copies."""

from __future__ import annotations

from xcnn_numpy.compiler import kernel, unpack
from xcnn_numpy.simd import above, add, at, choose, fill, floor_at, load, store, zeros

__all__ = ["mask", "total_of"]


@kernel
def total_of(arguments, part, parts):
    """z = max(floor, x + y), or of x alone where y has no step. A task is a channel of one block of images."""
    x, y, z, floor, images, channels, rows, columns = unpack(arguments, "vvvfiiii")
    xp, xn, xc, xr, xs = x
    yp, yn, yc, yr, ys = y
    zp, zn, zc, zr, zs = z
    low = fill(floor)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, c = task // channels, task % channels
        x0, y0, z0 = at(xp, image * xn + c * xc), at(yp, image * yn + c * yc), at(zp, image * zn + c * zc)
        for j in range(rows):
            for i in range(columns):
                v = load(x0, j * xr + i * xs)
                if ys != 0:
                    v = add(v, load(y0, j * yr + i * ys))
                store(z0, j * zr + i * zs, floor_at(v, low))


@kernel
def mask(arguments, part, parts):
    """dx = dy where y > 0, added to what is there if `keep`. Tasks as in `total_of`."""
    dy, y, dx, keep, images, channels, rows, columns = unpack(arguments, "vvviiiii")
    dp, dn, dc, dr, ds = dy
    yp, yn, yc, yr, ys = y
    xp, xn, xc, xr, xs = dx
    none = zeros(dp)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, c = task // channels, task % channels
        d0, y0, x0 = at(dp, image * dn + c * dc), at(yp, image * yn + c * yc), at(xp, image * xn + c * xc)
        for j in range(rows):
            for i in range(columns):
                d = choose(above(load(y0, j * yr + i * ys), none), load(d0, j * dr + i * ds), none)
                if keep:
                    d = add(d, load(x0, j * xr + i * xs))
                store(x0, j * xr + i * xs, d)
