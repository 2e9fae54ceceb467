"""The emulated CUDA device itself: what it refuses, counts, records and computes."""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np
import pytest

if os.environ.get("XCNN_EMULATE_CUDA") != "1":
    pytest.skip("tests the emulated device: needs XCNN_EMULATE_CUDA=1", allow_module_level=True)

import cupy
from cupy.cuda.runtime import CUDARuntimeError

SOURCE = """
extern "C" __global__ void tree(const float* x, float* y, long long n) {
    __shared__ float room[64];
    float sum = 0;
    for (long long i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
    room[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) y[0] = room[0];
}
extern "C" __global__ void warps(const float* x, float* y) {
    __shared__ float room[32];
    float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_xor_sync(0xffffffff, sum, lane);
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? room[threadIdx.x] : 0.0f;
        for (int delta = 16; delta > 0; delta /= 2) sum += __shfl_down_sync(0xffffffff, sum, delta);
        if (threadIdx.x == 0) y[blockIdx.x] = sum;
    }
}
extern "C" __global__ void divergent(float* y) {
    if (threadIdx.x < 7) __syncthreads();
    else y[0] = __shfl_xor_sync(0xffffffff, 1.0f, 1);
}
extern "C" __global__ void unready(float* y) {
    __shared__ float room[64];
    y[threadIdx.x] = room[threadIdx.x];
}
extern "C" __global__ void number(int* y, int n) { y[blockIdx.x * blockDim.x + threadIdx.x] = n; }
struct f16 { unsigned short bits; };
extern "C" __global__ void twice(const f16* x, f16* y) {
    y[threadIdx.x].bits = __float_to_half_bits(2 * __half_bits_to_float(x[threadIdx.x].bits));
}
"""


@pytest.fixture(scope="module")
def kernels():
    return cupy.RawModule(code=SOURCE)


@pytest.fixture
def stream():
    """A stream to capture on, and a pool that outlives the test's graph."""
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.Stream(non_blocking=True) as one, cupy.cuda.using_allocator(pool.malloc):
        one.pool = pool
        yield one
        if one.is_capturing():
            with suppress(CUDARuntimeError):
                one.end_capture()


def test_threads_meet_at_barriers(kernels):
    x, y = cupy.arange(1000, dtype="float32"), cupy.empty(1, "float32")
    kernels.get_function("tree")((1,), (64,), (x, y, np.int64(1000)))
    assert float(y[0]) == 499500


def test_shuffles_pass_numbers_within_a_warp(kernels):
    x, y = cupy.arange(512, dtype="float32"), cupy.empty(4, "float32")
    kernels.get_function("warps")((4,), (128,), (x, y))
    np.testing.assert_array_equal(y.get(), np.arange(512).reshape(4, 128).sum(axis=1))


def test_halves_are_numbers(kernels):
    x, y = cupy.asarray(np.float16([1.5, -0.1, 65504, 6e-8])), cupy.empty(4, "float16")
    kernels.get_function("twice")((1,), (4,), (x, y))
    np.testing.assert_array_equal(y.get(), np.float16([3, -0.2, np.inf, 1.2e-7]))


def test_a_barrier_that_some_threads_miss_is_an_error(kernels):
    with pytest.raises(CUDARuntimeError, match="divergent: a barrier that not all living threads"):
        kernels.get_function("divergent")((1,), (64,), (cupy.empty(1, "float32"),))
    test_threads_meet_at_barriers(kernels)  # the next launch is sound


def test_memory_that_nobody_wrote_is_not_a_number(kernels):
    assert np.isnan(cupy.empty(3, "float32").get()).all()
    y = cupy.zeros(64, "float32")
    kernels.get_function("unready")((1,), (64,), (y,))
    assert np.isnan(y.get()).all()


def test_writing_behind_the_end_of_an_array_is_an_error(kernels):
    with pytest.raises(CUDARuntimeError, match="number wrote behind the end of 16 bytes"):
        kernels.get_function("number")((1,), (5,), (cupy.empty(4, "int32"), np.int32(1)))


@pytest.mark.parametrize(
    "arguments",
    [
        lambda: (cupy.empty(4, "int32"), 1),
        lambda: (cupy.empty(4, "int32"), np.int64(1)),
        lambda: (cupy.empty(4, "float32"), np.int32(1)),
        lambda: (cupy.empty(4, "int16"), np.int32(1)),
        lambda: (np.empty(4, "int32"), np.int32(1)),
        lambda: (cupy.empty(4, "int32"),),
        lambda: (None, np.int32(1)),
    ],
)
def test_arguments_of_other_types_than_the_kernel_takes_are_refused(kernels, arguments):
    with pytest.raises(TypeError, match="number"):
        kernels.get_function("number")((1,), (4,), arguments())


def test_a_pointer_may_be_an_address(kernels):
    y = cupy.zeros(8, "int32")
    kernels.get_function("number")((1,), (4,), (np.uint64(y.data.ptr + 16), np.int32(3)))
    assert y.tolist() == [0] * 4 + [3] * 4


def test_a_source_that_is_wrong_says_so():
    with pytest.raises(cupy.cuda.compiler.CompileException, match="nonsense"):
        cupy.RawModule(code='extern "C" __global__ void f() { nonsense; }').get_function("f")


def test_arrays_of_numpy_and_of_the_device_do_not_mix():
    a, b = cupy.ones(3), np.ones(3)
    for mixed in (lambda: a + b, lambda: b + a, lambda: cupy.add(a, b), lambda: np.add(b, a)):
        with pytest.raises(TypeError):
            mixed()
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(a)
    with pytest.raises(TypeError):
        cupy.sum(b)
    assert not isinstance(a, np.ndarray)


