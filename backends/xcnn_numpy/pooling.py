"""Kernels of pooling."""

from __future__ import annotations

from numba.extending import register_jitable

from xcnn_numpy.compiler import kernel, unpack
from xcnn_numpy.simd import (
    above,
    add,
    at,
    choose,
    equal,
    fill,
    fill_index,
    load,
    load_index,
    mul,
    ordered,
    store,
    store_index,
    times_mask,
    width,
    wins,
    zeros,
)

__all__ = ["average", "average_backward", "best_of", "largest", "largest_backward", "unpool", "write_best"]


@register_jitable
def best_of(p, row, pixel, rows, columns):
    """Return the largest vectors of a window and where they were, NaN above all; the first of equals."""
    best = load(p, 0)
    which = fill_index(0, best)
    if rows == 2 and columns == 2:
        x = load(p, pixel)
        first = wins(x, best)
        best, which = choose(first, x, best), choose(first, fill_index(1, best), which)
        x = load(p, row)
        second = wins(x, best)
        best, which = choose(second, x, best), choose(second, fill_index(2, best), which)
        x = load(p, row + pixel)
        third = wins(x, best)
        return choose(third, x, best), choose(third, fill_index(3, best), which)
    for k in range(1, rows * columns):
        x = load(p, k // columns * row + k % columns * pixel)
        larger = wins(x, best)
        best, which = choose(larger, x, best), choose(larger, fill_index(k, best), which)
    return best, which


@register_jitable
def write_best(y, index, best, which, floor):
    """Write the largest vectors and their places: -1, without gradient, at a floor of 0 and for NaN."""
    store(y, 0, best)
    if floor == 0.0:
        which = choose(above(best, zeros(y)), which, fill_index(-1, best))
    else:
        which = choose(ordered(best), which, fill_index(-1, best))
    store_index(index, 0, which)


@kernel
def largest(arguments, part, parts):
    """y = the largest pixel of each window, and its place. A task is a channel of one block of images."""
    x, y, index, images, channels, h, w, rows, columns, ph, pw, sh, sw, top, left = unpack(
        arguments, "vvbiiiiiiiiiiii"
    )
    xp, xn, xc, xr, xs = x
    yp, yn, yc, yr, ys = y
    lanes = width(xp)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, channel = task // channels, task % channels
        source, target = at(xp, image * xn + channel * xc), at(yp, image * yn + channel * yc)
        place = at(index, task * rows * columns * lanes)
        for j in range(rows):
            for i in range(columns):
                j0, i0 = j * sh - top, i * sw - left
                first, last = max(j0, 0), min(j0 + ph, h)
                start, stop = max(i0, 0), min(i0 + pw, w)
                best = load(source, first * xr + start * xs)
                which = fill_index((first - j0) * pw + start - i0, best)
                for a in range(first, last):
                    for b in range(start, stop):
                        v = load(source, a * xr + b * xs)
                        larger = wins(v, best)
                        best = choose(larger, v, best)
                        which = choose(larger, fill_index((a - j0) * pw + b - i0, best), which)
                write_best(
                    at(target, j * yr + i * ys), at(place, (j * columns + i) * lanes), best, which, 1.0
                )


@kernel
def unpool(arguments, part, parts):
    """dx of windows that don't overlap: dy at the largest pixel, else zero. Tasks as in `largest`."""
    dy, index, dx, images, channels, h, w, rows, columns, ph, pw, sh, sw = unpack(arguments, "vbviiiiiiiiii")
    dp, dn, dc, dr, ds = dy
    xp, xn, xc, xr, xs = dx
    lanes = width(dp)
    none = zeros(dp)
    tasks = images * channels
    whole = ph == sh and pw == sw and rows * sh == h and columns * sw == w
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, channel = task // channels, task % channels
        source, target = at(dp, image * dn + channel * dc), at(xp, image * xn + channel * xc)
        place = at(index, task * rows * columns * lanes)
        if not whole:
            for j in range(h):
                for i in range(w):
                    store(target, j * xr + i * xs, none)
        for j in range(rows):
            for i in range(columns):
                d, which = load(source, j * dr + i * ds), load_index(place, (j * columns + i) * lanes, none)
                here = at(target, j * sh * xr + i * sw * xs)
                if ph == 2 and pw == 2:
                    store(here, 0, times_mask(d, equal(which, fill_index(0, none))))
                    store(here, xs, times_mask(d, equal(which, fill_index(1, none))))
                    store(here, xr, times_mask(d, equal(which, fill_index(2, none))))
                    store(here, xr + xs, times_mask(d, equal(which, fill_index(3, none))))
                else:
                    for a in range(ph):
                        for b in range(pw):
                            hit = equal(which, fill_index(a * pw + b, none))
                            store(here, a * xr + b * xs, times_mask(d, hit))


@kernel
def largest_backward(arguments, part, parts):
    """dx of windows that may overlap: each adds its dy at its largest pixel. Tasks as in `largest`."""
    dy, index, dx, keep, images, channels, h, w, rows, columns, ph, pw, sh, sw, top, left = unpack(
        arguments, "vbviiiiiiiiiiiii"
    )
    dp, dn, dc, dr, ds = dy
    xp, xn, xc, xr, xs = dx
    lanes = width(dp)
    none = zeros(dp)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, channel = task // channels, task % channels
        source, target = at(dp, image * dn + channel * dc), at(xp, image * xn + channel * xc)
        place = at(index, task * rows * columns * lanes)
        if not keep:
            for j in range(h):
                for i in range(w):
                    store(target, j * xr + i * xs, none)
        for j in range(rows):
            for i in range(columns):
                j0, i0 = j * sh - top, i * sw - left
                d, which = load(source, j * dr + i * ds), load_index(place, (j * columns + i) * lanes, none)
                for a in range(max(j0, 0), min(j0 + ph, h)):
                    for b in range(max(i0, 0), min(i0 + pw, w)):
                        hit = equal(which, fill_index((a - j0) * pw + b - i0, none))
                        here = a * xr + b * xs
                        store(target, here, add(load(target, here), times_mask(d, hit)))


@kernel
def average(arguments, part, parts):
    """y = the mean of each window, by a table of 1 / count. A task is a channel of one block of images."""
    x, y, shares, images, channels, h, w, rows, columns, ph, pw, sh, sw, top, left = unpack(
        arguments, "vvpiiiiiiiiiiii"
    )
    xp, xn, xc, xr, xs = x
    yp, yn, yc, yr, ys = y
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, channel = task // channels, task % channels
        source, target = at(xp, image * xn + channel * xc), at(yp, image * yn + channel * yc)
        for j in range(rows):
            for i in range(columns):
                j0, i0 = j * sh - top, i * sw - left
                sums = zeros(xp)
                for a in range(max(j0, 0), min(j0 + ph, h)):
                    for b in range(max(i0, 0), min(i0 + pw, w)):
                        sums = add(sums, load(source, a * xr + b * xs))
                store(target, j * yr + i * ys, mul(sums, fill(shares[j * columns + i])))


@kernel
def average_backward(arguments, part, parts):
    """dx of `average`: each window adds its share of dy to all its pixels."""
    dy, dx, shares, keep, images, channels, h, w, rows, columns, ph, pw, sh, sw, top, left = unpack(
        arguments, "vvpiiiiiiiiiiiii"
    )
    dp, dn, dc, dr, ds = dy
    xp, xn, xc, xr, xs = dx
    none = zeros(dp)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, channel = task // channels, task % channels
        source, target = at(dp, image * dn + channel * dc), at(xp, image * xn + channel * xc)
        if not keep:
            for j in range(h):
                for i in range(w):
                    store(target, j * xr + i * xs, none)
        for j in range(rows):
            for i in range(columns):
                j0, i0 = j * sh - top, i * sw - left
                d = mul(load(source, j * dr + i * ds), fill(shares[j * columns + i]))
                for a in range(max(j0, 0), min(j0 + ph, h)):
                    for b in range(max(i0, 0), min(i0 + pw, w)):
                        store(target, a * xr + b * xs, add(load(target, a * xr + b * xs), d))
