"""Ops in parts of the batch give what they give on the whole, and gather only as many windows as fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.checks import arrays_on, upstream
from tests.ops.draws import Case
from xcnn import ops
from xcnn.ops import conv, pool
from xcnn.ops.chunks import KEPT, chunked

RNG = np.random.default_rng(0)
WINDOW = {"stride": (2, 1), "padding": ((1, 2), (0, 1))}
CASES = {
    "conv2d": Case(
        (RNG.normal(size=(19, 4, 7, 6)), RNG.normal(size=(6, 2, 3, 2)), RNG.normal(size=6)),
        WINDOW | {"dilation": (1, 2), "groups": 2},
        3,
    ),
    "conv_transpose2d": Case(
        (RNG.normal(size=(19, 4, 5, 4)), RNG.normal(size=(4, 3, 3, 2)), None), WINDOW | {"groups": 2}, 2
    ),
    "max_pool2d": Case((RNG.normal(size=(19, 3, 7, 6)),), {"size": (3, 2), "ceil": True} | WINDOW),
    "avg_pool2d": Case((RNG.normal(size=(19, 3, 7, 6)),), {"size": (3, 2)} | WINDOW),
}
BYTES = {"conv2d": 4 * 6 * 4 * 5 * 8, "conv_transpose2d": 6 * 6 * 20 * 8} | dict.fromkeys(
    ("max_pool2d", "avg_pool2d"), 3 * 6 * 4 * 6 * 8
)  # of the windows of one image


def halves(name: str, budget: int) -> Any:
    return chunked(getattr(ops, name), lambda: budget)


def run(kernel: Any, backend: Any, case: Case) -> tuple[Any, tuple[Any, ...]]:
    x, *rest = arrays_on(backend, case)
    found = kernel.forward(x, *rest, **case.options)
    assert found is not NotImplemented
    y, values = found
    dy = backend.asarray(upstream(backend.to_numpy(y)))
    return y, kernel.backward(dy, values, tuple(a is not None for a in case.arrays))


@pytest.mark.parametrize("images", [1, 2, 7, 18, 19])
@pytest.mark.parametrize("name", CASES)
def test_parts_give_what_the_whole_gives(backend, name, images):
    case = CASES[name]
    y, gradients = run(halves(name, images * BYTES[name]), backend, case)
    want, saved = getattr(ops, name)(*arrays_on(backend, case), **case.options)
    np.testing.assert_allclose(backend.to_numpy(y), backend.to_numpy(want), rtol=1e-10, atol=1e-12)
    wanted = saved.backward(backend.asarray(upstream(backend.to_numpy(want))))
    for got, one in zip(gradients, wanted, strict=True):
        assert (got is None) == (one is None)
        if got is not None:
            np.testing.assert_allclose(backend.to_numpy(got), backend.to_numpy(one), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_no_windows_beyond_the_budget_are_gathered(backend, monkeypatch, name):
    gathered = []

    def recorded(function: Any) -> Any:
        def call(a: Any, *args: Any, **kwargs: Any) -> Any:
            result = function(a, *args, **kwargs)
            gathered.append(int(np.prod((a if function.__name__ == "scatter" else result).shape)) * 8)
            return result

        return call

    for module in (conv, pool):
        for function in ("windows", "scatter"):
            monkeypatch.setattr(module, function, recorded(getattr(module, function)))
    budget = 3 * BYTES[name]
    run(halves(name, budget), backend, CASES[name])
    assert budget // 2 < max(gathered) <= budget


@pytest.mark.parametrize("name", CASES)
def test_nothing_but_what_was_given_is_kept(backend, name):
    x, *rest = arrays_on(backend, CASES[name])
    _, values = halves(name, BYTES[name]).forward(x, *rest, **CASES[name].options)
    assert values[0] is x
    assert all(kept is given for kept, given in zip(values[1], rest, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_what_fits_is_left_to_the_readable_pair(backend, name):
    arrays = arrays_on(backend, CASES[name])
    assert halves(name, 19 * BYTES[name] * KEPT).forward(*arrays, **CASES[name].options) is NotImplemented


@pytest.mark.parametrize("name", CASES)
def test_what_fits_once_but_not_in_every_layer_is_gathered_again(backend, name):
    """Else a deep network, each of whose layers keeps its windows until backward, fills a small GPU."""
    kernel = halves(name, 19 * BYTES[name])
    x, *rest = arrays_on(backend, CASES[name])
    _, values = kernel.forward(x, *rest, **CASES[name].options)
    assert values[0] is x


@pytest.mark.parametrize(
    ("shape", "w_shape", "options"),
    [
        ((8, 3, 5, 5), (4, 2, 3, 3), {}),
        ((8, 3, 5), (4, 3, 3, 3), {}),
        ((0, 3, 5, 5), (4, 3, 3, 3), {}),
        ((8, 3, 5, 5), (4, 3, 3, 0), {}),
        ((8, 3, 5, 5), (4, 3, 7, 7), {}),
        ((8, 3, 5, 5), (4, 3, 3, 3), {"stride": (0, 1)}),
        ((8, 3, 5, 5), (4, 3, 3, 3), {"groups": "two"}),
        ((8, 3, 5, 5), (3, 3, 3, 3), {"groups": 0}),
        ((8, 3, 5, 5), (3, 3, 3, 3), {"groups": -1}),
    ],
)
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_what_the_op_refuses_is_left_to_it(backend, name, shape, w_shape, options):
    x, w = (backend.asarray(np.ones(size)) for size in (shape, w_shape))
    assert halves(name, 1).forward(x, w, **options) is NotImplemented


def test_an_absent_gradient_stays_absent(backend):
    kernel, (x, w, b) = halves("conv2d", BYTES["conv2d"]), arrays_on(backend, CASES["conv2d"])
    y, values = kernel.forward(x, w, b, **CASES["conv2d"].options)
    dx, dw, db = kernel.backward(y, values, (False, True, False))
    assert dx is None
    assert dw.shape == w.shape
    assert db is None
