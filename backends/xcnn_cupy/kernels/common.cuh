// What every kernel is written in. The file is compiled once for each kind of number: source.py puts
//
//     #define T float      (or f16, bf16, double): how arrays are stored
//     #define REAL float   (or double): what is computed in
//
// before it. It includes nothing, so that NVRTC needs no folder of headers.

#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__

typedef long long index_t;
typedef unsigned char byte_t;
typedef unsigned int word_t;

struct f16 {
    unsigned short bits;
};
struct bf16 {
    unsigned short bits;
};

DEVICE float value(float a) { return a; }
DEVICE double value(double a) { return a; }
DEVICE float value(bf16 a) { return __uint_as_float((word_t)a.bits << 16); }
DEVICE float value(f16 a) { return __half_bits_to_float(a.bits); }

DEVICE void put(float* p, float a) { *p = a; }
DEVICE void put(double* p, double a) { *p = a; }
DEVICE void put(f16* p, float a) { p->bits = __float_to_half_bits(a); }
DEVICE void put(bf16* p, float a) {  // to the nearest, ties to even; NaN stays NaN
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(p->bits) : "f"(a));
#else
    const word_t u = __float_as_uint(a);
    p->bits = a != a ? 0x7fff : (unsigned short)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
#endif
}

// Neighbouring numbers that are moved at once: 16 bytes of them, or one.
enum { LANES = 16 / sizeof(T) };
struct alignas(16) sixteen_bytes {
    unsigned long long words[2];
};
template <int V> union Lanes {
    sixteen_bytes whole;
    T of[V];
};
template <> union Lanes<1> {
    T whole;
    T of[1];
};
template <int V> DEVICE Lanes<V> load(const T* p) {
    Lanes<V> a;
    a.whole = *reinterpret_cast<const decltype(a.whole)*>(p);
    return a;
}
template <int V> DEVICE void store(T* p, const Lanes<V>& a) { *reinterpret_cast<decltype(a.whole)*>(p) = a.whole; }

// The number of this thread among all, and how many there are: for loops of any length.
DEVICE index_t first() { return (index_t)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE index_t step() { return (index_t)gridDim.x * blockDim.x; }

// The same for the blocks along y.
DEVICE index_t first_row() { return blockIdx.y; }
DEVICE index_t row_step() { return gridDim.y; }

// The sum over the threads of a block, a power of two of them, in a fixed order; `room` holds one number for each.
DEVICE REAL block_sum(REAL a, REAL* room) {
    const int i = threadIdx.x;
    room[i] = a;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (i < half) room[i] += room[i + half];
        __syncthreads();
    }
    const REAL sum = room[0];
    __syncthreads();
    return sum;
}

// The random words of the counter (c0, c1, c2, c3) and the key (k0, k1): Philox4x32-10, as in xcnn/random.py.
struct Words {
    word_t c[4];
};

DEVICE Words philox(word_t c0, word_t c1, word_t c2, word_t c3, word_t k0, word_t k1) {
    Words w = {{c0, c1, c2, c3}};
    for (int round = 0; round < 10; round++) {
        const unsigned long long p = 0xD2511F53ull * w.c[0], q = 0xCD9E8D57ull * w.c[2];
        w = {{(word_t)(q >> 32) ^ w.c[1] ^ k0, (word_t)q, (word_t)(p >> 32) ^ w.c[3] ^ k1, (word_t)p}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return w;
}
