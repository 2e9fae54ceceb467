// CUDA C++ as g++ reads it. A block's threads run as fibers, one after another; a thread that meets a barrier is
// left where it stands until all others of its block (or warp) have met theirs. Blocks follow one another.
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

struct dim3 {
    unsigned x, y, z;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __constant__ static const
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
// Shared memory lies together, so that it can be filled with garbage before each block.
#define __shared__ static __attribute__((section("cuda_shared")))
extern "C" {
extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

namespace emulated {

enum State { FREE, READY, BLOCK, WARP, DONE };
constexpr int MOST = 1024, STACK = 64 * 1024;

struct Fiber {
    jmp_buf place;
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    State state = FREE;
    dim3 at;
    uint64_t word = 0;  // what a shuffle gives to the others
    bool started = false;
};
static std::vector<Fiber> fibers;
static jmp_buf scheduler;
static ucontext_t start;
static int current, threads;
static void (*body)(void*);
static void* arguments;
static std::string wrong;

static void loop() {  // a fiber lives on: each call of body is one more thread
    for (;;) {
        body(arguments);
        fibers[current].state = DONE;
        if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
    }
}

static void pause(State why) {
    fibers[current].state = why;
    if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

static void resume(int i) {
    Fiber& f = fibers[i];
    current = i;
    threadIdx = f.at;
    if (_setjmp(scheduler)) return;
    if (f.started) _longjmp(f.place, 1);
    f.started = true;
    if (!f.stack) f.stack.reset(new char[STACK]);  // not filled: pages that nobody touches cost nothing
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = STACK;
    f.context.uc_link = nullptr;
    makecontext(&f.context, loop, 0);
    setcontext(&f.context);
}

// Let the threads from..to go on if every living one of them stands at `what`.
static bool release(int from, int to, State what) {
    bool any = false;
    for (int i = from; i < to; i++) {
        if (fibers[i].state == DONE) continue;
        if (fibers[i].state != what) return false;
        any = true;
    }
    for (int i = from; any && i < to; i++)
        if (fibers[i].state == what) fibers[i].state = READY;
    return any;
}

static bool run_block(bool backwards) {
    if (&__start_cuda_shared) memset(__start_cuda_shared, 0xFF, __stop_cuda_shared - __start_cuda_shared);
    for (int i = 0; i < threads; i++) {
        fibers[i].state = READY;
        fibers[i].at = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    }
    for (;;) {
        int done = 0;
        bool moved = false;
        for (int k = 0; k < threads; k++) {
            const int i = backwards ? threads - 1 - k : k;
            if (fibers[i].state == READY) resume(i), moved = true;
            done += fibers[i].state == DONE;
        }
        if (done == threads) return true;
        for (int i = 0; i < threads; i += 32) moved |= release(i, i + 32 < threads ? i + 32 : threads, WARP);
        moved |= release(0, threads, BLOCK);
        if (!moved) {
            wrong = wrong.empty() ? "a barrier that not all living threads of the block reach" : wrong;
            return false;
        }
    }
}

static const char* launch(const unsigned* shape, void (*f)(void*), void* given) {
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], shape[4], shape[5]};
    threads = blockDim.x * blockDim.y * blockDim.z;
    if (fibers.empty()) fibers.resize(MOST);
    body = f, arguments = given;
    wrong.clear();
    for (unsigned z = 0; z < gridDim.z; z++)
        for (unsigned y = 0; y < gridDim.y; y++)
            for (unsigned x = 0; x < gridDim.x; x++) {
                blockIdx = {x, y, z};
                if (!run_block((x + y + z) & 1) || !wrong.empty()) {
                    for (Fiber& one : fibers) one.started = false;  // those that stand at barriers never go on
                    return wrong.c_str();
                }
            }
    return nullptr;
}

template <class V> static V shuffle(V mine, int from) {
    static_assert(sizeof(V) <= 8, "a shuffle of more than eight bytes");
    memcpy(&fibers[current].word, &mine, sizeof(V));
    pause(WARP);
    const int base = current / 32 * 32;
    V got = mine;
    if (from >= 0 && from < 32) {
        if (base + from >= threads) wrong = "a shuffle from a thread that the block doesn't have";
        else if (fibers[base + from].state == DONE) wrong = "a shuffle from a thread that has returned";
        else memcpy(&got, &fibers[base + from].word, sizeof(V));
    }
    pause(WARP);
    return got;
}

template <class V> std::string letter() {
    using P = std::remove_cv_t<V>;
    const char* kind = std::is_same_v<P, bool> ? "b" : std::is_floating_point_v<P> ? "f" : std::is_unsigned_v<P> ? "u" : "i";
    return kind + std::to_string(sizeof(P));
}
template <class V> std::string describe();
template <class... P> std::string types(void (*)(P...)) { return ((describe<P>() + " ") + ... + ""); }
template <class... P, size_t... I> void call(void (*f)(P...), void** a, std::index_sequence<I...>) {
    f(*static_cast<std::remove_cv_t<P>*>(a[I])...);
}
template <class... P> void call(void (*f)(P...), void** a) { call(f, a, std::index_sequence_for<P...>()); }

}  // namespace emulated

// What g++ calls, told to look at alignment: a GPU refuses 16 bytes that don't begin at a multiple of 16.
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(void*, void*) {
    emulated::wrong = "a misaligned address";
}

#define EMULATED_TYPE(TYPE, NAME) \
    template <> inline std::string emulated::describe<TYPE*>() { return NAME; } \
    template <> inline std::string emulated::describe<const TYPE*>() { return NAME; }
struct f16;
struct bf16;
EMULATED_TYPE(f16, "*f16")
EMULATED_TYPE(bf16, "*bf16")
EMULATED_TYPE(void, "*any")
template <class V> std::string emulated::describe() {
    if constexpr (std::is_pointer_v<V>) {
        using P = std::remove_pointer_t<V>;
        if constexpr (std::is_arithmetic_v<P>) return "*" + letter<P>();
        else return "*any";
    } else return letter<V>();
}

#define EMULATED(NAME) \
    extern "C" __attribute__((visibility("default"))) const char* emulated_##NAME##_types() { \
        static const std::string all = emulated::types(NAME); \
        return all.c_str(); \
    } \
    extern "C" __attribute__((visibility("default"))) const char* emulated_##NAME(const unsigned* shape, void** args) { \
        return emulated::launch(shape, [](void* a) { emulated::call(NAME, static_cast<void**>(a)); }, args); \
    }

