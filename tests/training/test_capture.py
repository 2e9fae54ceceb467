"""A training step can be captured: it reads nothing, sends the device nothing, and takes scalars as arrays.

A capture is tried that goes by the rules of a CUDA graph on array-api-strict: after two steps to warm up,
every read of a value, every transfer from the host and every shape that depends on values fails, and the
step's number and the optimizers' scalars come as arrays () on the device. What such steps give is what steps
give that no backend captures, bit for bit.
"""

from __future__ import annotations

import copy
import sys
from contextlib import contextmanager

import numpy as np
import pytest

import xcnn
from tests.conftest import USABLE
from tests.layers.cases import LAYERS, for_random_layers
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from xcnn import optim
from xcnn.layer import watch
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Dropout, Flatten, Softmax
from xcnn.state import Arrays

pytestmark = pytest.mark.skipif(
    "strict" not in USABLE, reason="needs array-api-strict, whose reads can be forbidden"
)
X, Y = stripes(24)
READS = ("__float__", "__bool__", "__int__", "__index__", "__complex__", "__array__", "__buffer__")
MOST = 8  # arrays that CuPy joins without a table from the host


@contextmanager
def as_in_a_graph(joined=None):
    """Fail on all that a CUDA graph cannot hold; put the name of who joins too many arrays into `joined`."""
    import array_api_strict as xp

    kind = type(xp.asarray(0))

    def read(self, *args, **options):
        pytest.fail("the host read the value of an array")

    def asarray(a, *args, original=xp.asarray, **options):
        if not isinstance(a, kind):
            pytest.fail(f"the host sent {a!r}")
        return original(a, *args, **options)

    def join(name):
        original = getattr(xp, name)

        def joining(arrays, *args, **options):
            if len(arrays) > MOST and joined is None:
                pytest.fail(f"{name} of {len(arrays)} arrays")
            if len(arrays) > MOST:
                joined.add(sys._getframe(1).f_code.co_name)
            return original(arrays, *args, **options)

        return joining

    with (
        pytest.MonkeyPatch.context() as patch,
        xp.ArrayAPIStrictFlags(data_dependent_shapes=False, boolean_indexing=False),
    ):
        for name in READS:
            if hasattr(kind, name):
                patch.setattr(kind, name, read)
        patch.setattr(xp, "asarray", asarray)
        for name in ("concat", "stack"):
            patch.setattr(xp, name, join(name))
        yield


class Recorded:
    """What a capture returns here: two steps as they are, then as in a graph; scalars are always arrays."""

    def __init__(self, step):
        self.step, self.steps, self.joined = step, 0, set()

    def __call__(self, arrays, x, y, scalars):
        import array_api_strict as xp

        t, parts = scalars
        dtype = arrays.values.dtype
        t = xp.asarray(t, dtype=xp.int64)
        parts = [tuple(xp.asarray(number, dtype=dtype) for number in part) for part in parts]
        self.steps += 1
        if self.steps <= 2:
            return self.step(arrays, x, y, (t, parts))
        with as_in_a_graph(self.joined):
            return self.step(arrays, x, y, (t, parts))


@pytest.fixture
def recorded(monkeypatch):
    """Let the strict backend capture steps; return what it captured."""
    found = []

    def capture(step):
        found.append(Recorded(step))
        return found[-1]

    monkeypatch.setattr(type(xcnn.get_backend("strict")), "capture", staticmethod(capture))
    return found


def trained(model, *, steps=5, **options):
    """Return losses and state after some steps, on batches of two sizes."""
    trainer = xcnn.Trainer(model, seed=7, **options)
    losses = [float(trainer.step(X[k:], Y[k:])) for k in (0, 0, 0, 9, 0)[:steps]]
    arrays = model.state.arrays
    slots = {f"slot {k}": np.array(model.backend.to_numpy(a)) for k, a in enumerate(arrays.slots)}
    return losses, host(model) | slots


