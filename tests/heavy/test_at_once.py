"""Two models trained and one served at once, in one process, give bit for bit what they give alone."""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest

import xcnn
from tests.conftest import USABLE
from tests.heavy.measure import WHOLE
from tests.heavy.runs import images, net
from tests.interpreter import python
from tests.kernels.truth import parts

STEPS = 200 if WHOLE else 25
READERS = 3


def trained(backend, seed, steps, *, readable=False, compile=True):
    """Return the losses of a model, and its arrays after some steps."""
    x, y = images(48)
    model = net(backend, width=4 + 4 * (seed % 2), compile=compile)
    trainer = xcnn.Trainer(model, optimizer=("adam", "momentum")[seed % 2], seed=seed)
    losses = []
    for k in range(steps):
        rows = slice(16 * (k % 3), 16 * (k % 3) + 13 + seed % 2)
        with xcnn.readable() if readable else nullcontext():
            losses.append(float(trainer.step(x[rows], y[rows])))
    arrays = model.state.arrays
    return [np.asarray(losses), *map(model.backend.to_numpy, (arrays.values, *arrays.slots, *arrays.buffers))]


def served(model, steps):
    """Return what a model predicts for batches of several sizes, and by itself."""
    x, _ = images(48)
    return [model.predict(x[: 1 + (7 * k) % 40]) for k in range(steps)]


def at_once(*works):
    """Return the results of functions that run in threads of their own, beginning together."""
    start, found = threading.Barrier(len(works)), [None] * len(works)

    def run(k):
        start.wait()
        try:
            found[k] = works[k]()
        except BaseException as error:
            found[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(works))]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # seconds: threads take turns in the middle of everything
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


def same(got, want):
    """Refuse arrays that differ in any bit."""
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


KINDS = {
    "compiled": ("numpy", {}, STEPS, 2),
    "compiled, no threads to share": ("numpy", {}, STEPS, 1),
    "readable": ("numpy", {"readable": True}, STEPS, 1),
    "uncompiled": ("numpy", {"compile": False}, STEPS, 2),
    "torch": ("torch", {}, STEPS, 1),
    "torch on two threads": ("torch", {}, STEPS // 4, 2),
    "strict": ("strict", {}, 3, 1),
    "python": ("python", {}, 1, 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_trained_and_one_served_at_once_give_what_they_give_alone(kind):
    backend, how, steps, count = KINDS[kind]
    if backend not in USABLE:
        pytest.skip(f"backend {backend} cannot be used here")
    batches = 2 * steps if steps > 3 else 2
    with parts(count):
        model = net(backend, width=5)
        alone = [trained(backend, seed, steps, **how) for seed in (0, 1)]
        answers = served(model, batches)
        for _ in range(3 if WHOLE else 1):
            found = at_once(
                *[lambda seed=seed: trained(backend, seed, steps, **how) for seed in (0, 1)],
                *[lambda: served(model, batches) for _ in range(READERS)],
            )
            for got, want in zip(found, [*alone, *[answers] * READERS], strict=True):
                same(got, want)


def test_different_kinds_at_once_give_what_they_give_alone():
    """Readable pairs in one thread, compiled runs in another, PyTorch in a third where it is installed."""
    kinds = [("numpy", {"readable": True}), ("numpy", {}), ("numpy", {"compile": False})]
    kinds += [("torch", {})] if "torch" in USABLE else []
    works = [lambda kind=kind: trained(kind[0], 1, STEPS, **kind[1]) for kind in kinds]
    with parts(2):
        alone = [work() for work in works]
        for got, want in zip(at_once(*works), alone, strict=True):
            same(got, want)


def test_what_one_thread_chooses_holds_there_only():
    """`use_backend` and `readable` are of a thread or task: no other thread sees them."""
    other = "strict" if "strict" in USABLE else "python"
    inside, seen = threading.Event(), threading.Event()

    def choosing():
        with xcnn.use_backend(other), xcnn.readable():
            inside.set()
            assert seen.wait(60)
            model = net(None, width=4)
            return model.backend.name, model.plan is model.flat

    def others():
        assert inside.wait(60)
        model = net(None, width=4)
        found = xcnn.get_backend().name, model.backend.name, model.plan is model.flat
        seen.set()
        return found

    chosen, plain = at_once(choosing, others)
    assert chosen == (other, True)
    assert plain == ("numpy", "numpy", False)


def test_the_number_of_threads_is_the_whole_process_s_and_may_change_at_any_time():
    """Sums of several parts are added in another order: nearly the same results, and never a wrong one."""
    done = threading.Event()

    def changing():
        count = 0
        while not done.is_set():
            count += 1
            xcnn.set_num_threads(1 + count % 3)
        return xcnn.get_num_threads() <= 3

    def training():
        try:
            return trained("numpy", 0, STEPS)
        finally:
            done.set()

    with parts(1):
        want = trained("numpy", 0, STEPS)
        got, fine = at_once(training, changing)
    assert fine
    np.testing.assert_allclose(got[0], want[0], rtol=1e-3)


def test_threads_that_are_the_first_to_ask_get_the_same_backend():
    result = python(
        """
        import sys, threading
        import xcnn
        sys.setswitchinterval(1e-6)
        start, found = threading.Barrier(8), []

        class Slow(type(xcnn.get_backend("numpy"))):
            root = "slow"

            def __init__(self, device=""):
                self.name = "slow"

            def probe(self):
                start.wait()

        from xcnn import backend
        backend._plugins["slow"] = Slow
        threads = [threading.Thread(target=lambda: found.append(xcnn.get_backend("slow"))) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len(found), len({id(a) for a in found}))
        """
    )
    assert result.stdout.split() == ["8", "1"]
