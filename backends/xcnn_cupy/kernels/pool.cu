// Pooling of images (N, H, W, C). Images with channels first are N * C images of one channel.
//
// A block row takes an image; a thread takes V neighbouring channels of a pixel. Gradients are gathered: each
// pixel looks at the windows that hold it, so that no two threads write one number and sums keep their order.

const int NOBODY = 255;  // where no pixel was the largest: NaN was met

// One axis of the windows: pixels of the image, windows, taps, pixels from window to window and from tap to tap,
// pixels of padding before the image.
struct Axis {
    int pixels, windows, taps, stride, dilation, before;
};

// The first window that may hold a pixel, and the last.
DEVICE int lowest(Axis a, int pixel) {
    const int beyond = pixel + a.before - a.dilation * (a.taps - 1);
    return beyond <= 0 ? 0 : (beyond + a.stride - 1) / a.stride;
}
DEVICE int highest(Axis a, int pixel) {
    const int last = (pixel + a.before) / a.stride;
    return last < a.windows ? last : a.windows - 1;
}

// Which tap of a window a pixel is; -1 where it lies between two.
DEVICE int tap(Axis a, int pixel, int window) {
    const int from = pixel + a.before - window * a.stride;
    if (a.dilation == 1) return from;
    return from % a.dilation ? -1 : from / a.dilation;
}

// Which tap was the largest, for neighbouring channels.
template <int V> struct alignas(V) Places {
    byte_t of[V];
};

template <int V>
DEVICE void largest(const T* x, T* y, byte_t* argmax, index_t images, int channels, Axis rows, Axis columns) {
    const word_t wide = channels / V, count = (word_t)rows.windows * columns.windows * wide;
    for (index_t n = first_row(); n < images; n += row_step()) {
        const T* image = x + n * rows.pixels * columns.pixels * channels;
        for (word_t i = (word_t)first(); i < count; i += (word_t)step()) {
            const int c = i % wide * V, window = i / wide;
            const int top = window / columns.windows * rows.stride - rows.before;
            const int left = window % columns.windows * columns.stride - columns.before;
            REAL most[V];
            Places<V> place;
            bool empty = true;
            for (int k = 0; k < rows.taps; k++) {
                const int h = top + k * rows.dilation;
                if (h < 0 || h >= rows.pixels) continue;
                for (int l = 0; l < columns.taps; l++) {
                    const int w = left + l * columns.dilation;
                    if (w < 0 || w >= columns.pixels) continue;
                    const Lanes<V> in = load<V>(image + ((index_t)h * columns.pixels + w) * channels + c);
                    for (int v = 0; v < V; v++) {
                        const REAL a = value(in.of[v]);
                        if (empty || a > most[v] || (a != a && most[v] == most[v])) {
                            most[v] = a;
                            place.of[v] = a != a ? NOBODY : k * columns.taps + l;
                        }
                    }
                    empty = false;
                }
            }
            const index_t at = n * count * V + (index_t)i * V;
            Lanes<V> out;
            for (int v = 0; v < V; v++) put(&out.of[v], most[v]);
            store<V>(y + at, out);
            *reinterpret_cast<Places<V>*>(argmax + at) = place;
        }
    }
}

KERNEL max_forward(const T* x, T* y, byte_t* argmax, index_t images, int channels, int h, int oh, int kh, int sh,
                   int dh, int top, int w, int ow, int kw, int sw, int dw, int left, int lanes) {
    const Axis rows = {h, oh, kh, sh, dh, top}, columns = {w, ow, kw, sw, dw, left};
    if (lanes == 1) {
        largest<1>(x, y, argmax, images, channels, rows, columns);
    } else {
        largest<LANES>(x, y, argmax, images, channels, rows, columns);
    }
}

