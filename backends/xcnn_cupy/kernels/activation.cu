// Activations, and gradients of biases: sums over the rows of a matrix (rows, columns), columns being channels.

const int BLOCK = 256;  // threads; a block is seen as a rectangle of threads where columns are summed

struct Relu {
    static DEVICE REAL forward(REAL x, REAL) { return x > 0 || x != x ? x : 0; }
    static DEVICE REAL slope(REAL y, REAL) { return y > 0 ? 1 : 0; }
};

struct LeakyRelu {
    static DEVICE REAL forward(REAL x, REAL leak) { return x > 0 ? x : leak * x; }
    static DEVICE REAL slope(REAL x, REAL leak) { return x > 0 ? 1 : leak; }
};

struct Sigmoid {
    static DEVICE REAL forward(REAL x, REAL) { return exp(x < 0 ? x : 0) / (1 + exp(-fabs(x))); }
    static DEVICE REAL slope(REAL y, REAL) { return y * (1 - y); }
};

struct Tanh {
    static DEVICE REAL forward(REAL x, REAL) { return tanh(x); }
    static DEVICE REAL slope(REAL y, REAL) { return 1 - y * y; }
};

struct Silu {
    static DEVICE REAL forward(REAL x, REAL) { return x * Sigmoid::forward(x, 0); }
    static DEVICE REAL slope(REAL x, REAL) {
        const REAL s = Sigmoid::forward(x, 0);
        return s + x * s * (1 - s);
    }
};

// Which is which in activations.py.
enum { RELU, LEAKY_RELU, SIGMOID, TANH, SILU };

template <typename F, int V> DEVICE void map(Lanes<V>& x, REAL leak) {
    for (int v = 0; v < V; v++) put(&x.of[v], F::forward(value(x.of[v]), leak));
}

template <int V> DEVICE void activate(int which, Lanes<V>& x, REAL leak) {
    switch (which) {
        case RELU: map<Relu>(x, leak); break;
        case LEAKY_RELU: map<LeakyRelu>(x, leak); break;
        case SIGMOID: map<Sigmoid>(x, leak); break;
        case TANH: map<Tanh>(x, leak); break;
        case SILU: map<Silu>(x, leak); break;
    }
}

template <typename F, int V> DEVICE void map_back(Lanes<V>& d, const Lanes<V>& saved, REAL leak) {
    for (int v = 0; v < V; v++) put(&d.of[v], value(d.of[v]) * F::slope(value(saved.of[v]), leak));
}

// dy becomes dx.
template <int V> DEVICE void activate_back(int which, Lanes<V>& d, const Lanes<V>& saved, REAL leak) {
    switch (which) {
        case RELU: map_back<Relu>(d, saved, leak); break;
        case LEAKY_RELU: map_back<LeakyRelu>(d, saved, leak); break;
        case SIGMOID: map_back<Sigmoid>(d, saved, leak); break;
        case TANH: map_back<Tanh>(d, saved, leak); break;
        case SILU: map_back<Silu>(d, saved, leak); break;
    }
}

template <int V> DEVICE void forward_from(index_t start, const T* x, T* y, index_t n, int which, REAL leak) {
    for (index_t i = start + first() * V; i + V <= n; i += step() * V) {
        Lanes<V> a = load<V>(x + i);
        activate(which, a, leak);
        store<V>(y + i, a);
    }
}

KERNEL forward(const T* x, T* y, index_t n, int which, REAL leak) {
    forward_from<LANES>(0, x, y, n, which, leak);
    forward_from<1>(n / LANES * LANES, x, y, n, which, leak);
}

template <int V>
DEVICE void backward_from(index_t start, const T* dy, const T* saved, T* dx, index_t n, int which, REAL leak) {
    for (index_t i = start + first() * V; i + V <= n; i += step() * V) {
        Lanes<V> d = load<V>(dy + i);
        activate_back(which, d, load<V>(saved + i), leak);
        store<V>(dx + i, d);
    }
}

KERNEL backward(const T* dy, const T* saved, T* dx, index_t n, int which, REAL leak) {
    backward_from<LANES>(0, dy, saved, dx, n, which, leak);
    backward_from<1>(n / LANES * LANES, dy, saved, dx, n, which, leak);
}

// dx and, for each block row, the sums of its columns: a block takes `across` times V columns, and every
// gridDim.y * BLOCK / across rows one. Threads then add up from the bottom, which keeps the order of the sums.
// `saved` and `dx` are null where dy is only summed; `room` holds V numbers for each thread.
template <int V>
DEVICE void columns_of(const T* dy, const T* saved, T* dx, REAL* partial, index_t rows, int columns, int across,
                       int which, REAL leak, REAL* room) {
    const int t = threadIdx.x, down = BLOCK / across, mine = t / across;
    for (index_t left = (index_t)blockIdx.x * across * V; left < columns; left += (index_t)gridDim.x * across * V) {
        const index_t c = left + t % across * V;
        REAL sum[V];
        for (int v = 0; v < V; v++) sum[v] = 0;
        if (c < columns) {
            for (index_t r = first_row() * down + mine; r < rows; r += row_step() * down) {
                Lanes<V> d = load<V>(dy + r * columns + c);
                if (saved) {
                    activate_back(which, d, load<V>(saved + r * columns + c), leak);
                    store<V>(dx + r * columns + c, d);
                }
                for (int v = 0; v < V; v++) sum[v] += value(d.of[v]);
            }
        }
        for (int v = 0; v < V; v++) room[v * BLOCK + t] = sum[v];
        __syncthreads();
        for (int half = down / 2; half > 0; half /= 2) {
            if (mine < half)
                for (int v = 0; v < V; v++) room[v * BLOCK + t] += room[v * BLOCK + t + half * across];
            __syncthreads();
        }
        if (mine == 0 && c < columns)
            for (int v = 0; v < V; v++) partial[first_row() * columns + c + v] = room[v * BLOCK + t];
        __syncthreads();
    }
}

KERNEL column_sums(const T* dy, const T* saved, T* dx, REAL* partial, index_t rows, int columns, int across,
                   int lanes, int which, REAL leak) {
    __shared__ REAL room[BLOCK * LANES];
    if (lanes == 1) {
        columns_of<1>(dy, saved, dx, partial, rows, columns, across, which, leak, room);
    } else {
        columns_of<LANES>(dy, saved, dx, partial, rows, columns, across, which, leak, room);
    }
}

// db[c]: the sum of partial[r, c] over r; a block takes 8 columns.
KERNEL add_rows(const REAL* partial, REAL* db, int rows, int columns) {
    __shared__ REAL room[BLOCK];
    const int across = threadIdx.x % 8, down = threadIdx.x / 8;
    for (int left = blockIdx.x * 8; left < columns; left += gridDim.x * 8) {
        const int c = left + across;
        REAL sum = 0;
        if (c < columns)
            for (int r = down; r < rows; r += BLOCK / 8) sum += partial[(index_t)r * columns + c];
        room[threadIdx.x] = sum;
        __syncthreads();
        for (int half = BLOCK / 2; half >= 8; half /= 2) {
            if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
            __syncthreads();
        }
        if (down == 0 && c < columns) db[c] = room[across];
        __syncthreads();
    }
}
