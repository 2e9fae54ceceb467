"""Captured steps: bit for bit what the steps themselves give, whatever happens between them."""

from __future__ import annotations

import copy
import gc
import os
import threading
import weakref

import numpy as np
import pytest

import xcnn
from tests.cuda.kinds import device
from tests.nets import assert_same, full, host, plain, stripes
from xcnn import optim
from xcnn.layer import Layer
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Dropout, Flatten

cupy = device()

from xcnn_cupy import capture, convolutions, recording  # noqa: E402
from xcnn_cupy.scalars import Scalars  # noqa: E402

pytestmark = pytest.mark.skipif(
    not convolutions.available(), reason="needs cuDNN: cuBLAS refuses to be recorded"
)
X, Y = stripes(40)
REPLAYED: list[None] = []
PINNED = cupy.cuda.alloc_pinned_memory(8)


def batch(i, n=8):
    """Return batch i of 8 images, or of n."""
    start = 8 * (i % 5)
    return X[start : start + n], Y[start : start + n]


def slots(model):
    """Return copies of what the optimizer keeps, on the host."""
    return [a.get() for a in (*model.state.arrays.slots, *model.state.arrays.scaling)]


def same(one, other):
    """Fail unless two models have the same parameters, buffers and optimizer state."""
    assert_same(host(one), host(other))
    for a, b in zip(slots(one), slots(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(autouse=True)
def captures(monkeypatch):
    """Bring the variable back that the tests set, and count the replays."""
    monkeypatch.setenv("XCNN_CUDA_GRAPHS", "1")
    recording.say.cache_clear()
    replay = capture.Captured._replay

    def counted(self, *given):
        REPLAYED.append(None)
        return replay(self, *given)

    REPLAYED.clear()
    monkeypatch.setattr(capture.Captured, "_replay", counted)


def pair(model=full, compile=True, precision="float32", dtype="float32", **options):
    """Return two trainers of equal models, for `each`."""
    options.setdefault("optimizer", "adam")
    made = [model(backend="cupy", compile=compile, precision=precision, dtype=dtype) for _ in range(2)]
    return [xcnn.Trainer(one, **options) for one in made]


def each(both):
    """Yield the first trainer, which captures its steps, and the second, which does not."""
    for trainer, captures in zip(both, "10", strict=True):
        os.environ["XCNN_CUDA_GRAPHS"] = captures  # looked at in the first step, and after a move
        yield trainer


def advance(both, n, size=lambda i: 8):
    """Take n steps with each of two trainers, compare the losses, and return how many were replayed."""
    replays, losses = [], []
    for trainer in each(both):
        before = len(REPLAYED)
        losses.append([float(trainer.step(*batch(i, size(i)))) for i in range(n)])
        replays.append(len(REPLAYED) - before)
    assert losses[0] == losses[1]
    assert np.isfinite(losses).all()
    assert replays[1] == 0
    return replays[0]


OPTIMIZERS = [
    optim.Adam(1e-2),
    optim.Adam(1e-2, clip_norm=0.1),
    optim.AdamW(1e-2, weight_decay=0.1, l2=1e-3),
    optim.SGD(0.1, momentum=0.9, nesterov=True, clip_value=0.01),
    optim.RMSprop(1e-3, l2=1e-3),
    optim.Adagrad(1e-2),
    optim.SGD(0.1, l1=1e-3),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_replayed_steps_give_the_bits_of_the_steps_themselves(optimizer):
    both = pair(optimizer=optimizer, schedule="cosine", epochs=3, steps_per_epoch=5)
    assert advance(both, 10) == 8
    same(both[0].model, both[1].model)


@pytest.mark.parametrize(
    "options",
    [
        {"compile": False},
        {"dtype": "float64"},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"loss": xcnn.losses.CrossEntropy(0.1, [1, 2, 3])},
    ],
    ids=repr,
)
def test_models_of_every_kind_are_replayed(options):
    both = pair(**options)
    assert advance(both, 6) == 4
    same(both[0].model, both[1].model)


def test_layers_with_optimizers_of_their_own_are_replayed():
    def mixed(**options):
        model = full(**options)
        model.layers[6].optimizer = optim.SGD(0.05)
        model.layers[3].trainable = False
        return model

    both = pair(mixed, schedule="cosine", epochs=3, steps_per_epoch=5)
    assert len(both[0].segments) > 2
    assert advance(both, 6) == 4
    same(both[0].model, both[1].model)


def test_ragged_batches_are_steps_like_any_other():
    both = pair()
    replays = advance(both, 14, lambda i: 3 if i % 3 == 2 else 8)
    assert replays == (10 - 2) + (4 - 2)
    same(both[0].model, both[1].model)


def test_only_a_handful_of_shapes_is_recorded():
    both = pair()
    for size in range(2, 8):
        advance(both, 3, lambda i, size=size: size)
    assert len(both[0]._captured._graphs) == capture.MOST
    assert advance(both, 2, lambda i: 2) == 2
    assert advance(both, 4, lambda i: 7) == 0
    same(both[0].model, both[1].model)


def test_a_replayed_step_neither_waits_nor_uploads_more_than_the_batch():
    trainer, _ = pair()
    x, y = (xcnn.get_backend("cupy").asarray(a) for a in batch(0))
    for _ in range(3):
        trainer.advance(x, y)
    emulator = pytest.importorskip("cupy.emulator", reason="counts the launches of an emulated device")
    moved = emulator.counted(lambda: trainer.advance(x, y))
    assert moved["replays"] == 1
    assert moved["syncs"] == moved["uploads"] == 0
    assert moved["launches"] <= 4  # scalars in, batch in, loss and outputs out


def test_what_happens_between_steps_is_seen_by_the_next(tmp_path):
    both = pair()
    advance(both, 4)

    def between(act):
        for trainer in each(both):
            act(trainer.model)
        assert advance(both, 3) == 3
        same(both[0].model, both[1].model)

    between(lambda model: model.evaluate(X, Y))
    between(lambda model: model.predict(X[:3]))
    between(lambda model: assert_same(host(model.copy()), host(model)))
    between(lambda model: model.save(tmp_path / "model.xcnn"))
    assert xcnn.load(tmp_path / "model.xcnn", backend="cupy").predict(X).shape == (40, 3)
    between(lambda model: setattr(model.parameters()["layers[7].w"], "value", np.ones((3, 8), "float32")))
    between(lambda model: setattr(model.buffers()["layers[1].mean"], "value", np.ones(4, "float32")))
    with xcnn.readable():
        for trainer in each(both):
            trainer.step(*batch(0))
    between(lambda model: None)


def test_a_model_that_moves_is_recorded_anew():
    both = pair()
    advance(both, 4)
    for act in (
        lambda model: model.to("numpy").to("cupy"),
        lambda model: model.to(dtype="float64"),
        lambda model: model.to(dtype="float32", precision="bfloat16"),
    ):
        for trainer in each(both):
            act(trainer.model)
        assert advance(both, 4) == 2
        same(both[0].model, both[1].model)


def test_two_trainers_do_not_mix():
    first, second = pair(), pair(plain, optimizer="sgd")
    for _ in range(3):
        advance(first, 2)
        advance(second, 2)
    assert advance(first, 2) == advance(second, 2) == 2
    same(first[0].model, first[1].model)
    same(second[0].model, second[1].model)


def test_fit_gives_the_same_history(monkeypatch):
    told = []
    for captures in "10":
        monkeypatch.setenv("XCNN_CUDA_GRAPHS", captures)
        model = full(backend="cupy")
        early = xcnn.callbacks.EarlyStopping(patience=1, restore_best=True)
        history = model.fit(
            X, Y, epochs=4, batch_size=16, validation=0.2, callbacks=[early], schedule="cosine"
        )
        told.append((dict(history), host(model)))
    assert told[0][0] == told[1][0]
    assert_same(told[0][1], told[1][1])


def test_arrays_that_were_read_never_change():
    trainer, _ = pair()
    for i in range(4):
        trainer.step(*batch(i))
    kept = trainer.model.state.arrays
    assert trainer.model.state.arrays is kept
    before = kept.values.get()
    trainer.step(*batch(4))
    np.testing.assert_array_equal(kept.values.get(), before)
    assert trainer.model.state.arrays is not kept
    assert np.any(trainer.model.state.arrays.values.get() != before)


def test_what_stands_for_arrays_stays_right_when_the_buffers_go_on():
    trainer, twin = both = pair()
    advance(both, 4)
    state = trainer.model.state
    older = state.arrays
    advance(both, 1)
    held, want = state.held, twin.model.state.arrays.values.get()
    assert isinstance(held, capture.Held)
    state.held = older  # and nobody has read the newer ones
    for i in range(3):
        trainer.step(*batch(i))
    assert state.held is not held
    np.testing.assert_array_equal(held.read().values.get(), want)
    state.held = held
    trainer.step(*batch(0))
    assert np.abs(state.arrays.values.get() - want).max() < 0.1


def test_a_deep_copy_is_not_overwritten_by_replays():
    trainer, _ = both = pair()
    advance(both, 5)
    model = trainer.model
    twin, want = copy.deepcopy(model), host(model)
    trainer.step(*batch(0))
    assert_same(host(twin), want)
    twin.fit(X, Y, batch_size=8)


def test_a_replay_waits_for_another_thread_that_reads(monkeypatch):
    trainer, twin = both = pair()
    advance(both, 4)
    copy_all, steps = capture.copy_all, []

    def interfere(targets, sources):
        copy_all(targets, sources)
        if not steps:
            steps.append(threading.Thread(target=trainer.step, args=batch(0)))
            steps[0].start()
            steps[0].join(0.2)

    monkeypatch.setattr(capture, "copy_all", interfere)
    before = trainer.model.state.arrays.values
    steps[0].join()
    np.testing.assert_array_equal(before.get(), twin.model.state.arrays.values.get())
    twin.step(*batch(0))
    same(trainer.model, twin.model)


def test_losses_and_outputs_of_earlier_steps_stay():
    trainer, _ = pair()
    x, y = (xcnn.get_backend("cupy").asarray(a) for a in batch(0))
    seen = [trainer.advance(x, y) for _ in range(6)]
    assert len({float(loss) for loss, _ in seen}) == 6
    assert len({z.get().tobytes() for _, z in seen}) == 6


class Trouble(Layer):
    """Run a function in each forward pass."""

    act = staticmethod(lambda x: None)

    def forward(self, x, /, *, train=False, hold=None):
        self.act(x)
        return x, None

    def backward(self, dy, saved, /, *, need_dx=True):
        return dy


def troubled(**options):
    """Return a model with a layer that gives trouble."""
    layers = [Conv2D(4, 3, bias=False), BatchNorm2D(), Trouble(), Dropout(0.2), Flatten(), Dense(3)]
    return xcnn.Model(layers, (1, 8, 8), **options)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_an_exception_in_a_step_changes_nothing(after):
    both = pair(troubled)
    advance(both, after)
    before = host(both[0].model)

    def fail(x):
        raise ZeroDivisionError("trouble")

    for trainer in each(both):
        trainer.model.layers[2].act = fail
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="trouble"):
                trainer.step(*batch(0, 5))  # a shape that was not recorded
        trainer.model.layers[2].act = Trouble.act
    assert_same(host(both[0].model), before)
    advance(both, 4)
    same(both[0].model, both[1].model)


def test_a_step_interrupted_after_its_launch_is_a_whole_step(monkeypatch):
    both = pair()
    advance(both, 4)

    def interrupt(targets, sources):
        if np.shape(targets[0]) == ():  # the loss on its way out
            raise KeyboardInterrupt
        copy_all(targets, sources)

    copy_all = capture.copy_all
    monkeypatch.setattr(capture, "copy_all", interrupt)
    with pytest.raises(KeyboardInterrupt):
        both[0].step(*batch(0))
    monkeypatch.setattr(capture, "copy_all", copy_all)
    both[1].step(*batch(0))
    same(both[0].model, both[1].model)
    advance(both, 3)
    same(both[0].model, both[1].model)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda x: float(x[0, 0, 0, 0]), "CUDARuntimeError"),
        (lambda x: cupy.asarray(np.ones(3)), "CUDARuntimeError"),
        (lambda x: cupy.empty(3).data.copy_from_host_async(PINNED.ptr, 8), "H2D transfers are disallowed"),
        (lambda x: cupy.cuda.get_current_stream().synchronize(), "CUDARuntimeError"),
        (lambda x: cupy.ones((2, 2)) @ cupy.ones((2, 2)), "NotImplementedError"),
    ],
    ids=["read", "upload", "copy", "wait", "product"],
)
def test_a_step_that_cannot_be_recorded_runs_as_it_is_and_says_why_once(act, reason, capsys):
    both = pair(troubled)
    for trainer in each(both):
        trainer.model.layers[2].act = act
    assert advance(both, 5) == 0
    same(both[0].model, both[1].model)
    err = capsys.readouterr().err
    assert err.count("xcnn: training steps run uncaptured on cupy: ") == 1
    assert reason in err
    for trainer in each(both):
        trainer.model.layers[2].act = Trouble.act
    assert advance(both, 2) == 0
    assert advance(both, 4, lambda i: 4) == 2  # another shape is tried for itself


