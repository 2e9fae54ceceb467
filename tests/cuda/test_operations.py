"""Ops on the device outside runs: through cuDNN, and without it, what the readable pairs give on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.kinds import device
from tests.tolerances import assert_close
from xcnn import ops
from xcnn.backend import get_backend
from xcnn.errors import Error

cupy = device()

from xcnn_cupy import convolutions, graphs, layout, norms, operations, plans  # noqa: E402

RNG = np.random.default_rng(0)
WINDOW = {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "dilation": (1, 2), "groups": 2}
CONV = tuple(RNG.normal(size=size) for size in ((5, 4, 9, 8), (6, 2, 3, 2), (6,)))
LINEAR = tuple(RNG.normal(size=size) for size in ((7, 11), (5, 11), (5,)))
NORM = (RNG.normal(3, 2, size=(6, 5, 4, 3)), RNG.normal(size=5), RNG.normal(size=5))
CASES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "conv2d": ("conv2d", CONV, WINDOW),
    "conv2d without bias": ("conv2d", (*CONV[:2], None), WINDOW),
    "true_conv2d": ("true_conv2d", CONV, WINDOW),
    "conv_transpose2d": (
        "conv_transpose2d",
        (CONV[0], RNG.normal(size=(4, 3, 3, 2)), None),
        {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "groups": 2},
    ),
    "conv_transpose2d, padded": (
        "conv_transpose2d",
        (CONV[0], RNG.normal(size=(4, 3, 3, 2)), RNG.normal(size=3)),
        {"stride": (3, 2), "padding": ((1, 2), (1, 0)), "output_padding": (2, 1)},
    ),
    "conv_transpose2d, padded by more than a stride": (
        "conv_transpose2d",
        (CONV[0], RNG.normal(size=(4, 3, 3, 2)), RNG.normal(size=3)),
        {"dilation": (2, 3), "output_padding": (1, 2)},
    ),
    "linear": ("linear", LINEAR, {}),
    "linear without bias": ("linear", (*LINEAR[:2], None), {}),
    "batch_norm": ("batch_norm", NORM, {"eps": 1e-3}),
    "batch_norm of features": ("batch_norm", (RNG.normal(size=(9, 5)), *NORM[1:]), {}),
    "batch_norm in evaluation": ("batch_norm", (*NORM, RNG.normal(size=5), RNG.uniform(1, 2, size=5)), {}),
}


@pytest.fixture(params=["cuDNN", "no cuDNN", "parts"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let ops go through cuDNN, through the readable pairs, or through those on parts of the batch."""
    if request.param == "cuDNN" and not convolutions.available():
        pytest.skip("needs nvidia-cudnn-frontend")
    if request.param != "cuDNN":
        monkeypatch.setattr(plans, "available", lambda: False)
    if request.param == "parts":
        monkeypatch.setattr(operations, "memory", lambda device: 4096 * operations.SHARE)
    return str(request.param)


def on_device(a: Any, dtype: str, last: bool) -> Any:
    if a is None:
        return None
    a = cupy.asarray(np.asarray(a, dtype))
    return layout.to_nhwc(a) if last and a.ndim == 4 else a


