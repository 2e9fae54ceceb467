"""What an extension costs: a layer is one op file and one thin layer file, a backend is one folder.

The layer is the example of CONTRIBUTING.md. The toy backend's library is array-api-strict under another name.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import xcnn
from tests.conftest import USABLE
from tests.interpreter import BLOCK, python
from tests.layers.cases import LAYERS, for_random_layers
from tests.nets import SHAPE, assert_same, full, host, plain, stripes
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn.backend import backend_of
from xcnn.errors import DeviceMismatchError
from xcnn.layers import Conv2D, Dense, Flatten
from xcnn.ops import Op

ROOT = Path(__file__).parents[1]
X, Y = stripes()
strict_only = pytest.mark.skipif(
    "strict" not in USABLE, reason="needs array-api-strict, which the toy is made of"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on the path; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("_plugins", "_opened", "_by_type"):
        monkeypatch.setattr(f"xcnn.backend.{name}", dict(getattr(xcnn.backend, name)))
    monkeypatch.setattr(Op, "registry", dict(Op.registry))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


# A layer


@pytest.fixture
def scaled_square(folder):
    """The layer of CONTRIBUTING.md, from two files."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## How to add a layer")[2]
    op, layer = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[:2]
    (folder / "square_op.py").write_text(op)
    (folder / "square_layer.py").write_text(layer.replace("xcnn.ops.square", "square_op"))
    return importlib.import_module("square_layer").ScaledSquare


def test_a_new_layer_is_two_short_files(scaled_square, folder):
    lines = [len(path.read_text().splitlines()) for path in folder.glob("square_*.py")]
    assert len(lines) == 2
    assert max(lines) < 30


def test_a_new_layer_computes_what_it_says(scaled_square, backend):
    model = xcnn.Model([scaled_square()], (2, 1, 1), backend=backend)
    model.layers[0].w.value = [1.0, 10.0]
    np.testing.assert_array_equal(model.predict([[[[3.0]], [[2.0]]]]), [[[[9.0]], [[40.0]]]])


def test_a_new_layer_passes_gradcheck(scaled_square, backend):
    x = backend.asarray(np.random.default_rng(0).normal(size=(3, 2, 4, 5)))
    assert xcnn.gradcheck(scaled_square(), x) < 1e-6
    op = sys.modules["square_op"].scaled_square
    assert xcnn.gradcheck(op, x, backend.asarray([2.0, 3.0])) < 1e-6


def test_a_new_layer_trains_is_saved_and_is_loaded(scaled_square, backend, tmp_path):
    layers = [Conv2D(4, 3), scaled_square(name="square"), Flatten(), Dense(3)]
    model = xcnn.Model(layers, SHAPE, backend=backend)
    before = host(model)["layers[1].w"]
    history = model.fit(X, Y, epochs=5, batch_size=16, optimizer=xcnn.optim.Adam(0.01))
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert (host(model)["layers[1].w"] != before).all()
    model.save(tmp_path / "m.xcnn")
    again = xcnn.load(tmp_path / "m.xcnn", custom=[scaled_square], backend=backend)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert "ScaledSquare 'square'" in xcnn.summary.summarize(model)


# A backend