def test_a_step_that_asks_for_too_much_memory_runs_as_it_is(monkeypatch, capsys):
    both = pair()
    pools = cupy.cuda.MemoryPool

    def small():
        pool = pools()
        pool.set_limit(size=10)
        return pool

    monkeypatch.setattr(cupy.cuda, "MemoryPool", small)
    assert advance(both, 4) == 0
    assert "Out of memory allocating" in capsys.readouterr().err
    assert both[0]._captured._buffers is None
    same(both[0].model, both[1].model)


def test_a_refused_step_changes_nothing():
    both = pair()
    advance(both, 4)
    before = host(both[0].model)
    x, y = batch(0)
    for trainer in each(both):
        assert np.isnan(float(trainer.step(x * np.float32(np.nan), y)))
    assert_same(host(both[0].model), before)
    assert advance(both, 3) == 3
    same(both[0].model, both[1].model)


def test_graphs_go_with_their_trainer():
    trainer, _ = pair()
    for i in range(4):
        trainer.step(*batch(i))
    model, captured = trainer.model, weakref.ref(trainer._captured)
    graph = weakref.ref(next(iter(trainer._captured._graphs.values())).graph)
    want = host(model)
    gc.disable()  # nothing waits for the collector: graphs are large
    try:
        del trainer
        assert captured() is None
        assert graph() is None
    finally:
        gc.enable()
    assert_same(host(model), want)
    assert model.state.held._buffers is None  # copies are enough
    assert_same(host(model), want)
    xcnn.Trainer(model).step(*batch(0))