template <int V>
DEVICE void largest_gradient(const T* dy, const byte_t* argmax, T* dx, index_t images, int channels, Axis rows,
                             Axis columns) {
    const word_t wide = channels / V, count = (word_t)rows.pixels * columns.pixels * wide;
    for (index_t n = first_row(); n < images; n += row_step()) {
        const index_t start = n * rows.windows * columns.windows * channels;
        for (word_t i = (word_t)first(); i < count; i += (word_t)step()) {
            const int c = i % wide * V, pixel = i / wide, h = pixel / columns.pixels, w = pixel % columns.pixels;
            const int last_row = highest(rows, h), last_column = highest(columns, w);
            REAL sum[V];
            for (int v = 0; v < V; v++) sum[v] = 0;
            for (int p = lowest(rows, h); p <= last_row; p++) {
                const int k = tap(rows, h, p);
                if (k < 0) continue;
#pragma unroll 1  // one or two, as a rule
                for (int q = lowest(columns, w); q <= last_column; q++) {
                    const int l = tap(columns, w, q);
                    if (l < 0) continue;
                    const index_t at = start + ((index_t)p * columns.windows + q) * channels + c;
                    const Places<V> place = *reinterpret_cast<const Places<V>*>(argmax + at);
                    const Lanes<V> d = load<V>(dy + at);
                    for (int v = 0; v < V; v++)
                        if (place.of[v] == k * columns.taps + l) sum[v] += value(d.of[v]);
                }
            }
            Lanes<V> out;
            for (int v = 0; v < V; v++) put(&out.of[v], sum[v]);
            store<V>(dx + n * count * V + (index_t)i * V, out);
        }
    }
}

KERNEL max_backward(const T* dy, const byte_t* argmax, T* dx, index_t images, int channels, int h, int oh, int kh,
                    int sh, int dh, int top, int w, int ow, int kw, int sw, int dw, int left, int lanes) {
    const Axis rows = {h, oh, kh, sh, dh, top}, columns = {w, ow, kw, sw, dw, left};
    if (lanes == 1) {
        largest_gradient<1>(dy, argmax, dx, images, channels, rows, columns);
    } else {
        largest_gradient<LANES>(dy, argmax, dx, images, channels, rows, columns);
    }
}

// How many pixels of a window count, along an axis whose padding counts so far before and after the image.
DEVICE int counted(Axis a, int window, int before, int after) {
    const int start = window * a.stride - a.before, stop = start + a.taps;
    const int from = start > -before ? start : -before, to = a.pixels + after;
    return (stop < to ? stop : to) - from;
}

template <int V>
DEVICE void mean(const T* x, T* y, index_t images, int channels, Axis rows, Axis columns, int top, int bottom,
                 int left, int right) {
    const word_t wide = channels / V, count = (word_t)rows.windows * columns.windows * wide;
    for (index_t n = first_row(); n < images; n += row_step()) {
        const T* image = x + n * rows.pixels * columns.pixels * channels;
        for (word_t i = (word_t)first(); i < count; i += (word_t)step()) {
            const int c = i % wide * V, window = i / wide;
            const int p = window / columns.windows, q = window % columns.windows;
            REAL sum[V];
            for (int v = 0; v < V; v++) sum[v] = 0;
            for (int k = 0; k < rows.taps; k++) {
                const int h = p * rows.stride - rows.before + k;
                if (h < 0 || h >= rows.pixels) continue;
                for (int l = 0; l < columns.taps; l++) {
                    const int w = q * columns.stride - columns.before + l;
                    if (w < 0 || w >= columns.pixels) continue;
                    const Lanes<V> in = load<V>(image + ((index_t)h * columns.pixels + w) * channels + c);
                    for (int v = 0; v < V; v++) sum[v] += value(in.of[v]);
                }
            }
            const REAL m = counted(rows, p, top, bottom) * counted(columns, q, left, right);
            Lanes<V> out;
            for (int v = 0; v < V; v++) put(&out.of[v], sum[v] / m);
            store<V>(y + n * count * V + (index_t)i * V, out);
        }
    }
}

// The last four numbers are the padding that counts.
KERNEL average_forward(const T* x, T* y, index_t images, int channels, int h, int oh, int kh, int sh, int dh,
                       int above, int w, int ow, int kw, int sw, int dw, int before, int lanes, int top, int bottom,
                       int left, int right) {
    const Axis rows = {h, oh, kh, sh, dh, above}, columns = {w, ow, kw, sw, dw, before};
    if (lanes == 1) {
        mean<1>(x, y, images, channels, rows, columns, top, bottom, left, right);
    } else {
        mean<LANES>(x, y, images, channels, rows, columns, top, bottom, left, right);
    }
}

