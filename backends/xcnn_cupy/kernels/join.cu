// Where the branches of a run meet: sums, and stacks of channels. Images are (pixels, channels).

template <int V> DEVICE void add_all(const T* a, const T* b, T* y, index_t n, bool relu) {
    for (index_t i = first(); i < n / V; i += step()) {
        const Lanes<V> one = load<V>(a + i * V), other = load<V>(b + i * V);
        Lanes<V> sum;
        for (int v = 0; v < V; v++) {
            const REAL s = value(one.of[v]) + value(other.of[v]);
            put(&sum.of[v], relu && s < 0 ? 0 : s);  // NaN stays
        }
        store<V>(y + i * V, sum);
    }
}

// y = a + b, through the ReLU where asked.
KERNEL add(const T* a, const T* b, T* y, index_t n, int relu, int lanes) {
    if (lanes == 1) {
        add_all<1>(a, b, y, n, relu != 0);
    } else {
        add_all<LANES>(a, b, y, n, relu != 0);
    }
}

template <int V>
DEVICE void copy_channels(const T* x, T* y, index_t pixels, int channels, int from, int wide, int to, int whole) {
    const int some = wide / V;
    for (index_t i = first(); i < pixels * some; i += step()) {
        const index_t pixel = i / some;
        const int c = (int)(i % some) * V;
        store<V>(y + pixel * whole + to + c, load<V>(x + pixel * channels + from + c));
    }
}

// Of each pixel, `wide` of the channels of x, from `from` on, into the `whole` ones of y, from `to` on.
KERNEL copy(const T* x, T* y, index_t pixels, int channels, int from, int wide, int to, int whole, int lanes) {
    if (lanes == 1) {
        copy_channels<1>(x, y, pixels, channels, from, wide, to, whole);
    } else {
        copy_channels<LANES>(x, y, pixels, channels, from, wide, to, whole);
    }
}