def test_recording_leaves_nothing_in_its_memory_but_what_it_gives(monkeypatch):
    pools = []
    make = cupy.cuda.MemoryPool
    monkeypatch.setattr(cupy.cuda, "MemoryPool", lambda: pools.append(make()) or pools[-1])
    trainer, _ = pair()
    for i in range(4):
        trainer.step(*batch(i))
    ((graph,), (pool,)) = trainer._captured._graphs.values(), pools
    assert pool.used_bytes() == graph.loss.nbytes + graph.z.nbytes
    assert pool.total_bytes() > pool.used_bytes()
    del graph, trainer
    assert pool.total_bytes() == 0


def test_what_stands_for_arrays_is_read_on_their_gpu():
    backend = xcnn.get_backend("cupy:1")
    trainer = xcnn.Trainer(full(backend=backend))
    for i in range(4):
        trainer.step(*batch(i))
    assert isinstance(trainer.model.state.held, capture.Held)
    values = trainer.model.state.arrays.values
    assert cupy.cuda.Device().id == 0
    assert values.device.id == 1


def test_scalars_of_any_number_arrive_in_order():
    counts = [3, 0, 1, 9, 20]
    given = [tuple(float(100 * i + j) for j in range(count)) for i, count in enumerate(counts)]
    scalars = Scalars(counts, cupy.float32)
    scalars.send(2**40 + 3, given)
    assert int(scalars.t) == 2**40 + 3
    assert [tuple(float(a) for a in part) for part in scalars.parts] == given
    assert all(a.shape == () and a.dtype == "float32" for part in scalars.parts for a in part)
