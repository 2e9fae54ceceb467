// The mean and the variance of each channel of a batch.

#include "channels.cuh"

// Makes the mean of n numbers, and the sum of squares about it, those of two samples together (Chan, Golub
// and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
DEVICE void merge(REAL n, REAL& mean, REAL& squares, REAL n2, REAL mean2, REAL squares2) {
    if (n2 == 0) return;
    const REAL part = n2 / (n + n2), delta = mean2 - mean;
    squares += squares2 + delta * delta * n * part;
    mean += delta * part;
}

// Merges the samples of a block's rows into those of its row 0, in a fixed order.
template <int V>
DEVICE void merge_rows(const Seat& s, REAL& n, REAL* mean, REAL* squares, REAL* room) {
    REAL *counts = room, *means = counts + BLOCK, *sums = means + BLOCK * V;
    const int t = threadIdx.x;
    counts[t] = n;
    for (int v = 0; v < V; v++) means[v * BLOCK + t] = mean[v], sums[v * BLOCK + t] = squares[v];
    __syncthreads();
    for (int live = s.height; live > 1;) {
        const int half = (live + 1) / 2, u = t + half * s.width;
        if (s.row < live - half) {
            for (int v = 0; v < V; v++)
                merge(counts[t], means[v * BLOCK + t], sums[v * BLOCK + t], counts[u], means[v * BLOCK + u],
                      sums[v * BLOCK + u]);
            counts[t] += counts[u];
        }
        __syncthreads();
        live = half;
    }
    n = counts[t];
    for (int v = 0; v < V; v++) mean[v] = means[v * BLOCK + t], squares[v] = sums[v * BLOCK + t];
    __syncthreads();
}

template <int V>
DEVICE void moments_of(const T* x, index_t m, int c, REAL* counts, REAL* means, REAL* sums, REAL* room) {
    const int columns = c / V, each = V > 1 ? 4 : 8;  // rows at a time: that many loads are under way
    for (int number = blockIdx.y; number * BLOCK < columns; number += gridDim.y) {
        const Seat s = seat(columns, BLOCK, number);
        REAL n = 0, mean[V], squares[V];
        for (int v = 0; v < V; v++) mean[v] = squares[v] = 0;
        if (s.taken) {
            const T* at = x + s.column * V;
            const Lanes<V> origin = load<V>(at);  // row 0: what is left of a large mean is small
            const index_t step = (index_t)gridDim.x * s.height;
            index_t i = (index_t)blockIdx.x * s.height + s.row;
            for (; i + (each - 1) * step < m; i += each * step) {
                Lanes<V> rows[each];
                for (int r = 0; r < each; r++) rows[r] = load<V>(at + (i + r * step) * c);
                const REAL part = each / (n + each);
                for (int v = 0; v < V; v++) {
                    REAL sum = 0, around = 0, near[each];
                    for (int r = 0; r < each; r++) {
                        near[r] = value(rows[r].of[v]) - value(origin.of[v]);
                        sum += near[r];
                    }
                    const REAL centre = sum * ((REAL)1 / each), delta = centre - mean[v];
                    for (int r = 0; r < each; r++) {
                        const REAL d = near[r] - centre;
                        around += d * d;
                    }
                    squares[v] += around + delta * delta * n * part;
                    mean[v] += delta * part;
                }
                n += each;
            }
            for (; i < m; i += step) {
                const Lanes<V> row = load<V>(at + i * c);
                n += 1;
                for (int v = 0; v < V; v++) {
                    const REAL a = value(row.of[v]) - value(origin.of[v]), delta = a - mean[v];
                    mean[v] += delta / n;
                    squares[v] += delta * (a - mean[v]);
                }
            }
        }
        merge_rows<V>(s, n, mean, squares, room);
        if (s.taken && s.row == 0) {
            for (int v = 0; v < V; v++) {
                const index_t k = (index_t)blockIdx.x * c + s.column * V + v;
                means[k] = mean[v];
                sums[k] = squares[v];
            }
            counts[blockIdx.x] = n;
        }
    }
}

// The count (blocks,), the mean less row 0 (blocks, c), and the sum of squares about it (blocks, c), of each
// block's rows.
KERNEL moments(const T* x, index_t m, int c, REAL* counts, REAL* means, REAL* sums) {
    __shared__ REAL room[BLOCK * (2 * LANES + 1)];
    if (is_wide(c, x, 0, 0, 0))
        moments_of<LANES>(x, m, c, counts, means, sums, room);
    else
        moments_of<1>(x, m, c, counts, means, sums, room);
}

// The moments of all blocks' rows: the biased variance; and where given, the running statistics moved.
KERNEL statistics(const T* x, const REAL* counts, const REAL* means, const REAL* sums, int blocks, int c,
                  REAL eps, REAL* mean, REAL* var, REAL* inv_std, const REAL* running_mean,
                  const REAL* running_var, REAL keep, REAL momentum, REAL unbiased, REAL* new_mean,
                  REAL* new_var) {
    __shared__ REAL room[BLOCK * 3];
    for (int number = blockIdx.x; number * NARROW < c; number += gridDim.x) {
        const Seat s = seat(c, NARROW, number);
        REAL n = 0, centre = 0, squares = 0;
        if (s.taken)
            for (int i = s.row; i < blocks; i += s.height) {
                const index_t k = (index_t)i * c + s.column;
                merge(n, centre, squares, counts[i], means[k], sums[k]);
                n += counts[i];
            }
        merge_rows<1>(s, n, &centre, &squares, room);
        if (s.taken && s.row == 0) {
            const int k = s.column;
            const REAL biased = squares / n;
            centre += value(x[k]);
            mean[k] = centre;
            var[k] = biased;
            inv_std[k] = (REAL)1 / sqrt(biased + eps);
            if (running_mean) {
                new_mean[k] = keep * running_mean[k] + momentum * centre;
                new_var[k] = keep * running_var[k] + momentum * (biased * unbiased);
            }
        }
    }
}
