"""Kernels of convolutions and dense layers: what surrounds sweeps over pixels and gathers of gradients."""

from __future__ import annotations

from xcnn_numpy.across import total
from xcnn_numpy.compiler import call, kernel, unpack
from xcnn_numpy.pooling import best_of, write_best
from xcnn_numpy.simd import add, at, load, store, width, zeros

__all__ = ["convolve", "convolve_pool", "gather_images", "gather_units", "sum_parts"]


@kernel
def convolve(arguments, part, parts):
    """Sliding products over whole images: y = max(floor, b + r + w * x).

    A task is a band of rows of one block of images, for a chunk of a group's channels.
    """
    sweep, x, xg, w, wg, wc, taps, spans, segments, bias, bc, zero, y, r, floor, lowest, shape = unpack(
        arguments, "ivipiillipipvvff#9"
    )
    images, groups, channels, rows, columns, bands, chunks, c_most, p_most = shape
    xp, xn, _, xr, xs = x
    yp, yn, yc, yr, ys = y
    rp, rn, rc, rr, rs = r
    tasks = images * bands * groups * chunks
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        rest, chunk = task // chunks, task % chunks
        rest, group = rest // groups, rest % groups
        image, band = rest // bands, rest % bands
        c = channels * chunk // chunks
        count = channels * (chunk + 1) // chunks - c
        j = rows * band // bands
        height = rows * (band + 1) // bands - j
        first = group * channels + c
        source = at(xp, image * xn + group * xg + j * xr)
        weights = at(w, group * wg + c * wc)
        target = at(yp, image * yn + first * yc + j * yr)
        given, gs, gr, gc = at(rp, image * rn + first * rc + j * rr), rs, rr, rc
        start, step = at(bias, first * bc), bc
        for k in range(segments):  # so many input channels at a time as the cache holds
            # fmt: off
            call(sweep, (
                count, height, columns, c_most, p_most,
                source, xs, xr, weights, wc, taps, at(spans, 2 * (k * rows + j)), start, step,
                target, ys, yr, yc, given, gs, gr, gc, floor if k == segments - 1 else lowest,
            ))
            # fmt: on
            given, gs, gr, gc = target, ys, yr, yc
            start, step = zero, 0


