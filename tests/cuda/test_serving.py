"""Predictions as CUDA graphs: bit for bit what the layers give, for the parameters of the moment."""

from __future__ import annotations

import copy
import gc
import threading

import numpy as np
import pytest

import xcnn
from tests.cuda.kinds import device
from tests.nets import full, stripes

cupy = device()

from xcnn_cupy import convolutions, recording, serving  # noqa: E402

pytestmark = pytest.mark.skipif(
    not convolutions.available(), reason="needs cuDNN: without it there are no runs"
)
X, Y = stripes(40)


@pytest.fixture
def replays(monkeypatch):
    """Return a list that grows with each replayed prediction."""
    found, copy_all = [], serving.copy_all

    def counted(targets, sources):
        found.append(targets)
        copy_all(targets, sources)

    monkeypatch.setattr(serving, "copy_all", counted)
    monkeypatch.setenv("XCNN_CUDA_GRAPHS", "1")
    return lambda: len(found) // 2  # a copy in and one out


def often(model, x, times=serving.OFTEN + 3):
    """Return the last of several predictions, after a look that all are the same."""
    found = [model.predict(x) for _ in range(times)]
    for y in found[1:]:
        np.testing.assert_array_equal(y, found[0])
    return found[-1]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_a_replayed_prediction_gives_the_bits_of_the_layers(precision, replays, monkeypatch):
    model = full(backend="cupy", precision=precision)
    got = often(model, X[:8])
    assert replays() == 3
    monkeypatch.setenv("XCNN_CUDA_GRAPHS", "0")
    np.testing.assert_array_equal(full(backend="cupy", precision=precision).predict(X[:8]), got)
    assert replays() == 3


def test_each_shape_has_a_graph_and_only_a_handful_is_recorded(replays):
    model = full(backend="cupy")
    for n in range(1, serving.MOST + 1):
        often(model, X[:n])
    assert replays() == 3 * serving.MOST
    often(model, X[:9])
    assert replays() == 3 * serving.MOST
    np.testing.assert_array_equal(model.predict(X[:2]), model.predict(X[:9])[:2])


def test_other_inputs_give_other_outputs_and_results_are_never_overwritten(replays):
    model = full(backend="cupy")
    often(model, X[:8])
    first = model.forward(model.accept(X[:8]))[0]
    want = first.get()
    second = model.forward(model.accept(X[8:16]))[0]
    np.testing.assert_array_equal(first.get(), want)
    np.testing.assert_array_equal(second.get(), model.copy().predict(X[8:16]))
    assert not np.array_equal(second.get(), want)


@pytest.mark.parametrize("place", ["layers[7].w", "layers[0].w"])
def test_a_parameter_set_between_predictions_is_seen(place, replays):
    model = full(backend="cupy")
    before = often(model, X[:8])
    parameter = model.parameters()[place]
    parameter.value = -np.asarray(parameter.value.get())
    after = often(model, X[:8])
    assert replays() == 6
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(model.copy().predict(X[:8]), after)


def test_statistics_set_between_predictions_are_seen(replays):
    model = full(backend="cupy")
    before = often(model, X[:8])
    mean = model.buffers()["layers[1].mean"]
    mean.value = np.ones(mean.shape, "float32")
    after = often(model, X[:8])
    assert replays() == 6
    assert not np.array_equal(before, after)


def test_training_between_predictions_is_seen(replays):
    model = full(backend="cupy")
    trainer = xcnn.Trainer(model)
    for _ in range(5):  # captured in the end
        before = often(model, X[:8])
        trainer.step(X[:8], Y[:8])
    after = often(model, X[:8])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(model.copy().predict(X[:8]), after)


def test_threads_predict_side_by_side(replays):
    model = full(backend="cupy")
    want = [often(model, X[i : i + 8]) for i in range(4)]
    wrong = []

    def work(i):
        for _ in range(10):
            if not np.array_equal(model.predict(X[i : i + 8]), want[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_each_stream_has_a_graph_of_its_own(replays):
    model = full(backend="cupy")
    want = often(model, X[:8])
    with cupy.cuda.Stream():
        found = [model.predict(X[:8]) for _ in range(serving.OFTEN)]
        assert replays() == 3
        found.append(model.predict(X[:8]))
    assert replays() == 4
    for y in found:
        np.testing.assert_array_equal(y, want)


def test_a_deep_copy_predicts_by_itself(replays):
    model = full(backend="cupy")
    want = often(model, X[:8])
    twin = copy.deepcopy(model)
    del model
    gc.collect()
    np.testing.assert_array_equal(often(twin, X[:8]), want)


def test_what_cannot_be_recorded_runs_and_the_reason_is_said_once(replays, monkeypatch, capsys):
    recording.say.cache_clear()
    model = full(backend="cupy")
    want = model.predict(X[:8])

    def refused(workspace):
        raise RuntimeError("no graph today")

    monkeypatch.setattr(serving, "recording", refused)
    np.testing.assert_array_equal(often(model, X[:8]), want)
    np.testing.assert_array_equal(often(model, X[:5]), want[:5])
    assert replays() == 0
    assert (
        capsys.readouterr().err.count("predictions run uncaptured on cupy: RuntimeError: no graph today") == 1
    )


def test_nothing_is_recorded_where_that_is_turned_off(replays, monkeypatch):
    monkeypatch.setenv("XCNN_CUDA_GRAPHS", "0")
    often(full(backend="cupy"), X[:8])
    assert replays() == 0
