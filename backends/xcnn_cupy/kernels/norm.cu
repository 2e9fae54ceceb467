// Batch normalisation, given the statistics: forward, and backward with the gradients of its parameters.

#include "channels.cuh"

// With eps > 0 what is given is a variance, else the inverse standard deviation itself.
DEVICE REAL inverse(REAL spread, REAL eps) { return eps > 0 ? (REAL)1 / sqrt(spread + eps) : spread; }

// What a thread knows of its channels: the scale is w / std. Without b there is no shift.
template <int V>
struct Channels {
    REAL mean[V], scale[V], shift[V];
};

template <int V>
DEVICE Channels<V> channels(const Seat& s, const REAL* mean, const REAL* spread, REAL eps, const REAL* w,
                            const REAL* b) {
    Channels<V> of;
    for (int v = 0; v < V; v++) {
        const int k = s.column * V + v;
        of.mean[v] = mean[k], of.scale[v] = w[k] * inverse(spread[k], eps), of.shift[v] = b ? b[k] : 0;
    }
    return of;
}

template <int V>
DEVICE REAL normalized(REAL x, const Channels<V>& of, int v) {
    return fma(x - of.mean[v], of.scale[v], of.shift[v]);  // the same bits wherever it is computed again
}

template <int V>
DEVICE void apply_to(const T* x, const T* residual, T* y, index_t m, int c, const REAL* mean,
                     const REAL* spread, REAL eps, const REAL* w, const REAL* b, int relu) {
    const int columns = c / V;
    for (int number = blockIdx.y; number * BLOCK < columns; number += gridDim.y) {
        const Seat s = seat(columns, BLOCK, number);
        if (!s.taken) continue;
        const Channels<V> of = channels<V>(s, mean, spread, eps, w, b);
        const index_t step = (index_t)gridDim.x * s.height;
        for (index_t i = (index_t)blockIdx.x * s.height + s.row; i < m; i += step) {
            const index_t at = i * c + s.column * V;
            const Lanes<V> a = load<V>(x + at);
            Lanes<V> other, out;
            if (residual) other = load<V>(residual + at);
            for (int v = 0; v < V; v++) {
                REAL z = normalized(value(a.of[v]), of, v);
                if (residual) z += value(other.of[v]);
                put(&out.of[v], relu && z < 0 ? (REAL)0 : z);  // NaN stays
            }
            store(y + at, out);
        }
    }
}

// y = (x - mean) w / std + b, plus the residual and through the ReLU where asked.
KERNEL apply(const T* x, const T* residual, T* y, index_t m, int c, const REAL* mean, const REAL* spread,
             REAL eps, const REAL* w, const REAL* b, int relu) {
    if (is_wide(c, x, residual, y, 0))
        apply_to<LANES>(x, residual, y, m, c, mean, spread, eps, w, b, relu);
    else
        apply_to<1>(x, residual, y, m, c, mean, spread, eps, w, b, relu);
}

// How the ReLU's mask is known: there was none; from y > 0; or from y computed again, which spares its
// reading.
#define WHOLE 0
#define READ 1
#define AGAIN 2

// dy times the mask (multiplied: infinity times 0 is NaN here, too), for one channel of one row.
template <int V>
DEVICE REAL masked(T dy, T y, int mask, REAL x, const Channels<V>& of, int v) {
    if (mask == WHOLE) return value(dy);
    if (mask == AGAIN) put(&y, normalized(x, of, v));  // rounded as it was stored
    return value(dy) * (REAL)(value(y) > 0 ? 1 : 0);
}

// Adds up V numbers of each of a block's threads over its rows, in a fixed order: those of row 0 become the
// sums.
template <int V>
DEVICE void add_rows(const Seat& s, REAL* room) {
    __syncthreads();
    for (int live = s.height; live > 1;) {
        const int half = (live + 1) / 2, t = threadIdx.x;
        if (s.row < live - half)
            for (int v = 0; v < V; v++) room[v * BLOCK + t] += room[v * BLOCK + t + half * s.width];
        __syncthreads();
        live = half;
    }
}

template <int V>
DEVICE void sums_of(const T* dy, const T* x, const T* y, int mask, index_t m, int c, const REAL* mean,
                    const REAL* spread, REAL eps, const REAL* w, const REAL* b, REAL* sums, REAL* room) {
    const int columns = c / V, t = threadIdx.x;
    for (int number = blockIdx.y; number * BLOCK < columns; number += gridDim.y) {
        const Seat s = seat(columns, BLOCK, number);
        REAL whole[V], along[V];  // the sums of g and of g (x - mean)
        for (int v = 0; v < V; v++) whole[v] = along[v] = 0;
        if (s.taken) {
            const Channels<V> of = channels<V>(s, mean, spread, eps, w, b);
            const index_t step = (index_t)gridDim.x * s.height;
            index_t i = (index_t)blockIdx.x * s.height + s.row;
#pragma unroll 2
            for (; i < m; i += step) {
                const index_t at = i * c + s.column * V;
                const Lanes<V> d = load<V>(dy + at), a = load<V>(x + at);
                Lanes<V> out = d;
                if (mask == READ) out = load<V>(y + at);
                for (int v = 0; v < V; v++) {
                    const REAL z = value(a.of[v]);
                    const REAL g = masked(d.of[v], out.of[v], mask, z, of, v);
                    whole[v] += g;
                    along[v] += g * (z - of.mean[v]);
                }
            }
        }
        for (int v = 0; v < V; v++) room[v * BLOCK + t] = whole[v], room[(V + v) * BLOCK + t] = along[v];
        add_rows<2 * V>(s, room);
        if (s.taken && s.row == 0)
            for (int v = 0; v < V; v++) {
                const index_t k = (index_t)blockIdx.x * 2 * c + s.column * V + v;
                sums[k] = room[v * BLOCK + t];
                sums[k + c] = room[(V + v) * BLOCK + t];
            }
        __syncthreads();
    }
}

