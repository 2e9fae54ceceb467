"""Kernels of batch normalisation."""

from __future__ import annotations

from xcnn_numpy.across import total
from xcnn_numpy.compiler import kernel, unpack
from xcnn_numpy.pooling import best_of, write_best
from xcnn_numpy.simd import (
    above,
    add,
    at,
    choose,
    fill,
    fill_like,
    first_lanes,
    floor_at,
    fma,
    load,
    mul,
    splat,
    store,
    sub,
    times_mask,
    width,
    zeros,
)

__all__ = ["moments", "normalize", "normalize_backward", "normalize_pool", "slopes", "statistics", "sums"]


@kernel
def moments(arguments, part, parts):
    """Sum and sum of squared deviations from the mean, of each channel of each block of images.

    A task is a channel of one block. Two passes over it, while it is in the cache: the textbook's mean of
    squares minus squared mean would cancel.
    """
    y, out, n, images, channels, rows, columns = unpack(arguments, "vdiiiii")
    p, yn, yc, yr, ys = y
    lanes = width(p)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, channel = task // channels, task % channels
        here = at(p, image * yn + channel * yc)
        none = zeros(p)
        valid = min(lanes, n - image * lanes)
        live = first_lanes(valid, none)
        a, b = none, none
        for j in range(rows):
            i = 0
            while i + 2 <= columns:
                a = add(a, load(here, j * yr + i * ys))
                b = add(b, load(here, j * yr + (i + 1) * ys))
                i += 2
            if i < columns:
                a = add(a, load(here, j * yr + i * ys))
        whole = total(choose(live, add(a, b), none))
        mean = fill_like(p, whole / (valid * rows * columns))
        a, b = none, none
        for j in range(rows):
            i = 0
            while i + 2 <= columns:
                d = sub(load(here, j * yr + i * ys), mean)
                e = sub(load(here, j * yr + (i + 1) * ys), mean)
                a, b = fma(d, d, a), fma(e, e, b)
                i += 2
            if i < columns:
                d = sub(load(here, j * yr + i * ys), mean)
                a = fma(d, d, a)
        out[2 * task] = whole / (valid * rows * columns)
        out[2 * task + 1] = total(choose(live, add(a, b), none))


@kernel
def statistics(arguments, part, parts):
    """Mean, variance and what `normalize` needs, of each channel, from the moments of its blocks.

    Chan's formula joins them: the deviations of two sets add up, and so does what lies between their means.
    """
    given, values, scale, shift, eps, found, n, images, channels, pixels, lanes = unpack(
        arguments, "dpiifpiiiii"
    )
    for c in range(channels):
        count, mean, spread = 0.0, 0.0, 0.0
        for image in range(images):
            more = float(min(lanes, n - image * lanes) * pixels)
            gap = given[2 * (image * channels + c)] - mean
            spread += given[2 * (image * channels + c) + 1] + gap * gap * count * more / (count + more)
            mean += gap * more / (count + more)
            count += more
        var = spread / count
        found[c] = mean
        found[channels + c] = var
        found[2 * channels + c] = 1.0 / (var + eps) ** 0.5
        found[3 * channels + c] = values[scale + c] / (var + eps) ** 0.5
        found[4 * channels + c] = values[shift + c]


@kernel
def normalize(arguments, part, parts):
    """z = max(floor, a (y - mean) + b + r). A task is a channel of one block of images."""
    y, found, z, r, floor, images, channels, rows, columns = unpack(arguments, "vpvvfiiii")
    yp, yn, yc, yr, ys = y
    zp, zn, zc, zr, zs = z
    rp, rn, rc, rr, rs = r
    low = fill(floor)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, c = task // channels, task % channels
        source, target = at(yp, image * yn + c * yc), at(zp, image * zn + c * zc)
        given = at(rp, image * rn + c * rc)
        mean, a, b = splat(found, c), splat(found, 3 * channels + c), splat(found, 4 * channels + c)
        for j in range(rows):
            for i in range(columns):
                v = fma(a, sub(load(source, j * yr + i * ys), mean), b)
                if rs != 0:
                    v = add(v, load(given, j * rr + i * rs))
                store(target, j * zr + i * zs, floor_at(v, low))


