"""Precision: what is rounded, to which numbers, and that nothing else is."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from xcnn import explain, ops
from xcnn.errors import OptionError
from xcnn.layers import AvgPool2D, BatchNorm2D, Conv2D, ConvTranspose2D, Dense, Flatten, MaxPool2D
from xcnn.ops.op import Product
from xcnn.ops.precision import FORMATS, PRECISIONS, in_precision, rounded

X, Y = stripes()
LOW = tuple(FORMATS)
EPSILON = {name: 2.0 ** (1 - form.digits) for name, form in FORMATS.items()}
PRODUCTS = ("conv2d", "conv2d_indices", "conv2d_loops", "conv_transpose2d", "linear", "true_conv2d")


@pytest.fixture(params=[name for name in TESTED if name != "python"])
def fast(request):
    """Each backend but the one whose arrays are Python numbers."""
    return xcnn.get_backend(request.param)


def truth(a, name):
    """Return float32 numbers rounded to the nearest, ties to even, by their bits."""
    a = np.asarray(a, "float32")
    if name == "float16":
        with np.errstate(over="ignore"):
            return a.astype("float16").astype("float32")
    dropped = 24 - FORMATS[name].digits
    bits = a.view("uint32").astype("uint64")
    odd = (bits >> dropped) & 1
    kept = (bits + (1 << (dropped - 1)) - 1 + odd) >> dropped << dropped
    return np.where(np.isfinite(a), kept.astype("uint32").view("float32"), a)


def numbers(name, n=20_000):
    """Return float32 numbers of all sizes; ties and their neighbours; the ends of the range."""
    rng, dropped = np.random.default_rng(0), 24 - FORMATS[name].digits
    bits = rng.integers(0, 2**32, 3 * n, dtype="uint32")
    ties = bits[:n] >> dropped << dropped | np.uint32(1 << (dropped - 1))
    bits = np.concatenate([bits, ties, ties + np.uint32(1), ties - np.uint32(1)])
    halves = np.arange(2**16, dtype="uint16").view("float16").astype("float32")
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 2.0**-149, -(2.0**-126), 65504, 65519.9, 65520, -65536]
    ends += [np.finfo("float32").max, 3.3961e38, 3.3896e38, -3.4e38]
    whole = np.concatenate([bits.view("float32"), halves, np.asarray(ends, "float32")])
    between = whole[np.isfinite(whole) & (abs(whole) < 7e4)] * np.float32(1 + 2.0**-11)
    whole = np.concatenate([whole, between])
    return np.where(np.isnan(whole), np.float32(np.nan), whole)  # some would signal


@pytest.mark.parametrize("name", LOW)
def test_numbers_are_rounded_to_the_nearest_and_ties_to_even(name, backend):
    x = numbers(name)
    if backend.name == "python":
        x = np.concatenate([x[::1500], x[-40_000:][:30]])
    got = backend.to_numpy(rounded(backend.asarray(x), FORMATS[name]))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, truth(x, name))


def test_numbers_are_rounded_as_by_torch(torch):
    for name, kind in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        x = numbers(name)
        np.testing.assert_array_equal(truth(x, name), torch.tensor(x).to(kind).float().numpy())


@pytest.mark.parametrize("name", LOW)
def test_rounding_twice_changes_nothing_and_float64_stays(name):
    x = numbers(name)
    once = rounded(x, FORMATS[name])
    np.testing.assert_array_equal(rounded(once, FORMATS[name]), once)
    wide = x.astype("float64")
    assert rounded(wide, FORMATS[name]) is wide


# Products


def test_the_products_are_known():
    found = [name for name in ops.__all__ if isinstance(getattr(ops, name), Product)]
    assert tuple(found) == PRODUCTS


def arrays(name, seed=1):
    """Return x, w and b of a product, far from what its precisions can hold."""
    rng = np.random.default_rng(seed)
    shapes = {
        "linear": [(5, 7), (3, 7), (3,)],
        "conv_transpose2d": [(2, 4, 5, 5), (4, 3, 3, 3), (3,)],
    }.get(name, [(2, 4, 6, 5), (3, 4, 3, 3), (3,)])
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("name", PRODUCTS)
def test_operands_are_rounded_and_results_where_they_are_kept_so(name, precision, fast):
    backend, op, form = fast, getattr(ops, name), FORMATS[precision]
    x, w, b = given = arrays(name)
    with in_precision(precision):
        y, saved = op(*[backend.asarray(a) for a in given])
    dy = np.random.default_rng(2).normal(size=tuple(y.shape)).astype("float32")
    got = [backend.to_numpy(a) for a in (y, *saved.backward(backend.asarray(dy)))]
    exact = [truth(a, precision).astype("float64") for a in (x, w)]
    want_y, of_exact = op(*exact, b.astype("float64"))
    want = [want_y, *of_exact.backward(truth(dy, precision).astype("float64"))]
    for k, (a, exactly) in enumerate(zip(got, want, strict=True)):
        assert a.dtype == np.float32
        kept = form.stored and k < 2  # y and dx
        size = abs(exactly).max()
        np.testing.assert_allclose(a, exactly, rtol=EPSILON[precision] if kept else 1e-4, atol=4e-6 * size)
        if kept:
            np.testing.assert_array_equal(a, truth(a, precision))
        else:
            assert not np.array_equal(a, truth(a, precision))


def test_a_kernel_gets_rounded_operands(monkeypatch):
    """So that a backend's kernels for float32 do for all precisions."""
    seen = []
    plugin = type(xcnn.get_backend("numpy"))

    def forward(x, w, b=None, /):
        seen.extend([x, w])
        return NotImplemented

    kernels = {**plugin.kernels, "linear": xcnn.backend.Kernel(forward, None)}
    monkeypatch.setattr(plugin, "kernels", kernels)
    x, w, b = arrays("linear")
    with in_precision("bfloat16"):
        ops.linear(x, w, b)
    np.testing.assert_array_equal(seen[0], truth(x, "bfloat16"))
    np.testing.assert_array_equal(seen[1], truth(w, "bfloat16"))


