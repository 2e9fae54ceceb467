// Softmax and cross-entropy of rows of logits: one warp for each row, one pass for the loss and its gradient.

#define WARP 32
#define ALL 0xffffffffu
#define NAN_BITS 0x7fc00000

DEVICE REAL warp_sum(REAL a) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) a += __shfl_xor_sync(ALL, a, lane);
    return a;
}

DEVICE REAL larger(REAL a, REAL b) { return a != a || a > b ? a : b; }  // NaN stays

DEVICE REAL warp_max(REAL a) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) a = larger(a, __shfl_xor_sync(ALL, a, lane));
    return a;
}

// Row i: -sum_k t_k log softmax(z)_k / n in losses[i], and (softmax(z) sum_k t_k - t) / n in dz, where t is
// `on` at the label and `off` elsewhere. Differences are floored at the lowest number, so that finite logits
// give finite losses; a label out of range gives NaN, as does infinity among the logits where it is the
// largest.
KERNEL cross_entropy(const T* z, const index_t* labels, T* dz, REAL* losses, index_t n, int k, REAL on,
                     REAL off, REAL lowest) {
    const int lane = threadIdx.x % WARP;
    for (index_t i = first() / WARP; i < n; i += step() / WARP) {
        const T* row = z + i * k;
        REAL largest = value(row[lane < k ? lane : 0]);
        for (int j = lane + WARP; j < k; j += WARP) largest = larger(largest, value(row[j]));
        largest = warp_max(largest);
        REAL sum = 0;
        for (int j = lane; j < k; j += WARP) sum += exp(larger(value(row[j]) - largest, lowest));
        sum = warp_sum(sum);
        const index_t label = labels[i];
        const REAL wrong = label < 0 || label >= k ? (REAL)__uint_as_float(NAN_BITS) : (REAL)0;
        const REAL level = log(sum), whole = on + off * (k - 1) + wrong;
        REAL loss = 0;
        for (int j = lane; j < k; j += WARP) {
            const REAL a = larger(value(row[j]) - largest, lowest);
            const REAL t = (j == label ? on : off) + wrong;
            loss -= t * (a - level);
            put(dz + i * k + j, (exp(a) / sum * whole - t) * ((REAL)1 / n));
        }
        loss = warp_sum(loss);
        if (lane == 0) losses[i] = loss / n;
    }
}

// The sum of n numbers, by one block.
KERNEL total(const REAL* losses, index_t n, T* loss) {
    __shared__ REAL room[256];
    REAL sum = 0;
    for (index_t i = threadIdx.x; i < n; i += blockDim.x) sum += losses[i];
    sum = block_sum(sum, room);
    if (blockIdx.x == 0 && threadIdx.x == 0) put(loss, sum);
}