@kernel
def normalize_pool(arguments, part, parts):
    """z = the largest of each window of max(floor, a (y - mean) + b), and its place; as `normalize`."""
    y, found, z, index, scratch, floor, images, channels, rows, columns, ph, pw, sh, sw, size = unpack(
        arguments, "vpvbpfiiiiiiiii"
    )
    yp, yn, yc, yr, ys = y
    zp, zn, zc, zr, zs = z
    lanes = width(yp)
    low = fill(floor)
    tmp = at(scratch, part * size)
    across = (columns - 1) * sw + pw
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, c = task // channels, task % channels
        source, target = at(yp, image * yn + c * yc), at(zp, image * zn + c * zc)
        place = at(index, task * rows * columns * lanes)
        mean, a, b = splat(found, c), splat(found, 3 * channels + c), splat(found, 4 * channels + c)
        for row in range(rows):
            for j in range(ph):
                for i in range(across):
                    v = fma(a, sub(load(source, (row * sh + j) * yr + i * ys), mean), b)
                    store(tmp, (j * across + i) * lanes, floor_at(v, low))
            for i in range(columns):
                best, which = best_of(at(tmp, i * sw * lanes), across * lanes, lanes, ph, pw)
                write_best(
                    at(target, row * zr + i * zs), at(place, (row * columns + i) * lanes), best, which, floor
                )


@kernel
def sums(arguments, part, parts):
    """g = dz where z > 0 (or everywhere), and the sums of g and g x̂ of each channel of each block."""
    dz, z, masked, y, g, found, out, images, channels, rows, columns = unpack(arguments, "vvivvpdiiii")
    dp, dn, dc, dr, ds = dz
    zp, zn, zc, zr, zs = z
    yp, yn, yc, yr, ys = y
    gp, gn, gc, gr, gs = g
    none = zeros(yp)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, c = task // channels, task % channels
        d0, z0 = at(dp, image * dn + c * dc), at(zp, image * zn + c * zc)
        y0, g0 = at(yp, image * yn + c * yc), at(gp, image * gn + c * gc)
        mean = splat(found, c)
        a, b = none, none
        for j in range(rows):
            for i in range(columns):
                d = load(d0, j * dr + i * ds)
                if masked:
                    d = times_mask(d, above(load(z0, j * zr + i * zs), none))
                    store(g0, j * gr + i * gs, d)
                a, b = add(a, d), fma(d, sub(load(y0, j * yr + i * ys), mean), b)
        out[2 * task] = total(a)
        out[2 * task + 1] = total(b) * found[2 * channels + c]


@kernel
def slopes(arguments, part, parts):
    """dw and db of batch norm, and what `normalize_backward` needs."""
    given, values, scale, found, g, dw, db, n, images, channels, pixels = unpack(arguments, "dpippiiiiii")
    for c in range(channels):
        first, second = 0.0, 0.0
        for image in range(images):
            first += given[2 * (image * channels + c)]
            second += given[2 * (image * channels + c) + 1]
        g[dw + c] = second
        g[db + c] = first
        inverse = found[2 * channels + c]
        a = values[scale + c] * inverse
        count = float(n * pixels)
        found[5 * channels + c] = a
        found[6 * channels + c] = inverse * second / count
        found[7 * channels + c] = first / count


@kernel
def normalize_backward(arguments, part, parts):
    """dy = a (g - c - b (y - mean)) in the lanes of images, zero in the others. Tasks as in `normalize`."""
    g, y, dy, keep, found, n, images, channels, rows, columns = unpack(arguments, "vvvipiiiii")
    gp, gn, gc, gr, gs = g
    yp, yn, yc, yr, ys = y
    dp, dn, dc, dr, ds = dy
    lanes = width(gp)
    none = zeros(gp)
    tasks = images * channels
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, k = task // channels, task % channels
        g0, y0, d0 = at(gp, image * gn + k * gc), at(yp, image * yn + k * yc), at(dp, image * dn + k * dc)
        live = first_lanes(n - image * lanes, none)
        mean, a = splat(found, k), splat(found, 5 * channels + k)
        b, c = splat(found, 6 * channels + k), splat(found, 7 * channels + k)
        for j in range(rows):
            for i in range(columns):
                d = sub(load(g0, j * gr + i * gs), c)
                d = mul(a, sub(d, mul(b, sub(load(y0, j * yr + i * ys), mean))))
                d = choose(live, d, none)
                if keep:
                    d = add(d, load(d0, j * dr + i * ds))
                store(d0, j * dr + i * ds, d)
