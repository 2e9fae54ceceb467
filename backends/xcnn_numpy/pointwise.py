"""Kernels that take one pixel at a time: activations, sums, copies."""

from __future__ import annotations

from xcnn_numpy.compiler import kernel, unpack
from xcnn_numpy.functions import sigmoid_of, tanh_of
from xcnn_numpy.simd import (
    above,
    add,
    at,
    choose,
    fill,
    fill_like,
    floor_at,
    fma,
    load,
    mul,
    store,
    sub,
    times_mask,
    zeros,
)

__all__ = ["LEAKY", "SIGMOID", "SILU", "TANH", "activate", "activate_backward", "mask", "total_of"]

LEAKY, SIGMOID, TANH, SILU = range(4)


@kernel
def total_of(arguments, part, parts):
    """z = max(floor, x + y), or of x alone where y has no step. A task is a channel of one block."""
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
                d = times_mask(load(d0, j * dr + i * ds), above(load(y0, j * yr + i * ys), none))
                if keep:
                    d = add(d, load(x0, j * xr + i * xs))
                store(x0, j * xr + i * xs, d)


@kernel
def activate(arguments, part, parts):
    """y = a(x) for one of the activations above. Tasks as in `total_of`."""
    x, y, which, slope, images, channels, rows, columns = unpack(arguments, "vvifiiii")
    xp, xn, xc, xr, xs = x
    yp, yn, yc, yr, ys = y
    none, small = zeros(xp), fill(slope)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, c = task // channels, task % channels
        x0, y0 = at(xp, image * xn + c * xc), at(yp, image * yn + c * yc)
        for j in range(rows):
            for i in range(columns):
                v = load(x0, j * xr + i * xs)
                if which == LEAKY:
                    v = choose(above(none, v), mul(small, v), v)
                elif which == SIGMOID:
                    v = sigmoid_of(xp, v)
                elif which == TANH:
                    v = tanh_of(xp, v)
                else:
                    v = mul(v, sigmoid_of(xp, v))
                store(y0, j * yr + i * ys, v)


@kernel
def activate_backward(arguments, part, parts):
    """dx = dy a'(x), added to what is there if `keep`. Tasks as in `total_of`."""
    dy, x, y, dx, keep, which, slope, images, channels, rows, columns = unpack(arguments, "vvvviifiiii")
    dp, dn, dc, dr, ds = dy
    xp, xn, xc, xr, xs = x
    yp, yn, yc, yr, ys = y
    gp, gn, gc, gr, gs = dx
    none, small, one = zeros(dp), fill(slope), fill_like(dp, 1.0)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, c = task // channels, task % channels
        d0, x0 = at(dp, image * dn + c * dc), at(xp, image * xn + c * xc)
        y0, g0 = at(yp, image * yn + c * yc), at(gp, image * gn + c * gc)
        for j in range(rows):
            for i in range(columns):
                d, v = load(d0, j * dr + i * ds), load(y0, j * yr + i * ys)
                if which == LEAKY:
                    d = choose(above(load(x0, j * xr + i * xs), none), d, mul(small, d))
                elif which == SIGMOID:
                    d = mul(d, mul(v, sub(one, v)))
                elif which == TANH:
                    d = mul(d, sub(one, mul(v, v)))
                else:
                    s = sigmoid_of(dp, load(x0, j * xr + i * xs))
                    d = mul(d, fma(v, sub(one, s), s))
                if keep:
                    d = add(d, load(g0, j * gr + i * gs))
                store(g0, j * gr + i * gs, d)