def test_outside_of_its_block_a_precision_is_over():
    x, w, b = arrays("linear")
    want = ops.linear(x, w, b)[0]
    with pytest.raises(ZeroDivisionError), in_precision("float16"):
        1 / 0  # noqa: B018
    with in_precision("float16"), in_precision("float32"):
        np.testing.assert_array_equal(ops.linear(x, w, b)[0], want)
    np.testing.assert_array_equal(ops.linear(x, w, b)[0], want)
    with pytest.raises(OptionError, match=says("unknown precision 'bf16'")), in_precision("bf16"):
        pass


# Models


def gradients(model, scale=2.0**12):
    """Return the gradients of a step whose loss is scaled, as numbers on the host."""
    loss = xcnn.losses.CrossEntropy()
    head, _ = model.head(loss)
    x = model.accept(X)
    y = loss.accept(Y, len(X), model.output_shape, model.backend, model.dtype)
    z, saved = head.forward(x, train=xcnn.Pass(1, 1))
    head.backward(loss(z, y)[1].backward(1.0)[0] * scale, saved, need_dx=False)
    return {name: model.backend.to_numpy(p.gradient) / scale for name, p in model.parameters().items()}


@pytest.mark.parametrize("precision", LOW)
def test_gradients_are_those_of_float64_within_the_precision(precision, fast):
    layers = [Conv2D(4, 3, activation="tanh"), AvgPool2D(2), Flatten(), Dense(3)]  # no kinks to fall over
    model = xcnn.Model(layers, SHAPE, backend=fast, precision=precision)
    want = gradients(model.copy(dtype="float64", precision="float32"))
    got = gradients(model)
    whole = np.linalg.norm([np.linalg.norm(g) for g in want.values()])
    for name, g in got.items():
        error = np.linalg.norm(g - want[name])
        assert error < EPSILON[precision] * whole, name
    assert any(np.linalg.norm(g - want[name]) > EPSILON[precision] / 32 * whole for name, g in got.items())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_features_of_a_model_are_numbers_of_its_precision(precision):
    seen = {}

    def look(layer, half, a):
        if isinstance(layer, (Conv2D, Dense)) and a is not None:
            seen[layer.number, half] = a

    model = plain(precision=precision)
    with xcnn.readable(), xcnn.layer.watch(look):
        gradients(model)
    assert len(seen) == 3  # dx of the first isn't wanted
    for a in seen.values():
        np.testing.assert_array_equal(a, truth(a, precision))


def test_values_gradients_and_statistics_stay_float32():
    model = full(precision="bfloat16")
    xcnn.Trainer(model).step(X, Y)
    for a in host(model).values():
        assert a.dtype == np.float32
        assert not np.array_equal(a, truth(a, "bfloat16"))


