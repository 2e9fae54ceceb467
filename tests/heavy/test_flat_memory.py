"""Steps, `fit` and predictions, thousands of them: memory, objects, files and threads stay what they are.

A run is watched in a fresh process, plainly and then by tracemalloc; `measure` says what counts as a leak.
1,200 steps by default, 10,000 with ``XCNN_TEST_WHOLE=1``.
"""

from __future__ import annotations

import json

import pytest

from tests.conftest import EMULATED, USABLE
from tests.heavy.measure import NO_PROC, STATUS, WHOLE
from tests.interpreter import python

pytestmark = pytest.mark.skipif(not STATUS.exists(), reason=NO_PROC)

STEPS = 10_000 if WHOLE else 1_200
WARM = 200  # until workspaces, memory that is used again, and dictionaries have their size
SCRIPT = """
import json
from tests.heavy import runs
from tests.heavy.measure import watch
print(json.dumps(watch(runs.{work}({backend!r}, compile={compile}), {steps}, {traced}, {warm})))
"""
LEAKS = {"number": "traced", "batch": "resident", "object": "objects", "file": "files", "thread": "threads"}


def watched(work, backend, compile=True, steps=STEPS, **variables):
    traced = steps // 4  # which is slow
    script = SCRIPT.format(work=work, backend=backend, compile=compile, steps=steps, traced=traced, warm=WARM)
    said = python(script, **variables).stdout.splitlines()[-1]
    print(said)
    return json.loads(said)


@pytest.mark.parametrize("work", ["steps", "fits", "predictions"])
def test_memory_is_flat(work):
    assert watched(work, "numpy")["leaks"] == []


@pytest.mark.parametrize("work", ["steps", "predictions"] if WHOLE else ["steps"])
def test_memory_is_flat_without_compiled_runs(work):
    assert watched(work, "numpy", compile=False, steps=STEPS if WHOLE else 600)["leaks"] == []


@pytest.mark.parametrize("work", ["steps", "fits", "predictions"] if WHOLE else ["fits"])
def test_memory_is_flat_on_torch(work):
    pytest.importorskip("torch", reason="runs on PyTorch, which is not installed")
    assert watched(work, "torch", steps=4_000 if WHOLE else 200)["leaks"] == []


@pytest.mark.skipif(not (EMULATED and "cupy" in USABLE), reason="needs XCNN_EMULATE_CUDA=1 and g++")
def test_memory_is_flat_on_an_emulated_gpu():
    assert watched("steps", "cupy", steps=400)["leaks"] == []


PLANTED = """
import json
from tests.heavy import runs
from tests.heavy.measure import planted, watch
work = runs.steps("numpy")
work(400)
found = {}
for leak, steps in {"number": (40, 400), "batch": (1200, 40)}.items():
    found[leak] = watch(planted(work, leak), *steps)["leaks"]
for leak in ("object", "file", "thread"):
    found[leak] = watch(planted(work, leak), 40, 0)["leaks"]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def planted():
    return json.loads(python(PLANTED, PYTHONWARNINGS="ignore").stdout.splitlines()[-1])


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_found_and_nothing_else(leak, planted):
    """One number or object, file or thread a step, and one batch in memory that Python knows nothing of."""
    assert any(word.startswith(f"{LEAKS[leak]}:") for word in planted[leak]), planted[leak]
    if leak in ("number", "batch"):
        assert len(planted[leak]) == 1