TOY = '''
"""A backend in one folder: a library, a kernel, a compiled run."""

import numpy as np
import toy_arrays as xp

from xcnn import backend
from xcnn.backend import Kernel
from xcnn.layer import Layer

calls = []


def relu(x, /):
    """max(x, 0), for four axes only."""
    if x.ndim != 4:
        calls.append("relu declined")
        return NotImplemented
    calls.append("relu")
    mask = xp.astype(x > 0, x.dtype)
    return xp.maximum(x, xp.asarray(0.0, dtype=x.dtype)), mask


def relu_gradient(dy, mask, needs):
    calls.append("relu gradient")
    return (dy * mask,)


class FlatDense(Layer):
    """Flatten and Dense at once."""

    def __init__(self, dense):
        super().__init__(name="flat dense")
        self.dense = dense

    def forward(self, x, /, *, train=False, hold=None):
        calls.append("run")
        flat = xp.reshape(x, (x.shape[0], -1))
        return flat @ self.dense.w.value.T + self.dense.b.value, (flat, x.shape)

    def backward(self, dy, saved, /, *, need_dx=True):
        calls.append("run gradient")
        flat, shape = saved
        w, b = self.dense.w, self.dense.b
        w.add_gradient(dy.T @ flat)
        b.add_gradient(xp.sum(dy, axis=0))
        return xp.reshape(dy @ w.value, shape) if need_dx else None


def compile_run(leaves, *, dtype, need_dx):
    kinds = [type(leaf).__name__ for leaf in leaves[:2]]
    if kinds == ["Flatten", "Dense"] and leaves[1].b is not None:
        return FlatDense(leaves[1]), 2
    return None


class Backend(backend.Backend):
    root, owns, host = "toy", ("toy_arrays",), True
    kernels = {"relu": Kernel(relu, relu_gradient)}
    compile_run = staticmethod(compile_run)

    def __init__(self, device=""):
        self.xp, self.name = xp, "toy"

    def asarray(self, a, /, dtype=None):
        if type(a).__module__.startswith("toy_arrays"):
            return a if dtype is None else xp.astype(a, getattr(xp, dtype), copy=False)
        return xp.asarray(np.asarray(a, dtype=dtype), copy=True)

    @classmethod
    def to_numpy(cls, a, /):
        return np.asarray(a)
'''


def write_library(folder):
    """Write a copy of array-api-strict called toy_arrays."""
    import array_api_strict

    source = Path(array_api_strict.__file__).parent
    (folder / "toy_arrays").mkdir()
    for path in source.glob("*.py"):
        text = path.read_text(encoding="utf-8").replace("array_api_strict", "toy_arrays")
        (folder / "toy_arrays" / path.name).write_text(text, encoding="utf-8")


@pytest.fixture
def toy(folder):
    """The toy backend, and what its kernels were asked for."""
    write_library(folder)
    (folder / "xcnn_toy").mkdir()
    (folder / "xcnn_toy" / "__init__.py").write_text(TOY)
    backend = xcnn.get_backend("toy")
    backend.calls = sys.modules["xcnn_toy"].calls
    return backend


@strict_only
def test_a_backend_is_found_by_the_name_of_its_folder(toy):
    assert toy.name == "toy"
    assert "toy" in xcnn.available_backends()
    assert "toy" not in xcnn.backend_problems()
    a = toy.asarray([1.0, 2.0])
    assert type(a).__module__.partition(".")[0] == "toy_arrays"
    assert backend_of(a) is toy


@strict_only
def test_a_new_backend_trains_as_numpy_does(toy):
    here, there = full(dtype="float64"), full(backend="toy", dtype="float64")
    assert_same(host(there), host(here))
    options = {
        "epochs": 2,
        "batch_size": 16,
        "optimizer": xcnn.optim.AdamW(0.01, clip_norm=1.0),
        "validation": 0.25,
    }
    want, got = here.fit(X, Y, **options), there.fit(X, Y, **options)
    assert list(want) == list(got)
    for name, numbers in want.items():
        np.testing.assert_allclose(got[name], numbers, rtol=1e-9)
    for name, a in host(here).items():
        assert_close(host(there)[name], a, "float64", name)
    assert type(there.predict(X)) is np.ndarray
    assert backend_of(here.predict(toy.asarray(X))) is toy


@strict_only
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_passes_gradcheck_on_a_new_backend(name, toy):
    def check(drawn):
        assert xcnn.gradcheck(drawn.layer, toy.asarray(drawn.x)) < 1e-5

    for_random_layers(name, check, examples=1)


@strict_only
def test_its_kernel_runs_forward_and_backward(toy):
    x = toy.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 4)))
    y, saved = xcnn.ops.relu(x)
    (dx,) = saved.backward(y)
    assert toy.calls == ["relu", "relu gradient"]
    with xcnn.readable():
        z, saved = xcnn.ops.relu(x)
        (want,) = saved.backward(y)
    assert toy.calls == ["relu", "relu gradient"]
    np.testing.assert_array_equal(toy.to_numpy(y), toy.to_numpy(z))
    np.testing.assert_array_equal(toy.to_numpy(dx), toy.to_numpy(want))


