"""Plans on a device: kept, tuned, recorded, and chosen for what they promise."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.cuda.kinds import check, device, get, put, rounded
from xcnn import ops

cupy = device()

from xcnn_cupy import convolutions, graphs, layout, plans, recording  # noqa: E402
from xcnn_cupy.convolutions import Geometry  # noqa: E402

if not convolutions.available():
    pytest.skip("needs nvidia-cudnn-frontend", allow_module_level=True)

EMULATED = hasattr(cupy, "emulator")
GEOMETRY = Geometry((1, 1), ((1, 1), (1, 1)))
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forget plans and settings before and after."""
    monkeypatch.setattr(plans, "_plans", {})
    yield
    plans.autotune(False)
    plans.deterministic(True)


def arrays(kind: str = "float32", n: int = 2) -> tuple[Any, Any, Any]:
    return tuple(rounded(RNG.normal(size=size), kind) for size in ((n, 4, 6, 6), (8, 4, 3, 3), (8,)))


def wanted(x: Any, w: Any, b: Any) -> Any:
    return ops.conv2d(x, w, b, padding=GEOMETRY.padding)[0]


def test_a_shape_is_planned_once():
    x, w, b = (put(a, "float32") for a in arrays())
    for _ in range(3):
        convolutions.forward(x, w, b, GEOMETRY)
    assert len(plans._plans) == 1
    convolutions.forward(*(put(a, "float32") for a in arrays(n=3)), GEOMETRY)
    convolutions.forward(x, w, b, GEOMETRY._replace(math="tf32"))
    assert len(plans._plans) == 3


def test_plans_not_asked_for_any_more_go(monkeypatch):
    monkeypatch.setattr(plans, "MOST", 3)
    for n in (2, 3, 4, 2, 5, 2, 6):
        x, w, b = (put(a, "float32") for a in arrays(n=n))
        y = convolutions.forward(x, w, b, GEOMETRY)
        check(y, wanted(*map(get, (x, w, b))), "float32")
    assert [key[3][0][0] for key in plans._plans] == [5, 2, 6]


def test_a_recording_holds_the_plans_that_it_launches(monkeypatch):
    """Plans that were forgotten meanwhile would take their code with them."""
    x, w, b = (put(a, "float32") for a in arrays())
    want = get(convolutions.forward(x, w, b, GEOMETRY))
    workspace = recording.Workspace()
    with recording.recording(workspace) as found:
        y = convolutions.forward(x, w, b, GEOMETRY)
    assert workspace.held == list(plans._plans.values())
    plans._plans.clear()
    gc.collect()
    found[0].launch()
    cupy.cuda.get_current_stream().synchronize()
    np.testing.assert_array_equal(get(y), want)
    convolutions.forward(x, w, b, GEOMETRY)
    assert len(workspace.held) == 1  # what runs later is not of the recording


def test_no_plan_is_remembered_too(monkeypatch):
    asked = []

    def draw(graph: Any) -> list[Any]:
        asked.append(graph)
        y = graph.nodes.relu(input=graph.input((1, 1, 1, 1), "float64"))
        return [graph.output(y, (1, 2, 3, 4))]

    for _ in range(2):
        with pytest.raises(graphs.Unsupported):
            plans.plan(draw, "float16", "float32")
    assert len(asked) == 1


def test_what_cudnn_refuses_has_no_plan_whatever_it_raises(monkeypatch):
    import cudnn

    for kind in (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError, IndexError):
        with pytest.raises(graphs.Unsupported, match="no"), graphs.refusals():
            raise kind("no")
    with pytest.raises(MemoryError), graphs.refusals():
        raise MemoryError


def test_a_plan_that_is_refused_when_it_runs_is_unsupported():
    x, w, b = (put(a, "float32") for a in arrays())
    convolutions.forward(x, w, b, GEOMETRY)
    (found,) = plans._plans.values()

    def execute(*args: Any, **options: Any) -> None:
        raise ValueError("Uid 7 not found in variant pack.")

    found._nodes = SimpleNamespace(execute=execute)
    with pytest.raises(graphs.Unsupported, match="Uid 7"):
        convolutions.forward(x, w, b, GEOMETRY)


def test_a_plan_works_in_a_part_of_the_memory(monkeypatch):
    host = arrays("float16")
    given = [put(a, "float16") for a in host]
    convolutions.forward(*given, GEOMETRY)
    (found,) = plans._plans.values()
    plans._plans.clear()
    monkeypatch.setattr(plans, "memory", lambda device: plans.SHARE * max(found._room - 1, 0))
    check(convolutions.forward(*given, GEOMETRY), wanted(*host), "float16")
    (other,) = plans._plans.values()
    assert other._room < found._room or found._room == 0


@pytest.mark.parametrize("error", [RuntimeError, OSError, AssertionError])
def test_a_cudnn_that_cannot_be_loaded_is_not_there(monkeypatch, error):
    import cudnn

    def broken() -> int:
        raise error

    monkeypatch.setattr(cudnn, "backend_version", broken)
    assert not graphs.available.__wrapped__()