def test_all_that_runs_a_model_runs_it_in_its_precision():
    low, exact = plain(precision="bfloat16", seed=3), plain(seed=3)
    same = [
        lambda model: model.predict(X),
        lambda model: model.predict_proba(X),
        lambda model: model.evaluate(X, Y)["loss"],
        lambda model: model.forward(model.accept(X))[0],
        lambda model: model.backward(*(lambda y, s: (y, s))(*model.forward(model.accept(X), train=True))),
        lambda model: float(xcnn.Trainer(model).step(X, Y)),
    ]
    for run in same:
        a, b = np.asarray(run(low)), np.asarray(run(exact))
        assert not np.array_equal(a, b)
        assert np.linalg.norm(a - b) < 0.1 * np.linalg.norm(b)


def test_readable_is_in_the_precision_too():
    model = plain(precision="bfloat16")
    want = model.predict(X)
    with xcnn.readable():
        np.testing.assert_array_equal(model.predict(X), want)


def looked_at(**options):
    """Return a model with all that sums products, and batch norm between, on small numbers."""
    layers = [
        Conv2D(4, 3, activation="relu"),
        BatchNorm2D(),
        ConvTranspose2D(3, 3),
        Conv2D(2, 3, op="true_conv2d"),
        Flatten(),
        Dense(3),
    ]
    return xcnn.Model(layers, SHAPE, seed=1, **options)


@pytest.mark.parametrize("precision", LOW)
def test_an_explanation_shows_the_numbers_that_are_multiplied(precision, backend):
    model, form = looked_at(precision=precision, backend=backend), FORMATS[precision]
    made = model.explain(X[0], label=1)
    y = backend.to_numpy(model.predict(backend.asarray(X[:1])))[0]
    np.testing.assert_allclose(made.layers[-1].step.y, y, rtol=2 * EPSILON[precision], atol=1e-6)
    for i in (0, 2, 3, 5):
        e = made.layers[i]
        assert isinstance(e, explain.Affine), e.title()  # not only its shapes: the sum was found to be right
        for factors in (e.x, e.w) if i == 5 else (e.patch, e.kernel):
            np.testing.assert_array_equal(factors, truth(factors, precision))
        size = np.abs(e.products).sum()
        assert abs(e.computed - e.measured) <= 2.0**-form.digits * abs(e.measured) + 1e-6 * size


def test_feature_maps_are_those_of_the_precision():
    pytest.importorskip("matplotlib")
    from xcnn.plots.layers import outputs_of

    model = looked_at(precision="bfloat16")
    last, y = outputs_of(model, X[:1])[-1]
    assert last is model.layers[-1]
    np.testing.assert_array_equal(y, model.predict(X[:1]))


def test_layers_called_by_themselves_run_in_the_precision_of_an_active_model():
    model, x = looked_at(precision="bfloat16"), X[:2]
    want = model.predict(x)
    assert not np.array_equal(model.layers.forward(x)[0], want)
    with model.active():
        np.testing.assert_array_equal(model.layers.forward(x)[0], want)


def digits():
    return xcnn.data.load("digits")


@pytest.fixture(scope="module")
def learned():
    """Return how well a small network reads digits after training in each precision."""
    data, found = digits(), {}
    for precision in ("float32", "bfloat16", "float16"):
        layers = [Conv2D(8, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)]
        model = xcnn.Model(layers, data.train.x.shape[1:], precision=precision)
        model.fit(data.train.x, data.train.y, epochs=4, batch_size=32, optimizer=xcnn.optim.Adam(0.01))
        found[precision] = model.evaluate(data.test.x, data.test.y)["accuracy"]
    return found


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_digits_are_learned_as_well(precision, learned):
    assert learned["float32"] > 0.9
    assert learned[precision] > learned["float32"] - 0.02


# Where a precision is said


def test_the_precision_is_float32_unless_said():
    model = plain()
    assert model.precision == "float32"
    assert "float" not in repr(model)
    assert "products" not in str(xcnn.summary.summarize(model))
    assert type(model.plan) is xcnn.layers.Sequential  # nothing is set while it runs


@pytest.mark.parametrize("precision", LOW)
def test_a_precision_is_shown(precision):
    model = plain(precision=precision)
    assert model.precision == precision
    assert repr(model).endswith(f"{model.backend.name}, {precision}>")
    assert f"float32, products in {precision}; runs: as written" in str(xcnn.summary.summarize(model))