@strict_only
def test_the_backward_is_that_of_the_forward_that_ran(toy):
    """Whatever `readable` says when it is called."""
    x = toy.asarray(np.ones((1, 1, 2, 2)))
    _, by_kernel = xcnn.ops.relu(x)
    with xcnn.readable():
        _, by_pair = xcnn.ops.relu(x)
        by_kernel.backward(x)
    by_pair.backward(x)
    assert toy.calls == ["relu", "relu gradient"]


@strict_only
def test_a_case_that_a_kernel_does_not_cover_goes_to_the_readable_pair(toy):
    x = toy.asarray([[-1.0, 2.0]])
    y, saved = xcnn.ops.relu(x)
    np.testing.assert_array_equal(toy.to_numpy(y), [[0.0, 2.0]])
    np.testing.assert_array_equal(toy.to_numpy(saved.backward(toy.asarray([[5.0, 7.0]]))[0]), [[0.0, 7.0]])
    assert toy.calls == ["relu declined"]


@strict_only
def test_other_backends_do_not_use_its_kernels(toy, backend):
    xcnn.ops.relu(backend.asarray(np.ones((1, 1, 2, 2))))
    assert toy.calls == []


@strict_only
def test_its_compiled_run_is_used_and_shown(toy):
    model = plain(backend="toy")
    assert [type(layer).__name__ for layer in model.plan] == ["Conv2D", "ReLU", "MaxPool2D", "FlatDense"]
    assert [type(layer).__name__ for layer in model.layers] == ["Conv2D", "MaxPool2D", "Flatten", "Dense"]
    table = str(xcnn.summary.summarize(model))
    assert "backend toy, float32; runs: " in table
    assert "FlatDense 'flat dense'" in table
    xcnn.Trainer(model).step(X, Y)
    assert {"run", "run gradient", "relu", "relu gradient"} == set(toy.calls)


@strict_only
def test_its_compiled_run_is_not_used_where_it_is_told_not_to_be(toy):
    written, compiled = plain(backend="toy", compile=False), plain(backend="toy")
    assert [type(layer).__name__ for layer in written.plan] == [
        "Conv2D",
        "ReLU",
        "MaxPool2D",
        "Flatten",
        "Dense",
    ]
    with xcnn.readable():
        want = compiled.predict(X)
    assert toy.calls == []
    np.testing.assert_allclose(compiled.predict(X), want, rtol=1e-5, atol=1e-6)
    assert set(toy.calls) == {"run", "relu"}


@strict_only
def test_its_compiled_run_is_held_to_the_layers(toy):
    """Outputs, every gradient, and two forwards before two backwards."""
    compiled = full(backend="toy", dtype="float64")
    written = full(backend="toy", dtype="float64", compile=False)
    x, half = (compiled.accept(a) for a in (X, 0.5 * X[::-1]))
    found = []
    for model in (compiled, written):
        (y, saved), (z, later) = (model.forward(a, train=xcnn.Pass(1, 2)) for a in (x, half))
        per_model = [y, z, model.backward(y, saved), model.state.take_gradient()]
        found.append([*per_model, model.backward(z, later), model.state.take_gradient()])
    for got, want in zip(*found, strict=True):
        assert_close(toy.to_numpy(got), toy.to_numpy(want), "float64")


@strict_only
def test_a_model_moves_to_it_and_away(toy):
    model = full()
    want = model.predict(X)
    model.to("toy")
    assert "FlatDense" in [type(layer).__name__ for layer in model.plan]
    np.testing.assert_allclose(model.predict(X), want, rtol=1e-5, atol=1e-6)
    model.to("numpy")
    assert "FlatDense" not in [type(layer).__name__ for layer in model.plan]
    np.testing.assert_array_equal(model.predict(X), want)


@strict_only
def test_mixing_it_with_another_backend_is_refused(toy):
    with pytest.raises(
        DeviceMismatchError, match=says("Conv2D (layers[0])", "toy", "numpy", 'model.to("toy")')
    ):
        plain().forward(toy.asarray(X))


# Entry points


