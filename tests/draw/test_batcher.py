"""Predictions that arrive together run together, and don't disturb one another."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

pytest.importorskip("starlette")

from xcnn.draw.batcher import Batcher
from xcnn.draw.served import Served
from xcnn.draw.workers import Workers


class _Slow:
    """Doubles what comes, once the gate is open; refuses negative numbers."""

    def __init__(self):
        self.gate, self.sizes = threading.Event(), []

    def __call__(self, x):
        """Return the double."""
        assert self.gate.wait(10)
        self.sizes.append(len(x))
        if (x < 0).any():
            raise ValueError("negative")
        return 2 * x


async def _asked(batcher, inputs, slow):
    """Ask for all at once, open the gate, and return answers and errors in order."""
    asked = [asyncio.create_task(batcher(x)) for x in inputs]
    await asyncio.sleep(0.01)
    slow.gate.set()
    return await asyncio.gather(*asked, return_exceptions=True)


@pytest.fixture
def slow():
    """What runs."""
    return _Slow()


@pytest.fixture
def batcher(slow):
    """Of at most 8 rows."""
    made = Batcher(slow, most=8)
    yield made
    slow.gate.set()
    made.close()


def test_what_arrives_meanwhile_is_the_next_batch(batcher, slow):
    inputs = [np.full((1, 2), i) for i in range(6)]
    answers = asyncio.run(_asked(batcher, inputs, slow))
    assert slow.sizes in ([6], [1, 5])
    assert all((a == 2 * x).all() for a, x in zip(answers, inputs, strict=True))


def test_a_batch_holds_at_most_so_many_rows_in_order(batcher, slow):
    inputs = [np.full((n, 1), i) for i, n in enumerate((3, 3, 3, 20, 1, 2))]
    answers = asyncio.run(_asked(batcher, inputs, slow))
    assert slow.sizes == [6, 3, 20, 3]
    assert [len(a) for a in answers] == [3, 3, 3, 20, 1, 2]
    assert all((a == 2 * x).all() for a, x in zip(answers, inputs, strict=True))


def test_one_that_fails_disturbs_nobody(batcher, slow):
    inputs = [np.full((1, 1), i) for i in (1, -1, 2, 3)]
    answers = asyncio.run(_asked(batcher, inputs, slow))
    assert isinstance(answers[1], ValueError)
    assert [int(a[0, 0]) for i, a in enumerate(answers) if i != 1] == [2, 4, 6]


def test_one_that_is_given_up_disturbs_nobody(batcher, slow):
    async def ask():
        given_up, kept = (asyncio.create_task(batcher(np.ones((1, 1)))) for _ in range(2))
        await asyncio.sleep(0.01)
        given_up.cancel()
        slow.gate.set()
        return await kept

    assert asyncio.run(ask()) == 2


def test_it_works_again_after_a_rest(batcher, slow):
    slow.gate.set()

    async def ask():
        first = await batcher(np.ones((1, 1)))
        await asyncio.sleep(0.01)
        return first, await batcher(np.ones((1, 1)))

    assert asyncio.run(ask()) == (2, 2)


def test_nothing_is_left_running():
    before = threading.active_count()
    batcher, workers = Batcher(lambda x: x), Workers("test", 2)

    async def ask():
        return await batcher(np.ones((1, 1))), await workers(lambda a: a + 1, 1)

    assert asyncio.run(ask()) == (1, 2)
    batcher.close()
    workers.close()
    assert threading.active_count() == before


def test_predictions_and_explanations_at_once_are_those_got_alone(model, pictures):
    served = Served("digits", model)
    xs = [pictures[i : i + 1 + i % 3] for i in range(40)]
    alone = [model.predict_proba(x) for x in xs]
    explained = [str(model.explain(x[0])) for x in xs[:12]]
    wrong = []

    def predict(offset):
        for i in range(offset, offset + 400):
            if not np.array_equal(served.probabilities(xs[i % 40]), alone[i % 40]):
                wrong.append(f"prediction {i}")

    def explain(offset):
        for i in range(offset, offset + 12):
            if str(served.explain(xs[i % 12][0])) != explained[i % 12]:
                wrong.append(f"explanation {i}")

    threads = [threading.Thread(target=f, args=(5 * k,)) for k in range(2) for f in (predict, explain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_last_explanations_are_remembered(model, pictures):
    served = Served("digits", model)
    first = served.explain(pictures[0])
    assert served.explain(pictures[0].copy()) is first
    for x in pictures[1:20]:
        served.explain(x)
    assert served.explain(pictures[0]) is not first
    assert len(served._found) == 8


def test_small_batches_run_in_the_thread_that_asks_and_large_ones_in_another():
    where = {}

    def run(x):
        where[len(x)] = threading.current_thread()
        return x

    batcher = Batcher(run, here=4)

    async def ask():
        await batcher(np.zeros((4, 1)))
        await batcher(np.zeros((5, 1)))

    asyncio.run(ask())
    batcher.close()
    assert where[4] is threading.current_thread()
    assert where[5] is not threading.current_thread()


def test_what_comes_in_one_turn_of_the_loop_is_one_batch():
    sizes = []

    def run(x):
        sizes.append(len(x))
        return x

    batcher = Batcher(run, here=8)

    async def ask():
        await asyncio.gather(*(batcher(np.zeros((1, 1))) for _ in range(6)))

    asyncio.run(ask())
    batcher.close()
    assert sizes == [6]
