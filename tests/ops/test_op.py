"""What holds for every op: its loop, its gradients, PyTorch, other backends, and the contract of a pair."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest

import xcnn
from tests import reference
from tests.conftest import REQUIRED, TESTED, USABLE
from tests.ops.cases import CASES, for_random_cases
from tests.ops.checks import (
    arrays_on,
    assert_gradients_match_differences,
    backward,
    forward,
    says,
    upstream,
)
from tests.ops.draws import Case
from tests.tolerances import EXACT, assert_close
from xcnn import ops
from xcnn.backend import backend_of, backend_problems, get_backend
from xcnn.errors import DataError, DeviceMismatchError, DTypeError, OptionError, ShapeError
from xcnn.ops import Op

every_op = pytest.mark.parametrize("name", sorted(CASES))


def test_required_backends_are_present():
    missing = {name: backend_problems().get(name, "unknown") for name in REQUIRED if name not in USABLE}
    assert not missing, f"XCNN_TEST_BACKENDS requires backends that are not usable: {missing}"


def test_every_op_has_cases():
    assert set(CASES) == {op.name for op in vars(ops).values() if isinstance(op, Op)}


def test_every_op_is_public_and_registered():
    assert set(CASES) <= set(ops.__all__)
    assert all(Op.registry[name] is getattr(ops, name) for name in CASES)


@every_op
def test_forward_equals_the_loop(name, backend, dtype):
    def check(case):
        case = case.astype(dtype)
        outputs, _ = forward(backend, name, case)
        exact = case.astype("float64")
        want = getattr(reference, name)(*exact.arrays, **exact.options)
        for got, expected in zip(outputs, want if isinstance(want, tuple) else (want,), strict=True):
            assert got.dtype == dtype
            assert_close(got, expected, dtype, repr(case))

    for_random_cases(name, check)


@every_op
def test_backward_matches_finite_differences(name, backend):
    for_random_cases(name, lambda case: assert_gradients_match_differences(backend, name, case))


@every_op
@pytest.mark.parametrize("n", [1, 3, 17, 64])
def test_batches_of_any_size_are_right(name, backend, n):
    def check(case):
        for dtype in EXACT:
            rounded = case.astype(dtype)
            exact = rounded.astype("float64")
            want = getattr(reference, name)(*exact.arrays, **exact.options)
            want = want[0] if isinstance(want, tuple) else want
            assert_close(forward(backend, name, rounded)[0][0], want, dtype)
        assert_gradients_match_differences(backend, name, case)

    for_random_cases(name, check, n, examples=3)


@every_op
@pytest.mark.parametrize("other", [name for name in TESTED if name != "numpy"])
def test_backends_agree(name, other, dtype):
    here, there = get_backend("numpy"), get_backend(other)

    def check(case):
        case = case.astype(dtype)
        (want, saved), (got, other_saved) = forward(here, name, case), forward(there, name, case)
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, dtype, repr(case))
        dy = upstream(want[0])
        for a, b in zip(backward(there, other_saved, dy), backward(here, saved, dy), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.dtype == b.dtype == dtype
                assert_close(a, b, dtype, repr(case), source=dy)

    for_random_cases(name, check)


@every_op
def test_forward_and_gradients_equal_pytorch(name, backend, torch):
    if name == "dropout":  # its masks are our own: see test_dropout.py
        return
    from tests.ops import twins

    def check(case):
        outputs, saved = forward(backend, name, case)
        tensors = [None if a is None else torch.tensor(a) for a in case.arrays]
        wanted = [a for a in tensors[: case.differentiable] if a is not None]
        for a in wanted:
            a.requires_grad_()
        y = getattr(twins, name)(*tensors, **case.options)
        assert_close(outputs[0], y.detach().numpy(), "float64", repr(case))
        dy = upstream(outputs[0])
        y.backward(torch.tensor(dy))
        gradients = [g for g in backward(backend, saved, dy) if g is not None]
        for got, a in zip(gradients, wanted, strict=True):
            assert_close(got, a.grad.numpy(), "float64", repr(case), source=dy)

    for_random_cases(name, check)


@every_op
def test_backward_twice_gives_the_same(name, backend):
    def check(case):
        outputs, saved = forward(backend, name, case)
        dy = upstream(outputs[0])
        for a, b in zip(backward(backend, saved, dy), backward(backend, saved, dy), strict=True):
            np.testing.assert_array_equal(a, b)

    for_random_cases(name, check, examples=3)


@every_op
def test_two_forwards_before_two_backwards(name, backend):
    def check(case):
        first = case.astype("float64")
        second = replace(first, arrays=tuple(a if a is None else a[::-1].copy() for a in case.arrays))
        alone = []
        for each in (first, second):
            outputs, saved = forward(backend, name, each)
            alone.append(backward(backend, saved, upstream(outputs[0])))
        (y1, saved1), (y2, saved2) = forward(backend, name, first), forward(backend, name, second)
        together = [backward(backend, saved1, upstream(y1[0])), backward(backend, saved2, upstream(y2[0]))]
        for a, b in zip([*alone[0], *alone[1]], [*together[0], *together[1]], strict=True):
            np.testing.assert_array_equal(a, b)

    for_random_cases(name, check, examples=3)


@every_op
def test_ops_leave_their_inputs_alone(name, backend, dtype):
    def check(case):
        case = case.astype(dtype)
        arrays = arrays_on(backend, case)
        y, saved = getattr(ops, name)(*arrays, **case.options)
        y = y[0] if isinstance(y, tuple) else y
        sent = upstream(backend.to_numpy(y))
        dy = backend.asarray(sent.copy())
        saved.backward(dy)
        np.testing.assert_array_equal(backend.to_numpy(dy), sent)
        for a, before in zip(arrays, case.arrays, strict=True):
            if a is not None:
                np.testing.assert_array_equal(backend.to_numpy(a), before)

    for_random_cases(name, check, examples=3)


@every_op
def test_only_the_needed_gradients_are_computed(name, backend):
    def check(case):
        outputs, saved = forward(backend, name, case)
        dy = backend.asarray(upstream(outputs[0]))
        every = saved.backward(dy)
        assert all(gradient is None for gradient in saved.backward(dy, (False,) * len(every)))
        for k in range(len(case.arrays)):
            needs = tuple(j == k and a is not None for j, a in enumerate(case.arrays))
            some = saved.backward(dy, needs)
            assert len(some) == len(every)
            for j, (gradient, full) in enumerate(zip(some, every, strict=True)):
                if j != k or full is None:
                    assert gradient is None, f"argument {j} was not needed"
                else:
                    np.testing.assert_array_equal(backend.to_numpy(gradient), backend.to_numpy(full))

    for_random_cases(name, check, examples=3)


@every_op
def test_results_stay_on_the_device_of_the_input(name):
    if "strict" not in USABLE:
        pytest.skip("needs array-api-strict, whose devices are pretended")
    device = get_backend("strict:device1")

    def check(case):
        y, saved = getattr(ops, name)(*arrays_on(device, case), **case.options)
        outputs = y if isinstance(y, tuple) else (y,)
        dy = device.asarray(upstream(device.to_numpy(outputs[0])))
        for a in (*outputs, *saved.backward(dy)):
            assert a is None or backend_of(a) is device

    for_random_cases(name, check, examples=5)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"zero_pad2d", "upsample2d"}))  # those move any pixels
def test_integer_inputs_are_refused(name, backend):
    def check(case):
        x, *others = arrays_on(backend, case)
        integers = backend.asarray(np.ones(x.shape, dtype="int64"))
        with pytest.raises(DTypeError, match=says(f"{name}: ", "int64", "floating")):
            getattr(ops, name)(integers, *others, **case.options)

    for_random_cases(name, check, examples=1)


@every_op
def test_what_is_no_array_is_refused(name, backend):
    def check(case):
        others = arrays_on(backend, case)[1:]
        for wrong, kind in ((case.arrays[0].tolist(), "list"), (1.0, "float"), ("x", "str"), (None, "None")):
            with pytest.raises(DTypeError, match=says(f"{name}: ", kind, "array")):
                getattr(ops, name)(wrong, *others, **case.options)

    for_random_cases(name, check, examples=1)


ELEMENTWISE = {"dropout", "elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "tanh"}


@pytest.mark.parametrize("name", sorted(set(CASES) - ELEMENTWISE - {"softmax", "log_softmax"}))
def test_empty_batches_are_refused(name, backend):
    def check(case):
        x, *others = arrays_on(backend, case)
        empty = backend.asarray(np.ones((0, *x.shape[1:])))
        with pytest.raises((DataError, ShapeError), match=says(f"{name}: ", "empty", "(0,")):
            getattr(ops, name)(empty, *others, **case.options)

    for_random_cases(name, check, examples=1)


@pytest.mark.parametrize("name", sorted(ELEMENTWISE | {"softmax", "log_softmax"}))
def test_activations_of_nothing_are_nothing(name, backend, dtype):
    x = np.ones((0, 3, 2, 2), dtype=dtype)
    (y,), saved = forward(backend, name, Case((x,)))
    (dx,) = backward(backend, saved, x)
    assert y.shape == dx.shape == x.shape
    assert y.dtype == dx.dtype == x.dtype


def _arrays_of(name):
    """Return how many arrays an op takes: its positional arguments."""
    return sum(p.kind is p.POSITIONAL_ONLY for p in signature(Op.registry[name]).parameters.values())


several = pytest.mark.parametrize("name", sorted(name for name in CASES if _arrays_of(name) > 1))


def _call_with_argument_on(name, position, here, there):
    """Call an op with the argument at `position` on another backend than the rest."""

    def check(case):
        arrays = arrays_on(here, case)
        if case.arrays[position] is None:
            return
        arrays[position] = there.asarray(case.arrays[position])
        with pytest.raises(DeviceMismatchError, match=says(f"{name}: ", here.name, there.name)):
            getattr(ops, name)(*arrays, **case.options)

    return check


@several
@pytest.mark.parametrize("other", [name for name in TESTED if name != "numpy"])
def test_arrays_of_two_backends_are_refused(name, other):
    here, there = get_backend("numpy"), get_backend(other)
    for_random_cases(name, _call_with_argument_on(name, 1, here, there), examples=1)
    for_random_cases(name, _call_with_argument_on(name, 1, there, here), examples=1)
    if _arrays_of(name) > 2:
        for_random_cases(name, _call_with_argument_on(name, 2, here, there), examples=5)


@several
def test_arrays_of_two_devices_are_refused(name):
    if "strict" not in USABLE:
        pytest.skip("needs array-api-strict, whose devices are pretended")
    main, other = get_backend("strict"), get_backend("strict:device1")
    for_random_cases(name, _call_with_argument_on(name, 1, main, other), examples=1)
    for_random_cases(name, _call_with_argument_on(name, 1, other, main), examples=1)


@several
def test_mixed_dtypes_are_refused(name, backend):
    def check(case):
        for k, a in enumerate(case.arrays):
            if k == 0 or a is None or a.dtype.kind != "f":
                continue
            arrays = arrays_on(backend, case)
            arrays[k] = backend.asarray(a, "float32")
            with pytest.raises(DTypeError, match=says(f"{name}: ", "float32", "float64")):
                getattr(ops, name)(*arrays, **case.options)

    for_random_cases(name, check, examples=8)


@pytest.fixture
def registry(monkeypatch):
    """What ops a test makes is forgotten afterwards."""
    monkeypatch.setattr(Op, "registry", dict(Op.registry))


@pytest.mark.usefixtures("registry")
def test_an_op_of_ones_own_is_not_taken_for_one_of_xcnns(backend):
    """Whatever its name, its pair runs, not the backend's kernel for the op that had the name before.

    NumPy's takes many images alone.
    """

    @Op
    def conv2d(x, w, b=None, /, *, stride, padding, dilation, groups):
        return 7.0 * x, ()

    @conv2d.gradient
    def conv2d_gradient(dy, values, needs):
        return 7.0 * dy, None, None

    images, kernels = np.ones((64, 1, 4, 4), "float32"), np.ones((1, 1, 1, 1), "float32")
    x, w = backend.asarray(images), backend.asarray(kernels)
    y, saved = conv2d(x, w, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1)
    for got in (y, saved.backward(x)[0]):
        np.testing.assert_array_equal(backend.to_numpy(got), 7.0 * images)


@pytest.mark.usefixtures("registry")
def test_an_op_without_a_gradient_is_refused(backend):
    @Op
    def forward_only(x, /):
        return x, ()

    with pytest.raises(
        OptionError, match=says("forward_only: <op forward_only> has no gradient", "needed @")
    ):
        forward_only(backend.asarray([1.0]))


@pytest.mark.parametrize("readable", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv2d", {"groups": (1, 1)}),
        ("conv2d", {"stride": (1, True)}),
        ("conv2d", {"stride": (1, 10**30)}),
        ("max_pool2d", {"size": 2}),
        ("max_pool2d", {"dilation": None}),
        ("max_pool2d", {"ceil": "yes"}),
        ("avg_pool2d", {"count_include_pad": None}),
        ("softmax", {"axis": 1.0}),
        ("log_softmax", {"axis": np.asarray([1, 2])}),
        ("dropout", {"rate": "half"}),
        ("dropout", {"stream": 3}),
        ("elu", {"alpha": "x"}),
        ("leaky_relu", {"slope": None}),
        ("gelu", {"approximate": np.ones(2)}),
    ],
)
def test_options_that_are_anything_are_refused_by_kernels_too(name, options, readable):
    x = np.ones((16, 2, 4, 4), "float32")
    arrays = (x, np.ones((2, 2, 3, 3), "float32")) if name == "conv2d" else (x,)
    kernels = xcnn.readable() if readable else nullcontext()
    with kernels, pytest.raises((OptionError, ShapeError), match=f"^{name}: "):
        getattr(ops, name)(*arrays, **options)


def test_arrays_that_lack_or_compute_otherwise_are_refused():
    with pytest.raises(DTypeError, match=r"^linear: got 1 arrays; needed 2"):
        ops.linear(np.ones((2, 2)))
    with pytest.raises(DTypeError, match=r"^linear: got 1 arrays; needed 2"):
        ops.linear(np.ones((2, 2)), None)
    with pytest.raises(DTypeError, match=r"^relu: got a numpy.*MaskedArray"):
        ops.relu(np.ma.masked_array([1.0, 2.0], mask=[0, 1]))


def test_a_result_that_no_memory_holds_is_an_error_of_xcnn():
    with pytest.raises(xcnn.OutOfMemoryError, match=r"^sigmoid: "):
        ops.sigmoid(np.broadcast_to(np.float32(1), (2**40,)))