static inline void __syncthreads() { emulated::pause(emulated::BLOCK); }
static inline void __syncwarp(unsigned = ~0u) { emulated::pause(emulated::WARP); }
template <class V> V __shfl_xor_sync(unsigned, V v, int lane, int = 32) {
    return emulated::shuffle(v, (emulated::current % 32) ^ lane);
}
template <class V> V __shfl_down_sync(unsigned, V v, unsigned delta, int = 32) {
    return emulated::shuffle(v, emulated::current % 32 + (int)delta);
}
template <class V> V __shfl_sync(unsigned, V v, int lane, int = 32) { return emulated::shuffle(v, lane & 31); }

template <class To, class From> static inline To emulated_bits(From a) {
    To b;
    static_assert(sizeof(To) == sizeof(From), "");
    memcpy(&b, &a, sizeof(To));
    return b;
}
static inline float __uint_as_float(unsigned a) { return emulated_bits<float>(a); }
static inline unsigned __float_as_uint(float a) { return emulated_bits<unsigned>(a); }
static inline float __int_as_float(int a) { return emulated_bits<float>(a); }
static inline int __float_as_int(float a) { return emulated_bits<int>(a); }
static inline double __longlong_as_double(long long a) { return emulated_bits<double>(a); }
static inline long long __double_as_longlong(double a) { return emulated_bits<long long>(a); }
static inline float __half_bits_to_float(unsigned short a) { return (float)emulated_bits<_Float16>(a); }
static inline unsigned short __float_to_half_bits(float a) { return emulated_bits<unsigned short>((_Float16)a); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
template <class V> V __ldg(const V* p) { return *p; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return std::sqrt(a); }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
using std::exp;
using std::fabs;
using std::fma;
using std::fmax;
using std::fmin;
using std::isfinite;
using std::isnan;
using std::log;
using std::sqrt;
using std::tanh;
template <class V> constexpr V min(V a, V b) { return b < a ? b : a; }
template <class V> constexpr V max(V a, V b) { return a < b ? b : a; }
