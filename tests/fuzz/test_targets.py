"""Files that nobody vouches for: read, or refused in one clear error; a sample of what the fuzzers give.

``XCNN_TEST_WHOLE=1`` gives each target all of its inputs, led by coverage where atheris is installed, in runs
of a few minutes (``python -m tests.fuzz --help``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.configs import RUNS, words
from tests.fuzz.harness import Report, check, folder, random_inputs, targets
from tests.fuzz.models import layers, models, packed, signed, unpacked
from tests.fuzz.mutate import NONSENSE

ROOT = Path(__file__).parents[2]
WHOLE = os.environ.get("XCNN_TEST_WHOLE") == "1"
FILES = ("idx", "idx.gz", "cifar", "optdigits", "archive", "image", "any-image", "folder")
FILES += ("xcnn", "checkpoint", "safetensors", "config", "onnx")
RUNS_OF = [(name, n) for name in targets() for n in range(targets()[name].whole[0])]


def examples(n: int) -> settings:
    return settings(max_examples=100 * n if WHOLE else n)


@pytest.mark.parametrize("name", FILES)
def test_what_is_broken_was_whole_to_begin_with(name):
    for seed in targets()[name].seeds():
        assert check(targets()[name], seed) == "taken"


@pytest.mark.parametrize("name", targets())
def test_whatever_comes_is_taken_or_refused_in_one_clear_error(name):
    report = Report(targets()[name])
    for data in random_inputs(targets()[name], targets()[name].sample, seed=7):
        report.add(data)
    assert not report.faults, "\n".join(trace for _, trace in report.faults.values())
    assert report.outcomes["taken"] > 0
    assert report.outcomes.total() > report.outcomes["taken"]
    assert not [*folder().rglob(".*")]  # nothing half-written


@pytest.mark.skipif(not WHOLE, reason="minutes each: run with XCNN_TEST_WHOLE=1")
@pytest.mark.parametrize(("name", "n"), RUNS_OF)
def test_nothing_breaks_in_all_of_the_inputs(name, n, tmp_path, record_property):
    command = [sys.executable, "-m", "tests.fuzz", name, "--runs", str(targets()[name].whole[1])]
    command += ["--seed", str(n + 1), "--faults", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record_property("conformance", f"fuzzed {done.stdout.splitlines()[0]}")


@pytest.mark.parametrize("name", FILES)
def test_what_hypothesis_breaks_is_taken_or_refused(name):
    target = targets()[name]
    seeds = target.seeds()

    @examples(25)
    @given(st.sampled_from(range(len(seeds))), st.randoms(use_true_random=False))
    def run(i, rng):
        check(target, target.mutate(seeds[i], rng))

    run()


EXTENTS = st.sampled_from((0, 1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1))


@examples(150)
@given(st.lists(EXTENTS, max_size=5), st.integers(0, 5), st.binary(max_size=40))
def test_idx_headers_that_promise_anything_are_taken_or_refused(extents, axes, data):
    head = bytes([0, 0, 8, axes]) + b"".join(extent.to_bytes(4, "big") for extent in extents)
    check(targets()["idx"], head + data)


NAMES = st.sampled_from(words())
VALUES = st.one_of(
    NAMES,
    st.sampled_from(NONSENSE),
    st.integers(-3, 12),
    st.floats(),
    st.sampled_from(layers()),
    st.text(max_size=8),
)
TREES: Any = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@examples(60)
@given(st.sampled_from(RUNS), st.dictionaries(st.sampled_from(sorted(set().union(*RUNS))), TREES, max_size=3))
def test_configurations_with_other_values_are_taken_or_refused(run, changes):
    check(targets()["config"], json.dumps({**run, **changes}).encode())


@examples(60)
@given(st.sampled_from(RUNS), st.sampled_from(words()), TREES)
def test_layers_of_a_configuration_with_other_options_are_taken_or_refused(run, key, value):
    chain = [layer if isinstance(layer, str) else {**layer, key: value} for layer in run["layers"]]
    check(targets()["config"], json.dumps({**run, "layers": chain}).encode())


@examples(60)
@given(
    st.integers(0, len(models()) - 1), st.sampled_from(("input_shape", "layers", "loss", "classes")), TREES
)
def test_descriptions_of_models_with_other_values_are_taken_or_refused(i, key, value):
    header, rest = unpacked(models()[i])
    content = json.loads(header["__metadata__"]["xcnn"])
    header["__metadata__"]["xcnn"] = json.dumps({**content, key: value})
    check(targets()["xcnn"], signed(packed(header, rest)))