def test_reductions_stay_on_the_device_and_reading_one_is_counted():
    a = cupy.ones((2, 3), "float32")
    counted = cupy.emulator.counted
    assert isinstance(a.sum(), cupy.ndarray)
    assert a.sum().shape == ()
    assert counted(lambda: (a * 2 + a.sum()).reshape(3, 2))["syncs"] == 0
    for read in (lambda: float(a.sum()), lambda: bool(a[0, 0]), lambda: a.get(), lambda: a[0, 0].item()):
        assert counted(read)["syncs"] == 1
    assert counted(lambda: a[a > 0])["syncs"] == 1
    assert counted(lambda: cupy.asarray([1.0]))["uploads"] == 1
    assert counted(lambda: a.T.reshape(6))["launches"] == 1  # it copies
    assert counted(lambda: a[:, 1:].T)["launches"] == 0


def test_views_share_their_memory():
    a = cupy.zeros((2, 3), "int32")
    a[1, 1:] = 7
    assert a.tolist() == [[0, 0, 0], [0, 7, 7]]
    assert a[1].data.ptr == a.data.ptr + 12
    again = cupy.ndarray((2, 2), "int32", memptr=a.data + 4, strides=(12, 4))
    assert again.tolist() == [[0, 0], [7, 7]]


def test_elementwise_results_keep_the_order_of_memory():
    a = cupy.zeros((2, 4, 5, 3), "float32").transpose(0, 3, 1, 2)
    assert (a * 2 + 1).strides == cupy.empty_like(a).strides == a.strides


def test_devices_are_kept_apart():
    with cupy.cuda.Device(1):
        b = cupy.ones(3)
        assert b.device == cupy.cuda.Device(1)
        b + b
    with pytest.raises(ValueError, match="array device = 1 while current = 0"):
        b + 1
    assert b.copy().device.id == 0
    with pytest.raises(CUDARuntimeError, match="invalid device ordinal"):
        cupy.cuda.Device(2)


def test_memory_is_accounted():
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        a = cupy.zeros(1000, "float32") + 1
        assert pool.used_bytes() == 4000
        del a
    assert (pool.used_bytes(), pool.total_bytes()) == (0, 8000)
    pool.free_all_blocks()
    assert pool.total_bytes() == 0
    pool.set_limit(100)
    with cupy.cuda.using_allocator(pool.malloc), pytest.raises(MemoryError, match="allocating 4,000 bytes"):
        cupy.empty(1000, "float32")


def test_a_replay_computes_again_from_what_its_inputs_hold_then(kernels, stream):
    x, y = cupy.arange(4, dtype="float32"), cupy.empty(1, "float32")
    stream.begin_capture()
    z = x * 2 + 1
    kernels.get_function("tree")((1,), (64,), (z, y, np.int64(4)))
    total = z.sum() + y
    x[0] = 5.0
    graph = stream.end_capture()
    assert np.isnan(total.get()).all()  # nothing ran yet
    assert x.tolist() == [0, 1, 2, 3]
    graph.launch()
    assert (total.tolist(), x.tolist()) == ([32], [5, 1, 2, 3])
    graph.launch()
    assert total.tolist() == [52]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (lambda a: float(a.sum()), CUDARuntimeError),
        (lambda a: bool(a[0, 0] > 0), CUDARuntimeError),
        (lambda a: a.get(), CUDARuntimeError),
        (lambda a: a.set(np.ones((2, 2))), CUDARuntimeError),
        (lambda a: cupy.asarray(np.ones(3)), CUDARuntimeError),
        (lambda a: a[a > 0], CUDARuntimeError),
        (lambda a: cupy.nonzero(a), CUDARuntimeError),
        (lambda a: cupy.concatenate([a] * 9), CUDARuntimeError),
        (lambda a: cupy.stack([a] * 9), CUDARuntimeError),
        (lambda a: cupy.cuda.get_current_stream().synchronize(), CUDARuntimeError),
        (lambda a: cupy.cuda.get_current_stream().done, CUDARuntimeError),
        (lambda a: a @ a, NotImplementedError),
        (lambda a: cupy.tensordot(a, a), NotImplementedError),
    ],
)
def test_what_cuda_refuses_under_capture_is_refused(stream, what, error):
    a = cupy.ones((2, 2))
    what(a)
    stream.begin_capture()
    with pytest.raises(error, match="captur"):
        what(a)


def test_memory_of_the_common_pool_is_refused_under_capture(stream):
    a = cupy.ones(3)
    cupy.cuda.memory._local.allocator = None  # as without using_allocator
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="using_allocator"):
        a + 1


def test_a_graph_whose_memory_is_gone_does_not_run(stream):
    a = cupy.ones(3)
    stream.begin_capture()
    b = a + 1
    del b  # stays in the pool
    graph = stream.end_capture()
    graph.launch()
    stream.pool.free_all_blocks()
    with pytest.raises(CUDARuntimeError, match="memory that was freed"):
        graph.launch()


def test_a_copy_that_nobody_waited_for_may_not_have_happened():
    room = cupy.cuda.alloc_pinned_memory(32)
    pinned = np.frombuffer(room, "float64", 4)
    pinned[...] = 1
    a, copying = cupy.empty(4), cupy.cuda.Stream(non_blocking=True)
    a.data.copy_from_host_async(room.ptr, 32, copying)
    assert np.isnan(a.get()).all()
    copying.synchronize()
    assert a.tolist() == [1] * 4
    a.data.copy_from_host_async(room.ptr, 32, copying)
    event = copying.record()
    pinned[...] = 2  # too early
    cupy.cuda.get_current_stream().wait_event(event)
    assert (a + 0).tolist() == [2] * 4
