"""Kernels recorded into a CUDA graph: replayed, they read what the arrays hold then."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import device, get, put
from xcnn import optim
from xcnn.data import Compose, RandomCrop, RandomFlip

cupy = device()

from xcnn_cupy import dropouts, inputs, losses, norms, updates  # noqa: E402

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 4, 8, 5, 3))
VECTORS = RNG.normal(size=(2, 5, 8)) + 2
NUMBERS = np.array([[0.5, 0.25, 0.125], [0.3, 0.6, 0.9]])


def given(i):
    """Return inputs of all kinds, the i-th draw."""
    vectors = [cupy.asarray(a.astype("float32")) for a in VECTORS[i]]
    scalars = [cupy.asarray(np.float32(a)) for a in NUMBERS[i]]
    labels = cupy.asarray(np.arange(i, i + 8) % 5)
    return [put(IMAGES[i], "float32"), *vectors, *scalars, labels, cupy.asarray(np.int64(40 + i))]


def normalize(x, w, b, mean, var, dw, *_):
    found = norms.move(x, mean, var, momentum=0.1, eps=1e-5)
    y = norms.apply(x, found.mean, found.inv_std, w, b, residual=x, relu=True)
    return *found, y, *norms.backward(x, x, y, found.mean, found.inv_std, w, relu=True, residual=True)


def entropy(x, w, b, mean, var, dw, lr, c1, c2, labels, t):
    z = cupy.stack([w, b, mean, var, dw], axis=1)
    loss, dz = losses.cross_entropy(z, labels)
    return loss, losses.cross_entropy_gradient(lr, dz, (True,))[0]


def update(x, w, m, v, s, dw, lr, c1, c2, labels, t):
    new, slots = updates.adam(optim.Adam(), w, dw, (m, v), (lr, c1, c2))
    taken, loss, scaling = updates.settle(dw, lr, (c1, labels[1].astype("int32")))
    return taken, loss, *scaling, *updates.keep(taken, (new, *slots), (s, m * 1, v * 1))


def drop(x, *others):
    return (dropouts.forward(x, 0.5, 3, (others[-1], 1, 0)),)


def take(x, *others):
    augment = Compose([RandomCrop(2), RandomFlip()])
    return (inputs.augmented(x, others[-2][:3] % 4, augment, seed=1, epoch=2),)


def record(work, *arrays):
    """Return what `work` makes of the arrays, the graph that makes it again, its stream and its memory."""
    cupy.cuda.get_current_stream().synchronize()
    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        found = work(*arrays)
        return found, stream.end_capture(), stream, pool


@pytest.mark.parametrize("work", [normalize, entropy, update, drop, take])
def test_a_replay_gives_what_the_kernels_give(work):
    batches, static = [given(0), given(1)], given(0)
    want = [[a.get() for a in work(*batch)] for batch in batches]
    found, graph, stream, _pool = record(work, *static)
    for i in (0, 1, 0):
        with stream:
            updates.copy_all(static, batches[i])
            graph.launch(stream)
            for got, other in zip(found, want[i], strict=True):
                np.testing.assert_array_equal(got.get(), other)


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_a_graph_overwrites_the_old_numbers_with_the_new_ones_of_a_step_that_is_taken(value):
    new, old, dw = (cupy.asarray(np.full(9, a, "float32")) for a in (1.0, 2.0, value))
    loss = cupy.asarray(np.float32(1))
    (kept,), graph, stream, _pool = record(
        lambda: updates.keep(updates.settle(dw, loss, ())[0], (new,), (old,))
    )
    assert kept is old
    with stream:
        graph.launch(stream)
        np.testing.assert_array_equal(get(kept), 1 if value == 1 else 2)