// The sums of g and of g (x - mean) over each block's rows: (blocks, 2, c).
KERNEL sums(const T* dy, const T* x, const T* y, int mask, index_t m, int c, const REAL* mean,
            const REAL* spread, REAL eps, const REAL* w, const REAL* b, REAL* sums) {
    __shared__ REAL room[BLOCK * 2 * LANES];
    if (is_wide(c, dy, x, y, 0))
        sums_of<LANES>(dy, x, y, mask, m, c, mean, spread, eps, w, b, sums, room);
    else
        sums_of<1>(dy, x, y, mask, m, c, mean, spread, eps, w, b, sums, room);
}

// db and dw: the sums over all blocks' rows, the second over the standard deviation.
KERNEL gradients(const REAL* sums, int blocks, int c, const REAL* spread, REAL eps, REAL* dw, REAL* db) {
    __shared__ REAL room[2 * BLOCK];
    const int t = threadIdx.x;
    for (int number = blockIdx.x; number * NARROW < c; number += gridDim.x) {
        const Seat s = seat(c, NARROW, number);
        REAL whole = 0, along = 0;
        if (s.taken)
            for (int i = s.row; i < blocks; i += s.height) {
                const index_t k = (index_t)i * 2 * c + s.column;
                whole += sums[k];
                along += sums[k + c];
            }
        room[t] = whole;
        room[BLOCK + t] = along;
        add_rows<2>(s, room);
        if (s.taken && s.row == 0) {
            db[s.column] = room[t];
            dw[s.column] = room[BLOCK + t] * inverse(spread[s.column], eps);
        }
        __syncthreads();
    }
}

template <int V>
DEVICE void input_gradient_of(const T* dy, const T* x, const T* y, int mask, index_t m, int c,
                              const REAL* mean, const REAL* spread, REAL eps, const REAL* w, const REAL* b,
                              const REAL* dw, const REAL* db, T* dx, T* dresidual) {
    const int columns = c / V;
    for (int number = blockIdx.y; number * BLOCK < columns; number += gridDim.y) {
        const Seat s = seat(columns, BLOCK, number);
        if (!s.taken) continue;
        const Channels<V> of = channels<V>(s, mean, spread, eps, w, b);
        REAL level[V], slope[V];
        for (int v = 0; v < V; v++) {
            const int k = s.column * V + v;
            level[v] = db ? db[k] / m : 0, slope[v] = db ? dw[k] * inverse(spread[k], eps) / m : 0;
        }
        const index_t step = (index_t)gridDim.x * s.height;
        for (index_t i = (index_t)blockIdx.x * s.height + s.row; i < m; i += step) {
            const index_t at = i * c + s.column * V;
            const Lanes<V> d = load<V>(dy + at), a = load<V>(x + at);
            Lanes<V> out = d, gradient, beside;
            if (mask == READ) out = load<V>(y + at);
            for (int v = 0; v < V; v++) {
                const REAL z = value(a.of[v]);
                const REAL g = masked(d.of[v], out.of[v], mask, z, of, v);
                put(&gradient.of[v], of.scale[v] * (g - level[v] - (z - of.mean[v]) * slope[v]));
                put(&beside.of[v], g);
            }
            store(dx + at, gradient);
            if (dresidual) store(dresidual + at, beside);
        }
    }
}

// dx = w / std (g - mean of g - z mean of g z); with fixed statistics, where db is null, w / std g.
KERNEL input_gradient(const T* dy, const T* x, const T* y, int mask, index_t m, int c, const REAL* mean,
                      const REAL* spread, REAL eps, const REAL* w, const REAL* b, const REAL* dw,
                      const REAL* db, T* dx, T* dresidual) {
    if (is_wide(c, dy, x, y, dx) && is_wide(c, dresidual, 0, 0, 0))
        input_gradient_of<LANES>(dy, x, y, mask, m, c, mean, spread, eps, w, b, dw, db, dx, dresidual);
    else
        input_gradient_of<1>(dy, x, y, mask, m, c, mean, spread, eps, w, b, dw, db, dx, dresidual);
}