OPTIMIZERS = {
    "sgd": optim.SGD(0.1),
    "momentum": optim.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": optim.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=0.1),
    "adagrad": optim.Adagrad(0.03, l1=0.01),
    "rmsprop": optim.RMSprop(0.003, l2=0.1, clip_value=0.01),
    "adam": optim.Adam(0.01, clip_norm=1.0, l2=0.1, l1=0.01),
    "adamw": optim.AdamW(0.01, weight_decay=0.3),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_captured_step_is_the_step_bit_for_bit(name, precision, recorded):
    options = {"optimizer": OPTIMIZERS[name], "schedule": "cosine", "epochs": 3, "steps_per_epoch": 2}
    with xcnn.readable():
        want = trained(full(backend="strict", precision=precision), **options)
    assert [one.steps for one in recorded] == [0]
    got = trained(full(backend="strict", precision=precision), **options)
    assert recorded[-1].steps == 5
    assert got[0] == want[0]
    assert_same(got[1], want[1])


@pytest.mark.parametrize(
    "loss", [xcnn.losses.CrossEntropy(0.1, [1, 2, 3]), "binary_cross_entropy", "mse", "mae", "huber"]
)
def test_segments_and_losses_are_captured_too(loss, recorded):
    y = Y if getattr(loss, "class_weights", None) else np.eye(3, dtype="float32")[Y]

    def run():
        model = full(backend="strict")
        model.layers[6].optimizer = optim.AdamW(0.1, weight_decay=0.2)
        model.layers[0].trainable = False
        trainer = xcnn.Trainer(model, optimizer=optim.SGD(0.1, clip_norm=1.0), loss=loss)
        return [float(trainer.step(X, y)) for _ in range(4)], host(model)

    with xcnn.readable():
        want = run()
    got = run()
    assert recorded[-1].steps == 4
    assert got[0] == want[0]
    assert_same(got[1], want[1])


def test_a_model_that_ends_in_probabilities_is_captured_too(recorded):
    layers = [Flatten(), Dense(8, activation="tanh"), BatchNorm2D(), Dropout(0.5), Dense(3), Softmax()]
    model = xcnn.Model(layers, SHAPE, backend="strict")
    for loss in ("cross_entropy", "binary_cross_entropy"):
        trained(model, steps=3, loss=loss, optimizer="sgd")
        assert recorded[-1].steps == 3


def test_vectors_are_joined_by_eights(recorded):
    """The gradients of 20 parameters; `windows` alone joins more, which kernels for images avoid."""
    layers = [Conv2D(2, 3, padding="same") for _ in range(4)]
    model = xcnn.Model([*layers, Flatten(), *[Dense(4) for _ in range(5)], Dense(3)], SHAPE, backend="strict")
    for layer in [*layers[::2], *model.layers[6::2]]:
        layer.optimizer = optim.SGD(0.01, momentum=0.5)
    trained(model, steps=4)
    assert recorded[-1].joined == {"windows"}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_can_be_captured(name):
    """Forward and backward; a pass before may make what is kept."""

    def check(drawn):
        model = xcnn.Model([drawn.layer], drawn.x.shape[1:], backend="strict")
        x, step = model.accept(drawn.x), model.backend.asarray(3, "int64")
        dy = None
        for graph in (False, True):
            with as_in_a_graph(set()) if graph else xcnn.readable():
                y, saved = model.forward(x, train=xcnn.Pass(5, step))
                dy = y if dy is None else dy
                model.backward(dy, saved)
                model.state.take_gradient()

    for_random_layers(name, check)


def test_what_a_graph_cannot_hold_is_noticed():
    backend = xcnn.get_backend("strict")
    a = backend.asarray([1.0, 2.0])
    for wrong in (
        lambda: float(a[0]),
        lambda: bool(a[0] > 0),
        lambda: backend.asarray([1.0]),
        lambda: backend.xp.asarray(1.0),
        lambda: backend.xp.concat([a] * 9),
        lambda: backend.to_numpy(a),
    ):
        with as_in_a_graph(), pytest.raises(pytest.fail.Exception):
            wrong()
    with as_in_a_graph(), pytest.raises(RuntimeError):
        a[a > 1.0]
    with as_in_a_graph(), pytest.raises(RuntimeError):
        backend.xp.nonzero(a)


def test_steps_that_are_watched_or_readable_are_not_replayed(recorded):
    model = plain(backend="strict")
    trainer = xcnn.Trainer(model)
    trainer.step(X, Y)
    assert recorded[-1].steps == 1
    seen = []
    with watch(lambda layer, half, a: seen.append(layer.label)):
        trainer.step(X, Y)
    with xcnn.readable():
        trainer.step(X, Y)
    assert seen
    assert recorded[-1].steps == 1
    trainer.step(X, Y)
    assert recorded[-1].steps == 2


@pytest.mark.parametrize("move", [{"dtype": "float64"}, {"precision": "bfloat16"}, {}])
def test_a_model_that_moves_is_captured_anew(move, recorded):
    model = plain(backend="strict")
    trainer = xcnn.Trainer(model)
    trainer.step(X, Y)
    trainer.step(X, Y)
    model.to(**move)
    trainer.step(X, Y)
    assert [one.steps for one in recorded] == [2, 1]


class Kept:
    """Arrays that a replay overwrites."""

    def __init__(self, arrays):
        self.now, self.reads = arrays, 0

    def read(self):
        self.reads += 1
        return self.now


def test_a_capture_may_keep_the_arrays_to_itself(monkeypatch):
    """It is given back what it returned; who looks at the state gets arrays."""
    given = []

    def capture(step):
        def captured(arrays, x, y, scalars):
            given.append(arrays)
            old = arrays.now if isinstance(arrays, Kept) else arrays
            new, loss, z = step(old, x, y, scalars)
            return Kept(new), loss, z

        return captured

    with xcnn.readable():
        want = trained(full(backend="strict"))
    monkeypatch.setattr(type(xcnn.get_backend("strict")), "capture", staticmethod(capture))
    model = full(backend="strict")
    got = trained(model)
    assert got[0] == want[0]
    assert_same(got[1], want[1])
    assert [type(one) for one in given] == [Arrays, Kept, Kept, Kept, Kept]
    assert [one.reads for one in given[1:]] == [0] * 4
    assert isinstance(model.state.held, Kept)
    twin = copy.deepcopy(model)
    assert isinstance(twin.state.held, Arrays)
    assert_same(host(twin), host(model))
    p = model.parameters()["layers[0].w"]
    p.value = p.value + 1.0
    assert isinstance(model.state.held, Arrays)


def test_a_step_that_fails_leaves_what_was_kept(monkeypatch):
    def capture(step):
        return lambda arrays, *rest: (Kept(step(arrays, *rest)[0]), *step(arrays, *rest)[1:])

    monkeypatch.setattr(type(xcnn.get_backend("strict")), "capture", staticmethod(capture))
    model = full(backend="strict")
    trainer = xcnn.Trainer(model)
    trainer.step(X, Y)
    before = model.state.held
    with pytest.raises(xcnn.Error):
        trainer.advance(model.accept(X), "labels")
    assert model.state.held is before