@kernel
def convolve_pool(arguments, part, parts):
    """y = the largest of each window of max(floor, b + w * x), and its place; -1 where that is the floor.

    A task is a band of rows of y of one block of images, for a chunk of a group's channels; the rows of the
    convolution that a row of y needs live in the cache only.
    """
    sweep, x, xg, w, wg, wc, taps, spans, bias, bc, zero, y, index, scratch, floor, shape = unpack(
        arguments, "ivipiillpipvbpf#14"
    )
    images, groups, channels, rows, columns, bands, chunks, c_most, p_most, ph, pw, sh, sw, size = shape
    xp, xn, _, xr, xs = x
    yp, yn, yc, yr, ys = y
    lanes = width(xp)
    across = (columns - 1) * sw + pw
    tmp = at(scratch, part * size)
    tasks = images * bands * groups * chunks
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        rest, chunk = task // chunks, task % chunks
        rest, group = rest // groups, rest % groups
        image, band = rest // bands, rest % bands
        c = channels * chunk // chunks
        count = channels * (chunk + 1) // chunks - c
        first = group * channels + c
        weights = at(w, group * wg + c * wc)
        for row in range(rows * band // bands, rows * (band + 1) // bands):
            source = at(xp, image * xn + group * xg + row * sh * xr)
            # fmt: off
            call(sweep, (
                count, ph, across, c_most, p_most,
                source, xs, xr, weights, wc, taps, at(spans, 2 * row * sh), at(bias, first * bc), bc,
                tmp, lanes, across * lanes, ph * across * lanes, zero, 0, 0, 0, floor,
            ))
            # fmt: on
            for k in range(count):
                target = at(yp, image * yn + (first + k) * yc + row * yr)
                place = at(index, (((image * groups * channels + first + k) * rows) + row) * columns * lanes)
                window = at(tmp, k * ph * across * lanes)
                for i in range(columns):
                    best, which = best_of(at(window, i * sw * lanes), across * lanes, lanes, ph, pw)
                    write_best(at(target, i * ys), at(place, i * lanes), best, which, floor)


@kernel
def gather_images(arguments, part, parts):
    """Partial sums, one for each part, of dw and then db.

    A task is a band of rows of one block of images, for a chunk of the groups or of the one group's filters.
    """
    gather, dy, x, xg, taps, count, biases, partial, shape = unpack(arguments, "ivviliip#9")
    images, groups, channels, rows, columns, bands, chunks, height, size = shape
    dp, dn, dc, dr, ds = dy
    xp, xn, _, xr, xs = x
    mine = at(partial, part * size)
    for k in range(size):
        mine[k] = 0.0
    tasks = images * bands * chunks
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        rest, chunk = task // chunks, task % chunks
        image, band = rest // bands, rest % bands
        whole = groups if groups > 1 else channels
        first, last = whole * chunk // chunks, whole * (chunk + 1) // chunks
        each = channels if groups > 1 else 1
        stop = rows * (band + 1) // bands
        for j in range(rows * band // bands, stop, height):
            here = min(height, stop - j)
            for group in range(first if groups > 1 else 0, last if groups > 1 else 1):
                k = group * channels if groups > 1 else first
                some = channels if groups > 1 else last - first
                d = at(dp, image * dn + k * dc + j * dr)
                source = at(xp, image * xn + group * xg + j * xr)
                target = at(mine, k * count)
                # fmt: off
                call(gather, (
                    some, count, here, columns, d, ds, dr, dc, source, xs, xr, taps, target, count,
                ))
                # fmt: on
            for k in range(first * each if biases else 0, last * each if biases else 0):
                d = at(dp, image * dn + k * dc + j * dr)
                sums = zeros(dp)
                for row in range(here):
                    for i in range(columns):
                        sums = add(sums, load(d, row * dr + i * ds))
                mine[groups * channels * count + k] += total(sums)


@kernel
def sum_parts(arguments, part, parts):
    """g[i] = the sum over parts of partial[part][i]: weights first, then biases at a place of their own."""
    partial, size, count, g, weights, first, biases = unpack(arguments, "piipiii")
    lanes = width(partial)
    stop = weights * (part + 1) // parts
    i = weights * part // parts
    while i + lanes <= stop:
        sums = load(partial, i)
        for k in range(1, count):
            sums = add(sums, load(partial, k * size + i))
        store(g, i, sums)
        i += lanes
    while i < stop:
        one = partial[i]
        for k in range(1, count):
            one += partial[k * size + i]
        g[i] = one
        i += 1
    if part == 0:
        for i in range(biases):
            one = partial[weights + i]
            for k in range(1, count):
                one += partial[k * size + weights + i]
            g[first + i] = one


@kernel
def gather_units(arguments, part, parts):
    """dw and db of a dense layer. A task is a chunk of the units with a chunk of the features."""
    gather, dy, x, taps, g, biases, shape = unpack(arguments, "ivvlpp#6")
    blocks, units, features, u_chunks, f_chunks, biased = shape
    dp, _, dc, _, ds = dy
    xp, _, _, _, xs = x
    tasks = u_chunks * f_chunks
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        a, b = task // f_chunks, task % f_chunks
        u, f = units * a // u_chunks, features * b // f_chunks
        u_count, f_count = units * (a + 1) // u_chunks - u, features * (b + 1) // f_chunks - f
        for k in range(u_count):
            for i in range(f_count):
                g[(u + k) * features + f + i] = 0.0
        d = at(dp, u * dc)
        # fmt: off
        call(gather, (
            u_count, f_count, 1, blocks, d, ds, 0, dc, xp, xs, 0, at(taps, 2 * f),
            at(g, u * features), features,
        ))
        # fmt: on
        if b == 0 and biased:
            for k in range(u_count):
                sums = zeros(dp)
                for i in range(blocks):
                    sums = add(sums, load(d, k * dc + i * ds))
                biases[u + k] = total(sums)