def distribution(folder, name, target):
    """Write the metadata of an installed project that offers a backend."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[xcnn.backends]\n{name} = {target}\n")


@strict_only
def test_an_entry_point_makes_a_backend_known_and_owner_of_its_arrays(tmp_path):
    write_library(tmp_path)
    text = TOY.replace('root, owns, host = "toy"', 'root, owns, host = "acme"').replace('"toy"', '"acme"')
    (tmp_path / "somewhere.py").write_text(text)
    distribution(tmp_path, "acme", "somewhere:Backend")
    said = python(
        """
        import toy_arrays, xcnn
        y, _ = xcnn.ops.relu(toy_arrays.ones((1, 1, 2, 2)))   # nobody named the backend yet
        print(xcnn.backend.backend_of(y).name, "acme" in xcnn.available_backends())
        xcnn.set_backend("acme")
        print(xcnn.Model([xcnn.layers.Dense(2)], (3,)).backend)
        try:
            xcnn.get_backend("acne")
        except xcnn.BackendError as error:
            print(error)
        """,
        tmp_path,
    )
    assert said.stdout.splitlines() == [
        "acme True",
        "<backend acme>",
        "unknown backend 'acne'; did you mean 'acme'?",
    ]


def test_a_name_may_have_a_hyphen(tmp_path):
    (tmp_path / "hyphen.py").write_text(
        dedent(
            """
            import xcnn_numpy
            class Backend(xcnn_numpy.Backend):
                root, owns = "my-arrays", ("hyphen",)
                def __init__(self, device=""):
                    self.name = "my-arrays"
            """
        )
    )
    distribution(tmp_path, "my-arrays", "hyphen:Backend")
    script = "import xcnn; print(xcnn.get_backend('my-arrays').name)"
    assert python(script, tmp_path).stdout == "my-arrays\n"


def test_a_library_whose_arrays_are_numpys_may_own_them(tmp_path):
    (tmp_path / "fancy.py").write_text(
        dedent(
            """
            import numpy as np, xcnn_numpy
            class Array(np.ndarray):
                pass
            class Backend(xcnn_numpy.Backend):
                root, owns = "fancy", ("fancy",)
                def __init__(self, device=""):
                    self.name = "fancy"
                def asarray(self, a, /, dtype=None):
                    return np.asarray(a, dtype=dtype).view(Array)
                @classmethod
                def to_numpy(cls, a, /):
                    return np.asarray(a).view(np.ndarray)
            """
        )
    )
    distribution(tmp_path, "fancy", "fancy:Backend")
    script = """
        import fancy, numpy as np, xcnn
        for a in (np.ones(2).view(fancy.Array), np.ones(2)):
            print(xcnn.backend.backend_of(a).name)
        """
    assert python(script, tmp_path).stdout == "fancy\nnumpy\n"


def test_a_broken_plug_in_is_a_problem_of_its_own(tmp_path):
    broken = {
        "raises": ("raise RuntimeError('no driver')", "no driver"),
        "needs": ("import library_that_is_not_there", "No module named 'library_that_is_not_there'"),
        "wrong": ("def wrong(:", "invalid syntax"),
        "empty": ("x = 1", "Backend"),
        "five": ("Backend = 5", "Backend"),
    }
    for name, (text, _) in broken.items():
        (tmp_path / f"{name}_plug_in.py").write_text(text)
        distribution(tmp_path, name, f"{name}_plug_in:Backend")
    said = python(
        BLOCK
        + f"""
        block("torch", "cupy", "array_api_strict")
        import xcnn
        print(xcnn.available_backends())
        problems = xcnn.backend_problems()
        for name in {list(broken)}:
            print(problems[name].replace(chr(10), " "))
            try:
                xcnn.set_backend(name)
            except xcnn.BackendError:
                print("refused")
        try:
            xcnn.ops.relu({{}})
        except xcnn.DTypeError:
            print("no array")
        """,
        tmp_path,
    )
    usable, *told, last = said.stdout.splitlines()
    assert (usable, last) == ("['numpy', 'python']", "no array")
    assert told[1::2] == ["refused"] * 5
    for (name, (_, reason)), problem in zip(broken.items(), told[0::2], strict=True):
        assert problem.startswith(f"backend {name!r}: ")
        assert reason in problem