def test_a_model_changes_its_precision():
    model = plain()
    want = model.predict(X)
    assert model.to(precision="bfloat16").precision == "bfloat16"
    assert not np.array_equal(model.predict(X), want)
    assert model.to("numpy").precision == "bfloat16"
    assert model.copy().precision == "bfloat16"
    assert model.copy(precision="tf32").precision == "tf32"
    np.testing.assert_array_equal(model.copy(precision="float32").predict(X), want)
    np.testing.assert_array_equal(model.to(precision="float32").predict(X), want)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"precision": "bf16"}, ["unknown precision 'bf16'; did you mean 'bfloat16'?"]),
        ({"precision": "float8"}, ["unknown precision 'float8'"]),
        ({"precision": 16}, ["unknown precision 16", *PRECISIONS]),
        (
            {"precision": "tf32", "dtype": "float64"},
            ["'tf32' and dtype 'float64'; needed dtype 'float32'"],
        ),
    ],
)
def test_what_is_no_precision_is_refused(change, parts):
    with pytest.raises(OptionError, match=says(*parts)):
        plain(**change)
    model = plain()
    for method in (model.to, model.copy):
        with pytest.raises(OptionError, match=says(*parts)):
            method(**change)
    assert (model.precision, model.dtype) == ("float32", "float32")
    low = plain(precision="float16")
    with pytest.raises(OptionError, match=says("'float16'", "'float64'")):
        low.to(dtype="float64")
    assert (low.precision, low.dtype, low.state.arrays.values.dtype) == ("float16", "float32", np.float32)
    assert low.to(dtype="float64", precision="float32").dtype == "float64"


def test_a_model_is_saved_with_its_precision(tmp_path, backend):
    model = full(precision="bfloat16")
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn", backend=backend)
    assert again.precision == "bfloat16"
    assert_same(host(again), host(model))


def test_gradients_of_a_model_of_low_precision_are_checked_in_float64():
    assert xcnn.gradcheck(plain(precision="bfloat16"), X[:2]) < 1e-5


class Compiler:
    """Notes what it is asked for, and compiles nothing."""

    def __init__(self):
        self.asked = []

    def __call__(self, leaves, **options):
        self.asked.append(options)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("known", [("float32",), PRECISIONS])
def test_a_backend_compiles_only_in_the_precisions_that_it_declares(precision, known, monkeypatch):
    plugin, compiler = type(xcnn.get_backend("numpy")), Compiler()
    monkeypatch.setattr(plugin, "compile_run", compiler)
    monkeypatch.setattr(plugin, "precisions", known)
    plain(precision=precision)
    said = {} if precision == "float32" else {"precision": precision}
    want = {"dtype": "float32", "need_dx": False, **said}
    assert compiler.asked[:1] == ([want] if precision in known else [])


def test_backends_compile_true_float32_unless_they_say_more():
    assert inspect.getattr_static(xcnn.Backend, "precisions") == ("float32",)


def test_the_precision_is_that_of_a_configuration():
    from xcnn.errors import ConfigError
    from xcnn.io.config import RunConfig

    content = {"layers": ["flatten", {"type": "dense", "units": 3}], "precision": "bfloat16"}
    content["layers"] = [{"type": "Flatten"}, {"type": "Dense", "units": 10}]
    assert RunConfig.from_dict(content).build_model(digits()).precision == "bfloat16"
    with pytest.raises(ConfigError, match=says("precision: got 'bf16'; did you mean 'bfloat16'?")):
        RunConfig.from_dict({**content, "precision": "bf16"})
    with pytest.raises(ConfigError, match=says("precision: got 'bfloat16'; needed dtype 'float32'")):
        RunConfig.from_dict({**content, "dtype": "float64"})


def test_a_device_is_made_current_while_a_model_runs(monkeypatch):
    """By a backend that has an `active` of its own."""
    entered = []

    class Device:
        def __enter__(self):
            entered.append("in")

        def __exit__(self, *error):
            entered.append("out")

    plugin = type(xcnn.get_backend("numpy"))
    monkeypatch.setattr(plugin, "active", lambda self: Device())
    model = xcnn.Model([Flatten(), Dense(3)], SHAPE)
    x = model.accept(X)
    entered.clear()
    y, saved = model.forward(x, train=True)
    assert entered == ["in", "out"]
    model.backward(y, saved)
    assert entered == ["in", "out"] * 2
    trainer = xcnn.Trainer(model)
    entered.clear()
    trainer.step(x, Y)
    assert entered[0] == "in"
    for run in (
        lambda: model.explain(X[0]),
        lambda: model.layers[1].explain(np.zeros(model.layers[1].w.shape[1])),
    ):
        entered.clear()
        run()
        assert entered[0] == "in"
    entered.clear()
    with model.active():
        assert entered == ["in"]
    assert entered.count("in") == entered.count("out")
