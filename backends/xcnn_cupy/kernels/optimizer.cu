// The optimizers' updates of flat vectors, one launch each; the search for what is not finite; copies. A
// number that changes from step to step is given by value, or, where the pointer beside it is not null,
// there: a replayed CUDA graph must not hold this step's learning rate.

DEVICE REAL given(REAL a, const T* at) { return at ? value(*at) : a; }

// What applies to weights alone, which come first: the penalties l1 and l2, and the factor of their decay.
struct Pair {
    REAL w, g;
};

DEVICE Pair penalized(REAL w, REAL g, bool weight, REAL l1, REAL l2, REAL kept) {
    if (!weight) return {w, g};
    g += l1 * (REAL)((w > 0) - (w < 0));
    g += l2 * w;
    return {w * kept, g};
}

KERNEL sgd(const T* w, const T* dw, T* w2, index_t n, index_t weights, REAL l1, REAL l2, REAL decay,
           const T* decay_at, REAL lr, const T* lr_at) {
    const REAL rate = given(lr, lr_at), kept = given(decay, decay_at);
    for (index_t i = first(); i < n; i += step()) {
        const Pair p = penalized(value(w[i]), value(dw[i]), i < weights, l1, l2, kept);
        put(w2 + i, p.w - rate * p.g);
    }
}

KERNEL momentum(const T* w, const T* dw, const T* v, T* w2, T* v2, index_t n, index_t weights, REAL l1, REAL l2,
                REAL decay, const T* decay_at, REAL lr, const T* lr_at, REAL mu, int ahead) {
    const REAL rate = given(lr, lr_at), kept = given(decay, decay_at);
    for (index_t i = first(); i < n; i += step()) {
        const Pair p = penalized(value(w[i]), value(dw[i]), i < weights, l1, l2, kept);
        const REAL a = mu * value(v[i]) + p.g;
        put(v2 + i, a);
        put(w2 + i, p.w - rate * (ahead ? p.g + mu * a : a));
    }
}

KERNEL adagrad(const T* w, const T* dw, const T* s, T* w2, T* s2, index_t n, index_t weights, REAL l1, REAL l2,
               REAL decay, const T* decay_at, REAL lr, const T* lr_at, REAL eps) {
    const REAL rate = given(lr, lr_at), kept = given(decay, decay_at);
    for (index_t i = first(); i < n; i += step()) {
        const Pair p = penalized(value(w[i]), value(dw[i]), i < weights, l1, l2, kept);
        const REAL a = value(s[i]) + p.g * p.g;
        put(s2 + i, a);
        put(w2 + i, p.w - rate * p.g / (sqrt(a) + eps));
    }
}

KERNEL rmsprop(const T* w, const T* dw, const T* s, T* w2, T* s2, index_t n, index_t weights, REAL l1, REAL l2,
               REAL decay, const T* decay_at, REAL lr, const T* lr_at, REAL alpha, REAL rest, REAL eps) {
    const REAL rate = given(lr, lr_at), kept = given(decay, decay_at);
    for (index_t i = first(); i < n; i += step()) {
        const Pair p = penalized(value(w[i]), value(dw[i]), i < weights, l1, l2, kept);
        const REAL a = alpha * value(s[i]) + rest * p.g * p.g;
        put(s2 + i, a);
        put(w2 + i, p.w - rate * p.g / (sqrt(a) + eps));
    }
}

KERNEL adam(const T* w, const T* dw, const T* m, const T* v, T* w2, T* m2, T* v2, index_t n, index_t weights,
            REAL l1, REAL l2, REAL decay, const T* decay_at, REAL lr, const T* lr_at, REAL c1, const T* c1_at,
            REAL c2, const T* c2_at, REAL beta1, REAL rest1, REAL beta2, REAL rest2, REAL eps) {
    const REAL rate = given(lr, lr_at), kept = given(decay, decay_at);
    const REAL whole1 = given(c1, c1_at), whole2 = given(c2, c2_at);
    for (index_t i = first(); i < n; i += step()) {
        const Pair p = penalized(value(w[i]), value(dw[i]), i < weights, l1, l2, kept);
        const REAL a = beta1 * value(m[i]) + rest1 * p.g, b = beta2 * value(v[i]) + rest2 * p.g * p.g;
        put(m2 + i, a);
        put(v2 + i, b);
        put(w2 + i, p.w - rate * (a / whole1) / (sqrt(b / whole2) + eps));
    }
}