def test_without_cudnn_there_is_no_plan(monkeypatch):
    monkeypatch.setattr(plans, "available", lambda: False)
    with pytest.raises(graphs.Unsupported, match="not installed"):
        convolutions.forward(*(put(a, "float32") for a in arrays()), GEOMETRY)


def test_tuned_plans_give_the_same_numbers():
    plans.autotune()
    host = arrays("float16")
    for _ in range(2):
        y = convolutions.forward(*(put(a, "float16") for a in host), GEOMETRY)
        check(y, wanted(*host), "float16")
    assert next(iter(plans._plans.values()))._index is not None


def test_plans_that_change_from_run_to_run_are_taken_on_request_alone():
    x, w, b = (put(a, "float16") for a in arrays("float16", 64))
    first, again = (get(convolutions.forward(x, w, b, GEOMETRY)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    plans.deterministic(False)
    loose, other = (get(convolutions.forward(x, w, b, GEOMETRY)) for _ in range(2))
    assert not EMULATED or (loose != other).any()


def capture(step: Any) -> Any:
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    with stream, cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        result = step()
        graph = stream.end_capture()
    return graph, stream, result, pool


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
def test_a_captured_convolution_reads_what_lies_there_when_it_is_replayed(kind):
    host = arrays(kind)
    x, w, b = (put(a, kind) for a in host)
    convolutions.forward(x, w, b, GEOMETRY, relu=True)
    graph, stream, y, _pool = capture(lambda: convolutions.forward(x, w, b, GEOMETRY, relu=True))
    other = rounded(RNG.normal(size=host[0].shape), kind)
    x[...] = put(other, kind)
    cupy.cuda.get_current_stream().synchronize()
    graph.launch(stream)
    stream.synchronize()
    want = wanted(other, *host[1:])
    check(y, np.maximum(want, 0), kind, source=want)
    np.testing.assert_array_equal(get(y), get(convolutions.forward(x, w, b, GEOMETRY, relu=True)))


def test_a_captured_transposed_convolution_runs_through_cudnn():
    _, w, b = arrays()
    host = rounded(RNG.normal(size=(2, 8, 6, 6)), "float32"), w, b[:4]
    options = {"stride": (2, 2), "padding": GEOMETRY.padding, "output_padding": (1, 1)}
    x, w, b = (put(a, "float32") for a in host)

    def step() -> Any:
        y, saved = ops.conv_transpose2d(x, w, b, **options)
        return y, *saved.backward(y)

    step()
    graph, stream, found, _pool = capture(step)
    graph.launch(stream)
    stream.synchronize()
    y, saved = ops.conv_transpose2d(*host, **options)
    for got, want in zip(found, (y, *saved.backward(y)), strict=True):
        check(got, want, "float32")


def test_nothing_is_tuned_or_looked_at_while_a_step_is_captured():
    plans.autotune()
    x, w, b = (put(a, "float32") for a in arrays())
    graph, stream, *_kept = capture(lambda: convolutions.forward(x, w, b, GEOMETRY, relu=True))
    assert all(plan._index is None and plan.trusted is None for plan in plans._plans.values())
    graph.launch(stream)
    stream.synchronize()


def test_work_runs_on_the_current_stream():
    host = arrays("float32", 16)
    x, w, b = (put(a, "float32") for a in host)
    cupy.cuda.get_current_stream().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        y = convolutions.forward(x, w, b, GEOMETRY)
        stream.synchronize()
        check(y, wanted(*host), "float32")


def test_threads_share_plans():
    host = arrays("float32", 8)
    x, w, b = (put(a, "float32") for a in host)
    found: list[Any] = []

    def work() -> None:
        for _ in range(5):
            found.append(get(convolutions.forward(x, w, b, GEOMETRY)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 20
    for y in found:
        np.testing.assert_array_equal(y, found[0])


def test_a_relu_that_cudnn_does_not_fuse_is_a_launch_of_its_own(monkeypatch):
    def no_relu(draw: Any, kind: str, math: str, *sizes: Any) -> Any:
        if sizes[-1] is True:
            raise graphs.Unsupported
        return plans.plan(draw, kind, math, *sizes)

    monkeypatch.setattr(convolutions, "plan", no_relu)
    host = arrays()
    want = wanted(*host)
    y = convolutions.forward(*(put(a, "float32") for a in host), GEOMETRY, relu=True)
    check(y, np.maximum(want, 0), "float32", source=want)


@pytest.mark.parametrize(("kind", "keeps"), [("float32", True), ("float16", False)])
def test_a_fused_relu_is_used_where_it_keeps_nan(kind, keeps):
    host = arrays(kind)
    y = convolutions.forward(*(put(a, kind) for a in host), GEOMETRY, relu=True)
    want = wanted(*host)
    check(y, np.maximum(want, 0), kind, source=want)
    told = [plan.trusted for plan in plans._plans.values()]
    if EMULATED:  # where tensor cores turn NaN into 0
        assert told == ([True] if keeps else [False, None])
    assert layout.is_nhwc(y)