template <int V>
DEVICE void mean_gradient(const T* dy, T* dx, index_t images, int channels, Axis rows, Axis columns, int top,
                          int bottom, int left, int right) {
    const word_t wide = channels / V, count = (word_t)rows.pixels * columns.pixels * wide;
    for (index_t n = first_row(); n < images; n += row_step()) {
        const T* image = dy + n * rows.windows * columns.windows * channels;
        for (word_t i = (word_t)first(); i < count; i += (word_t)step()) {
            const int c = i % wide * V, pixel = i / wide, h = pixel / columns.pixels, w = pixel % columns.pixels;
            const int last_row = highest(rows, h), last_column = highest(columns, w);
            REAL sum[V];
            for (int v = 0; v < V; v++) sum[v] = 0;
            for (int p = lowest(rows, h); p <= last_row; p++) {
#pragma unroll 1  // one or two, as a rule
                for (int q = lowest(columns, w); q <= last_column; q++) {
                    const REAL m = counted(rows, p, top, bottom) * counted(columns, q, left, right);
                    const Lanes<V> d = load<V>(image + ((index_t)p * columns.windows + q) * channels + c);
                    for (int v = 0; v < V; v++) sum[v] += value(d.of[v]) / m;
                }
            }
            Lanes<V> out;
            for (int v = 0; v < V; v++) put(&out.of[v], sum[v]);
            store<V>(dx + n * count * V + (index_t)i * V, out);
        }
    }
}

KERNEL average_backward(const T* dy, T* dx, index_t images, int channels, int h, int oh, int kh, int sh, int dh,
                        int above, int w, int ow, int kw, int sw, int dw, int before, int lanes, int top,
                        int bottom, int left, int right) {
    const Axis rows = {h, oh, kh, sh, dh, above}, columns = {w, ow, kw, sw, dw, before};
    if (lanes == 1) {
        mean_gradient<1>(dy, dx, images, channels, rows, columns, top, bottom, left, right);
    } else {
        mean_gradient<LANES>(dy, dx, images, channels, rows, columns, top, bottom, left, right);
    }
}

const int ACROSS = 32;  // channels of a block, side by side
const int DOWN = 8;     // pixels that it takes at once

// y[n, c]: the mean of x[n, p, c] over p. A block of 256 threads takes ACROSS channels of an image.
KERNEL global_forward(const T* x, T* y, index_t images, int pixels, int channels) {
    __shared__ REAL room[DOWN][ACROSS];
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    for (index_t n = first_row(); n < images; n += row_step()) {
        for (int left = blockIdx.x * ACROSS; left < channels; left += gridDim.x * ACROSS) {
            const int c = left + across;
            REAL sum = 0;
            if (c < channels)
                for (int p = down; p < pixels; p += DOWN) sum += value(x[(n * pixels + p) * channels + c]);
            room[down][across] = sum;
            __syncthreads();
            for (int half = DOWN / 2; half > 0; half /= 2) {
                if (down < half) room[down][across] += room[down + half][across];
                __syncthreads();
            }
            if (down == 0 && c < channels) put(&y[n * channels + c], room[0][across] / pixels);
            __syncthreads();
        }
    }
}

template <int V>
DEVICE void spread(const T* dy, T* dx, index_t images, int pixels, int channels) {
    const word_t wide = channels / V, count = (word_t)pixels * wide;
    for (index_t n = first_row(); n < images; n += row_step()) {
        for (word_t i = (word_t)first(); i < count; i += (word_t)step()) {
            Lanes<V> a = load<V>(dy + n * channels + i % wide * V);
            for (int v = 0; v < V; v++) put(&a.of[v], value(a.of[v]) / pixels);
            store<V>(dx + n * count * V + (index_t)i * V, a);
        }
    }
}

KERNEL global_backward(const T* dy, T* dx, index_t images, int pixels, int channels, int lanes) {
    if (lanes == 1) {
        spread<1>(dy, dx, images, pixels, channels);
    } else {
        spread<LANES>(dy, dx, images, pixels, channels);
    }
}
