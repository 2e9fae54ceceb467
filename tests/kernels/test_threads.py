"""Threads: four that predict at once, as many parts as there are cores, and children of a fork."""

from __future__ import annotations

import copy
import multiprocessing
import os
import threading

import numpy as np
import pytest

import xcnn
from tests.interpreter import python
from tests.kernels.nets import NETS
from tests.kernels.truth import draw, fill, parts, results

SOME = ("A", "vgg-like", "ResNet", "DenseNet-like", "MobileNet-like")


def prepared(name, n=17):
    shape, make = NETS[name]
    model = xcnn.Model(make(), shape)
    given = draw(model, n)
    return fill(model, given), given


@pytest.mark.parametrize("name", SOME)
def test_four_threads_that_predict_at_once_give_what_one_gives(name):
    with parts(2):
        model, given = prepared(name, 48)
        inputs = [given.x, given.x[::-1].copy(), given.x[:17], given.x[5:6]]
        want = [model.predict(x) for x in inputs]
        found: list[list[np.ndarray]] = [[] for _ in inputs]
        start = threading.Barrier(4)

        def work(k):
            start.wait()
            for _ in range(25):
                found[k].append(model.predict(inputs[k]))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for ys, y in zip(found, want, strict=True):
        assert len(ys) == 25
        for got in ys:
            np.testing.assert_array_equal(got, y)


def test_four_threads_that_train_models_of_their_own_give_what_one_gives():
    def trained():
        model, given = prepared("ResNet")
        y = np.arange(17) % 3
        trainer = xcnn.Trainer(model)
        return [float(trainer.step(given.x, y)) for _ in range(6)]

    with parts(2):
        want, found = trained(), []
        threads = [threading.Thread(target=lambda: found.append(trained())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [want] * 4


def test_a_predict_while_another_thread_trains_is_never_half_old_and_half_new():
    """Each answer is that of the values before or after a step."""
    model, given = prepared("vgg-like")
    trainer, y = xcnn.Trainer(model), np.arange(17) % 3
    known, found = [model.state.arrays], []
    done = threading.Event()

    def predict():
        while not done.is_set():
            found.append(model.predict(given.x))

    thread = threading.Thread(target=predict)
    thread.start()
    for _ in range(12):
        trainer.step(given.x, y)
        known.append(model.state.arrays)
    done.set()
    thread.join()
    possible = []
    for arrays in known:
        model.state.arrays = arrays
        possible.append(model.predict(given.x))
    # statistics are written in forward, so an answer may hold them together with the old values
    near = [min(float(np.max(np.abs(a - b))) for b in possible) for a in found]
    assert all(np.isfinite(a).all() for a in found)
    assert max(near, default=0.0) < 1.0


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("count", [3, 16])
def test_the_number_of_threads_changes_nothing_but_last_bits_of_parameters_gradients(name, count):
    """These are sums over images: of several parts, they are added in another order."""
    with parts(1):
        model, given = prepared(name, 64)
        want = results(model, given)
    with parts(count):
        found = results(prepared(name, 64)[0], given)
    for key, a in want.items():
        if not key.startswith("gradient of "):
            np.testing.assert_array_equal(found[key], a, err_msg=key)
        np.testing.assert_allclose(found[key], a, rtol=1e-4, atol=2e-5 * np.max(np.abs(a)), err_msg=key)


SIXTEEN = """
import json, sys
import numpy as np
import xcnn
from xcnn.layers import *
from xcnn_numpy import program

def net():
    layers = []
    for f in (16, 32, 64):
        for _ in range(2):
            layers += [Conv2D(f, 3, padding=1, bias=False), BatchNorm2D(), ReLU()]
        layers.append(MaxPool2D(2))
    return xcnn.Model([*layers, Flatten(), Dense(64, activation="relu"), Dense(10)], (3, 16, 16))

xcnn.set_num_threads(1)
x = np.random.default_rng(0).normal(size=(64, 3, 16, 16)).astype("float32")
want = net().predict(x)
xcnn.set_num_threads(16)
assert xcnn.get_num_threads() == 16, xcnn.get_num_threads()
model = net()
assert np.array_equal(model.predict(x), want)
found = {}
ran, original = [], program.Program.run

def run(self, **arrays):
    ran.append(self)
    original(self, **arrays)

program.Program.run = run
for n in (64, 1):
    for train in (False, True):
        ran.clear()
        y, saved = model.forward(x[:n], train=train)
        found[f"{n} {'forward' if train else 'inference'}"] = ran[-1].records
        if train:
            model.backward(np.ones_like(y), saved)
            found[f"{n} backward"] = ran[-1].records
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def records():
    """Return, for each program of a vgg-like net on sixteen threads, its (kernel, tasks, parts)."""
    import json

    result = python(SIXTEEN)
    return json.loads(result.stdout.splitlines()[-1])


SMALL = {"statistics", "slopes", "sum_parts"}  # one task, or few: some numbers for each channel or weight


def short_of_tasks(rows):
    """Return the kernels whose work is worth more threads than they have tasks for."""
    return [row for row in rows if row[1] < 16 and row[2] == row[1] and row[0] not in SMALL]


@pytest.mark.parametrize("program", ["64 inference", "64 forward", "64 backward"])
def test_every_kernel_with_work_has_tasks_for_sixteen_threads(program, records):
    """A batch of 64 has four blocks of 16 images: images alone would occupy four threads."""
    convolutions = [
        row for row in records[program] if row[0] in ("convolve", "convolve_pool", "gather_images")
    ]
    assert len([row for row in convolutions if row[1] >= 16]) >= 6
    assert not short_of_tasks(records[program])


@pytest.mark.parametrize("program", ["1 inference", "1 forward", "1 backward"])
def test_one_image_has_tasks_for_sixteen_threads_in_its_convolutions(program, records):
    """Those of 16 channels and more; the dense layers at the end have ten and 64 units."""
    few = [
        row
        for row in short_of_tasks(records[program])
        if row[0] in ("convolve", "convolve_pool", "gather_images")
    ]
    assert not few


@pytest.mark.parametrize("program", ["64 inference", "64 forward", "64 backward"])
def test_no_kernel_has_more_parts_than_tasks_or_threads(program, records):
    assert all(1 <= parts <= min(16, max(tasks, 1)) for _, tasks, parts in records[program])


# Children and copies


def _train_and_predict(queue, model, x, y):
    xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.1)).step(x, y)
    queue.put(model.predict(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows has not")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_predicts_and_trains_after_the_parent_used_threads():
    with parts(2):
        model, given = prepared("vgg-like", 64)
        y = np.arange(64) % 3
        model.predict(given.x)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_train_and_predict, args=(queue, model, given.x, y))
        child.start()
        child.join(60)
        alive = child.is_alive()
        if alive:
            child.kill()
        assert not alive, "the child hangs"
        assert child.exitcode == 0
        got = queue.get()
        xcnn.Trainer(model, optimizer=xcnn.optim.SGD(0.1)).step(given.x, y)
        np.testing.assert_array_equal(got, model.predict(given.x))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: model.copy()])
def test_a_copy_of_a_model_that_ran_runs_by_itself(again):
    model, given = prepared("ResNet")
    want = results(model, given)
    twin = again(model)
    model.state.arrays = model.state.arrays._replace(values=model.state.arrays.values * 2)
    for key, a in results(twin, given).items():
        np.testing.assert_array_equal(a, want[key], err_msg=key)
