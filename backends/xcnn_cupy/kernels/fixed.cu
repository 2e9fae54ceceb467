// Images through fixed statistics of their channels, which lie last in memory.

template <typename FROM>
DEVICE void divide(const FROM* x, T* y, index_t n, int channels, const REAL* mean, const REAL* std) {
    for (index_t i = first(); i < n; i += step()) {
        const int c = (int)(i % channels);
        put(&y[i], (value(x[i]) - (mean ? mean[c] : 0)) / std[c]);
    }
}

// y = (x - mean) / std; x / std where mean is null.
KERNEL standardize(const T* x, T* y, index_t n, int channels, const REAL* mean, const REAL* std) {
    divide(x, y, n, channels, mean, std);
}

// The same of x that was not rounded yet.
KERNEL standardize_wide(const REAL* x, T* y, index_t n, int channels, const REAL* mean, const REAL* std) {
    divide(x, y, n, channels, mean, std);
}
