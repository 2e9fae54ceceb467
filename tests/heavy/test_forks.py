"""Children of a process that has trained: by fork or afresh, they train and predict, and nobody hangs."""

from __future__ import annotations

import multiprocessing
import sys

import pytest

from tests.conftest import USABLE
from tests.heavy.measure import WHOLE
from tests.interpreter import python

SCRIPT = """
import multiprocessing
import numpy as np
import xcnn
from tests.heavy.children import child, prepared

if __name__ == "__main__":
    xcnn.set_num_threads(2)
    model, trainer, x, y = prepared({backend!r}, compile={compile})
    trainer.step(x, y)
    before = np.asarray(model.predict(x))
    given = (model.backend.name, {compile}, model.backend.to_numpy(model.state.arrays.values), x, y)
    context = multiprocessing.get_context({method!r})
    queues = [context.SimpleQueue() for _ in range(2)]
    forked = model if {method!r} == "fork" else None
    children = [context.Process(target=child, args=(queue, *given, forked)) for queue in queues]
    for each in children:
        each.start()
    for each in children:
        each.join(60)
        if each.is_alive():
            each.kill()
            raise SystemExit("a child hangs")
        assert each.exitcode == 0, each.exitcode
    found = [queue.get() for queue in queues]
    trainer.step(x, y)  # the parent goes on
    for first, loss, threads in found:
        np.testing.assert_allclose(first, before, rtol=1e-4, atol=1e-5)
        assert np.isfinite(loss)
        assert threads == ({threads} if {method!r} == "fork" else 2), threads
"""
KINDS = {
    "compiled": ("numpy", True, 2),
    "uncompiled": ("numpy", False, 2),
    "torch": ("torch", True, 1),  # which cannot have threads after a fork
}


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("kind", KINDS)
def test_children_train_and_predict_after_the_parent_used_threads(kind, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} has no {method}")
    backend, compile, threads = KINDS[kind]
    if backend not in USABLE:
        pytest.skip(f"backend {backend} cannot be used here")
    script = SCRIPT.format(backend=backend, compile=compile, threads=threads, method=method)
    variables = {name: "2" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "XCNN_NUM_THREADS")}
    python(script, PYTHONWARNINGS="ignore::DeprecationWarning", **variables)


IN_FIT = """
import multiprocessing
import numpy as np
import xcnn
from tests.heavy.children import prepared
from xcnn.data import Loader, RandomFlip

def predict(model, x, queue):
    queue.put(model.predict(x))

def forked(epoch, logs):
    queue = context.SimpleQueue()
    child = context.Process(target=predict, args=(model, x, queue))
    child.start()
    child.join(60)
    if child.is_alive():
        child.kill()
        raise SystemExit("the child hangs")
    assert child.exitcode == 0, child.exitcode
    np.testing.assert_array_equal(queue.get(), model.predict(x))
    seen.append(epoch)

class Steps(xcnn.callbacks.Callback):
    def on_step_end(self, trainer, loss, images):
        if trainer.t == 2:  # while a thread prepares batches
            forked(-1, {})

context, seen = multiprocessing.get_context("fork"), []
xcnn.set_num_threads(2)
model, _, x, y = prepared("numpy", compile=True)
loader = Loader(x, y, batch_size=8, augment=RandomFlip(), prefetch=2)
model.fit(loader, epochs=2, callbacks=[forked, Steps()], progress=False)
assert seen == [-1, 0, 1], seen
"""


def test_children_forked_in_the_middle_of_fit_predict_what_the_parent_predicts():
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} has no fork")
    python(IN_FIT, PYTHONWARNINGS="ignore::DeprecationWarning", XCNN_NUM_THREADS="2")


BUSY = """
import multiprocessing, threading
import xcnn
from tests.heavy.children import prepared

def busy():  # builds workspaces for sizes of batch not met before, again and again
    k = 0
    while not done.is_set():
        k += 1
        model.predict(x[: 1 + k * 5 % 60])

xcnn.set_num_threads(2)
model, _, x, _ = prepared("numpy", compile=True)
context, done = multiprocessing.get_context("fork"), threading.Event()
thread = threading.Thread(target=busy)
thread.start()
try:
    for k in range({count}):
        child = context.Process(target=model.predict, args=(x[: 3 + k % 50],))
        child.start()
        child.join(60)
        if child.is_alive():
            child.kill()
            raise SystemExit(f"child {{k}} hangs")
        assert child.exitcode == 0, child.exitcode
finally:
    done.set()
    thread.join()
"""


def test_a_fork_waits_for_threads_that_compile_or_build():
    """Their locks would stay closed in the child, where they are not."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} has no fork")
    script = BUSY.format(count=100 if WHOLE else 12)
    python(script, PYTHONWARNINGS="ignore::DeprecationWarning", XCNN_NUM_THREADS="2")
