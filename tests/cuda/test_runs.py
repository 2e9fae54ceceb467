"""Compiled runs on the device: whole nets against the truth in every precision, and what a run leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import xcnn
from tests.cuda.kinds import device
from tests.kernels.nets import NETS, SINGLE_NUMBERS, block, body
from tests.kernels.truth import Truth, draw, readable
from tests.tolerances import UNITS
from xcnn.errors import DataError, DeviceMismatchError, DTypeError, ShapeError
from xcnn.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalMaxPool2D,
    Identity,
    MaxPool2D,
    Normalize,
    ReLU,
    Sequential,
    SiLU,
    Sum,
    Tanh,
)

cupy = device()

every_net = pytest.mark.parametrize("name", NETS)
EPS = {"tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # of a product's operands
DRAWS = 8
PRECISIONS = pytest.mark.parametrize("precision", EPS)


def runs(model):
    """Return the compiled runs of a model."""
    return [layer for layer in model.plan if type(layer).__name__ == "Run"]


def on_device(model, given):
    """Fill a model on the device with the numbers of a draw; return inputs and dy there."""
    asarray = model.backend.asarray
    buffers = tuple([asarray(b, model.dtype) for b in given.buffers])
    values = asarray(given.values, model.dtype)
    model.state.arrays = model.state.arrays._replace(values=values, buffers=buffers)
    return asarray(given.x, model.dtype), asarray(given.dy, model.dtype)


def results(model, given, need_dx=True):
    """Return what a model on the device gives: outputs, gradients and running statistics."""
    x, dy = on_device(model, given)
    found = {"evaluation": model.forward(x)[0]}
    found["training"], saved = model.forward(x, train=True)
    dx = model.backward(dy, saved, need_dx=need_dx)
    assert (dx is not None) is need_dx
    if need_dx:
        found["dx"] = dx
    for name, p in model.parameters().items():
        found[f"gradient of {name}"] = p.gradient
    for name, b in model.buffers().items():
        found[f"buffer {name}"] = b.value
    model.state.drop_gradient()
    assert all(a.dtype == model.dtype and a.flags.c_contiguous for a in found.values())
    return {name: a.get().astype("float64") for name, a in found.items()}


def compare(found, exact, limits):
    wrong = []
    for name, got in found.items():
        assert got.shape == exact[name].shape, name
        error = float(np.max(np.abs(got - exact[name]), initial=0.0))
        if not error <= limits[name]:
            wrong.append(f"{name}: {error:.3g} from the truth; allowed {limits[name]:.3g}")
    assert not wrong, "\n".join(wrong)


@every_net
@pytest.mark.parametrize("n", [1, 5])
def test_every_net_is_as_near_to_the_truth_as_the_layers(name, n):
    if n == 1 and name in SINGLE_NUMBERS:
        return
    shape, make = NETS[name]
    known = Truth(make, shape, n)
    for dtype in ("float32", "float64"):
        model = known.model(dtype, backend="cupy")
        assert runs(model), model.plan
        limits = known.limits(dtype)
        found = results(model, known.draw)
        assert set(found) == set(known.exact)
        compare(found, known.exact, limits)
        compare(results(model, known.draw, need_dx=False), known.exact, limits)


# Precisions


@PRECISIONS
@every_net
def test_every_net_keeps_the_meaning_of_a_precision(name, precision):
    """Gradients do on one of some draws: on others rounding crosses a kink of ReLU or of max pooling.

    Nets without kinks are asked for more below.
    """
    shape, make = NETS[name]
    if name in SINGLE_NUMBERS:
        shape, make = (6, 2, 2), lambda: [block(5), Flatten(), Dense(3)]
    model, meant = (
        xcnn.Model(make(), shape, precision=precision, backend=where) for where in ("cupy", "numpy")
    )
    assert runs(model), model.plan
    for seed in range(DRAWS):
        given = draw(meant, 5, seed)
        apart = distances(results(model, given), readable(meant, given), EPS[precision])
        assert max(apart["evaluation"], apart["training"], apart["buffer"]) <= UNITS["outputs"], apart
        if max(apart["dx"], apart["gradient"]) <= UNITS["gradients"]:
            return
    pytest.fail(f"gradients of {DRAWS} draws differ by more than {UNITS['gradients']} units: {apart}")


def smooth():
    """Return layers without a kink, so that a small error stays one in every gradient."""
    return [
        *(Normalize(0.1, 0.9), Conv2D(8, 3, padding=1), BatchNorm2D(), SiLU()),
        *(Conv2D(6, 3, activation="tanh"), AvgPool2D(2)),
        Sum(Identity(), Sequential(Conv2D(6, 3, padding=1, bias=False), BatchNorm2D())),
        *(Tanh(), Conv2D(8, 3, stride=2, padding=1, activation="sigmoid"), Flatten()),
        *(Dense(5, activation="tanh"), Dense(3)),
    ]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_without_kinks_a_run_is_as_near_to_the_truth_as_the_layers_of_its_precision(precision):
    """A run also rounds what lies between products, twice as often: errors grow by 2 ** 0.5."""
    model, meant, true = (
        xcnn.Model(smooth(), (2, 12, 12), precision=kind, backend=where)
        for kind, where in ((precision, "cupy"), (precision, "numpy"), ("float32", "numpy"))
    )
    assert len(runs(model)) == len(model.plan) == 1
    ours, theirs = [], []
    for seed in range(DRAWS):
        given = draw(meant, 5, seed)
        truth = readable(true, given)
        ours.append(distances(results(model, given), truth, EPS[precision]))
        theirs.append(distances(readable(meant, given), truth, EPS[precision]))
    for kind in ours[0]:
        mean, readables = (np.mean([one[kind] for one in found]) for found in (ours, theirs))
        assert 0.5 * readables <= mean <= 1.5 * readables, (kind, mean, readables)


def distances(found, want, eps):
    """Return how far results are apart, in units of eps of what is wanted; all gradients are one vector."""

    def joined(results, kind):
        return np.concatenate([np.zeros(0), *[a.reshape(-1) for key, a in results.items() if kind in key]])

    kinds = ("evaluation", "training", "dx", "gradient", "buffer")
    pairs = {kind: (joined(found, kind), joined(want, kind)) for kind in kinds}
    return {
        kind: np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30) / eps for kind, (a, b) in pairs.items()
    }


# What a run takes


def labels(*layers, shape=(2, 8, 8), **options):
    """Return what the plan is made of."""
    model = xcnn.Model(list(layers), shape, backend="cupy", **options)
    return [layer.label.partition(" (")[0] for layer in model.plan]


def test_a_run_takes_dropout_trees_and_normalize():
    layers = (Normalize(0.1, 0.9), block(4), Dropout(0.3), Sum(Identity(), body(4)), ReLU())
    (only,) = labels(*layers, Concat(Identity(), Conv2D(3, 1)), Flatten(), Dense(3))
    assert only == "Run(Normalize, Conv2D, BatchNorm2D, ReLU, 5 more, Dense)"


def test_a_layer_that_runs_do_not_know_ends_one_and_another_begins_behind_it():
    found = labels(Conv2D(3, 3), ReLU(), GlobalMaxPool2D(), Dense(3))
    assert found == ["Run(Conv2D, ReLU)", "GlobalMaxPool2D", "Run(Dense)"]


def test_layers_without_products_and_convolutions_of_another_op_stay_as_they_are():
    assert labels(ReLU(), MaxPool2D(2), Flatten()) == ["ReLU", "MaxPool2D", "Flatten"]
    assert labels(Conv2D(3, 3, op="conv2d_loops"), ReLU()) == ["Conv2D", "ReLU"]


def test_without_cudnn_the_layers_run(monkeypatch):
    monkeypatch.setattr("xcnn_cupy.convolutions.available", lambda: False)
    assert labels(Conv2D(3, 3), ReLU()) == ["Conv2D", "ReLU"]


@every_net
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cudnn_computes_all_products(monkeypatch, name, precision):
    from xcnn_cupy import products

    def readable_pair(*args):
        pytest.fail("a layer left cuDNN")

    monkeypatch.setattr(products, "_readable", readable_pair)
    shape, make = NETS[name]
    model = xcnn.Model(make(), shape, precision=precision, backend="cupy")
    y, saved = model.forward(model.accept(np.ones((5, *shape), "float32")), train=True)
    model.backward(y, saved)


def test_what_cudnn_has_no_plan_for_runs_the_readable_pair(monkeypatch, capsys):
    from xcnn_cupy import convolutions, products

    def none(*args, **options):
        raise convolutions.Unsupported("none here")

    products._say.cache_clear()
    shape, make = NETS["LeNet-5"]
    known = Truth(make, shape, 5)
    for name in ("forward", "input_gradient", "weight_gradient"):
        with monkeypatch.context() as patch:
            patch.setattr(convolutions, name, none)
            model = known.model("float32", backend="cupy")
            compare(results(model, known.draw), known.exact, known.limits("float32"))
    told = capsys.readouterr().err
    assert told == "xcnn: layers that cuDNN has no plan for run slower on cupy: none here\n"


# What a run leaves behind


def net(**options):
    """Return a model with everything that a run keeps: statistics, indices, a residual, random numbers."""
    layers = [
        *(Normalize((0.1, 0.2), (0.9, 1.1)), block(6), MaxPool2D(2), Sum(Identity(), body(6)), ReLU()),
        *(Dropout(0.4), Conv2D(4, 3, activation="relu"), Flatten(), Dense(3)),
    ]
    return xcnn.Model(layers, (2, 10, 10), **{"backend": "cupy", **options})


def prepared(n=9, **options):
    """Return the model, its inputs and dy on the device."""
    model = net(**options)
    return model, *on_device(model, draw(model.copy(backend="numpy"), n))


def gradients(model):
    return model.state.take_gradient().get()


def close(got, want, rtol=1e-4):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-5 * np.max(np.abs(want)))


def test_dropout_in_a_run_draws_what_the_layer_draws(dtype):
    for step in (3, cupy.asarray(3)):
        found = []
        for compile in (True, False):
            model, x, dy = prepared(dtype=dtype, compile=compile)
            y, saved = model.forward(x, train=xcnn.Pass(5, step))
            found.append([y.get(), model.backward(dy, saved).get(), gradients(model)])
        for a, b in zip(*found, strict=True):
            close(a, b)


def test_two_forwards_before_two_backwards_give_what_one_after_the_other_gives():
    model, x, dy = prepared()
    inputs, dys, want = [x, x[::-1] * 2, x[:4]], [dy, dy[::-1], dy[:4]], []
    for a, b in zip(inputs, dys, strict=True):
        want.append([model.backward(b, model.forward(a, train=True)[1]).get(), gradients(model)])
    for order in ((0, 1, 2), (2, 1, 0)):
        held = [model.forward(a, train=True)[1] for a in inputs]
        for k in order:
            np.testing.assert_array_equal(model.backward(dys[k], held[k]).get(), want[k][0])
            np.testing.assert_array_equal(gradients(model), want[k][1])


def test_backward_twice_gives_the_same_and_gradients_add_up():
    model, x, dy = prepared()
    _, saved = model.forward(x, train=True)
    first = model.backward(dy, saved).get()
    one = gradients(model)
    np.testing.assert_array_equal(model.backward(dy, saved).get(), first)
    model.backward(dy, saved)
    np.testing.assert_array_equal(gradients(model), one + one)


def test_backward_uses_the_parameters_that_forward_used():
    model, x, dy = prepared()
    arrays = model.state.arrays
    want = model.backward(dy, model.forward(x, train=True)[1]).get(), gradients(model)
    model.state.arrays = arrays
    _, saved = model.forward(x, train=True)
    for p in model.parameters().values():
        p.value = p.value * 3.0 + 1.0
    model.forward(x)
    np.testing.assert_array_equal(model.backward(dy, saved).get(), want[0])
    np.testing.assert_array_equal(gradients(model), want[1])


def test_inputs_and_dy_are_not_written_and_outputs_stay():
    model, x, dy = prepared()
    copies = x.get(), dy.get()
    first, saved = model.forward(x, train=True)
    kept = first.get()
    dx = model.backward(dy, saved)
    more = dx.get()
    model.forward(x * 3, train=True)
    for a, b in zip((x, dy, first, dx), (*copies, kept, more), strict=True):
        np.testing.assert_array_equal(a.get(), b)


def test_inputs_of_any_memory_order_give_the_same():
    model, x, _ = prepared()
    want = model.forward(x)[0].get()
    last = cupy.transpose(cupy.ascontiguousarray(cupy.transpose(x, (0, 2, 3, 1))), (0, 3, 1, 2))
    twice = cupy.repeat(x, 2, axis=3)[..., ::2]
    for a in (last, twice, cupy.ascontiguousarray(x[::-1])[::-1]):
        np.testing.assert_array_equal(model.forward(a)[0].get(), want)


def test_every_parameter_and_statistic_that_changes_changes_the_next_evaluation():
    model, x, _ = prepared()
    plain, _, _ = prepared(compile=False)
    first = model.forward(x)[0].get()
    holders = {**model.parameters(), **model.buffers()}
    for name, holder in {**plain.parameters(), **plain.buffers()}.items():
        old = holder.value
        holder.value = holders[name].value = old * 1.3 + 0.2
        changed = model.forward(x)[0].get()
        assert (changed != first).any(), name
        close(changed, plain.forward(x)[0].get())
        holder.value = holders[name].value = old
        np.testing.assert_array_equal(model.forward(x)[0].get(), first, err_msg=name)


def test_training_reads_parameters_that_were_overwritten_in_place():
    """Replayed graphs do that to the memory that the steps between them may be given."""
    model, x, _ = prepared()
    before = model.forward(x, train=True)[0].get()
    model.forward(x)  # which keeps what it packed
    model.state.arrays.values[...] *= 1.5
    assert (model.forward(x, train=True)[0].get() != before).any()


def test_the_size_of_the_batch_may_change_every_time():
    model, x, dy = prepared()
    plain, _, _ = prepared(compile=False)
    want = plain.forward(x)[0].get()
    for n in (9, 1, 4, 9, 2):
        close(model.forward(x[:n])[0].get(), want[:n])
        if n > 1:
            grads = []
            for m in (model, plain):
                start = m.state.arrays
                m.backward(dy[:n], m.forward(x[:n], train=True)[1])
                grads.append(gradients(m))
                m.state.arrays = start
            close(*grads, rtol=1e-3)


def test_nan_in_one_image_stays_in_it_and_reaches_the_gradients():
    model = xcnn.Model(
        [Conv2D(4, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(3)], (2, 8, 8), backend="cupy"
    )
    x = np.random.default_rng(0).normal(size=(5, 2, 8, 8)).astype("float32")
    x[2, 1, 3, 3] = np.nan
    y, saved = model.forward(model.accept(x), train=True)
    assert np.isnan(y.get()).all(axis=1).tolist() == [False, False, True, False, False]
    model.backward(cupy.ones_like(y), saved)
    assert np.isnan(gradients(model)).any()


def test_a_held_evaluation_runs_the_layers():
    found = []
    for compile in (True, False):
        model, x, dy = prepared(compile=compile)
        y, saved = model.forward(x, hold=True)
        found.append([y.get(), model.backward(dy, saved).get(), gradients(model)])
        assert model.forward(x)[1] is None
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_images_are_refused_by_the_first_layer():
    model = xcnn.Model([Conv2D(4, 3), ReLU(), Flatten(), Dense(3)], (2, 8, 8), backend="cupy")
    with pytest.raises(DataError, match=r"Conv2D \(layers\[0\]\): x is empty"):
        model.forward(cupy.empty((0, 2, 8, 8), "float32"))


def test_a_wrong_dy_is_refused_by_the_last_layer():
    model, x, dy = prepared()
    _, saved = model.forward(x, train=True)
    with pytest.raises(ShapeError, match=r"Dense \(layers\[8\]\): dy has shape \(4, 3\); needed"):
        model.backward(dy[:4], saved)
    with pytest.raises(DTypeError, match=r"Dense \(layers\[8\]\): dy has dtype float64"):
        model.backward(dy.astype("float64"), saved)


@pytest.mark.skipif(cupy.cuda.runtime.getDeviceCount() < 2, reason="needs two GPUs")
def test_arrays_of_another_gpu_are_refused():
    model, x, dy = prepared()
    _, saved = model.forward(x, train=True)
    with cupy.cuda.Device(1):
        x, dy = x.copy(), dy.copy()
    with pytest.raises(DeviceMismatchError, match=r"Normalize \(layers\[0\]\): .* cupy:1, .* cupy:0"):
        model.forward(x)
    with pytest.raises(DeviceMismatchError, match=r"Dense \(layers\[8\]\): dy is on cupy:1"):
        model.backward(dy, saved)


def test_threads_share_a_run():
    model, x, _ = prepared()
    batches = [x * k for k in range(1, 9)]
    want = [model.forward(a)[0].get() for a in batches]

    def evaluate(a):
        with model.backend.active():
            return model.forward(a)[0].get()

    with ThreadPoolExecutor(4) as pool:
        for got, one in zip(pool.map(evaluate, batches), want, strict=True):
            np.testing.assert_array_equal(got, one)


def test_a_run_counts_the_multiply_adds_of_its_layers():
    model = net()
    assert sum(layer.multiply_adds() for layer in model.plan) == sum(
        layer.multiply_adds() for layer in net(compile=False).plan
    )


def test_a_pass_waits_for_nothing_and_launches_little():
    """Beside cuDNN: forward packs and pools twice; backward pools, sums five biases (one in two), unpacks."""
    emulator = pytest.importorskip("cupy.emulator", reason="counts the launches of an emulated device")
    shape, make = NETS["LeNet-5"]
    model = xcnn.Model(make(), shape, backend="cupy")
    x = cupy.ones((2, *shape), "float32")
    y, saved = model.forward(x, train=True)
    model.backward(y, saved, need_dx=False)
    model.state.drop_gradient()
    counts = emulator.counted(lambda: model.forward(x, train=True))
    assert (counts["launches"], counts["syncs"], counts["uploads"]) == (3, 0, 0)
    counts = emulator.counted(lambda: model.backward(y, saved, need_dx=False))
    assert (counts["launches"], counts["syncs"], counts["uploads"]) == (9, 0, 0)


# Training


def images(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2, 10, 10)).astype("float32"), np.arange(n) % 3


def test_ragged_batches_train_as_the_layers_do():
    x, y = images(22)
    found = []
    for compile in (True, False):
        model = net(dtype="float64", compile=compile)
        history = model.fit(x, y, epochs=2, batch_size=8, seed=1, validation=(x[:9], y[:9]))
        found.append((history["loss"] + history["val_loss"], model.state.arrays.values.get()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6, atol=1e-9)


def test_frozen_layers_keep_their_values_and_move_their_statistics():
    found = []
    for compile in (True, False):
        layers = [
            Sequential(Conv2D(4, 3), BatchNorm2D(), ReLU(), trainable=False),
            Conv2D(4, 3),
            *(Flatten(), Dense(3)),
        ]
        model = xcnn.Model(layers, (2, 10, 10), dtype="float64", compile=compile, backend="cupy")
        start = model.layers[0][0].w.value.get()
        trainer = xcnn.Trainer(model)
        for _ in range(2):
            trainer.step(*images(6))
        np.testing.assert_array_equal(model.layers[0][0].w.value.get(), start)
        found.append((model.layers[0][1].mean.value.get(), model.state.arrays.values.get()))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_shared_layers_stand_between_runs():
    found = []
    for compile in (True, False):
        twice = Conv2D(4, 3, padding=1)
        layers = [Conv2D(4, 3), ReLU(), twice, ReLU(), twice, Flatten(), Dense(3)]
        model = xcnn.Model(layers, (2, 10, 10), dtype="float64", compile=compile, backend="cupy")
        assert len(runs(model)) == (2 if compile else 0)
        trainer = xcnn.Trainer(model)
        trainer.step(*images(6))
        found.append(model.state.arrays.values.get())
    np.testing.assert_allclose(*found, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_two_models_train_side_by_side_as_each_alone(precision):
    def trained(model, trainer):
        trainer.step(*images(6))
        return model.state.arrays.values.get()

    pairs = [(model, xcnn.Trainer(model)) for model in (net(precision=precision) for _ in range(3))]
    alone = [trained(*pairs[0]) for _ in range(3)]
    for k in range(3):
        for pair in pairs[1:]:
            np.testing.assert_array_equal(trained(*pair), alone[k])