@pytest.mark.parametrize("last", [False, True], ids=["row-major", "channels last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_ops_agree_with_the_readable_pair(path, case, dtype, last):
    name, arrays, options = CASES[case]
    host = [None if a is None else np.asarray(a, dtype).astype("float64") for a in arrays]
    want, readable = getattr(ops, name)(*host, **options)
    want = want if isinstance(want, tuple) else (want,)
    dy = np.asarray(RNG.normal(size=want[0].shape), dtype)
    y, saved = getattr(ops, name)(*[on_device(a, dtype, last) for a in arrays], **options)
    y = y if isinstance(y, tuple) else (y,)
    for got, one in zip(y, want, strict=True):
        assert_close(get(got), one, dtype)
    gradients = saved.backward(on_device(dy, dtype, last))
    for got, one in zip(gradients, readable.backward(dy.astype("float64")), strict=True):
        assert (got is None) == (one is None)
        if got is not None:
            assert_close(get(got), one, dtype, source=dy * np.sqrt(dy.size))


def get(a: Any) -> np.ndarray:
    return get_backend("cupy").to_numpy(a)


def test_images_go_out_with_channels_last():
    if not convolutions.available():
        pytest.skip("needs nvidia-cudnn-frontend")
    x, w, b = (cupy.asarray(a.astype("float32")) for a in CONV)
    y, saved = ops.conv2d(x, w, b, **WINDOW)
    dx, dw, _ = saved.backward(y)
    assert all(layout.is_nhwc(a) for a in (y, dx, dw))
    z, saved = ops.conv_transpose2d(y, w, **WINDOW)
    dx, dw, _ = saved.backward(z)
    assert all(layout.is_nhwc(a) for a in (z, dx, dw))


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("case", ["conv2d", "conv_transpose2d, padded", "linear", "batch_norm"])
def test_only_what_is_needed_is_returned(path, case, needs):
    name, arrays, options = CASES[case]
    y, saved = getattr(ops, name)(*(on_device(a, "float32", True) for a in arrays), **options)
    y = y[0] if isinstance(y, tuple) else y
    found = saved.backward(y, needs)
    assert [a is not None for a in found[:3]] == list(needs)


@pytest.mark.parametrize(
    ("name", "shapes", "options"),
    [
        ("conv2d", ((2, 3, 8, 8), (4, 2, 3, 3)), {}),
        ("conv2d", ((2, 3, 8, 8), (4, 3, 9, 3)), {}),
        ("conv2d", ((0, 3, 8, 8), (4, 3, 3, 3)), {}),
        ("conv2d", ((2, 3, 8), (4, 3, 3, 3)), {}),
        ("conv2d", ((2, 4, 8, 8), (4, 2, 3, 3)), {"groups": 3}),
        ("conv2d", ((2, 3, 8, 8), (4, 3, 3, 3)), {"stride": 2}),
        ("conv2d", ((2, 3, 8, 8), (4, 3, 3, 3), (3,)), {}),
        ("conv_transpose2d", ((2, 3, 8, 8), (4, 2, 3, 3)), {}),
        ("conv_transpose2d", ((2, 4, 8, 8), (4, 2, 3, 3), (3,)), {}),
        ("conv_transpose2d", ((2, 4, 8, 8), (4, 2, 3, 3)), {"output_padding": (1, 1)}),
        ("conv_transpose2d", ((2, 4, 8, 8), (4, 2, 3, 3)), {"padding": ((9, 9), (0, 0))}),
        ("linear", ((2, 3), (4, 2)), {}),
        ("linear", ((0, 3), (4, 3)), {}),
        ("linear", ((2, 3), (4, 3), (3,)), {}),
        ("batch_norm", ((2, 3, 4, 4), (4,), (3,)), {}),
        ("batch_norm", ((0, 3, 4, 4), (3,), (3,)), {}),
        ("batch_norm", ((2, 3, 4, 4), (3,), (3,)), {"eps": -1.0}),
    ],
)
def test_what_is_refused_is_refused_in_the_readable_words(path, name, shapes, options):
    with pytest.raises(Error) as host:
        getattr(ops, name)(*(np.ones(shape, "float32") for shape in shapes), **options)
    with pytest.raises(type(host.value)) as on_gpu:
        getattr(ops, name)(*(cupy.ones(shape, "float32") for shape in shapes), **options)
    assert str(on_gpu.value) == str(host.value)


def test_mixed_dtypes_are_refused(path):
    for name, (x, w, _) in (("conv2d", CONV), ("linear", LINEAR)):
        options = WINDOW if name == "conv2d" else {}
        with pytest.raises(Error, match="dtype"):
            getattr(ops, name)(cupy.asarray(x.astype("float32")), cupy.asarray(w), **options)


def test_batch_norm_takes_what_cudnn_does_not_plan(monkeypatch):
    monkeypatch.setattr(plans, "available", lambda: False)
    x, w, b = (cupy.asarray(a.astype("float32")) for a in NORM)
    (y, mean, var), _ = operations.batch_norm(x, w, b)
    (want, wanted_mean, wanted_var), _ = norms.BATCH_NORM.forward(x, w, b)
    for got, one in zip((y, mean, var), (want, wanted_mean, wanted_var), strict=True):
        np.testing.assert_array_equal(get(got), get(one))


def test_windows_get_a_share_of_the_memory():
    _, whole = cupy.cuda.Device().mem_info
    assert operations.budget() == whole // operations.SHARE


@pytest.mark.parametrize("exact", [True, False])
def test_batch_norm_of_cudnn_is_used_where_it_is_exact(monkeypatch, exact):
    if not convolutions.available():
        pytest.skip("needs nvidia-cudnn-frontend")
    monkeypatch.setattr(plans, "_plans", {})
    monkeypatch.setattr(operations, "_is_exact", lambda *_: exact)
    x, w, b = (cupy.asarray(a.astype("float32")) for a in NORM)
    _, (_, backward) = operations.batch_norm(x, w, b)
    assert (backward is not norms.BATCH_NORM.backward) == exact


@pytest.mark.skipif(not hasattr(cupy, "emulator"), reason="what the emulator's plans compute is known")
@pytest.mark.parametrize(("math", "exact"), [("float32", True), ("tf32", False)])
def test_exactness_is_seen(math, exact):
    shape, draws = (32, 2, 6, 6), (graphs.draw_norm, graphs.draw_norm_gradient)
    assert operations._is_exact(*[plans.plan(draw, "float32", math, shape) for draw in draws], shape) == exact


@pytest.mark.parametrize("shape", [(2, 17, 5, 3), (1, 3, 1, 1), (1, 1, 1, 9)])
def test_small_images_are_no_hindrance(shape):
    x = cupy.asarray(RNG.normal(size=shape).astype("float32"))
    w, b = cupy.ones(shape[1], dtype="float32"), cupy.zeros(shape[1], dtype="float32")
    (y, *_), _ = operations.batch_norm(x, w, b)
    (want, *_), _ = ops.batch_norm(*(get(a).astype("float64") for a in (x, w, b)))
    assert_close(get(y), want, "float32")


@pytest.mark.parametrize("memory", [4096, 2**40])
@pytest.mark.parametrize("case", ["conv2d", "conv_transpose2d, padded", "linear"])
def test_gradients_without_a_plan_are_those_of_the_readable_pair(monkeypatch, case, memory):
    if not convolutions.available():
        pytest.skip("needs nvidia-cudnn-frontend")

    def unsupported(*args: Any) -> Any:
        raise convolutions.Unsupported

    name, arrays, options = CASES[case]
    monkeypatch.setattr(operations, "memory", lambda device: memory)
    monkeypatch.setattr(operations, "weight_gradient", unsupported)
    want, readable = getattr(ops, name)(*arrays, **options)
    _, saved = getattr(ops, name)(*map(cupy.asarray, arrays), **options)
    dy = RNG.normal(size=want.shape)
    for needs in ((True, True, True), (False, True, False)):
        found = saved.backward(cupy.asarray(dy), needs)
        for got, one in zip(found, readable.backward(dy, needs), strict=True):
            assert (got is None) == (one is None)
            if got is not None:
                assert_close(get(got), one, "float64", source=dy * np.sqrt(dy.size))
