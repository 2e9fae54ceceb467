"""Kernels of convolutions with channels in the lanes."""

from __future__ import annotations

from xcnn_numpy.compiler import call, kernel, unpack
from xcnn_numpy.simd import at, fill, floor_at, fma, load, store, width

__all__ = ["convolve_filters", "convolve_planes"]


@kernel
def convolve_filters(arguments, part, parts):
    """y = max(floor, b + w * x) for vectors of filters. Tasks are bands of rows for chunks of vectors."""
    sweep, x, w, taps, spans, segments, b, zero, y, floor, lowest, shape = unpack(arguments, "ivpllippvff#9")
    images, vectors, rows, columns, bands, chunks, p_most, v_most, size = shape
    xp, xn, _, xr, xs = x
    yp, yn, yc, yr, ys = y
    lanes = width(yp)
    tasks = images * bands * chunks
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        rest, chunk = task // chunks, task % chunks
        image, band = rest // bands, rest % bands
        v = vectors * chunk // chunks
        count = vectors * (chunk + 1) // chunks - v
        for j in range(rows * band // bands, rows * (band + 1) // bands):
            target = at(yp, image * yn + v * yc + j * yr)
            given, step, across = at(b, v * lanes), lanes, 0
            for k in range(segments):
                # fmt: off
                call(sweep, (
                    columns, 1, count, p_most, v_most,
                    at(w, v * size), size, 0, at(xp, image * xn + j * xr), xs,
                    taps, at(spans, 2 * (k * rows + j)), zero, 0, target, yc, 0, ys, given, step, 0, across,
                    floor if k == segments - 1 else lowest,
                ))
                # fmt: on
                given, step, across = target, yc, ys


@kernel
def convolve_planes(arguments, part, parts):
    """Depthwise y = max(floor, b + w * x), plane by plane. A task is a vector of channels of an image."""
    x, w, b, y, floor, images, vectors, rows, columns, kh, kw, down, across = unpack(
        arguments, "vppvfiiiiiiii"
    )
    xp, xn, xc, xr, xs = x
    yp, yn, yc, yr, ys = y
    lanes = width(yp)
    low = fill(floor)
    tasks = images * vectors
    for task in range(tasks * part // parts, tasks * (part + 1) // parts):
        image, v = task // vectors, task % vectors
        for j in range(rows):
            source, target = at(xp, image * xn + v * xc + j * xr), at(yp, image * yn + v * yc + j * yr)
            for i in range(0, columns, 4):
                i1, i2, i3 = min(i + 1, columns - 1), min(i + 2, columns - 1), min(i + 3, columns - 1)
                s0 = load(b, v * lanes)
                s1, s2, s3 = s0, s0, s0
                for a in range(kh):
                    for c in range(kw):
                        tap = load(w, (v * kh * kw + a * kw + c) * lanes)
                        here = a * down + c * across
                        s0 = fma(tap, load(source, here + i * xs), s0)
                        s1 = fma(tap, load(source, here + i1 * xs), s1)
                        s2 = fma(tap, load(source, here + i2 * xs), s2)
                        s3 = fma(tap, load(source, here + i3 * xs), s3)
                store(target, i * ys, floor_at(s0, low))
                store(target, i1 * ys, floor_at(s1, low))
                store(target, i2 * ys, floor_at(s2, low))
                store(target, i3 * ys, floor_at(s3, low))