// Whether all numbers of a block's share are finite: one flag for each block.
KERNEL finite_blocks(const T* a, index_t n, bool* fine) {
    __shared__ int found;
    if (threadIdx.x == 0) found = 0;
    __syncthreads();
    int mine = 0;
    for (index_t i = first(); i < n; i += step()) mine |= value(a[i]) - value(a[i]) != 0;  // NaN
    if (mine) found = 1;  // whoever writes it, writes the same
    __syncthreads();
    if (threadIdx.x == 0) fine[blockIdx.x] = !found;
}

// What comes of a step, by one block: it is taken where all of n flags are set and the loss is finite. A step
// that is refused tells NaN. With a scale, it is refused only where a smaller one is of no use; the next scale,
// its ends and its patience are those of xcnn/training/scaling.py.
KERNEL settle(const bool* flags, index_t n, const T* loss, bool* taken, T* told, const float* scale,
              const int* good, float* next, int* next_good) {
    __shared__ int found;
    if (threadIdx.x == 0) found = 0;
    __syncthreads();
    int mine = 0;
    for (index_t i = threadIdx.x; i < n; i += blockDim.x) mine |= !flags[i];
    if (mine) found = 1;
    __syncthreads();
    if (threadIdx.x > 0) return;
    const REAL a = value(*loss);
    const bool fine = !found, finite = a - a == 0;
    bool refused = !fine || !finite;
    *taken = !refused;
    if (scale) {
        const float least = 1, most = 1 << 24;
        const int patience = 2000;
        refused = !finite || (!fine && *scale <= least);
        const bool due = *good + 1 >= patience;
        if (refused)
            *next = *scale, *next_good = *good;
        else if (!fine)
            *next = fmax(*scale / 2, least), *next_good = 0;
        else
            *next = due ? fmin(*scale * 2, most) : *scale, *next_good = due ? 0 : *good + 1;
    }
    put(told, refused ? (REAL)__uint_as_float(0x7fc00000) : a);
}

// Copies the bytes from `start` on as whole numbers of type U, where both ends lie so; returns where it
// stopped.
template <class U>
DEVICE index_t copy_as(byte_t* to, const byte_t* from, index_t start, index_t bytes) {
    if (((size_t)(to + start) | (size_t)(from + start)) % sizeof(U)) return start;
    const index_t n = (bytes - start) / (index_t)sizeof(U);
    for (index_t i = first(); i < n; i += step()) ((U*)(to + start))[i] = ((const U*)(from + start))[i];
    return start + n * (index_t)sizeof(U);
}

// Copies up to eight arrays, one for each row of blocks; where a flag is given, only if it is `wanted`.
KERNEL copy(const bool* flag, int wanted, void* a0, const void* b0, index_t n0, void* a1, const void* b1, index_t n1,
            void* a2, const void* b2, index_t n2, void* a3, const void* b3, index_t n3,
            void* a4, const void* b4, index_t n4, void* a5, const void* b5, index_t n5,
            void* a6, const void* b6, index_t n6, void* a7, const void* b7, index_t n7) {
    if (flag && *flag != (bool)wanted) return;
    void* const to[8] = {a0, a1, a2, a3, a4, a5, a6, a7};
    const void* const from[8] = {b0, b1, b2, b3, b4, b5, b6, b7};
    const index_t bytes[8] = {n0, n1, n2, n3, n4, n5, n6, n7};
    for (int k = blockIdx.y; k < 8; k += gridDim.y) {
        byte_t* const a = (byte_t*)to[k];
        const byte_t* const b = (const byte_t*)from[k];
        index_t done = copy_as<sixteen_bytes>(a, b, 0, bytes[k]);
        done = copy_as<word_t>(a, b, done, bytes[k]);
        copy_as<byte_t>(a, b, done, bytes[k]);
    }
}
