"""Whole nets: forward, gradients and running statistics of compiled models against the truth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

import xcnn
from tests.kernels.nets import NETS
from tests.kernels.truth import Truth, parts, results, runs

BATCHES = (1, 3, 17, 64)
NO_RUN_AT_ALL = ()
every_net = pytest.mark.parametrize("name", NETS)


@lru_cache(maxsize=4)
def truth(name: str, n: int) -> Truth:
    shape, make = NETS[name]
    return Truth(make, shape, n)


@every_net
@pytest.mark.parametrize("n", BATCHES)
def test_a_compiled_net_is_as_near_to_the_truth_as_its_layers(name, n):
    """In each dtype; on one thread, on two, and cut into seven parts; with dx and without."""
    known = truth(name, n)
    for dtype in ("float32", "float64"):
        for count in (1, 2, 7):
            with parts(count):
                model = known.model(dtype)
                assert runs(model), model.plan
                known.check(model)
                if count != 2:
                    known.check(model, need_dx=False)


@every_net
def test_an_uncompiled_net_is_its_layers_bit_for_bit(name):
    known = truth(name, 3)
    found = results(known.model("float32", compile=False), known.draw)
    with xcnn.readable():
        want = results(known.model("float32"), known.draw)
    for key, a in want.items():
        np.testing.assert_array_equal(found[key], a, err_msg=key)
